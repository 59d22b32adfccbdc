//! Many things on one line.

use std::fmt::Display;

/// Things that a line names.
const MOST: usize = 8;

/// The first few, and how many more there are.
pub(crate) fn few(things: impl IntoIterator<Item = impl Display>) -> String {
    let mut things = things.into_iter();
    let mut texts: Vec<_> = things.by_ref().take(MOST).map(|thing| thing.to_string()).collect();
    match things.count() {
        0 => {}
        more => texts.push(format!("and {more} more")),
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(few(0..2), "0, 1");
        assert_eq!(few(0..8), "0, 1, 2, 3, 4, 5, 6, 7");
        assert!(few(0..10).ends_with("6, 7, and 2 more"));
    }
}
