//! `.if`, `.elif`, `.else`, `.endif`: what can be told of them without running HAProxy.

use super::env::Env;
use super::word::{Value, Word};
use crate::haproxy::Version;

/// True, false, or not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tri {
    True,
    False,
    Unknown,
}

impl Tri {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Tri {
    fn from(known: bool) -> Self {
        if known { Self::True } else { Self::False }
    }
}

/// The blocks around a line.
#[derive(Default)]
pub(super) struct Blocks(Vec<Block>);

struct Block {
    /// Of the present branch.
    condition: Tri,
    /// Whether one before it was taken.
    before: Tri,
}

impl Blocks {
    /// Takes a line that opens or closes a block or says something at start; false if it's none.
    pub(super) fn directive(&mut self, words: &[Word], version: Version, env: &Env<'_>) -> bool {
        let Some(directive) = words.first().map(Word::text).filter(|word| word.starts_with('.')) else { return false };
        let expression = || {
            let words: Option<Vec<_>> = words.get(1..).unwrap_or_default().iter().map(Word::known).collect();
            words.map_or(Tri::Unknown, |words| evaluate(&words.join(" "), version, env))
        };
        match directive {
            ".if" => self.0.push(Block { condition: expression(), before: Tri::False }),
            ".elif" => self.branch(expression()),
            ".else" => self.branch(Tri::True),
            ".endif" => _ = self.0.pop(),
            _ => {}
        }
        true
    }

    fn branch(&mut self, condition: Tri) {
        if let Some(block) = self.0.last_mut() {
            block.before = block.before.or(block.condition);
            block.condition = condition;
        }
    }

    /// Whether HAProxy reads what stands here.
    pub(super) fn state(&self) -> Tri {
        self.0.iter().fold(Tri::True, |state, block| state.and(block.condition).and(block.before.not()))
    }
}

/// An expression. Parentheses around more than a predicate's arguments are left alone.
fn evaluate(expression: &str, version: Version, env: &Env<'_>) -> Tri {
    let all_of = |text: &str| text.split("&&").fold(Tri::True, |state, term| state.and(evaluate_term(term.trim(), version, env)));
    expression.split("||").fold(Tri::False, |state, terms| state.or(all_of(terms)))
}

fn evaluate_term(term: &str, version: Version, env: &Env<'_>) -> Tri {
    if let Some(term) = term.strip_prefix('!') {
        return evaluate_term(term.trim_start(), version, env).not();
    }
    match term {
        "" | "false" | "0" => return Tri::False,
        "true" | "1" => return Tri::True,
        _ => {}
    }
    let Some((predicate, args)) = term.strip_suffix(')').and_then(|term| term.split_once('(')) else { return Tri::Unknown };
    let at_least = |than| version.is_at_least(than).map_or(Tri::Unknown, Tri::from);
    let pair = |test: fn(&str, &str) -> bool| {
        args.split_once(',').map_or(Tri::Unknown, |(left, right)| test(left.trim(), right.trim()).into())
    };
    match predicate {
        "version_atleast" => at_least(args),
        "version_before" => at_least(args).not(),
        "defined" => match env.value(args.trim()) {
            Value::Known(value) => value.is_some().into(),
            Value::Guess(_) => Tri::Unknown,
        },
        "streq" => pair(|left, right| left == right),
        "strneq" => pair(|left, right| left != right),
        "strstr" => pair(|text, part| text.contains(part)),
        _ => Tri::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_told() {
        let version = Version::new(3, 0);
        for (expression, value) in [
            ("true", Tri::True),
            ("!true", Tri::False),
            ("", Tri::False),
            ("version_atleast(2.6)", Tri::True),
            ("version_atleast(3.1)", Tri::False),
            ("version_before(3.1) && !version_before(2.4)", Tri::True),
            ("defined(X)", Tri::Unknown),
            ("defined(X) && false", Tri::False),
            ("feature(LUA) || true", Tri::True),
            ("(true)", Tri::Unknown),
            ("defined(GIVEN)", Tri::True),
            ("streq(a,a) && strneq(a,b) && strstr(abc,b)", Tri::True),
            ("streq(a,b)", Tri::False),
        ] {
            let env = Env::new(&|_| None, &[("GIVEN".into(), String::new())]);
            assert_eq!(evaluate(expression, version, &env), value, "{expression}");
        }
    }
}
