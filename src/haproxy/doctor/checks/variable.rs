//! Variables that rules read and that nobody sets there, or not yet, or not any more.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings};
use super::super::fix::Fix;
use super::super::line::Line;
use super::super::proxy::Proxy;
use super::super::rules::{Rule, Rules, Stage};
use super::super::sample::{self, VarName};
use super::super::settings::Settings;
use super::list;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let Some(prefixes) = prefixes(case) else { return };
    if prefixes.is_empty() {
        return;
    }
    let set = set_by_rules(case);
    for (position, proxy) in case.config.proxies.iter().enumerate() {
        let rules = Rules::new(proxy);
        for rule in &rules.list {
            for name in rules.reads(rule) {
                let mut engines = prefixes.iter().filter(|(_, prefix)| name.under(prefix).is_some()).peekable();
                if engines.peek().is_none() {
                    unknown(case, &prefixes, &set, name, rules.line_with(rule, name), out);
                    continue;
                }
                if set.contains(&name.full) {
                    continue;
                }
                let engines: Vec<_> = engines.map(|(engine, _)| *engine).collect();
                scope(&engines, name, rule, out);
                place(case, position, proxy, &engines, name, rule, out);
            }
        }
    }
}

/// Engines that are in use, with their prefixes; nothing if one of them can't be told, or Lua could set anything.
fn prefixes<'a>(case: &'a Case<'_>) -> Option<Vec<(&'a Engine, &'a str)>> {
    let used = case.engines.iter().filter(|engine| !engine.uses.is_empty());
    let prefixes: Option<Vec<_>> = used.map(|engine| Some((engine, engine.prefix().known()?))).collect();
    prefixes.filter(|_| !case.unclear)
}

fn set_by_rules<'a>(case: &'a Case<'_>) -> Vec<&'a str> {
    case.all_words().flat_map(|(_, word)| sample::writes(word.text())).map(|name| name.full).collect()
}

/// Nothing in the configuration sets it, and no agent of it can.
fn unknown(case: &Case<'_>, prefixes: &[(&Engine, &str)], set: &[&str], name: VarName<'_>, line: &Line, out: &mut Findings) {
    let lives = ["txn", "sess", "req", "res"].contains(&name.scope());
    let other_filters = case
        .config
        .all_lines()
        .any(|line| line.get(0) == Some("filter") && line.get(1) != Some("spoe") && line.get(1) != Some("compression"));
    if !lives || set.contains(&name.full) || other_filters {
        return;
    }
    let there = list(prefixes.iter().map(|(_, prefix)| *prefix));
    let why = "no rule sets it, and an agent sets only variables below its prefix: a condition on it never holds";
    if name.rest().contains('.') {
        out.add(
            &finding::WRONG_PREFIX,
            line,
            format!("nothing sets `{}`: the prefixes of the engines are {there}", name.full),
            why,
            fix(line, prefixes, name, name.rest().rsplit('.').next().unwrap_or_default()),
        );
    } else {
        out.add(
            &finding::NO_PREFIX,
            line,
            format!("nothing sets `{}`: variables of agents have a prefix, here {there}", name.full),
            why,
            fix(line, prefixes, name, name.rest()),
        );
    }
}

fn fix(line: &Line, prefixes: &[(&Engine, &str)], name: VarName<'_>, last: &str) -> Fix {
    let prefix = prefixes.first().map_or("PREFIX", |(_, prefix)| prefix);
    let other = format!("{}.{prefix}.{last}", name.scope());
    let said = format!("var({other})");
    if prefixes.len() == 1 { renamed(line, name, &other).saying(said) } else { said.into() }
}

/// Another variable in the place of one.
fn renamed(line: &Line, name: VarName<'_>, other: &str) -> Fix {
    let text = [",", ")"]
        .iter()
        .fold(line.raw.to_string(), |text, end| text.replace(&format!("var({}{end}", name.full), &format!("var({other}{end}")));
    if text == *line.raw { Fix::default() } else { Fix::replace(line, text) }
}

