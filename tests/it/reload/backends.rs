//! Backends and routes come, go and change; whoever stays keeps his connections.

use std::time::Duration;

use super::changes;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::eventually;
use crate::support::service::{Answer, Service, allow, set_txn};
use crate::support::wire::Data;
use spop_bridge::pb::v1::value::Kind;

fn backend(name: &str, service: &Service) -> String {
    format!("{name}: {{ endpoints: [\"{}\"] }}", service.uri())
}

fn config(backends: &[String], routes: &str) -> String {
    format!("workers: 2\nbackends: {{ {} }}\nroutes: [{routes}]\n", backends.join(", "))
}

fn naming(name: &'static str) -> Service {
    Service::start(move |_| Answer::Actions(vec![set_txn("by", Kind::StringValue(name.into()))]))
}

const A: &str = "{ messages: [a], backend: a, timeout: 10s }";
const B: &str = "{ messages: [b], backend: b, timeout: 10s }";

#[test]
fn come_and_go_while_the_others_stay_connected() {
    let (a, b) = (naming("a"), naming("b"));
    let bridge = Bridge::start(&config(&[backend("a", &a)], A));
    let mut engine = bridge.engine();
    let mut idle = bridge.engine();
    assert_eq!(engine.ask(1, "a", &[]).text("txn.by"), "a");
    assert_eq!(idle.ask(1, "a", &[]).text("txn.by"), "a");
    assert_eq!(engine.ask(2, "b", &[]).text("txn.bridge_status"), "unrouted");

    let both = config(&[backend("a", &a), backend("b", &b)], &format!("{A}, {B}"));
    assert_eq!(changes(&bridge.reload(&both)), "backends added: b; routes added: b");
    assert_eq!(engine.ask(3, "b", &[]).text("txn.by"), "b");
    assert_eq!(engine.ask(4, "a", &[]).text("txn.by"), "a");
    assert_eq!((a.connections(), b.connections()), (2, 2), "one a worker, those of a from before");

    // Another route to another backend, and another setting of the backend.
    let rerouted = "{ messages: [a, b], name: a, backend: b, timeout: 10s }";
    let slower = format!("b: {{ endpoints: [\"{}\"], connect_timeout: 2s }}", b.uri());
    let reload = bridge.reload(&config(&[backend("a", &a), slower.clone()], rerouted));
    assert_eq!(changes(&reload), "backends changed: b; routes removed: b; routes changed: a");
    assert_eq!(engine.ask(5, "a", &[]).text("txn.by"), "b");
    assert_eq!((a.connections(), b.connections()), (2, 4));

    // `idle` has not asked since the first reload, and must keep nothing alive.
    assert_eq!(changes(&bridge.reload(&config(&[slower], rerouted))), "backends removed: a");
    assert!(eventually(PATIENCE, || (a.open_streams() == 0).then_some(())).is_some(), "a is left: {}", a.open_streams());
    if b.streams() > 0 {
        assert!(eventually(PATIENCE, || (b.open_streams() == 2).then_some(())).is_some(), "b: {}", b.open_streams());
    }
    assert_eq!(idle.ask(2, "a", &[]).text("txn.by"), "b");
}

/// A decision that was asked for under the old configuration is made by it, however long ago that is.
#[test]
fn what_is_in_flight_stays_with_the_backend_that_has_it() {
    let slow = Service::start(|_| Answer::after(Duration::from_secs(2), Answer::Actions(vec![allow()])));
    let other = naming("other");
    let bridge = Bridge::start(&config(&[backend("a", &slow)], "{ messages: [\"*\"], backend: a, timeout: 10s }"));
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert!(eventually(PATIENCE, || (slow.in_flight() == 1).then_some(())).is_some());
    for variable in ["txn.one", "txn.two", "txn.three"] {
        let routes = "{ messages: [\"*\"], backend: b, timeout: 10s }";
        changes(&bridge.reload(&(config(&[backend("b", &other)], routes) + &format!("status_variable: {variable}\n"))));
    }
    engine.notify(3, 1, &[("m", &[])]);
    let first = engine.expect_ack();
    assert_eq!((first.stream, &first.text("txn.by")[..]), (3, "other"), "decided by the new configuration meanwhile");
    let second = engine.expect_ack();
    assert_eq!((second.stream, second.value("txn.allow")), (1, Some(&Data::Bool(true))), "and the first by the old one");
    assert_eq!(slow.cancelled(), 0);
    assert!(eventually(PATIENCE, || (slow.open_streams() == 0).then_some(())).is_some(), "then the service is left");
}

/// A new backend that nobody answers for does not keep the rest from being put into effect.
#[test]
fn one_that_cannot_be_reached() {
    let service = naming("a");
    // Bound, and never accepted from: connecting succeeds, HTTP/2 does not.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bridge = Bridge::start(&config(&[backend("a", &service)], A));
    let mut engine = bridge.engine();
    let silent = format!("b: {{ endpoints: [\"http://{}\"] }}", silent.local_addr().unwrap());
    let routes = format!("{A}, {{ messages: [b], backend: b, timeout: 50ms }}");
    changes(&bridge.reload(&config(&[backend("a", &service), silent], &routes)));
    assert_eq!(engine.ask(1, "a", &[]).text("txn.by"), "a");
    assert_ne!(engine.ask(2, "b", &[]).text("txn.bridge_status"), "ok");
}
