//! What somebody probably meant by a word that is not known.

/// The one of `known` that differs least from `word`, if it differs little.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = word.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|candidate| (strsim::levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `a or b`, `a, b or c`; of very many the first, and how many more there are.
pub(super) fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let mut words = words.into_iter();
    let mut listed: Vec<String> = words.by_ref().take(MOST).map(|word| word.as_ref().to_owned()).collect();
    match words.count() {
        0 => {}
        more => listed.push(format!("{more} others")),
    }
    match listed.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// Words of a list that a person still reads.
const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let keys = ["messages", "engines", "timeout", "timeout_arg"];
        assert_eq!(closest("timeot", keys), Some("timeout"));
        assert_eq!(closest("tiemout", keys), Some("timeout"));
        assert_eq!(closest("mesages", keys), Some("messages"));
        assert_eq!(closest("timeout-arg", keys), Some("timeout_arg"));
        assert_eq!(closest("deadline", keys), None);
        assert_eq!(closest("", keys), None);
    }

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(list([] as [&str; 0]), "");
        assert_eq!(list(["a"]), "a");
        assert_eq!(list(["a", "b", "c"]), "a, b or c");
        let many = list((0..1_000).map(|number| number.to_string()));
        assert!(many.ends_with(", 31 or 968 others"), "{many}");
    }
}
