//! Verdicts that outlive the request that they are about.

use super::super::case::{Case, Engine, Moment};
use super::super::finding::{self, Findings};
use super::super::proxy::Proxy;
use super::super::rules::{Rule, Rules, Stage};
use super::super::sample::{self, VarName};
use super::super::settings::{Setting, Settings};
use super::super::word::Word;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let used = case.engines.iter().filter(|engine| !engine.uses.is_empty());
    let mut prefixes: Vec<_> = used.clone().filter_map(|engine| engine.prefix().known()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    for prefix in prefixes {
        let engines: Vec<_> = used.clone().filter(|engine| engine.prefix() == Setting::Known(prefix)).collect();
        let moments: Vec<_> = engines.iter().flat_map(|engine| engine.moments(case)).collect();
        // What a connection is asked about once holds for all of it.
        let by_request = moments.iter().all(|moment| {
            moment.stage >= Stage::HttpRequestEvent && !matches!(moment.proxy.mode(), Setting::Unset | Setting::Known("tcp"))
        });
        let Some(moment) = moments.first() else { continue };
        let asks_without = |name| engines.iter().any(|engine| asks_without(engine, &moments, name));
        for proxy in &case.config.proxies {
            let rules = Rules::new(proxy);
            for rule in rules.list.iter().filter(|rule| rule.stage != Stage::Log) {
                let mut names = rules.reads(rule);
                names.sort();
                names.dedup();
                for name in names.into_iter().filter(|name| name.under(prefix).is_some()) {
                    let kept = name.scope() == "proc" || (name.scope() == "sess" && by_request);
                    if kept && !is_unset(case, name) && !asks_without(name) {
                        report(proxy, rule, name, moment, out);
                    }
                }
            }
        }
    }
}

/// Whether some rule takes it back, such as before the next question.
fn is_unset(case: &Case<'_>, name: VarName<'_>) -> bool {
    let unset = format!("unset-var({})", name.full);
    case.all_words().any(|(_, word)| word.text().contains(&unset))
}

/// Whether the agent is asked only while the variable is missing: then it is kept on purpose.
fn asks_without(engine: &Engine, moments: &[Moment<'_>], name: VarName<'_>) -> bool {
    let reads = |word: &Word| sample::reads(word.text()).any(|read| read == name);
    let by_event =
        engine.by_event().filter_map(|message| message.line(&["event"]).known()).any(|line| line.from(2).iter().any(reads));
    by_event || moments.iter().filter_map(|moment| moment.rule).any(|rule| rule.words.iter().any(reads))
}

fn report(proxy: &Proxy, rule: &Rule<'_>, name: VarName<'_>, moment: &Moment<'_>, out: &mut Findings) {
    let (of, whose) = match name.scope() {
        "sess" => ("the connection", "an earlier request on the connection, which behind a CDN may be another user's"),
        _ => ("the process", "any client's earlier request"),
    };
    let unset = match moment.rule {
        Some(_) => format!("http-request unset-var({}), above the rule that sends the group", name.full),
        None => format!("tcp-request content unset-var({}), in {}, which comes before the event", name.full, proxy.title()),
    };
    out.add(
        &finding::STALE_VERDICT,
        rule.line,
        format!("`{}` outlives its request: without a verdict, this goes by that of {whose}", name.full),
        format!(
            "a variable of the scope {} lives as long as {of}, and the agent is asked at each request, at `{}`",
            name.scope(),
            moment.name
        ),
        format!("let the service set it in the scope txn: var(txn.{}); or {unset}", name.rest()),
    );
}
