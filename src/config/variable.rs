//! Names of HAProxy's variables as an operator writes them.

use std::fmt;
use std::str::FromStr;

use super::pattern::Pattern;
use crate::spop::VarScope;
use crate::spop::action::check_name;

/// A variable of HAProxy without its prefix, written `txn.allow`; HAProxy makes `txn.<prefix>.allow` of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variable {
    /// How long it lives.
    pub scope: VarScope,
    /// The name after the scope.
    pub name: String,
}

impl Variable {
    /// Reads `scope.name` and holds it against HAProxy's rules. Says what is expected instead.
    pub(super) fn check(text: &str, prefix_len: usize) -> Result<Self, String> {
        let variable: Self = text.parse().map_err(|_| EXPECTED.to_owned())?;
        check_name(variable.scope, prefix_len, variable.name.as_bytes()).map_err(|error| format!("{EXPECTED} ({error})"))?;
        Ok(variable)
    }

    /// Stands in for a variable that is not one, so that checks can go on.
    pub(super) fn stand_in() -> Self {
        Self { scope: VarScope::Transaction, name: "x".to_owned() }
    }
}

/// The text is not `scope.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub struct NotAVariable;

impl FromStr for Variable {
    type Err = NotAVariable;

    fn from_str(text: &str) -> Result<Self, NotAVariable> {
        let (scope, name) = text.split_once('.').ok_or(NotAVariable)?;
        let scope = scope.parse().map_err(|_| NotAVariable)?;
        Ok(Self { scope, name: name.to_owned() })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.scope.as_str(), self.name)
    }
}

/// Variables by their names, written `txn.allow` or `txn.waf_*`: the scope is one, the name may be a glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariablePattern {
    /// How long they live.
    pub scope: VarScope,
    /// The names after the scope.
    pub name: Pattern,
}

impl VariablePattern {
    /// Reads `scope.name`, where the name may hold `*` and `?`. Says what is expected instead.
    pub(super) fn check(text: &str, prefix_len: usize) -> Result<Self, String> {
        if text.len() > Pattern::LONGEST {
            return Err(format!("at most {} bytes", Pattern::LONGEST));
        }
        // The shortest name that fits is held against HAProxy's rules, so that the pattern does not stand for nothing.
        let shortest = text.replace('?', "x");
        let starred = shortest.contains('*');
        let shortest = shortest.replace('*', "");
        let shortest = if starred && shortest.ends_with('.') { shortest + "x" } else { shortest };
        Variable::check(&shortest, prefix_len).map_err(|expected| format!("{expected}; * and ? may stand in the name"))?;
        let (scope, name) = text.split_once('.').unwrap_or_default();
        let scope = scope.parse().map_err(|_| EXPECTED.to_owned())?;
        Ok(Self { scope, name: Pattern::new(name) })
    }

    /// Whether this variable is among them.
    pub fn matches(&self, scope: VarScope, name: &[u8]) -> bool {
        self.scope == scope && self.name.matches(name)
    }

    /// Whether some variable is among these and among those.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.scope == other.scope
            && if other.name.is_exact() {
                self.name.matches(other.name.as_str().as_bytes())
            } else {
                self.name.meets(&other.name)
            }
    }
}

impl From<&Variable> for VariablePattern {
    fn from(variable: &Variable) -> Self {
        Self { scope: variable.scope, name: Pattern::new(&variable.name) }
    }
}

impl fmt::Display for VariablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.scope.as_str(), self.name)
    }
}

const EXPECTED: &str = "scope.name with the scope proc, sess, txn, req or res";

/// The same for a JSON Schema, which cannot count the prefix: 63 bytes less the shortest scope and one dot.
pub(super) const PATTERN: &str = r"^(proc|sess|txn|req|res)\.[A-Za-z0-9_.]{1,59}$";

/// The same for a [`VariablePattern`].
pub(super) const GLOB_PATTERN: &str = r"^(proc|sess|txn|req|res)\.[A-Za-z0-9_.*?]{1,128}$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_and_name_are_told_apart() {
        let variable = Variable::check("txn.waf.score", 0).unwrap();
        assert_eq!((variable.scope, variable.name.as_str()), (VarScope::Transaction, "waf.score"));
        assert_eq!(variable.to_string(), "txn.waf.score");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "allow", "txn", "var.allow", "TXN.allow"] {
            assert_eq!(Variable::check(text, 0), Err(EXPECTED.to_owned()), "{text}");
        }
        for text in ["txn.", "txn.a-b", "txn.ä", "txn.a b"] {
            assert!(Variable::check(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_several_may_be_globs() {
        let fits = |text: &str, scope, name: &str| VariablePattern::check(text, 0).unwrap().matches(scope, name.as_bytes());
        assert!(fits("txn.waf_*", VarScope::Transaction, "waf_allow"));
        assert!(fits("txn.*", VarScope::Transaction, "a.b"));
        assert!(!fits("txn.*", VarScope::Session, "a"));
        assert!(!fits("txn.allow", VarScope::Transaction, "Allow"));
        assert!(fits("txn.v?", VarScope::Transaction, "v1"));
        for text in ["allow", "*.allow", "var.*", "txn.", "txn.a-*", "t*n.allow", "*", "txn", &format!("txn.{}*", "n".repeat(60))]
        {
            assert!(VariablePattern::check(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn d19_scope_prefix_and_name_have_at_most_63_bytes() {
        // txn. + 16 + . + name
        assert!(Variable::check(&format!("txn.{}", "n".repeat(42)), 16).is_ok());
        let error = Variable::check(&format!("txn.{}", "n".repeat(43)), 16).unwrap_err();
        assert!(error.ends_with("(variable name takes 64 bytes with its scope and prefix, at most 63 are possible)"), "{error}");
    }
}
