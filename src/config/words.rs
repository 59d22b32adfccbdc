//! Lines of HAProxy's configuration, taken apart into words as HAProxy does it.
//!
//! What an operator writes for HAProxy goes into its files word by word, so that it cannot end a line, begin a comment or
//! join with what stands behind it.

use std::fmt;

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

/// What stands behind an `if`: alternatives, each of terms that must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition(Vec<String>);

impl Condition {
    /// The condition that `line` is, if it is made of ACLs in braces and those that HAProxy has by itself: others are not known
    /// in an SPOE file.
    ///
    /// # Errors
    ///
    /// Says what is expected.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let mut alternatives = vec![Vec::new()];
        let mut within = false;
        for word in words(line)? {
            match (word.as_str(), within) {
                ("{" | "!{", false) => within = true,
                ("{" | "!{", true) => return Err("a } before the next {".to_owned()),
                ("}", true) => within = false,
                ("}", false) => return Err("a { before each }".to_owned()),
                ("||" | "or", false) => {
                    alternatives.push(Vec::new());
                    continue;
                }
                ("if" | "unless", false) => return Err(format!("only what stands behind {word}")),
                ("!", false) => {}
                (name, false) if !PREDEFINED.contains(&name.trim_start_matches('!')) => {
                    let expected =
                        "ACLs in braces set off by spaces, such as { path_beg /api }, or HAProxy's own, such as METH_POST";
                    return Err(expected.to_owned());
                }
                _ => {}
            }
            alternatives.last_mut().into_iter().for_each(|terms: &mut Vec<String>| terms.push(word.clone()));
        }
        let empty = |terms: &Vec<String>| terms.last().is_none_or(|last| last == "!");
        match (within, alternatives.iter().any(empty)) {
            (true, _) => Err("a } behind each {".to_owned()),
            (_, true) => Err("a term before and behind each ||".to_owned()),
            _ => Ok(Self(alternatives.iter().map(|terms| terms.join(" ")).collect())),
        }
    }

    /// The alternatives, of which one must hold.
    pub fn alternatives(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// As it stands in HAProxy's configuration.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" || "))
    }
}

/// ACLs that need no declaration (configuration manual, 7.4).
const PREDEFINED: [&str; 22] = [
    "FALSE",
    "HTTP",
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_CONTENT",
    "HTTP_URL_ABS",
    "HTTP_URL_SLASH",
    "HTTP_URL_STAR",
    "LOCALHOST",
    "METH_CONNECT",
    "METH_DELETE",
    "METH_GET",
    "METH_HEAD",
    "METH_OPTIONS",
    "METH_POST",
    "METH_PUT",
    "METH_TRACE",
    "RDP_COOKIE",
    "REQ_CONTENT",
    "TRUE",
    "WAIT_END",
];

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
    fn conditions_are_alternatives_of_terms() {
        let condition = Condition::parse("{ path_beg /api }  !METH_GET or !{ src 10.0.0.0/8 } || ! TRUE").unwrap();
        let alternatives: Vec<_> = condition.alternatives().collect();
        assert_eq!(alternatives, ["{ path_beg /api } !METH_GET", "!{ src 10.0.0.0/8 }", "! TRUE"]);
        assert_eq!(condition.to_string(), "{ path_beg /api } !METH_GET || !{ src 10.0.0.0/8 } || ! TRUE");
        assert_eq!(Condition::parse("{ hdr(x) -m str || or }").unwrap().alternatives().count(), 1, "values are no operators");
    }

    #[test]
    fn conditions_that_would_be_another_line_are_refused() {
        for (line, expected) in [
            ("", "term"),
            ("{ path /a", "} behind"),
            ("path /a }", "ACLs in braces"),
            ("}", "{ before"),
            ("{ path /a } {", "} behind"),
            ("{ { path /a } }", "} before"),
            ("{path /a}", "ACLs in braces"),
            ("is_api", "ACLs in braces"),
            ("{ path /a } ||", "term"),
            ("!", "term"),
            ("if { path /a }", "behind if"),
            ("{ path /a }\nuser root", "control"),
            ("TRUE # comment", "in quotes"),
        ] {
            let error = Condition::parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
