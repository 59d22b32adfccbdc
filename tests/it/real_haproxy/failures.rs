//! Every failure of a service ends in the configured fallback before HAProxy's own timer.

use std::path::Path;

use super::{engine, frontend, on_all_lines, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::garbage::{Page, TcpServer};
use crate::support::http::get;
use crate::support::service::{Answer, Service};
use crate::support::{figure, free_address};

on_all_lines!(d25_each_cause_has_its_fallback_in_time);

const CAUSES: [&str; 6] = ["timeout", "unavailable", "overloaded", "rejected", "invalid_response", "unrouted"];

/// HAProxy waits 5 s; each route waits 300 ms. A NOTIFY that HAProxy gave up on would show in its error variable.
fn d25_each_cause_has_its_fallback_in_time(haproxy: &Path) {
    let overloaded = Service::start(|_| Answer::Status(tonic::Status::resource_exhausted("full")));
    let rejected = Service::start(|_| Answer::Status(tonic::Status::permission_denied("no")));
    let nonsense = Page::grpc(b"\xff\xff\xff\xff\xff").serve();
    let endpoints = [
        TcpServer::mute().uri,
        format!("http://{}", free_address()),
        overloaded.uri().into(),
        rejected.uri().into(),
        nonsense.uri().into(),
    ];
    let mut config = String::from("backends:\n");
    for (cause, endpoint) in CAUSES.iter().zip(&endpoints) {
        config.push_str(&format!("  {cause}: {{ endpoints: [\"{endpoint}\"]{} }}\n", protocol(cause)));
    }
    config.push_str("routes:\n");
    for cause in &CAUSES[..5] {
        config.push_str(&format!("  - {{ messages: [ask-{cause}], backend: {cause}, timeout: 300ms }}\n"));
    }
    config.push_str("on_failure:\n  default: { set: { txn.allow: true } }\n");
    for cause in CAUSES {
        config.push_str(&format!("  {cause}: {{ set: {{ txn.allow: false, txn.reason: \"because {cause}\" }} }}\n"));
    }
    config.push_str("status_variable: txn.status\n");
    let bridge = Bridge::start(&config);

    let names = CAUSES.map(|cause| format!("ask-{cause}")).join(" ");
    let messages: String = CAUSES
        .iter()
        .map(|cause| {
            format!("spoe-message ask-{cause}\n    args path=path\n    event on-frontend-http-request if {{ path /{cause} }}\n")
        })
        .collect();
    let rules =
        reflect(&[("reason", "txn.br.reason"), ("status", "txn.br.status"), ("error", "txn.br.error"), ("ms", "txn.br.ms")]);
    let haproxy = start(haproxy, &bridge, frontend(&rules), engine(&format!("messages {names}"), &messages));
    for cause in CAUSES {
        let reply = get(&format!("/{cause}")).send(haproxy.frontend());
        assert_eq!(reply.header("x-error"), "-", "{cause}: HAProxy got its ACK");
        assert_eq!((reply.header("x-reason"), reply.header("x-status")), (format!("because {cause}"), cause.to_string()));
        figure(&format!("fallback for {cause}, as HAProxy measures it, of 300 ms"), format!("{} ms", reply.header("x-ms")));
    }
}

/// The page that is no answer is one to a unary call. On a stream it is `stream::errors`.
fn protocol(cause: &str) -> &'static str {
    if cause == "invalid_response" { ", protocol: decide" } else { "" }
}
