//! Conditions about a missing verdict, made of the text of the rule that they belong to: its tests stay as they are written.

use super::rules::{Rule, Rules, is_or};
use super::sample::{self, VarName};
use super::word::Word;

/// One test of a condition, with its `!`, and the variables that it reads, those of its ACLs too.
struct Term<'a> {
    text: &'a str,
    reads: Vec<VarName<'a>>,
}

/// A rule's condition as alternatives of tests that hold together, and the variables whose absence is meant.
pub(super) struct Guard<'a, 'v> {
    unless: bool,
    alternatives: Vec<Vec<Term<'a>>>,
    or: &'a str,
    /// The variables that its tests read.
    reads: &'v [&'a str],
    /// The verdicts behind them.
    verdicts: &'v [&'a str],
    /// The line up to the condition.
    rule: &'a Rule<'a>,
}

impl<'a, 'v> Guard<'a, 'v> {
    /// `None` for a rule without a condition.
    pub(super) fn new(rules: &Rules<'a>, rule: &'a Rule<'a>, reads: &'v [&'a str], verdicts: &'v [&'a str]) -> Option<Self> {
        let (unless, words) = rule.condition()?;
        let or = words.iter().find(|word| is_or(word)).map_or("||", Word::text);
        let alternatives = words.split(is_or).map(|words| terms(rules, rule, words)).collect();
        Some(Self { unless, alternatives, or, reads, verdicts, rule })
    }

    /// The rule's line, which then applies only while there is some verdict.
    pub(super) fn only_with_verdict(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for terms in &self.alternatives {
            let text = join(terms.iter().map(|term| term.text));
            if self.unless || !self.decide(terms) {
                parts.push(text);
            } else {
                parts.extend(self.verdicts.iter().map(|name| format!("{} {text}", found(name))));
            }
        }
        if self.unless {
            let deciding = self.alternatives.iter().filter(|terms| self.decide(terms));
            parts.extend(deciding.map(|terms| self.missing_and_others(terms)));
        }
        let (first, end) = self.rule.condition_words();
        self.rule.line.with(first..end, &parts.join(&format!(" {} ", self.or)))
    }

    /// The condition of a rule beside it, for the same requests while there is no verdict.
    pub(super) fn when_missing(&self) -> String {
        if self.unless {
            let others = self.alternatives.iter().filter(|terms| !self.decide(terms));
            let others = others.map(|terms| join(terms.iter().map(|term| term.text)));
            let parts: Vec<_> = self.verdicts.iter().map(|name| found(name)).chain(others).collect();
            return format!("unless {}", parts.join(&format!(" {} ", self.or)));
        }
        let mut parts: Vec<_> =
            self.alternatives.iter().filter(|terms| self.decide(terms)).map(|terms| self.missing_and_others(terms)).collect();
        parts.dedup();
        format!("if {}", parts.join(&format!(" {} ", self.or)))
    }

    /// All verdicts are missing, and the tests that are about something else hold.
    fn missing_and_others(&self, terms: &[Term<'a>]) -> String {
        let missing = self.verdicts.iter().map(|name| format!("!{}", found(name)));
        let others = terms.iter().filter(|term| !self.decides(term)).map(|term| term.text.to_owned());
        missing.chain(others).collect::<Vec<_>>().join(" ")
    }

    fn decide(&self, terms: &[Term<'a>]) -> bool {
        terms.iter().any(|term| self.decides(term))
    }

    fn decides(&self, term: &Term<'a>) -> bool {
        term.reads.iter().any(|name| self.reads.contains(&name.full))
    }
}

fn found(name: &str) -> String {
    format!("{{ var({name}) -m found }}")
}

fn join<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    texts.collect::<Vec<_>>().join(" ")
}

/// The tests that stand side by side.
fn terms<'a>(rules: &Rules<'a>, rule: &'a Rule<'a>, words: &'a [Word]) -> Vec<Term<'a>> {
    let mut terms = Vec::new();
    let mut rest = words;
    while !rest.is_empty() {
        // Any number of `!`, then a name or braces.
        let lone = rest.iter().take_while(|word| word.text().chars().all(|c| c == '!')).count();
        let opens = rest.get(lone).is_some_and(|word| word.text().trim_start_matches('!') == "{");
        let length = match opens {
            true => rest.iter().position(|word| word.text() == "}").map_or(rest.len(), |end| end + 1),
            false => lone + 1,
        };
        let (term, others) = rest.split_at(length.min(rest.len()));
        rest = others;
        let (Some(first), Some(last)) = (term.first(), term.last()) else { break };
        let text = rule.line.raw.get(first.span().start..last.span().end).unwrap_or_default();
        let mut reads: Vec<_> = term.iter().flat_map(|word| sample::reads(word.text())).collect();
        if !opens {
            reads.extend(rules.reads_of_acl(last.text().trim_start_matches('!')));
        }
        terms.push(Term { text, reads });
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::super::env::Env;
    use super::super::line::read;
    use super::super::proxy::Config;
    use super::*;
    use crate::haproxy::Version;

    /// The rule with a verdict only, and the condition of the rule for its absence.
    fn guards(condition: &str, verdicts: &[&str]) -> (String, String) {
        let text = format!(
            "frontend f\n acl blocked var(txn.br.allow) -m bool false\n acl admin path_beg /admin\n http-request deny {condition} # why\n"
        );
        let config = Config::read(vec![read("f", &text, Version::DEFAULT, &mut Env::default()).lines]);
        let rules = Rules::new(&config.proxies[0]);
        let rule = &rules.list[0];
        let verdicts: Vec<_> =
            rules.condition_reads(rule).iter().map(|name| name.full).filter(|n| verdicts.contains(n)).collect();
        let guard = Guard::new(&rules, rule, &verdicts, &verdicts).unwrap();
        let with = guard.only_with_verdict();
        let with = with.strip_prefix(" http-request deny ").and_then(|text| text.strip_suffix(" # why")).unwrap();
        (with.to_owned(), guard.when_missing())
    }

    #[test]
    fn tests_stay_as_they_are_written() {
        for (condition, with, missing) in [
            (
                "if !{ var(txn.br.fail) -m int eq 0 }",
                "if { var(txn.br.fail) -m found } !{ var(txn.br.fail) -m int eq 0 }",
                "if !{ var(txn.br.fail) -m found }",
            ),
            (
                "if ! { var(txn.br.fail) -m str -i -- \"a b\" c } admin || { src 10.0.0.1 }",
                "if { var(txn.br.fail) -m found } ! { var(txn.br.fail) -m str -i -- \"a b\" c } admin || { src 10.0.0.1 }",
                "if !{ var(txn.br.fail) -m found } admin",
            ),
            (
                "unless { var(txn.br.fail) -m sub ok } !admin or METH_GET",
                "unless { var(txn.br.fail) -m sub ok } !admin or METH_GET or !{ var(txn.br.fail) -m found } !admin",
                "unless { var(txn.br.fail) -m found } or METH_GET",
            ),
            ("if !blocked", "if { var(txn.br.allow) -m found } !blocked", "if !{ var(txn.br.allow) -m found }"),
            (
                "if !{ var(txn.br.fail) -m int 0 } !{ var(txn.br.allow) -m bool }",
                "if { var(txn.br.fail) -m found } !{ var(txn.br.fail) -m int 0 } !{ var(txn.br.allow) -m bool } || \
                 { var(txn.br.allow) -m found } !{ var(txn.br.fail) -m int 0 } !{ var(txn.br.allow) -m bool }",
                "if !{ var(txn.br.fail) -m found } !{ var(txn.br.allow) -m found }",
            ),
        ] {
            let seen = guards(condition, &["txn.br.fail", "txn.br.allow"]);
            assert_eq!(seen, (with.to_owned(), missing.to_owned()), "{condition}");
        }
    }
}
