//! Decisions by stream behind a real HAProxy, whose service is killed, replaced, and sends its connections away.

use std::path::Path;
use std::time::Duration;

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::host::{Bound, FOREVER};
use crate::support::load::Load;
use crate::support::service::{Answer, Methods, Service, allow};
use crate::support::{figure, free_address};

on_each_line!(service_restart_under_load, max_age_under_load);

fn bridge(uri: &str) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{uri}\"], protocol: decide_stream }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 3s }}]"
    ))
}

fn service(bound: Bound, max_age: Duration) -> Service {
    Service::with(Methods::Both, bound, max_age, |_| Answer::after(Duration::from_millis(5), Answer::Actions(vec![allow()])))
}

/// Without health checks: on a busy machine one may be late, and HAProxy would tell that by the same error as a lost connection.
fn proxies() -> String {
    frontend(&reflect(&VERDICT)).replace(" check inter 200ms fall 1 rise 1", "")
}

const SPOE: &str = "spoe-message m\n    args path=path\n    event on-frontend-http-request\n";

/// Killed with decisions in flight, and back after 300 ms: HAProxy gets its ACK for every request, before, meanwhile and afterwards.
fn service_restart_under_load(haproxy: &Path) {
    let address = free_address();
    let mut first = service(Bound::at(address), FOREVER);
    let bridge = bridge(first.uri());
    let haproxy = start(haproxy, &bridge, proxies(), engine("messages m", SPOE));
    let load = Load::start(8, haproxy.frontend(), super::outcome);
    assert!(load.wait_for(200, "decided"));
    first.kill();
    std::thread::sleep(Duration::from_millis(300));
    let second = service(Bound::at(address), FOREVER);
    assert!(load.wait_for(200, "decided"), "decisions go on");
    let tally = load.stop();
    figure("service restarted under load", format!("{tally:?}"));
    assert!(tally.keys().all(|word| word == "decided" || word == "undecided"), "HAProxy missed an ACK: {tally:?}");
    assert!(second.calls().iter().all(|call| call.is_streamed()));
}

/// GOAWAY every 1.3 s: not one request without its verdict.
fn max_age_under_load(haproxy: &Path) {
    let service = service(Bound::tcp(), Duration::from_millis(1_300));
    let bridge = bridge(service.uri());
    let haproxy = start(haproxy, &bridge, proxies(), engine("messages m", SPOE));
    let load = Load::start(8, haproxy.frontend(), super::outcome);
    std::thread::sleep(Duration::from_millis(4_000));
    assert!(load.wait_for(100, "decided"));
    let tally = load.stop();
    figure("streams sent away every 1.3 s", format!("{tally:?} on {} streams", service.streams()));
    assert!(tally.keys().all(|word| word == "decided"), "{tally:?}");
    assert!(service.streams() >= 3);
}
