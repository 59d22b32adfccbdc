//! Services that fail in every way: HAProxy gets the fallback that the operator chose for that cause, in time.

mod answers;
mod causes;
mod deadline;
mod endpoints;
mod garbage;
mod routing;

use std::time::{Duration, Instant};

use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::figure;
use crate::support::wire::{Ack, Data};

/// What HAProxy would wait. Routes of these tests are far below it, so that the order of events is certain on a busy machine too.
const HAPROXY_TIMER: Duration = Duration::from_secs(8);

const CAUSES: [&str; 6] = ["timeout", "unavailable", "overloaded", "rejected", "invalid_response", "unrouted"];

/// Fallbacks that name their cause, as YAML for the top level.
pub(crate) fn fallbacks() -> String {
    let mut text = String::from("on_failure:\n  default: { set: { txn.reason: \"by default\" } }\n");
    for cause in CAUSES {
        text.push_str(&format!("  {cause}: {{ set: {{ txn.reason: \"because {cause}\", txn.allow: false }} }}\n"));
    }
    text + "status_variable: txn.status\n"
}

/// One backend behind one route, with fallbacks.
fn bridge_to(endpoint: &str, timeout: &str) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{endpoint}\"], connect_timeout: 1s }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: {timeout} }}]\n{}",
        fallbacks()
    ))
}

/// One NOTIFY; how long its ACK took.
pub(crate) fn timed(engine: &mut Engine, stream: u64) -> (Ack, Duration) {
    let asked = Instant::now();
    let ack = engine.ask(stream, "check-request", &[("path", "/".into())]);
    (ack, asked.elapsed())
}

/// The ACK is the fallback for this cause, whole.
#[track_caller]
pub(crate) fn assert_fallback(ack: &Ack, cause: &str) {
    assert_eq!(ack.text("txn.status"), cause, "{ack:?}");
    assert_eq!(ack.text("txn.reason"), format!("because {cause}"), "{ack:?}");
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(false)), "{ack:?}");
}

/// One NOTIFY to this endpoint ends in this cause before HAProxy's timer.
#[track_caller]
fn assert_cause(what: &str, endpoint: &str, timeout: &str, cause: &str) {
    let bridge = bridge_to(endpoint, timeout);
    let (ack, took) = timed(&mut bridge.engine(), 1);
    assert_fallback(&ack, cause);
    assert!(took < HAPROXY_TIMER, "{what}: {took:?}");
    figure(&format!("{what}: {cause} with a route timeout of {timeout} after"), format!("{:.1} ms", took.as_secs_f64() * 1e3));
}
