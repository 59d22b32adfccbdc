//! Signals before the bridge is up, and in the middle of a reload or of a drain.

use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{changes, config};
use crate::support::bridge::{Bridge, PATIENCE, binary};
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::Data;

/// It waits for its configuration, which comes through standard input, when the signals come.
fn signalled_before_it_is_up(signals: &[Signal]) -> Process {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$@\" < \"$0\""]).arg(&pipe).arg(binary());
    let process = Process::start("spop-bridge", shell.args(["run", "--drain-delay", "0s", "--config", "-"]));
    // Opening succeeds when the other side has opened it too.
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    wait_until_it_catches(&process, &[Signal::SIGHUP, Signal::SIGTERM]);
    for signal in signals {
        process.signal(*signal);
    }
    std::thread::sleep(Duration::from_millis(300));
    // A process that has ended does not read it.
    let _ = pipe.write_all(b"backends: { a: { endpoints: [\"http://127.0.0.1:1\"] } }\nlisteners: [{ bind: \"127.0.0.1:0\" }]\n");
    drop(pipe);
    process
}

/// From then on these signals do not kill it.
pub(crate) fn wait_until_it_catches(process: &Process, signals: &[Signal]) {
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        signals.iter().all(|signal| caught & 1 << (*signal as i32 - 1) != 0).then_some(())
    };
    eventually(PATIENCE, caught).expect("it catches signals");
}

#[test]
fn a_hangup_does_not_kill() {
    let mut process = signalled_before_it_is_up(&[Signal::SIGHUP]);
    let up = process.output.wait_for(PATIENCE, |lines| lines.iter().any(|line| line.contains("\"listening\"")).then_some(()));
    assert!(up.is_some(), "{:?}", process.output.all());
    assert!(process.ended().is_none());
}

#[test]
fn a_stop_ends_in_order() {
    let mut process = signalled_before_it_is_up(&[Signal::SIGTERM]);
    assert_eq!(process.exit_code(PATIENCE), 0, "{:?}", process.output.all());
}

/// A new backend that does not answer keeps a reload waiting for 2 s; a stop does not wait for it, and what comes meanwhile is
/// served.
#[test]
fn a_stop_in_the_middle_of_a_reload() {
    let service = Service::allowing();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bridge = Bridge::start(&config(&service, ""));
    let mut engine = bridge.engine();
    let more = format!("b: {{ endpoints: [\"http://{}\"] }}", silent.local_addr().unwrap());
    bridge.write(&config(&service, "").replace("backends: {", &format!("backends: {{ {more},")));
    bridge.signal(Signal::SIGHUP);
    assert_eq!(engine.ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
    bridge.terminate();
    assert_eq!(engine.expect_disconnect().0, 0);
    assert_eq!(bridge.exit_code(), 0);
}

/// Who is leaving reads no configuration, and is not killed by the signal either.
#[test]
fn a_hangup_while_draining() {
    let service = Service::start(|_| Answer::after(Duration::from_secs(2), Answer::Actions(vec![allow()])));
    let mut bridge = Bridge::start(&config(&service, "drain: { delay: 500ms, grace_period: 20s }\n"));
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 1).then_some(())).is_some());
    bridge.terminate();
    assert!(eventually(PATIENCE, || Engine::connect(bridge.address()).health_check().err()).is_some());
    bridge.write(&config(&service, "drain: { delay: 0s, grace_period: 0s }\nstatus_variable: txn.other\n"));
    for _ in 0..3 {
        bridge.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(engine.expect_ack().value("txn.allow"), Some(&Data::Bool(true)));
    assert_eq!(engine.expect_disconnect().0, 0);
    assert_eq!(bridge.exit_code(), 0);
    assert!(bridge.reloads().is_empty(), "{:?}", bridge.reloads());
}

/// The newest configuration says how to stop.
#[test]
fn drain_settings_are_those_of_the_newest() {
    let service = Service::allowing();
    let mut bridge = Bridge::start(&config(&service, "drain: { delay: 10m, grace_period: 10m }\n"));
    assert_eq!(changes(&bridge.reload(&config(&service, "drain: { delay: 0s, grace_period: 1s }\n"))), "drain changed");
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
}
