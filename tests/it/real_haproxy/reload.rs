//! HAProxy reloads while requests are decided.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use super::{VERDICT, engine, frontend, on_each_line, reflect};
use crate::support::bridge::Bridge;
use crate::support::haproxy::{Haproxy, Setup};
use crate::support::http::get;
use crate::support::load::Load;
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, figure};

on_each_line!(d28_reload_under_load, d22_d31_soft_stop);

/// Two reloads under load: every request that HAProxy serves has a verdict, and the old process's connections end without a fault.
fn d28_reload_under_load(haproxy: &Path) {
    let service = Service::start(|_| Answer::after(Duration::from_millis(5), Answer::Actions(vec![allow()])));
    let bridge = Bridge::simple(service.uri(), "3s");
    let setup = Setup {
        proxies: frontend(&reflect(&VERDICT)),
        spoe: engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n"),
        global: String::new(),
        master: true,
    };
    let haproxy = Haproxy::start(haproxy, bridge.address(), &setup);
    let load = Load::start(8, haproxy.frontend(), super::outcome);
    assert!(load.wait_for(100, "decided"));
    for _ in 0..2 {
        // Up to 3.0 each thread has its own.
        let known = engines(&service);
        haproxy.reload();
        let renewed = eventually(Duration::from_secs(15), || (engines(&service) > known).then_some(()));
        assert!(renewed.is_some(), "each reload brings a new engine id");
        assert!(load.wait_for(100, "decided"), "decisions go on after the reload");
    }
    let tally = load.stop();
    figure("reload under load", format!("{tally:?}"));

    assert!(engines(&service) >= 3);
    let decided = tally["decided"];
    let undecided: usize = tally.iter().filter(|(word, _)| word.starts_with("error=")).map(|(_, count)| count).sum();
    assert!(undecided * 100 <= decided, "under 1 % without a verdict: {tally:?}");
    assert!(!bridge.log().iter().any(|line| line["level"] == "ERROR"), "no error is logged: {:?}", bridge.log());
}

/// 2.6 and 3.0 say HAPROXY-DISCONNECT when they stop, 3.2 just goes: neither is a fault. One configuration does for all (d31), and none
/// of them complains about it.
fn d22_d31_soft_stop(haproxy: &Path) {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let mut haproxy = super::start(haproxy, &bridge, frontend(&reflect(&VERDICT)), spoe);
    assert_eq!(get("/").send(haproxy.frontend()).header("x-allow"), "1");
    haproxy.stop_softly();
    haproxy.wait();
    let complaints: Vec<_> =
        haproxy.log().lines().filter(|line| line.contains("[ALERT]") || line.contains("rror")).map(String::from).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let faults: Vec<_> = bridge.log().into_iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR").collect();
    assert!(faults.is_empty(), "{faults:?}");
    bridge.engine().ask(1, "m", &[]);
}

/// How many engines have asked so far.
fn engines(service: &Service) -> usize {
    let ids = service.calls().into_iter().map(|call| call.request.origin.unwrap().engine_id);
    ids.collect::<HashSet<_>>().len()
}
