//! Engines whose variables meet, because the prefix of one begins with that of another.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings};
use super::super::settings::Settings;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let used = case.engines.iter().filter(|engine| !engine.uses.is_empty());
    let engines: Vec<_> = used.filter_map(|engine| Some((engine, engine.prefix().known()?))).collect();
    for (position, (engine, prefix)) in engines.iter().enumerate() {
        for (before, (other, shorter)) in engines.iter().enumerate() {
            let nested = prefix.strip_prefix(shorter).is_some_and(|rest| rest.starts_with('.'));
            let twice = before < position && prefix == shorter && backend(engine) != backend(other) && meet(case, engine, other);
            if nested || twice {
                report(engine, prefix, other, shorter, out);
            }
        }
    }
}

fn backend(engine: &Engine) -> Option<&str> {
    engine.spoe.agent()?.value(&["use-backend"]).known()
}

/// Whether a request may come by filters of both.
fn meet(case: &Case<'_>, one: &Engine, other: &Engine) -> bool {
    let proxies = |engine: &Engine| engine.uses.iter().map(|used| used.proxy).collect::<Vec<_>>();
    let leads = |from: usize, to: usize| {
        case.config.proxies.get(to).is_some_and(|to| case.ways_into(to).iter().any(|way| way.proxy == from && way.certain))
    };
    let (ones, others) = (proxies(one), proxies(other));
    ones.iter().any(|one| others.iter().any(|other| one == other || leads(*one, *other) || leads(*other, *one)))
}

fn report(engine: &Engine, prefix: &str, other: &Engine, shorter: &str, out: &mut Findings) {
    let Some(agent) = engine.spoe.agent() else { return };
    let rest = prefix.strip_prefix(shorter).unwrap_or_default().trim_start_matches('.');
    let (what, name) = if rest.is_empty() {
        (format!("the engines `{}` and `{}` both have the prefix `{prefix}`", other.name, engine.name), "allow".to_owned())
    } else {
        let what =
            format!("the prefix `{prefix}` of the engine `{}` begins with `{shorter}`, that of `{}`", engine.name, other.name);
        (what, format!("{rest}.allow"))
    };
    let apart = if rest.is_empty() { format!("{prefix}2") } else { prefix.replace('.', "_") };
    out.add(
        &finding::PREFIX_OVERLAP,
        agent.line(&["option", "var-prefix"]).known().unwrap_or(&agent.head),
        what,
        format!(
            "a service of `{}` that sets `txn.{name}` sets `txn.{prefix}.allow`, a verdict of `{}`: one agent overwrites the other's deny",
            other.name, engine.name
        ),
        format!("option var-prefix {apart}, and var(txn.{apart}.NAME) in the rules about it"),
    );
}
