//! `option spop-check`: HAProxy knows whether the bridge is there, and learns of its going before it goes.

use std::path::Path;

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::figure;
use crate::support::http::get;
use crate::support::service::Service;

on_each_line!(spop_check_sees_up_draining_and_down);

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
    let passed = crate::support::eventually(std::time::Duration::from_secs(10), || checked().starts_with("L7OK").then_some(()));
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
    let gone = crate::support::eventually(std::time::Duration::from_secs(10), || checked().starts_with("L4").then_some(()));
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
