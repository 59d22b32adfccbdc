//! The admin port: what it answers, to whom, and that nothing done there reaches decisions.

mod drain;
mod flood;
mod guard;
mod hostile;
mod place;
mod ready;
mod routes;
mod series;
mod state;

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::http::{Reply, get};
use crate::support::service::Service;

fn port(bridge: &Bridge) -> SocketAddr {
    match bridge.admin() {
        Address::Tcp(address) => address,
        Address::Unix(path) => panic!("not TCP: {}", path.display()),
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).expect("UTF-8")
}

fn json(bridge: &Bridge, path: &str) -> Value {
    let reply = get(path).send(port(bridge));
    assert_eq!((reply.status, &*reply.header("content-type")), (200, "application/json"), "{path}");
    let value: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert!(value["generated_at"].as_str().expect("generated_at").ends_with('Z'), "{value}");
    value
}

/// The value of a series, written as in the text; `None` if it is not there.
fn metric(bridge: &Bridge, series: &str) -> Option<f64> {
    let metrics = text(&get("/metrics").send(port(bridge)));
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// One backend with a route for everything, and more keys of the top level.
fn config(service: &Service, more: &str) -> String {
    format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 10s }}]\n{more}",
        service.uri()
    )
}
