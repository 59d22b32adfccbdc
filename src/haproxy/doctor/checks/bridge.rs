//! HAProxy's side held against the bridge's configuration.

use std::time::Duration;

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings, Severity};
use super::super::fix::Fix;
use super::super::sample;
use super::super::settings::{Setting, Settings};
use super::super::spoe::Section;
use super::list;
use crate::config::{Config, RouteConfig};

/// What queueing, connecting and HELLO may take, which HAProxy counts and the bridge can't.
const MARGIN: Duration = Duration::from_millis(20);

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let Some(bridge) = case.bridge else { return };
    for engine in &case.engines {
        let Some(agent) = engine.spoe.agent() else { continue };
        let messages = sent(engine);
        for message in &messages {
            if !bridge.routes.iter().any(|route| takes(route, message)) {
                unrouted(message, bridge, out);
            }
        }
        let routes: Vec<_> = bridge.routes.iter().filter(|route| messages.iter().any(|message| takes(route, message))).collect();
        timeout(agent, &routes, out);
        prefix(engine, agent, bridge, out);
        if !engine.uses.is_empty() {
            variables(case, engine, agent, bridge, out);
        }
    }
}

fn sent(engine: &Engine) -> Vec<&Section> {
    let lists = engine.spoe.agents.iter().chain(&engine.spoe.groups);
    lists.flat_map(|section| section.names("messages")).filter_map(|name| engine.spoe.message(name.text)).collect()
}

fn takes(route: &RouteConfig, message: &Section) -> bool {
    route.messages.iter().any(|pattern| pattern.matches(message.name.as_bytes()))
}

fn unrouted(message: &Section, bridge: &Config, out: &mut Findings) {
    let patterns = bridge.routes.iter().flat_map(|route| &route.messages).map(|pattern| pattern.as_str());
    out.add(
        &finding::UNROUTED,
        &message.head,
        format!("no route of the bridge takes message `{}`", message.name),
        format!("routes take {}; for other messages HAProxy gets the answer of `on_failure: unrouted`", list(patterns)),
        format!("routes: [{{ messages: [{}], backend: ... }}]", message.name),
    );
}

fn timeout(agent: &Section, routes: &[&RouteConfig], out: &mut Findings) {
    let (Setting::Known(line), Setting::Known(milliseconds)) =
        (agent.line(&["timeout", "processing"]), agent.time(&["timeout", "processing"]))
    else {
        return;
    };
    let Some(longest) = routes.iter().max_by_key(|route| route.timeout) else { return };
    let processing = Duration::from_millis(milliseconds);
    let least = (longest.timeout + MARGIN).as_millis();
    if milliseconds == 0 || processing >= longest.timeout + MARGIN {
        return;
    }
    let late = processing <= longest.timeout;
    out.add_as(
        &finding::BRIDGE_TIMEOUT,
        if late { Severity::Error } else { Severity::Warning },
        line,
        format!("`timeout processing` is {milliseconds} ms, and the timeout of route `{}` {} ms", longest.name, longest.timeout.as_millis()),
        if late {
            "HAProxy gives up first: of a late service it sees error 1 and never the fallback of the bridge"
        } else {
            "HAProxy counts queueing, connecting and HELLO too: less than 20 ms more than the route's, and it may give up before the bridge's fallback"
        },
        Fix::replace(line, line.with(2..3, &format!("{least}ms"))),
    );
}

fn prefix(engine: &Engine, agent: &Section, bridge: &Config, out: &mut Findings) {
    let Setting::Known(prefix) = engine.prefix() else { return };
    let told: Vec<_> = bridge.listeners.iter().filter_map(|listener| listener.var_prefix.as_deref()).collect();
    if told.len() == bridge.listeners.len() && !told.contains(&prefix) {
        out.add(
            &finding::BRIDGE_PREFIX,
            agent.line(&["option", "var-prefix"]).known().unwrap_or(&agent.head),
            format!("the prefix is `{prefix}` here, and {} in `var_prefix` of the bridge's listeners", list(told)),
            "the bridge counts the prefix in where names of variables could get too long",
            format!("var_prefix: {prefix}"),
        );
    }
}

/// Variables that the bridge itself sets, and HAProxy may not create.
fn variables(case: &Case<'_>, engine: &Engine, agent: &Section, bridge: &Config, out: &mut Findings) {
    let Setting::Known(prefix) = engine.prefix() else { return };
    if case.unclear || agent.option("force-set-var") != Setting::Unset || !agent.is_certain("register-var-names") {
        return;
    }
    let registered = agent.names("register-var-names");
    let failures = bridge.routes.iter().map(|route| &route.on_failure).chain([&bridge.on_failure]);
    let mut names: Vec<_> = failures.flat_map(set_by).collect();
    names.push((bridge.status_variable.scope.as_str().to_owned(), bridge.status_variable.name.clone()));
    names.sort();
    names.dedup();
    let missing: Vec<_> = names
        .into_iter()
        .filter(|(scope, name)| {
            let full = format!("{scope}.{prefix}.{name}");
            let mentioned = case.all_words().any(|(_, word)| sample::mentions(word.text(), &full));
            !mentioned && !registered.iter().any(|registered| registered.text == name)
        })
        .map(|(_, name)| name)
        .collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|name| &name[..]).collect();
        out.add(
            &finding::BRIDGE_VARIABLE,
            &agent.head,
            format!("HAProxy ignores variables that the bridge sets: {}", list(names.iter().copied())),
            "HAProxy creates no variable that its configuration doesn't mention; no rule does, and the agent doesn't register them",
            Fix::after(&agent.head, format!("register-var-names {}", names.join(" "))),
        );
    }
}

fn set_by(on_failure: &crate::config::OnFailure) -> Vec<(String, String)> {
    use crate::config::Cause;
    use crate::spop::Action;
    let actions = Cause::ALL.iter().flat_map(|cause| on_failure.actions(*cause).iter());
    actions
        .filter_map(|action| match action {
            Action::SetVar { scope, name, .. } => Some((scope.as_str().to_owned(), String::from_utf8_lossy(name).into_owned())),
            Action::UnsetVar { .. } => None,
        })
        .collect()
}
