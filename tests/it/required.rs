//! Backends that are marked as required: health checks are refused while one of them cannot decide.

use std::time::Duration;

use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::child::ChildService;
use crate::support::engine::Engine;
use crate::support::host::Bound;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::Data;
use crate::support::{eventually, free_address};

fn config(required: &str, other: &str, is_required: bool) -> String {
    format!(
        "backends: {{ decisions: {{ endpoints: [\"{required}\"], required: {is_required} }}, other: {{ endpoints: [\"{other}\"] }} }}\n\
         routes: [{{ messages: [m], backend: decisions, timeout: 2s }}, {{ messages: [\"*\"], backend: other, timeout: 2s }}]\n\
         listeners: [{{ name: main, bind: \"127.0.0.1:0\" }}, {{ name: side, bind: \"127.0.0.1:0\" }}]\n"
    )
}

fn is_ready(address: &Address) -> bool {
    Engine::connect(address).health_check().is_ok()
}

fn becomes(bridge: &Bridge, ready: bool) {
    for listener in ["main", "side"] {
        let reached = eventually(PATIENCE, || (is_ready(bridge.listener(listener)) == ready).then_some(()));
        assert!(reached.is_some(), "{listener} does not become ready: {ready}\n{:?}", bridge.log());
    }
}

/// The backends that so many lines are about.
fn lines(bridge: &Bridge, count: usize, level: &str, text: &str) -> Vec<String> {
    let lines = bridge
        .lines(count, |line| line["level"] == level && line["message"].as_str().is_some_and(|message| message.contains(text)));
    lines.iter().map(|line| line["backends"].as_str().unwrap_or_default().to_owned()).collect()
}

fn becomes_unavailable(engine: &mut Engine) {
    let mut outcomes = Vec::new();
    let known = eventually(PATIENCE, || {
        outcomes.push(engine.ask(1, "m", &[]).text("txn.bridge_status").to_owned());
        outcomes.ends_with(&["unavailable".to_owned()]).then_some(())
    });
    assert!(known.is_some(), "{outcomes:?}");
}

/// Down at the start, up, down, up again; the backend that is not required does not count.
#[test]
fn down_and_up() {
    let address = free_address();
    let dead = format!("http://{}", free_address());
    let bridge = Bridge::start(&config(&format!("http://{address}"), &dead, true));
    becomes(&bridge, false);
    let mut engine = bridge.engine();
    assert_eq!(engine.ask(1, "m", &[]).text("txn.bridge_status"), "unavailable", "who comes all the same is served");
    for _ in 0..2 {
        let mut service = Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]));
        becomes(&bridge, true);
        assert_eq!(engine.ask(2, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
        service.kill();
        becomes(&bridge, false);
    }
    assert_eq!(lines(&bridge, 1, "INFO", "not ready yet"), ["decisions"]);
    assert_eq!(lines(&bridge, 2, "INFO", "ready: every required"), ["", ""]);
    assert_eq!(lines(&bridge, 2, "WARN", "not ready: no server"), ["decisions", "decisions"]);
}

/// Its process is frozen, while its kernel takes connections and acknowledges for it: as good as down, whoever connects to it when.
#[test]
fn frozen() {
    let service = ChildService::start(Duration::ZERO);
    let dead = format!("http://{}", free_address());
    let config = config(service.uri(), &dead, true)
        .replace("required: true", "required: true, keepalive_timeout: 500ms")
        .replace("timeout: 2s", "timeout: 200ms");
    let config = config + "workers: 2\n";
    let bridge = Bridge::start(&config);
    becomes(&bridge, true);
    let mut engine = bridge.engine();
    for _ in 0..2 {
        assert_eq!(engine.ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
        service.freeze();
        becomes_unavailable(&mut engine);
        // Also by the worker that decides nothing.
        becomes(&bridge, false);
        let second = Bridge::start(&config);
        becomes(&second, false);
        becomes_unavailable(&mut second.engine());
        service.thaw();
        becomes(&second, true);
        becomes(&bridge, true);
    }
}

/// A reload may say what is required, without a new connection.
#[test]
fn by_reload() {
    let service = Service::allowing();
    let dead = format!("http://{}", free_address());
    let bridge = Bridge::start(&config(&dead, service.uri(), false));
    becomes(&bridge, true);
    bridge.reload(&config(&dead, service.uri(), true));
    becomes(&bridge, false);
    bridge.reload(&config(service.uri(), service.uri(), true));
    becomes(&bridge, true);
    let all = 2 * bridge.workers();
    assert!(eventually(PATIENCE, || (service.connections() == all).then_some(())).is_some(), "{}", service.connections());
    bridge.reload(&config(service.uri(), service.uri(), false));
    becomes(&bridge, true);
    assert_eq!(service.connections(), all);
}

#[test]
fn draining_is_never_ready() {
    let service = Service::allowing();
    let dead = format!("http://{}", free_address());
    let config = config(service.uri(), &dead, true) + "drain: { delay: 2s, grace_period: 5s }\n";
    let mut bridge = Bridge::start(&config);
    becomes(&bridge, true);
    bridge.terminate();
    becomes(&bridge, false);
    assert_eq!(bridge.exit_code(), 0);
}
