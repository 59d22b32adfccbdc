//! Bodies as big as a frame can be, and bigger.

use std::path::Path;

use spop_bridge::pb::v1::value::Kind;

use super::{VERDICT, engine, frontend, on_each_line, reflect};
use crate::support::bridge::Bridge;
use crate::support::figure;
use crate::support::haproxy::{Haproxy, Setup};
use crate::support::http::post;
use crate::support::service::{Service, argument};

on_each_line!(
    d26_d27_body_near_the_limit_and_over_it,
    d12_d26_body_over_the_limit_with_fragments_allowed,
    d7_frames_above_64_kib
);

const MESSAGE: &str = "spoe-message m\n    args body=req.body\n    event on-frontend-http-request\n";

/// One that just fits arrives whole. One over the limit isn't sent at all: HAProxy sets its error variable and the request goes on.
fn d26_d27_body_near_the_limit_and_over_it(haproxy: &Path) {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    // Older lines would wait for somebody who takes fragments, until their timer: see below.
    let haproxy = limited(haproxy, &bridge, "no option send-frag-payload");

    let fits = 8192 - 32 - 20;
    assert_eq!(send(&haproxy, fits), ("1".into(), "-".into()));
    assert_eq!(body_sizes(&service), [Some(fits)]);
    let over = send(&haproxy, 8192);
    figure("body over the frame size", format!("error={} allow={}", over.1, over.0));
    assert_eq!(over, ("-".into(), "3".into()), "nothing is decided, and HAProxy says why");
    assert_eq!(service.calls().len(), 1, "the service saw nothing of it");
    assert_eq!(send(&haproxy, fits), ("1".into(), "-".into()), "and the engine goes on");
}

/// With fragments allowed on HAProxy's side, the default, 2.6 and 3.0 look for an agent that takes them until `timeout processing`.
/// The request goes on then too, only later.
fn d12_d26_body_over_the_limit_with_fragments_allowed(haproxy: &Path) {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let haproxy = limited(haproxy, &bridge, "timeout processing 500ms");

    let over = send(&haproxy, 8192);
    figure("body over the frame size, fragments allowed", format!("error={} allow={}", over.1, over.0));
    assert_eq!(over.0, "-");
    assert!(["1", "3"].contains(&&over.1[..]), "{over:?}");
    assert_eq!(send(&haproxy, 100), ("1".into(), "-".into()), "and the engine goes on");
    let faults: Vec<_> = bridge.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// With frames of 8192 bytes. Whole messages have 32 bytes less.
fn limited(haproxy: &Path, bridge: &Bridge, lines: &str) -> Haproxy {
    // d27: the variable has a boolean's type and an integer's value: rules test `-m found` or `-m int`.
    let rules = "    http-response set-header x-int yes if { var(txn.br.error) -m int 3 }\n".to_string() + &reflect(&VERDICT);
    let setup = Setup {
        proxies: frontend(&rules),
        spoe: engine(&format!("messages m\n    max-frame-size 8192\n    {lines}"), MESSAGE),
        global: String::new(),
        master: false,
    };
    Haproxy::start(haproxy, bridge.address(), &setup)
}

/// What a request with a body of this size got: the verdict, and HAProxy's error.
fn send(haproxy: &Haproxy, size: usize) -> (String, String) {
    let reply = post("/", pattern(size)).send(haproxy.frontend());
    assert_eq!(reply.status, 200, "SPOE never stops a request by itself");
    assert_eq!(reply.header("x-int") == "yes", reply.header("x-error") == "3", "`-m int` finds the code");
    (reply.header("x-allow"), reply.header("x-error"))
}

/// `tune.bufsize` sets what HAProxy offers; the bridge takes it up to its own limit.
fn d7_frames_above_64_kib(haproxy: &Path) {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let setup = Setup {
        proxies: frontend(&reflect(&VERDICT)),
        spoe: engine("messages m", MESSAGE),
        global: "tune.bufsize 131072".into(),
        master: false,
    };
    let haproxy = Haproxy::start(haproxy, bridge.address(), &setup);

    let body = pattern(110_000);
    let reply = post("/", body.clone()).send(haproxy.frontend());
    assert_eq!((reply.header("x-allow"), reply.header("x-error")), ("1".into(), "-".into()));
    assert_eq!(service.only_call().arg("body"), Some(Kind::BytesValue(body.into())));
}

fn body_sizes(service: &Service) -> Vec<Option<usize>> {
    let size = |kind| match kind {
        Kind::BytesValue(body) => Some(body.len()),
        _ => None,
    };
    service.calls().iter().map(|call| argument(&call.request, "body").and_then(size)).collect()
}

/// Bytes of every kind, so that a shifted copy would show.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}
