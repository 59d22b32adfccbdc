//! Conditions of HAProxy's rules.

use std::fmt;

use super::words::{unquoted, words};

/// The text behind an `if`: alternatives, each of terms that must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition(Vec<Vec<Term>>);

/// One ACL of a condition, negated or not.
///
/// Its words are as they are written: quotes and backslashes stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Term(Vec<String>);

impl Term {
    /// The sample or the ACL that it looks at: `path,url_dec` of `!{ path,url_dec -m beg /a }`, `METH_POST` of `METH_POST`.
    pub fn criterion(&self) -> String {
        let word = self.0.iter().find(|word| !matches!(word.as_str(), "{" | "!{" | "!"));
        word.map(|word| unquoted(word.trim_start_matches('!'))).unwrap_or_default()
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl Condition {
    /// The condition that `line` is, if it is made of ACLs in braces and those that HAProxy has by itself: others are not known
    /// in an SPOE file.
    ///
    /// # Errors
    ///
    /// Says what is expected.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let mut alternatives = vec![Vec::new()];
        let mut term = Term::default();
        let mut within = false;
        for word in words(line)? {
            let is_complete = match (word.as_str(), within) {
                ("{" | "!{", false) => {
                    within = true;
                    false
                }
                ("{" | "!{", true) => return Err("a } before the next {".to_owned()),
                ("}", true) => {
                    within = false;
                    true
                }
                ("}", false) => return Err("a { before each }".to_owned()),
                ("||" | "or", false) => {
                    alternatives.push(Vec::new());
                    continue;
                }
                ("if" | "unless", false) => return Err(format!("only what stands behind {word}")),
                ("!", false) => false,
                (name, false) if !PREDEFINED.contains(&name.trim_start_matches('!')) => {
                    let expected =
                        "ACLs in braces set off by spaces, such as { path_beg /api }, or HAProxy's own, such as METH_POST";
                    return Err(expected.to_owned());
                }
                (_, within) => !within,
            };
            term.0.push(word);
            if is_complete && let Some(terms) = alternatives.last_mut() {
                terms.push(std::mem::take(&mut term));
            }
        }
        match (within, !term.0.is_empty() || alternatives.iter().any(Vec::is_empty)) {
            (true, _) => Err("a } behind each {".to_owned()),
            (_, true) => Err("a term before and behind each ||".to_owned()),
            _ => Ok(Self(alternatives)),
        }
    }

    /// The alternatives, of which one must hold.
    pub fn alternatives(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|terms| joined(terms))
    }

    /// All terms.
    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        self.0.iter().flatten()
    }

    /// Its words as HAProxy reads them.
    pub fn words(&self) -> Vec<String> {
        let words = |terms: &Vec<Term>| terms.iter().flat_map(|term| &term.0).map(|word| unquoted(word)).collect::<Vec<_>>();
        self.0.iter().map(words).collect::<Vec<_>>().join(&"||".to_owned())
    }

    /// The weaker condition that leaves out the terms that `drop` picks; `None`, if it holds for everything.
    #[must_use]
    pub fn without(&self, drop: impl Fn(&Term) -> bool) -> Option<Self> {
        let kept = |terms: &Vec<Term>| terms.iter().filter(|term| !drop(term)).cloned().collect::<Vec<_>>();
        let mut alternatives: Vec<Vec<Term>> = Vec::new();
        for terms in self.0.iter().map(kept) {
            if terms.is_empty() {
                return None;
            }
            if !alternatives.contains(&terms) {
                alternatives.push(terms);
            }
        }
        Some(Self(alternatives))
    }
}

fn joined(terms: &[Term]) -> String {
    terms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// As it stands in HAProxy's configuration.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.alternatives().collect::<Vec<_>>().join(" || "))
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

    #[test]
    fn terms_are_left_out() {
        let without = |line: &str| {
            let weaker = Condition::parse(line).unwrap().without(|term| term.criterion().starts_with("req.body"));
            weaker.map(|weaker| weaker.to_string())
        };
        for (line, expected) in [
            ("{ path /a } { req.body_size gt 0 }", Some("{ path /a }")),
            ("!{ req.body,lower -m sub x } METH_POST", Some("METH_POST")),
            ("! { 'req.body' -m found } ! METH_GET", Some("! METH_GET")),
            ("{ path '} || {' } { req.body -m str or }", Some("{ path '} || {' }")),
            ("{ path /req.body }", Some("{ path /req.body }")),
            ("METH_PUT { req.body_size gt 0 } || METH_PUT { req.body_size lt 9 }", Some("METH_PUT")),
            ("{ req.body_size gt 0 }", None),
            ("{ path /a } || { req.body_size gt 0 }", None),
        ] {
            assert_eq!(without(line).as_deref(), expected, "{line}");
        }
    }
}
