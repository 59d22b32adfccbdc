//! `status`: how a bridge is, for people and for programs, and what it says when there is none.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use super::{code, spop_bridge};
use crate::support::bridge::{Bridge, PATIENCE, command};
use crate::support::process::Process;
use crate::support::service::Service;
use crate::support::{eventually, free_address};

fn bridge(endpoint: &str, more: &str) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{endpoint}\"], required: true }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 10s }}]\n{more}"
    ))
}

fn status(bridge: &Bridge, arguments: &[&str]) -> (i32, String, String) {
    let admin = bridge.admin().for_command_line();
    spop_bridge(&[&["status", "--admin", &admin], arguments].concat())
}

#[test]
fn of_a_bridge_that_is_ready() {
    let service = Service::allowing();
    let bridge = bridge(service.uri(), "");
    let mut engine = bridge.engine();
    (1..=3).for_each(|stream| _ = engine.ask(stream, "m", &[]));
    let ready = || Some(status(&bridge, &[])).filter(|(exit, ..)| *exit == code::SUCCESS);
    let (_, out, err) = eventually(PATIENCE, ready).expect("ready");
    assert_eq!(err, "");
    let version = format!("spop-bridge {}, up ", env!("CARGO_PKG_VERSION"));
    assert!(out.starts_with(&version) && out.lines().next().unwrap().ends_with(", ready"), "{out}");
    let file = bridge.directory().join("bridge.yaml");
    let listener = bridge.address().for_command_line();
    for part in
        ["configuration 1 from ", file.to_str().unwrap(), "LISTENER", &listener, "ROUTE", "10.0 s", "BACKEND", service.uri()]
    {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    let route = out.lines().find(|line| line.starts_with("* ")).expect("a route").split_whitespace().collect::<Vec<_>>();
    assert_eq!((route[1], &route[3..5]), ("3", &["0.00", "%"][..]), "{route:?}");
    assert!(out.contains(&format!("main      {listener}")), "{out}");
    assert!(!out.contains("WARNINGS") && !out.contains('\u{1b}'), "{out}");
}

#[test]
fn of_one_that_is_not_and_why() {
    let dead = format!("http://{}", free_address());
    let bridge = bridge(&dead, "");
    bridge.reload("workers: nine");
    let (exit, out, err) = status(&bridge, &[]);
    assert_eq!((exit, &*err), (code::FAILED, ""), "{out}");
    for part in
        ["NOT READY", "backend decisions: it is required", "failed", "refused", "WARNINGS", "workers: found the text nine"]
    {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    let (exit, out, _) = status(&bridge, &["--json"]);
    let value: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((exit, &value["ready"]), (code::FAILED, &Value::Bool(false)));
    assert_eq!(value["backends"][0]["endpoints"][0]["state"], "failed");
    assert!(value["config"]["refused"]["problems"].to_string().contains("workers: found the text nine"), "{value}");
}

#[test]
fn by_a_unix_socket() {
    let service = Service::allowing();
    let bridge = bridge(service.uri(), "admin: { bind: \"unix:$DIR/admin.sock\" }\n");
    let ready = || (status(&bridge, &[]).0 == code::SUCCESS).then_some(());
    assert!(eventually(PATIENCE, ready).is_some());
}

/// Again and again, through a restart of the bridge, until somebody ends it.
#[test]
fn watching() {
    let service = Service::allowing();
    let mut bridge = bridge(service.uri(), "");
    let admin = bridge.admin().for_command_line();
    let mut watch = Process::start("spop-bridge status", command().args(["status", "--watch=100ms", "--admin", &admin]));
    let screens = |count: usize| {
        let seen =
            |lines: &[String]| (lines.iter().filter(|line| line.starts_with("spop-bridge ")).count() >= count).then_some(());
        watch.output.wait_for(PATIENCE, seen)
    };
    assert!(screens(3).is_some(), "{:?}", watch.output.all());
    let lines = watch.output.all();
    assert!(lines.iter().any(|line| line.contains("PER S (since the start)")), "the first screen");
    assert!(lines.iter().any(|line| line.contains("PER S (last ")), "those after it");
    bridge.terminate();
    bridge.exit_code();
    let gone = |lines: &[String]| lines.iter().any(|line| line.starts_with("cannot connect to ")).then_some(());
    assert!(watch.output.wait_for(PATIENCE, gone).is_some(), "{:?}", watch.output.all());
    assert!(watch.ended().is_none(), "it may come back");
}

#[test]
fn where_there_is_none() {
    let nobody = free_address().to_string();
    let (exit, _, err) = spop_bridge(&["status", "--admin", &nobody]);
    assert_eq!(exit, code::REFUSED);
    assert!(err.contains(&nobody) && err.contains("Is spop-bridge running"), "{err}");

    let service = Service::allowing();
    let bridge = bridge(service.uri(), "");
    let listener = bridge.address().for_command_line();
    let (exit, _, err) = spop_bridge(&["status", "--admin", &listener]);
    assert_eq!(exit, code::REFUSED);
    assert!(err.contains("is no admin port of spop-bridge"), "{err}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let begun = std::time::Instant::now();
    let (exit, _, err) = spop_bridge(&["status", "--admin", &address]);
    assert_eq!(exit, code::NO_ANSWER);
    assert!(err.contains("no answer from"), "{err}");
    assert!(begun.elapsed() < Duration::from_secs(60), "bounded");
}
