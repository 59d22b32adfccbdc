//! Times of the agent and of its backend, and how they fit together.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings};
use super::super::fix::Fix;
use super::super::line::Line;
use super::super::proxy::Proxy;
use super::super::settings::{Setting, Settings};
use super::super::spoe::Section;
use super::backend::backends;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in &case.engines {
        let Some(agent) = engine.spoe.agent() else { continue };
        processing(agent, out);
        if !case.version.has_mux() {
            hello_and_idle(case, agent, out);
        }
    }
    for (engine, backend) in backends(case) {
        missing(backend, out);
        server(case, engine, backend, out);
    }
}

fn processing(agent: &Section, out: &mut Findings) {
    match agent.time(&["timeout", "processing"]) {
        Setting::Unset | Setting::Known(0) => out.add(
            &finding::PROCESSING_TIMEOUT,
            &agent.head,
            format!("agent `{}` has no `timeout processing`", agent.name),
            "a request waits for its decision without end",
            match agent.line(&["timeout", "processing"]) {
                Setting::Known(line) => Fix::replace(line, line.with(2..3, "100ms")),
                _ => Fix::after(&agent.head, "timeout processing 100ms"),
            },
        ),
        _ => {}
    }
}

fn hello_and_idle(case: &Case<'_>, agent: &Section, out: &mut Findings) {
    let missing: Vec<_> = ["hello", "idle"].into_iter().filter(|name| agent.line(&["timeout", name]) == Setting::Unset).collect();
    if missing.is_empty() {
        return;
    }
    let names: Vec<_> = missing.iter().map(|name| format!("`timeout {name}`")).collect();
    let lines = missing.iter().map(|name| if *name == "hello" { "timeout hello 500ms" } else { "timeout idle 2m" });
    out.add(
        &finding::HELLO_IDLE_TIMEOUT,
        &agent.head,
        format!("agent `{}` has no {}", agent.name, names.join(" and no ")),
        format!("HAProxy {} warns: connections that get no HELLO, or that nobody needs, are kept without end", case.version),
        all_after(&agent.head, lines),
    );
}

fn missing(backend: &Proxy, out: &mut Findings) {
    let missing: Vec<_> =
        ["connect", "server"].into_iter().filter(|name| backend.line(&["timeout", name]) == Setting::Unset).collect();
    if missing.is_empty() {
        return;
    }
    let names: Vec<_> = missing.iter().map(|name| format!("`timeout {name}`")).collect();
    let lines = missing.iter().map(|name| if *name == "connect" { "timeout connect 200ms" } else { "timeout server 3m" });
    out.add(
        &finding::BACKEND_TIMEOUT,
        &backend.head,
        format!("{} has no {}", backend.title(), names.join(" and no ")),
        "connections that come to nothing are kept without end; up to 3.0 HAProxy warns of it",
        all_after(&backend.head, lines),
    );
}

/// Several lines after one.
fn all_after<'t>(line: &Line, texts: impl Iterator<Item = &'t str>) -> Fix {
    let texts: Vec<_> = texts.collect();
    let all = texts.iter().fold(Fix::default(), |all, text| all.and(Fix::after(line, *text)));
    all.saying(texts.join(", "))
}

/// `timeout server` of the backend closes connections: it should be the last to do so.
fn server(case: &Case<'_>, engine: &Engine, backend: &Proxy, out: &mut Findings) {
    let Some(agent) = engine.spoe.agent() else { return };
    let Setting::Known(line) = backend.line(&["timeout", "server"]) else { return };
    let Setting::Known(server) = backend.time(&["timeout", "server"]) else { return };
    let place = if backend.inherits(line) { &backend.head } else { line };
    let text = line.get(2).unwrap_or_default();
    let processing = agent.time(&["timeout", "processing"]).known().filter(|processing| *processing > 0);
    let idle = agent.time(&["timeout", "idle"]).known().filter(|_| !case.version.has_mux());
    let longest = processing.max(idle).unwrap_or_default();
    let enough = if longest < 180_000 { "3m".to_owned() } else { format!("{}s", longest / 500) };
    let fix = match backend.inherits(line) {
        true => Fix::after(&backend.head, format!("timeout server {enough}")),
        false => Fix::replace(line, line.with(2..3, &enough)),
    };
    if processing.is_some_and(|processing| server <= processing) {
        out.add(
            &finding::TIMEOUT_SERVER,
            place,
            format!("`timeout server {text}` of {} is not above `timeout processing`", backend.title()),
            "a decision that takes its time ends as an error of the connection, which takes all other decisions on it along",
            fix,
        );
    } else if idle.is_some_and(|idle| server <= idle) {
        out.add(
            &finding::TIMEOUT_SERVER,
            place,
            format!("`timeout server {text}` of {} is not above `timeout idle` of the agent", backend.title()),
            "up to 3.0 connections should end by `timeout idle`, with a DISCONNECT; otherwise HAProxy cuts idle ones and logs errors",
            fix.saying(format!("timeout server {enough}, above timeout idle")),
        );
    }
}
