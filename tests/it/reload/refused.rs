//! What is no good is refused as a whole, with everything that is wrong, and the bridge goes on.

use nix::sys::signal::Signal;

use super::{assert_refused, changes, config};
use crate::support::bridge::{Bridge, PATIENCE, command};
use crate::support::eventually;
use crate::support::service::Service;
use crate::support::wire::Data;

fn still_serves(bridge: &Bridge) {
    assert_eq!(bridge.engine().ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
}

/// The same lines that `check` prints, and one that says what it means.
#[test]
fn all_problems_as_check_prints_them() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let mut engine = bridge.engine();
    let bad =
        config(&service, "colour: green\nstatus_variable: nope\ndrain: { delay: 5 }\n").replace("timeout: 10s", "timeout: 0ms");
    let reload = bridge.reload(&bad);
    assert_refused(&reload);
    assert_eq!((reload["problems"].as_u64(), reload["generation"].as_u64()), (Some(4), Some(1)));
    let file = bridge.directory().join("bridge.yaml");
    let checked = command().arg("check").arg("--config").arg(&file).output().unwrap();
    let printed = String::from_utf8(checked.stderr).unwrap();
    let printed = printed.trim().strip_prefix("spop-bridge: ").unwrap().lines().map(String::from).collect::<Vec<_>>();
    assert_eq!(bridge.problems(), printed);
    assert_eq!(printed.len(), 4, "{printed:?}");
    assert_eq!(engine.ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)), "a connection from before");
    still_serves(&bridge);
    assert_eq!(changes(&bridge.reload(&config(&service, "status_variable: txn.fine\n"))), "status_variable changed");
}

#[test]
fn no_yaml_and_no_file() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    assert_refused(&bridge.reload("backends: ["));
    assert!(bridge.problems()[0].contains("bridge.yaml:"), "{:?}", bridge.problems());
    let before = bridge.reloads().len();
    std::fs::remove_file(bridge.directory().join("bridge.yaml")).unwrap();
    bridge.signal(Signal::SIGHUP);
    assert_refused(&bridge.wait_for_reload(before));
    assert!(bridge.problems().last().unwrap().contains("cannot be read"), "{:?}", bridge.problems());
    still_serves(&bridge);
}

#[test]
fn keys_that_need_a_restart() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, "workers: 1\n"));
    let reload =
        bridge.reload(&config(&service, "workers: 2\nstatus_variable: txn.other\nlog: { level: debug, format: text }\n"));
    assert_refused(&reload);
    let problems = bridge.problems();
    let file = bridge.directory().join("bridge.yaml");
    let expected = [("log.format", "text", "json"), ("workers", "2", "1")].map(|(path, found, before)| {
        format!("{}: {path}: found {found}, expected {before} as before, for another it needs a restart", file.display())
    });
    assert_eq!(problems, expected);
    still_serves(&bridge);
}

/// Without a file there is nothing to read again, and SIGHUP must not end it.
#[test]
fn the_command_line_alone() {
    let service = Service::allowing();
    let arguments = ["run", "--listen", "127.0.0.1:0", "--backend", service.uri(), "--timeout", "10s", "--log-format", "json"];
    let mut bridge = Bridge::start_command(command().args(arguments), 1, tempfile::tempdir().unwrap());
    bridge.signal(Signal::SIGHUP);
    let said = || bridge.log().iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("nothing to reload")));
    assert!(eventually(PATIENCE, || said().then_some(())).is_some(), "{:?}", bridge.log());
    let ack = crate::support::engine::Engine::open(bridge.listener("127.0.0.1:0")).ask(1, "m", &[]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)));
    assert!(bridge.running());
}
