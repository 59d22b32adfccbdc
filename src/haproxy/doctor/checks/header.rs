//! Headers by which the application knows who asks, and that a client can send itself.

use super::super::case::Case;
use super::super::condition::Tri;
use super::super::finding::{self, Findings};
use super::super::line::Line;
use super::super::proxy::Proxy;
use super::super::rules::{Rule, Rules};
use super::super::sample::{self, VarName};
use super::super::word::Word;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let used = case.engines.iter().filter(|engine| !engine.uses.is_empty());
    let prefixes: Vec<_> = used.filter_map(|engine| engine.prefix().known()).collect();
    let all: Vec<_> = case.config.proxies.iter().map(Rules::new).collect();
    let copies = copies(&all, &prefixes);
    for (position, (proxy, rules)) in case.config.proxies.iter().zip(&all).enumerate() {
        let ways = case.ways_into(proxy);
        for (at, rule) in rules.list.iter().enumerate() {
            let Some(name) = sets_header(rule).filter(|name| !passes_through(name)) else { continue };
            let reads: Vec<_> = rule.reads_of_action().collect();
            let of_verdict = |name: &VarName<'_>| is_verdict(*name, &prefixes) || copies.contains(&name.full);
            let Some(verdict) = reads.into_iter().find(|name| of_verdict(name)) else { continue };
            let replaces = rule.action() == "set-header";
            if replaces && rule.condition().is_none() {
                continue;
            }
            let own = rules.list.get(..at).unwrap_or_default();
            let before = |way: usize| all.get(way).is_some_and(|rules| is_taken(&rules.list, rule, name));
            let elsewhere = !ways.is_empty() && ways.iter().all(|way| way.proxy != position && before(way.proxy));
            if is_taken(own, rule, name) || elsewhere {
                continue;
            }
            let later = rules.list.get(at + 1..).unwrap_or_default();
            if let Some(deleted) = later.iter().find(|later| later.condition().is_none() && deletes(later, name)) {
                too_late(rule, deleted, name, out);
            } else if (!replaces || !is_made_sure(rules, rule, verdict))
                && !later.iter().any(|later| complements(later, rule, name))
            {
                report(proxy, rule, name, verdict, replaces, out);
            }
        }
    }
}

fn is_verdict(name: VarName<'_>, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.under(prefix).is_some())
}

/// Variables that rules make of verdicts.
fn copies<'a>(all: &[Rules<'a>], prefixes: &[&str]) -> Vec<&'a str> {
    let mut copies: Vec<&str> = Vec::new();
    // Copies of copies.
    for _ in 0..2 {
        for rules in all {
            for rule in &rules.list {
                let mut reads = rule.reads_of_action();
                if reads.any(|name| is_verdict(name, prefixes) || copies.contains(&name.full)) {
                    copies.extend(rule.line.words.iter().flat_map(|word| sample::writes(word.text())).map(|name| name.full));
                }
            }
        }
    }
    copies
}

fn sets_header<'a>(rule: &Rule<'a>) -> Option<&'a str> {
    rule.line.get(2).filter(|_| rule.line.get(0) == Some("http-request") && matches!(rule.action(), "set-header" | "add-header"))
}

/// Headers of tracing, which clients may send.
fn passes_through(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = ["traceparent", "tracestate", "baggage", "uber-trace-id"];
    known.contains(&&*name) || ["x-b3-", "trace", "request-id", "correlation-id"].iter().any(|part| name.contains(part))
}