/// Scopes in which the variable doesn't live where it's read.
fn scope(engines: &[&Engine], name: VarName<'_>, rule: &Rule<'_>, out: &mut Findings) {
    let own = |engine: &&Engine| {
        ["set-on-error", "set-process-time", "set-total-time"].into_iter().any(|option| own_name(engine, option, name))
    };
    if name.scope() != "txn" && engines.iter().any(own) {
        out.add(
            &finding::VAR_SCOPE,
            rule.line,
            format!("nothing sets `{}`: HAProxy's own variables of an engine have the scope txn", name.full),
            "set-on-error, set-process-time and set-total-time set variables of the transaction",
            renamed(rule.line, name, &format!("txn.{}", name.rest())).saying(format!("var(txn.{})", name.rest())),
        );
    }
    let gone = match name.scope() {
        "req" => rule.stage.is_response().then_some("variables of the scope req end when the response begins"),
        "res" => (!rule.stage.is_response()).then_some("variables of the scope res begin with the response"),
        _ => None,
    };
    if let Some(why) = gone {
        out.add(
            &finding::VAR_SCOPE,
            rule.line,
            format!("`{}` is never there in `{}`", name.full, rule.line.get(0).unwrap_or_default()),
            why,
            format!("let the service set it in the scope txn: var(txn.{})", name.rest()),
        );
    }
}

fn own_name(engine: &Engine, option: &str, name: VarName<'_>) -> bool {
    let own = engine.spoe.agent().and_then(|agent| agent.value(&["option", option]).known());
    own.is_some() && engine.prefix().known().and_then(|prefix| name.under(prefix)) == own
}

/// Where and when it's read, against where and when it's set.
fn place(
    case: &Case<'_>,
    position: usize,
    proxy: &Proxy,
    engines: &[&Engine],
    name: VarName<'_>,
    rule: &Rule<'_>,
    out: &mut Findings,
) {
    let here = |engine: &&&Engine| engine.uses.iter().any(|used| used.proxy == position);
    if name.scope() == "proc" || (name.scope() == "sess" && rule.stage == Stage::Log) {
        return;
    }
    // A backend sees what frontends have asked.
    let local: Vec<_> = engines.iter().filter(here).collect();
    if local.is_empty() {
        if proxy.has_frontend() && rule.stage < Stage::BackendTcpRequestEvent && !proxy.has_backend() {
            let filter = engines.first().and_then(|engine| engine.uses.first()).map(|used| &used.line);
            let filter = filter.map(|line| line.text(0..line.words.len()));
            let engine = engines.first().map_or("", |engine| &engine.name);
            out.add(
                &finding::NO_FILTER,
                rule.line,
                format!("{} reads `{}` and has no filter of the engine `{engine}`", proxy.title(), name.full),
                "a filter works in its own proxy and for the requests that go through it; here the variable is never set",
                match filter {
                    Some(filter) => Fix::after(&proxy.head, filter).saying(format!("{filter}, in {}", proxy.title())),
                    None => format!("filter spoe engine {engine} config FILE, in {}", proxy.title()).into(),
                },
            );
        }
        return;
    }
    // Only if all that could set it are asked in this proxy.
    if local.len() != engines.len() || engines.iter().any(|engine| engine.uses.len() > 1 && proxy.has_backend()) {
        return;
    }
    let moments: Vec<_> =
        engines.iter().flat_map(|engine| engine.moments(case)).filter(|moment| moment.proxy.name == proxy.name).collect();
    let later = |stage: Stage, line: Option<&Line>| {
        stage > rule.stage || (stage == rule.stage && line.is_some_and(|line| line.place > rule.line.place))
    };
    let Some(first) = moments.iter().min_by_key(|moment| moment.stage) else { return };
    // Sessions live on: what a request has set, the next may read early.
    let reads_own_session = name.scope() == "sess" && rule.stage > Stage::Session;
    if !reads_own_session && moments.iter().all(|moment| later(moment.stage, moment.rule)) {
        let sender = match first.rule {
            Some(rule) => format!("the group `{}` is sent in line {}", first.name, rule.place.line),
            None => format!("`{}` comes later", first.name),
        };
        out.add(
            &finding::READ_TOO_EARLY,
            rule.line,
            format!("`{}` is read before anybody is asked: {sender}", name.full),
            "rules run in the order connection, session, tcp content, http-request, response, each kind from top to bottom; events come before their rules",
            match first.rule.filter(|_| first.stage == rule.stage) {
                Some(sends) => Fix::after(sends, rule.line.text(0..rule.line.words.len())).and(Fix::remove(rule.line)),
                None => Fix::default(),
            }
            .saying("move this rule below the `send-spoe-group`, or take an earlier event"),
        );
    }
}
