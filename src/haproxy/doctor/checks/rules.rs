//! Verdicts: what becomes of a request when there is none.

use super::super::case::Case;
use super::super::condition::Tri;
use super::super::finding::{self, Findings};
use super::super::line::Line;
use super::super::rules::{Rule, Rules};
use super::super::sample::{VarName, mentions};
use super::super::settings::{Setting, Settings};

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    if case.unclear {
        return;
    }
    for engine in case.engines.iter().filter(|engine| !engine.uses.is_empty()) {
        let Setting::Known(prefix) = engine.prefix() else { continue };
        let error = engine.error_variable().known();
        let verdict = |name: VarName<'_>| name.under(prefix).is_some();
        let is_error = |name: &str| error.as_deref() == Some(name);
        let mut open: Vec<(&Line, String)> = Vec::new();
        let mut aware = false;
        for proxy in &case.config.proxies {
            let rules = Rules::new(proxy);
            for rule in rules.list.iter().filter(|rule| rule.is_conditional()) {
                let reads: Vec<_> = rules.condition_reads(rule).into_iter().filter(|name| verdict(*name)).collect();
                let Some(name) = reads.first() else { continue };
                let applies = rules.applies_without(rule, &verdict);
                aware |= applies != Tri::False || reads.iter().any(|name| is_error(name.full));
                if !rule.refuses() {
                    continue;
                }
                match applies {
                    Tri::False => open.push((rule.line, name.full.to_owned())),
                    Tri::True if !rules.asks_for_presence(rule) => closed(rule, name.full, out),
                    Tri::True | Tri::Unknown => {}
                }
            }
            // By way of another variable, a map or a table somebody may be prepared.
            aware |= proxy.lines().iter().any(|line| {
                let copies = line.get(0).is_some_and(|word| word.starts_with("http-re") || word.starts_with("tcp-re"));
                copies
                    && error.as_deref().is_some_and(|error| {
                        line.words.iter().any(|word| mentions(word.text(), error) && word.text().contains("set-var"))
                    })
            });
        }
        if let (false, Some((line, name))) = (aware, open.first()) {
            out.add(
                &finding::FAILS_OPEN,
                line,
                format!("requests are refused for what `{name}` says, and let through when nobody says anything"),
                "no rule looks at a missing verdict or at the variable of `option set-on-error`: with the agent away everything passes; write down which you mean",
                format!(
                    "http-request deny deny_status 503 unless {{ var({name}) -m found }}, where failing closed is worth an outage; else ignore this with a comment",
                ),
            );
        }
    }
}

fn closed(rule: &Rule<'_>, name: &str, out: &mut Findings) {
    out.add(
        &finding::FAILS_CLOSED,
        rule.line,
        format!("requests are refused while `{name}` is missing"),
        "with the agent away nothing passes here: an outage of the agent is one of the site, if that is what you mean",
        format!("if {{ var({name}) -m found }} !{{ var({name}) -m bool }}, to refuse only on a verdict"),
    );
}
