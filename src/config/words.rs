//! Lines of HAProxy's configuration, taken apart into words as HAProxy does it.
//!
//! What an operator writes for HAProxy goes into its files word by word, so that it cannot end a line, begin a comment or
//! join with what stands behind it.

/// The words of a line, as they are written: quotes and backslashes stay.
///
/// # Errors
///
/// Says what HAProxy would not take, or would take for something else than a word.
pub(super) fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (control, _) if control.is_control() => return Err("no control characters"),
            ('#', None) => return Err("a # in quotes, where it begins no comment"),
            (' ', None) => {
                words.push(std::mem::take(&mut word));
                continue;
            }
            ('\\', None | Some('"')) => {
                word.push(letter);
                word.push(letters.next().filter(|next| !next.is_control()).ok_or("a character behind \\")?);
                continue;
            }
            ('"' | '\'', None) => quote = Some(letter),
            _ if quote == Some(letter) => quote = None,
            _ => {}
        }
        word.push(letter);
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    if quote.is_some() { Err("quotes in pairs") } else { Ok(words) }
}

/// A word as HAProxy reads it: without the quotes and backslashes that it is written with.
pub(super) fn unquoted(word: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => text.extend(letters.next()),
            ('"' | '\'', None) => quote = Some(letter),
            _ if quote == Some(letter) => quote = None,
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_haproxys() {
        for (line, expected) in [
            ("a  b", &["a", "b"][..]),
            (r#"str("a b") 'c #d'"#, &[r#"str("a b")"#, "'c #d'"]),
            (r"a\ b \#", &[r"a\ b", r"\#"]),
            (r#"'a\' "b\" c""#, &[r"'a\'", r#""b\" c""#]),
            ("", &[]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        for line in ["a\nb", "a\tb", "a # b", r#""a"#, "'a", "a\\", "a\\\n"] {
            assert!(words(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn quotes_are_not_part_of_a_word() {
        for (word, expected) in [("a", "a"), (r#""a b"c"#, "a bc"), (r"'a\'", r"a\"), (r"a\ b", "a b"), (r#""a\"b""#, r#"a"b"#)] {
            assert_eq!(unquoted(word), expected);
        }
    }
}
