//! Verdicts: the variables that an engine sets, and those that rules make of them.

use std::collections::BTreeMap;

use super::case::Case;
use super::condition::Tri;
use super::rules::{Rule, Rules};
use super::sample::{self, VarName};

/// Variables that are missing while an engine says nothing.
pub(super) struct Verdicts<'a> {
    prefix: &'a str,
    /// Variables that rules set only from verdicts, each with the verdicts behind it.
    copies: BTreeMap<&'a str, Vec<&'a str>>,
}

/// A rule that sets a variable.
struct Write<'a> {
    name: &'a str,
    proxy: usize,
    rule: usize,
    /// The variable that it copies.
    source: Option<VarName<'a>>,
}

impl<'a> Verdicts<'a> {
    pub(super) fn new(case: &'a Case<'_>, all: &[Rules<'a>], prefix: &'a str) -> Self {
        let mut verdicts = Self { prefix, copies: BTreeMap::new() };
        let writes: Vec<_> = all.iter().enumerate().flat_map(|(proxy, rules)| writes(proxy, rules)).collect();
        let elsewhere = |name: &str| {
            let all = case.all_words().flat_map(|(_, word)| sample::writes(word.text())).filter(|write| write.full == name);
            all.count() > writes.iter().filter(|write| write.name == name).count()
        };
        // Copies of copies.
        loop {
            let before = verdicts.copies.len();
            for write in &writes {
                let mut own = writes.iter().filter(|other| other.name == write.name);
                if verdicts.holds(VarName { full: write.name }) || elsewhere(write.name) {
                    continue;
                }
                let behind: Option<Vec<_>> = own.try_fold(Vec::new(), |mut behind, write| {
                    let (rules, rule) = all.get(write.proxy).and_then(|rules| Some((rules, rules.list.get(write.rule)?)))?;
                    behind.extend(verdicts.behind_write(rules, rule, write)?);
                    Some(behind)
                });
                if let Some(behind) = behind {
                    verdicts.copies.insert(write.name, behind);
                }
            }
            if verdicts.copies.len() == before {
                return verdicts;
            }
        }
    }

    /// Whether a variable is missing without a verdict.
    pub(super) fn holds(&self, name: VarName<'_>) -> bool {
        name.under(self.prefix).is_some() || self.copies.contains_key(name.full)
    }

    /// The engine's own variables behind one.
    pub(super) fn behind(&self, name: VarName<'a>) -> Vec<&'a str> {
        self.copies.get(name.full).cloned().unwrap_or_else(|| vec![name.full])
    }

    /// The verdicts without which a rule does not set its variable.
    fn behind_write(&self, rules: &Rules<'a>, rule: &Rule<'a>, write: &Write<'a>) -> Option<Vec<&'a str>> {
        if let Some(source) = write.source.filter(|source| self.holds(*source)) {
            return Some(self.behind(source));
        }
        let conditional = rule.is_conditional() && rules.applies_without(rule, &|name| self.holds(name)) == Tri::False;
        let reads = rules.condition_reads(rule).into_iter().filter(|name| self.holds(*name));
        conditional.then(|| reads.flat_map(|name| self.behind(name)).collect())
    }
}

fn writes<'a>(proxy: usize, rules: &Rules<'a>) -> Vec<Write<'a>> {
    let rules = rules.list.iter().enumerate();
    rules
        .filter_map(|(position, rule)| {
            let (setter, expression) = rule.sets()?;
            let name = sample::writes(setter).next()?.full;
            let expression = expression.filter(|_| setter.starts_with("set-var("));
            Some(Write { name, proxy, rule: position, source: expression.and_then(sample::plain_variable) })
        })
        .collect()
}
