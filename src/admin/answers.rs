//! What the answers in JSON say.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::state::State;
use crate::grpc::{BackendStatus, EndpointStatus};
use crate::telemetry::connections::{Connection, Engine};

/// Connections that are told one by one. An answer must not take this thread for long.
const MAX_LISTED: usize = 1_000;
/// Characters of an engine's id. HAProxy's have 36.
const MAX_ENGINE_ID: usize = 64;

pub(super) fn config(state: &State) -> Value {
    let running = state.running();
    let refused = state.refused().map(|refused| json!({ "at": date(refused.at), "problems": refused.problems }));
    let certificates: BTreeMap<_, _> = running.expiries.iter().map(|(place, end)| (place, date(*end))).collect();
    json!({
        "generated_at": now(),
        "version": env!("CARGO_PKG_VERSION"),
        "generation": running.generation,
        "source": *running.source,
        "loaded_at": date(running.loaded),
        // The configuration that was read last, if it was no good.
        "refused": refused,
        "certificates_end": certificates,
        "config": running.config.effective.tree(),
    })
}

pub(super) fn backends(state: &State) -> Value {
    let backends: Vec<_> = state.running().backends.iter().map(|backend| self::backend(&backend.status())).collect();
    json!({ "generated_at": now(), "backends": backends })
}

fn backend(backend: &BackendStatus) -> Value {
    let unresolved = backend.unresolved.as_ref().map(|(endpoint, reason)| json!({ "endpoint": **endpoint, "reason": **reason }));
    json!({
        "name": *backend.name,
        "required": backend.required,
        "in_flight": backend.in_flight,
        "max_in_flight": backend.max_in_flight,
        "adaptive_limits": backend.adaptive_limits,
        "retry_budget": backend.retry_budget.floor(),
        "resolving": backend.resolving,
        "unresolved": unresolved,
        "endpoints": backend.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn endpoint(endpoint: &EndpointStatus) -> Value {
    let workers: BTreeMap<_, _> = endpoint.states.iter().map(|(state, workers)| (state.as_str(), workers)).collect();
    json!({
        "endpoint": *endpoint.endpoint,
        "address": endpoint.address,
        "state": endpoint.state().as_str(),
        "workers": workers,
        "reason": endpoint.reason.as_deref(),
        "protocol": endpoint.protocol,
        "connections": endpoint.connections,
        "in_flight": endpoint.in_flight,
        "latency_ms": endpoint.latency.map(millis),
        "ejections": endpoint.ejections,
        "ejected_until": endpoint.ejected_for.and_then(|left| SystemTime::now().checked_add(left)).map(date),
    })
}

pub(super) fn connections(state: &State) -> Value {
    let connections = crate::telemetry::connections::connections();
    let running = state.running();
    let listeners = running.listeners.iter().map(|(name, address)| {
        let own = connections.iter().filter(|connection| connection.listener == *name);
        let in_flight: u64 = own.clone().map(|connection| connection.in_flight.load(Ordering::Relaxed)).sum();
        json!({ "name": **name, "address": address, "connections": own.count(), "in_flight": in_flight })
    });
    json!({
        "generated_at": now(),
        "listeners": listeners.collect::<Vec<_>>(),
        "connections": connections.iter().take(MAX_LISTED).map(|connection| self::connection(connection)).collect::<Vec<_>>(),
    })
}

fn connection(connection: &Connection) -> Value {
    let engine = connection.engine.get();
    json!({
        "listener": *connection.listener,
        "peer": *connection.peer,
        "engine": engine.map(engine_id),
        // The number by which metrics know the engine.
        "engine_slot": engine.map(|engine| engine.slot.to_string()),
        "max_frame_size": engine.map(|engine| engine.max_frame_size),
        "age_s": connection.since.elapsed().unwrap_or_default().as_secs(),
        "notifies": connection.notifies.load(Ordering::Relaxed),
        "in_flight": connection.in_flight.load(Ordering::Relaxed),
    })
}

/// What a peer says of itself: whatever it is, it is text and not too much.
fn engine_id(engine: &Engine) -> String {
    String::from_utf8_lossy(&engine.id).chars().take(MAX_ENGINE_ID).collect()
}

pub(super) fn log_level(state: &State) -> Value {
    let configured = state.running().config.log.level.as_str();
    json!({ "generated_at": now(), "level": state.log_level().as_str(), "configured": configured })
}

fn now() -> String {
    date(SystemTime::now())
}

/// As RFC 3339 has it, in UTC.
fn date(time: SystemTime) -> String {
    let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let nanos = i128::try_from(millis).unwrap_or_default().saturating_mul(1_000_000);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
