//! Patterns that routes match names with.

use std::fmt;

/// A name, or a glob: `*` stands for any bytes, also none, and `?` for exactly one byte. Case matters.
///
/// There is no escape: HAProxy's message names hold neither character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    /// Stars alone.
    Any,
    Glob,
}

impl Pattern {
    /// Bytes of the longest name that fits any pattern, and of the longest pattern. HAProxy's operators write shorter ones; to hold
    /// what a peer makes up against every pattern takes time in proportion to its length, or worse.
    pub const LONGEST: usize = 256;

    /// The pattern written as `text`.
    pub fn new(text: &str) -> Self {
        let kind = match text {
            _ if !text.contains(['*', '?']) => Kind::Exact,
            _ if text.bytes().all(|b| b == b'*') => Kind::Any,
            _ => Kind::Glob,
        };
        Self { text: text.into(), kind }
    }

    /// Whether `name` fits, which none does that is longer than [`LONGEST`](Self::LONGEST). Takes time in proportion to the lengths'
    /// product at worst, and no memory.
    pub fn matches(&self, name: &[u8]) -> bool {
        name.len() <= Self::LONGEST
            && match self.kind {
                Kind::Exact => self.text.as_bytes() == name,
                Kind::Any => true,
                Kind::Glob => matches(self.text.as_bytes(), name),
            }
    }

    /// Whether every name fits.
    pub fn is_any(&self) -> bool {
        self.kind == Kind::Any
    }

    /// Whether exactly one name fits.
    pub fn is_exact(&self) -> bool {
        self.kind == Kind::Exact
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether some name fits both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        meets(self.text.as_bytes(), other.text.as_bytes())
    }

    /// Whether every name that fits `other` surely fits this one too. False where that takes more than a look.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.is_any() || self == other || (other.is_exact() && self.matches(other.text.as_bytes()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Finds out from the ends on, for each two rests, whether some name fits both.
fn meets(one: &[u8], other: &[u8]) -> bool {
    let is = |row: &[bool], position: usize| row.get(position) == Some(&true);
    let mut below = Vec::new();
    for i in (0..=one.len()).rev() {
        let mut row = vec![false; other.len() + 1];
        for j in (0..=other.len()).rev() {
            let fits = match (one.get(i), other.get(j)) {
                (None, None) => true,
                (Some(b'*'), _) | (Some(_), Some(b'*')) => is(&below, j) || is(&row, j + 1),
                (None, Some(b'*')) => is(&row, j + 1),
                (Some(a), Some(b)) => (a == b || *a == b'?' || *b == b'?') && is(&below, j + 1),
                _ => false,
            };
            row.get_mut(j).into_iter().for_each(|place| *place = fits);
        }
        below = row;
    }
    is(&below, 0)
}

/// Goes along both at once, and back to the last `*` when they part: an earlier one never needs another try.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last_star = None;
    while let Some(&byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                p += 1;
                n += 1;
            }
            _ => {
                // The star takes one byte more than at the last try.
                let Some((star, taken_to)) = last_star else { return false };
                last_star = Some((star, taken_to + 1));
                p = star + 1;
                n = taken_to + 1;
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).matches(name.as_bytes())
    }

    #[test]
    fn exact_names_fit_themselves() {
        assert!(fits("check-request", "check-request"));
        assert!(!fits("check-request", "check-request2"));
        assert!(!fits("check-request", "Check-request"));
        assert!(fits("", ""));
        assert!(!fits("", "a"));
    }

    #[test]
    fn stars_take_any_bytes() {
        assert!(fits("waf-*", "waf-"));
        assert!(fits("waf-*", "waf-body"));
        assert!(!fits("waf-*", "waf"));
        assert!(fits("*-body", "waf-body-body"));
        assert!(fits("a*b*c", "a-b-b-c"));
        assert!(!fits("a*b*c", "a-c-b"));
        assert!(fits("**", ""));
        assert!(Pattern::new("*").matches(&[0xff, 0x00]));
    }

    #[test]
    fn question_marks_take_one_byte() {
        assert!(fits("v?", "v1"));
        assert!(!fits("v?", "v"));
        assert!(!fits("v?", "v10"));
        assert!(fits("*?", "a"));
        assert!(!fits("*?", ""));
    }

    #[test]
    fn a_hostile_pair_does_not_explode() {
        assert!(!fits(&"a*".repeat(60), &format!("{}b", "a".repeat(50))));
        assert!(!fits(&format!("{}c", "*a".repeat(200)), &"a".repeat(5_000)));
    }

    /// Longer ones are made up by peers, and each would be held against every pattern.
    #[test]
    fn names_over_the_limit_fit_nothing() {
        let longest = "a".repeat(Pattern::LONGEST);
        for pattern in ["*", "a*", "*a*a*", "?*", longest.as_str()] {
            assert!(fits(pattern, &longest), "{pattern}");
            assert!(!fits(pattern, &format!("{longest}a")), "{pattern}");
        }
        assert!(!fits(&format!("{longest}a"), &format!("{longest}a")));
    }

    #[test]
    fn any_is_only_stars() {
        assert!(Pattern::new("*").is_any());
        assert!(!Pattern::new("").is_any());
        assert!(!Pattern::new("*?").is_any());
    }

    #[test]
    fn covering_is_never_claimed_wrongly() {
        assert!(Pattern::new("*").covers(&Pattern::new("waf-*")));
        assert!(Pattern::new("waf-*").covers(&Pattern::new("waf-body")));
        assert!(Pattern::new("waf-*").covers(&Pattern::new("waf-*")));
        assert!(!Pattern::new("waf-body").covers(&Pattern::new("waf-*")));
    }

    /// The definition, word for word; takes exponential time.
    fn reference(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => reference(rest, name),
            (Some((b'*', rest)), Some((_, tail))) => reference(rest, name) || reference(pattern, tail),
            (Some((b'?', rest)), Some((_, tail))) => reference(rest, tail),
            (Some((a, rest)), Some((b, tail))) => a == b && reference(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_meet_where_some_name_fits_both(one in "[ab*?]{0,4}", other in "[ab*?]{0,4}") {
            // A name that fits both, if there is one, has no more bytes than both patterns together.
            let mut names = vec![String::new()];
            let mut found = false;
            for _ in 0..=8 {
                found |= names.iter().any(|name| fits(&one, name) && fits(&other, name));
                names = names.iter().flat_map(|name| [format!("{name}a"), format!("{name}b")]).collect();
            }
            prop_assert_eq!(Pattern::new(&one).meets(&Pattern::new(&other)), found);
        }

        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(fits(&pattern, &name), reference(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
