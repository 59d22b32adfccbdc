//! Values of the top level and of routes, on connections that were there before.

use std::time::{Duration, Instant};

use super::{changes, config};
use crate::support::bridge::Bridge;
use crate::support::service::{Answer, Service, set_txn};
use crate::support::wire::Data;
use spop_bridge::pb::v1::value::Kind;

#[test]
fn timeout_on_failure_and_status_variable() {
    let never = Service::start(|_| Answer::Never);
    let with = |timeout: &str, more: &str| {
        format!(
            "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: {timeout} }}]\n{more}",
            never.uri()
        )
    };
    let bridge = Bridge::start(&with("60s", ""));
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert_eq!(changes(&bridge.reload(&with("100ms", ""))), "routes changed: *");
    let begin = Instant::now();
    assert_eq!(engine.ask(2, "m", &[]).text("txn.bridge_status"), "timeout", "the first has its 60 s still");
    assert!(begin.elapsed() < Duration::from_secs(30));

    let fail_open = "on_failure: { default: { set: { txn.allow: true } } }\n";
    assert_eq!(changes(&bridge.reload(&with("100ms", fail_open))), "routes changed: *; on_failure changed");
    assert_eq!(engine.ask(3, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));

    let reload = bridge.reload(&with("100ms", "status_variable: txn.why\n"));
    assert_eq!(changes(&reload), "routes changed: *; on_failure changed; status_variable changed");
    let ack = engine.ask(4, "m", &[]);
    assert_eq!((&ack.text("txn.why")[..], ack.value("txn.bridge_status"), ack.value("txn.allow")), ("timeout", None, None));
    assert_eq!(never.connections(), bridge.workers(), "and nobody was connected to again");
}

/// HAProxy's prefix takes room of a name: 63 bytes are all there is.
#[test]
fn var_prefix() {
    let long = "x".repeat(44);
    let name = long.clone();
    let service = Service::start(move |_| Answer::Actions(vec![set_txn(&name, Kind::BoolValue(true))]));
    let with = |prefix: &str| config(&service, &format!("listeners: [{{ name: main, bind: \"127.0.0.1:0\"{prefix} }}]\n"));
    let bridge = Bridge::start(&with(", var_prefix: br"));
    let mut engine = bridge.engine();
    let variable = format!("txn.{long}");
    assert_eq!(engine.ask(1, "m", &[]).value(&variable), Some(&Data::Bool(true)));
    assert_eq!(changes(&bridge.reload(&with(&format!(", var_prefix: {}", "p".repeat(20))))), "listeners changed: main");
    assert_eq!(engine.ask(2, "m", &[]).text("txn.bridge_status"), "invalid_response", "44 + 20 and what is between them");
}

#[test]
fn log_level() {
    let service = Service::allowing();
    let level = |level: &str| config(&service, &format!("log: {{ level: {level}, format: json }}\n"));
    let bridge = Bridge::start(&level("info"));
    let debug_lines = || bridge.log().iter().filter(|line| line["level"] == "DEBUG").count();
    bridge.engine().ask(1, "m", &[]);
    assert_eq!(debug_lines(), 0);
    assert_eq!(changes(&bridge.reload(&level("debug"))), "log changed");
    bridge.engine().ask(1, "m", &[]);
    let seen = crate::support::eventually(Duration::from_secs(5), || (debug_lines() >= 2).then_some(()));
    assert!(seen.is_some(), "{:?}", bridge.log());
    // At `error` not even the reload itself is told.
    bridge.write(&level("error"));
    bridge.signal(nix::sys::signal::Signal::SIGHUP);
    let quiet = crate::support::eventually(crate::support::bridge::PATIENCE, || {
        let before = bridge.log().len();
        bridge.engine().ask(1, "m", &[]);
        std::thread::sleep(Duration::from_millis(300));
        bridge.log()[before..].iter().all(|line| line["level"] == "ERROR").then_some(())
    });
    assert!(quiet.is_some(), "{:?}", bridge.log());
}

/// What flags say stays said.
#[test]
fn flags_stay_over_the_file() {
    let service = Service::allowing();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bridge.yaml");
    let text = |more: &str| {
        config(&service, more) + "listeners: [{ name: main, bind: \"127.0.0.1:0\" }]\nadmin: { bind: \"127.0.0.1:0\" }\n"
    };
    std::fs::write(&file, text("")).unwrap();
    let mut command = crate::support::bridge::command();
    command.env("SPOP_BRIDGE_WORKERS", "1").args(["run", "--log-format", "json", "--drain-delay", "0s", "--config"]).arg(&file);
    let bridge = Bridge::start_command(&mut command, 1, directory);
    let reload = bridge.reload(&text("workers: 3\nlog: { level: info, format: text }\ndrain: { delay: 1m }\n"));
    assert_eq!(changes(&reload), "none");
}
