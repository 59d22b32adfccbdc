//! Servers that are asked for their health: those that are not serving get no decisions.

mod answers;
mod trouble;

use crate::discovery::is_decided;
use crate::failing_services::fallbacks;
use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::health::{Patient, SOON};
use crate::support::service::Service;

const UNHEALTHY: &str = "endpoint unhealthy, it gets no decisions";
const HEALTHY: &str = "endpoint healthy";

/// A bridge to these endpoints, with this for `health`.
fn bridge_to(endpoints: &[&str], health: &str) -> Bridge {
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
    Bridge::start(&format!(
        "workers: 2\nbackends: {{ decisions: {{ endpoints: [{}], health: {{{health}}}, metadata: {{ x-tenant: shop }} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 8s }}]\n{}",
        endpoints.join(", "),
        fallbacks()
    ))
}

/// Waits for so many lines that say this.
#[track_caller]
fn expect_lines(bridge: &Bridge, message: &str, count: usize) -> serde_json::Value {
    let lines = || bridge.log().into_iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    let found = eventually(SOON, || (lines().len() >= count).then(|| lines().swap_remove(count - 1)));
    found.unwrap_or_else(|| panic!("no {count} lines {message:?} in {:?}", bridge.log()))
}

fn lines(bridge: &Bridge, message: &str) -> usize {
    bridge.log().iter().filter(|line| line["message"] == message).count()
}

/// The calls that a service gets while so many decisions are made, all of them.
#[track_caller]
fn calls_of(service: &Service, engine: &mut Engine, first: u64, decisions: u64) -> usize {
    let before = service.calls().len();
    assert!((0..decisions).all(|n| is_decided(engine, first + n * 2)));
    service.calls().len() - before
}

/// Waits until nobody watches any more.
#[track_caller]
fn expect_no_watch(patient: &Patient) {
    assert!(eventually(SOON, || (patient.open_watches() == 0).then_some(())).is_some(), "{}", patient.open_watches());
}
