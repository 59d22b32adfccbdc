//! What systemd is told on NOTIFY_SOCKET, with the real binary: `Type=notify` and `Type=notify-reload`.

use std::os::unix::net::UnixDatagram;

use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::service::Service;

/// systemd's end of NOTIFY_SOCKET.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, path: path.to_str().unwrap().to_owned(), _directory: directory }
    }

    fn bridge(&self, service: &Service, more: &str) -> Bridge {
        Bridge::start_with(&config(service, more), &[("NOTIFY_SOCKET", &self.path)])
    }

    /// The next message, a line for each variable.
    fn told(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message to systemd");
        std::str::from_utf8(&buffer[..length]).unwrap().lines().map(str::to_owned).collect()
    }

    fn expect_ready(&self) -> String {
        let told = self.told();
        assert_eq!(told[0], "READY=1", "{told:?}");
        told[1].strip_prefix("STATUS=").expect("a status").to_owned()
    }

    /// Returns the moment, in microseconds of CLOCK_MONOTONIC, that the message claims.
    fn expect_reloading(&self) -> u64 {
        let told = self.told();
        assert_eq!(told[0], "RELOADING=1", "{told:?}");
        told[1].strip_prefix("MONOTONIC_USEC=").expect("a moment").parse().unwrap()
    }
}

fn config(service: &Service, more: &str) -> String {
    format!("backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n{more}", service.uri())
}

/// READY means that HAProxy is answered, also while no decision service is there.
#[test]
fn ready_is_said_when_it_listens() {
    let manager = Manager::new();
    let bridge = manager.bridge(&Service::allowing(), "");
    assert_eq!(manager.expect_ready(), format!("serving on {}", bridge.address().for_command_line()));
    bridge.engine();
}

/// systemd compares the moment with that at which it asked for the reload.
#[test]
fn a_reload_begins_and_ends() {
    let (manager, service) = (Manager::new(), Service::allowing());
    let bridge = manager.bridge(&service, "");
    manager.expect_ready();
    let before = monotonic();
    bridge.reload(&config(&service, "status_variable: txn.why"));
    let moment = manager.expect_reloading();
    assert!((before..=monotonic()).contains(&moment), "{moment} is not between {before} and {}", monotonic());
    assert_eq!(manager.expect_ready(), format!("serving on {}", bridge.address().for_command_line()));

    bridge.reload("backends: {}");
    assert!(manager.expect_reloading() > moment);
    let status = manager.expect_ready();
    assert!(status.ends_with("bridge.yaml was refused, the configuration before goes on"), "{status}");
}

/// TimeoutStopSec of the unit may be shorter than the drain.
#[test]
fn stopping_asks_for_the_time_that_the_drain_may_take() {
    let manager = Manager::new();
    let mut bridge = manager.bridge(&Service::allowing(), "drain: { delay: 100ms, grace_period: 70s }");
    manager.expect_ready();
    bridge.terminate();
    assert_eq!(manager.told(), ["STOPPING=1", "EXTEND_TIMEOUT_USEC=80100000", "STATUS=draining"]);
    assert_eq!(bridge.exit_code(), 0);
}

/// A socket that is not there costs nothing but a warning.
#[test]
fn it_runs_when_systemd_is_not_there() {
    let mut bridge = Bridge::start_with(&config(&Service::allowing(), ""), &[("NOTIFY_SOCKET", "/nowhere/notify")]);
    bridge.engine();
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let warned = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.starts_with("cannot tell systemd"));
    assert!(bridge.log().iter().any(warned));
}

/// CLOCK_MONOTONIC in microseconds.
fn monotonic() -> u64 {
    let uptime = nix::time::ClockId::CLOCK_MONOTONIC.now().unwrap();
    uptime.tv_sec() as u64 * 1_000_000 + uptime.tv_nsec() as u64 / 1_000
}
