//! Ways to a backend around the filter.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings, Severity};
use super::super::proxy::Proxy;
use super::super::rules::{Rule, Rules, Stage};
use super::super::sample::{self, VarName};
use super::super::word::Word;
use super::list;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    if case.unclear {
        return;
    }
    let used = case.engines.iter().filter(|engine| !engine.uses.is_empty());
    let prefixes: Option<Vec<_>> = used.map(|engine| Some((engine, engine.prefix().known()?))).collect();
    let Some(prefixes) = prefixes else { return };
    for backend in case.config.proxies.iter().filter(|proxy| proxy.has_backend()) {
        let verdicts = verdicts(case, backend, &prefixes);
        let mut engines: Vec<&Engine> = Vec::new();
        for (engine, prefix) in &prefixes {
            let read = verdicts.iter().any(|name| name.under(prefix).is_some());
            if read && !engines.iter().any(|known| std::ptr::eq(*known, *engine)) {
                engines.push(engine);
            }
        }
        let asks = |proxy: usize| engines.iter().any(|engine| engine.uses.iter().any(|used| used.proxy == proxy));
        let own = case.config.proxies.iter().position(|proxy| std::ptr::eq(proxy, backend));
        let Some(engine) = engines.first().filter(|_| !own.is_some_and(asks)) else { continue };
        let names = list(verdicts.iter().map(|name| name.full));
        for way in case.ways_into(backend).into_iter().filter(|way| !asks(way.proxy)) {
            let (severity, how) =
                if way.certain { (Severity::Error, "") } else { (Severity::Warning, ", as far as can be told,") };
            out.add_as(
                &finding::NO_FILTER,
                severity,
                way.line,
                format!("requests of {} reach {}{how} without being asked about: it reads {names}", way.from.title(), backend.title()),
                format!(
                    "a filter works for the requests that go through its proxy, and neither {} nor {} has one of the engine `{}`: here the \
                     variable is never set, and the rules pass or refuse all of them",
                    way.from.title(),
                    backend.title(),
                    engine.name
                ),
                filter(engine, way.from),
            );
        }
    }
}

/// The `filter` line that a proxy lacks.
fn filter(engine: &Engine, proxy: &Proxy) -> String {
    let words: Vec<_> = engine.uses.first().map(|used| used.line.words.iter().map(Word::text).collect()).unwrap_or_default();
    format!("{}, in {}", words.join(" "), proxy.title())
}

/// Verdicts that the rules of a backend act on, of requests from anywhere.
fn verdicts<'a>(case: &'a Case<'_>, backend: &'a Proxy, prefixes: &[(&Engine, &str)]) -> Vec<VarName<'a>> {
    let rules = Rules::new(backend);
    let acts = rules.list.iter().filter(|rule| rule.stage != Stage::Log && !chooses_frontends(&rules, rule));
    let mut names: Vec<_> = acts.flat_map(|rule| rules.reads(rule)).collect();
    let ours = |name: VarName<'_>| prefixes.iter().any(|(_, prefix)| name.under(prefix).is_some());
    let set_by_rules = |name: VarName<'_>| case.all_words().any(|(_, word)| sample::writes(word.text()).any(|set| set == name));
    names.retain(|name| ours(*name) && !matches!(name.scope(), "sess" | "proc") && !set_by_rules(*name));
    names.sort();
    names.dedup();
    names
}

/// Whether a rule is about requests of certain frontends.
fn chooses_frontends<'a>(rules: &Rules<'a>, rule: &Rule<'a>) -> bool {
    let looks = ["fe_name", "fe_id", "so_id", "so_name", "dst_port", "fe_defbe"];
    rules.condition_words(rule).any(|word| looks.contains(&word.text()))
}
