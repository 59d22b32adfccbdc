//! TLS on both sides of the bridge, with certificates that are made for each test. Real HAProxy by TLS is among `real_haproxy`.

mod backend;
mod files;
mod foreign;
mod listener;
mod load;
mod names;
mod refused;
mod rotation;

use std::time::Duration;

use serde_json::Value;

use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::service::Service;
use crate::support::wire::Data;

/// A listener `main` with this in its `tls`, in front of a service.
fn listening(service: &Service, tls: &str, more: &str) -> Bridge {
    Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"127.0.0.1:0\", tls: {{ {tls} }} {more} }}]\n\
         backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
        service.uri()
    ))
}

/// A plain listener in front of a backend with these keys.
fn calling(endpoint: &str, backend: &str) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{endpoint}\"] {backend} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]"
    ))
}

/// The service's verdict on one NOTIFY.
#[track_caller]
fn assert_allowed(engine: &mut Engine, stream: u64) {
    let ack = engine.ask(stream, "m", &[]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)), "{ack:?}");
}

/// The first line of the log with that message.
#[track_caller]
fn logged(bridge: &Bridge, message: &str) -> Value {
    let line = eventually(Duration::from_secs(10), || bridge.log().into_iter().find(|line| line["message"] == message));
    line.unwrap_or_else(|| panic!("no {message:?} in {:#?}", bridge.log()))
}

/// Why an endpoint is not connected, as the log has it.
#[track_caller]
fn not_connected(bridge: &Bridge, endpoint: &str) -> String {
    let line = logged(bridge, "endpoint not connected, trying on");
    assert_eq!(line["endpoint"], endpoint, "{line}");
    line["error"].as_str().unwrap().to_owned()
}
