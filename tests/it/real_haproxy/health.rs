//! `option spop-check`: HAProxy knows whether the bridge is there, and learns of its going before it goes.

use std::path::Path;
use std::time::Duration;

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::host::Bound;
use crate::support::http::get;
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, figure, free_address};

on_each_line!(spop_check_sees_up_draining_and_down, a_required_backend_down_and_up);

/// d4, d5: the check is answered as its strict reader wants it; then not ready while draining, and nobody there.
fn spop_check_sees_up_draining_and_down(haproxy: &Path) {
    let service = Service::allowing();
    let config = |bind: &str, delay: &str| {
        format!(
            "listeners: [{{ name: main, bind: \"{bind}\" }}]\n\
             backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: 3s }}]\n\
             drain: {{ delay: {delay}, grace_period: 5s }}",
            service.uri()
        )
    };
    let mut bridge = Bridge::start(&config("127.0.0.1:0", "4s"));
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let haproxy = start(haproxy, &bridge, frontend(&reflect(&VERDICT)), spoe);
    let checked = || format!("{} {}", haproxy.server("bridge", "s1", "check_status"), haproxy.server("bridge", "s1", "last_chk"));

    // Up: by its own checks, not by HAProxy's good faith at start.
    let passed = eventually(Duration::from_secs(10), || checked().starts_with("L7OK").then_some(()));
    assert!(passed.is_some(), "{}", checked());
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    assert_eq!(get("/").send(haproxy.frontend()).header("x-allow"), "1");

    // Draining: the process is there and accepts, but says no to checks.
    bridge.terminate();
    haproxy.wait_for_server("bridge", "s1", "DOWN").unwrap();
    let draining = checked();
    assert!(bridge.running(), "still in its drain delay: {draining}");
    assert!(draining.starts_with("L7"), "refused by SPOP, not by the kernel: {draining}");
    let reply = get("/").send(haproxy.frontend());
    assert_eq!((reply.status, reply.header("x-allow")), (200, "-".into()));
    figure("spop-check while draining", format!("{draining}; a request then has error={}", reply.header("x-error")));

    // Down.
    assert_eq!(bridge.exit_code(), 0);
    let gone = eventually(Duration::from_secs(10), || checked().starts_with("L4").then_some(()));
    assert!(gone.is_some(), "{}", checked());
    let reply = get("/").send(haproxy.frontend());
    assert_eq!((reply.status, reply.header("x-allow")), (200, "-".into()));
    figure("spop-check when down", format!("{}; a request then has error={}", checked(), reply.header("x-error")));

    // Up again, at the same address.
    let _second = Bridge::start(&config(&bridge.address().for_command_line(), "0s"));
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    let reply = get("/").send(haproxy.frontend());
    assert_eq!((reply.header("x-allow"), reply.header("x-error")), ("1".into(), "-".into()));
}

/// Two bridges of which each requires a service of its own. The service of the first goes: HAProxy takes the second for
/// everything, and the first again when its service is back.
fn a_required_backend_down_and_up(haproxy: &Path) {
    let address = free_address();
    let serve = || Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]));
    let second_service = Service::allowing();
    let bridge = |uri: &str| {
        Bridge::start(&format!(
            "backends: {{ decisions: {{ endpoints: [\"{uri}\"], required: true }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: 3s }}]"
        ))
    };
    let mut service = serve();
    let [first, second] = [bridge(service.uri()), bridge(second_service.uri())];
    let proxies = frontend(&reflect(&VERDICT));
    let server = format!("    server s2 {} check inter 200ms fall 1 rise 1\n", second.address().for_haproxy());
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let haproxy = start(haproxy, &first, proxies.trim_end().to_string() + "\n" + &server, spoe);
    let allowed = || (0..20).filter(|_| get("/").send(haproxy.frontend()).header("x-allow") == "1").count();
    for server in ["s1", "s2"] {
        haproxy.wait_for_server("bridge", server, "UP").unwrap();
    }
    for _ in 0..2 {
        service.kill();
        haproxy.wait_for_server("bridge", "s1", "DOWN").unwrap();
        let check = format!("{} {}", haproxy.server("bridge", "s1", "check_status"), haproxy.server("bridge", "s1", "last_chk"));
        assert!(check.starts_with("L7"), "refused by SPOP, not by the kernel: {check}");
        figure("spop-check while a required backend is down", check);
        // What HAProxy has open to the first it may go on using for a moment.
        let all = eventually(Duration::from_secs(10), || (allowed() == 20).then_some(()));
        assert!(all.is_some(), "the second decides everything");
        service = serve();
        haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
        assert_eq!(allowed(), 20);
    }
    let told = first.lines(2, |line| line["backends"] == "decisions" && line["level"] == "WARN");
    assert_eq!(told.len(), 2, "{told:?}");
}