/// Whether the client's own header is gone before `rule`.
fn is_taken(before: &[Rule<'_>], rule: &Rule<'_>, name: &str) -> bool {
    before.iter().any(|earlier| {
        let certain = !earlier.line.maybe && earlier.condition().is_none();
        let set = earlier.action() == "set-header" && is_named(earlier.line, name);
        (certain && (deletes(earlier, name) || set)) || complements(earlier, rule, name) || may_do_anything(earlier)
    })
}

/// Lua may delete headers too.
fn may_do_anything(rule: &Rule<'_>) -> bool {
    rule.action().starts_with("lua.")
}

fn is_named(line: &Line, name: &str) -> bool {
    line.get(2).is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// `del-header NAME [-m MATCH]`.
fn deletes(rule: &Rule<'_>, name: &str) -> bool {
    if rule.line.get(0) != Some("http-request") || rule.action() != "del-header" {
        return false;
    }
    let Some(own) = rule.line.words.get(2).and_then(Word::known) else { return true };
    let (own, name) = (own.to_ascii_lowercase(), name.to_ascii_lowercase());
    match (rule.line.get(3), rule.line.get(4)) {
        (Some("-m"), Some("beg")) => name.starts_with(&own),
        (Some("-m"), Some("end")) => name.ends_with(&own),
        (Some("-m"), Some("sub")) => name.contains(&own),
        (Some("-m"), Some("reg")) => true,
        _ => name == own,
    }
}

/// Whether a rule deletes or replaces the header, or refuses the request, just when `rule` does not set it.
fn complements(other: &Rule<'_>, rule: &Rule<'_>, name: &str) -> bool {
    let (Some(one), Some(two)) = (rule.condition(), other.condition()) else { return false };
    let does = deletes(other, name) || other.refuses() || (other.action() == "set-header" && is_named(other.line, name));
    does && !other.line.maybe && is_negation(one, two)
}

/// `if A` and `unless A`, or `if A` and `if !A`.
fn is_negation((unless, words): (bool, &[Word]), (other_unless, others): (bool, &[Word])) -> bool {
    if unless != other_unless && words == others {
        return true;
    }
    let (Some((negated, one)), Some((other_negated, other))) = (single(words), single(others)) else { return false };
    one == other && (unless ^ negated) != (other_unless ^ other_negated)
}

/// The one term of a condition, and whether it is negated.
fn single(words: &[Word]) -> Option<(bool, String)> {
    let text = words.iter().map(Word::text).collect::<Vec<_>>().join(" ");
    let term = text.trim_start_matches(['!', ' ']);
    let negated = text.matches('!').count() % 2 == 1;
    let one = if term.starts_with('{') { term.find('}')? + 1 == term.len() } else { !term.contains(' ') };
    one.then(|| (negated, term.to_owned()))
}

/// Whether requests without the verdict are refused anyway, and the rule asks for no more than that it is there.
fn is_made_sure<'a>(rules: &Rules<'a>, rule: &Rule<'a>, verdict: VarName<'_>) -> bool {
    let without = |name: VarName<'_>| name.full == verdict.full;
    let asks = rules.applies_without(rule, &without) == Tri::False && rules.asks_for_presence(rule);
    let one =
        rule.condition().is_some_and(|(unless, words)| !unless && words.iter().filter(|word| word.text() == "{").count() <= 1);
    let refused = rules.list.iter().filter(|other| other.refuses() && !other.line.maybe);
    asks && one && refused.into_iter().any(|other| rules.applies_without(other, &without) == Tri::True)
}

fn too_late(rule: &Rule<'_>, deleted: &Rule<'_>, name: &str, out: &mut Findings) {
    out.add(
        &finding::FORGED_HEADER,
        rule.line,
        format!("`{name}` is set here and deleted again in line {}", deleted.line.place.line),
        "rules run from top to bottom: the application never gets the header that the service decides about",
        format!("http-request del-header {name}, before this rule"),
    );
}

fn report(proxy: &Proxy, rule: &Rule<'_>, name: &str, verdict: VarName<'_>, replaces: bool, out: &mut Findings) {
    let how = if replaces {
        "when this rule does not set it, the client's own goes through"
    } else {
        "the client's own stays beside it"
    };
    out.add(
        &finding::FORGED_HEADER,
        rule.line,
        format!("a client can send `{name}` itself: nothing deletes it before it is set from `{}`", verdict.full),
        format!("{how}, and the application takes it for the service's word"),
        format!("http-request del-header {name}, before this rule in {}", proxy.title()),
    );
}
