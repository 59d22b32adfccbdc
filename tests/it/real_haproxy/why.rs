//! HAProxy's own log and rules say why there was a verdict.

use std::path::Path;
use std::time::Duration;

use spop_bridge::pb::v1::value::Kind;

use super::{engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::http::get;
use crate::support::service::{Answer, Service, allow, argument};

on_each_line!(variables_about_the_decision);

fn variables_about_the_decision(haproxy: &Path) {
    let service = Service::start(|request| {
        let path = argument(request, "path");
        let slow = ["/slow", "/strict"].iter().any(|slow| path == Some(Kind::StringValue((*slow).into())));
        Answer::after(Duration::from_millis(if slow { 500 } else { 0 }), Answer::Actions(vec![allow()]))
    });
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\nroutes: [{{ messages: [\"*\"], backend: decisions, timeout: 200ms }}]\n\
         decision_variables: txn.why",
        service.uri()
    ));
    let mut rules =
        reflect(&[("latency", "txn.br.why.latency_us"), ("attempts", "txn.br.why.attempts"), ("source", "txn.br.why.source")]);
    rules.push_str("    http-response set-header x-why %[var(txn.br.why.cause)]\n");
    rules.push_str("    http-request return status 503 if { var(txn.br.why.cause) -m found } !{ var(txn.br.why.cause) -m str ok } { path /strict }\n");
    let message = "spoe-message check\n    args path=path\n    event on-frontend-http-request\n";
    let haproxy = start(haproxy, &bridge, frontend(&rules), engine("messages check", message));

    let reply = get("/").send(haproxy.frontend());
    assert_eq!((reply.header("x-why"), reply.header("x-attempts")), ("ok".into(), "1".into()));
    assert_eq!(reply.header("x-source"), service.uri());
    let latency: u64 = reply.header("x-latency").parse().unwrap();
    assert!((1..200_000).contains(&latency), "{latency}");

    let reply = get("/slow").send(haproxy.frontend());
    assert_eq!((reply.header("x-why"), reply.header("x-source")), ("timeout".into(), "fallback".into()));
    assert!(reply.header("x-latency").parse::<u64>().unwrap() >= 190_000, "{}", reply.header("x-latency"));

    assert_eq!(get("/strict").send(haproxy.frontend()).status, 503, "a rule of HAProxy's acts on the cause");
}
