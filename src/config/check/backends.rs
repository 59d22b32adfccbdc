//! `backends`: how to come to their endpoints, and metadata.

use std::collections::BTreeMap;

use super::{Findings, endpoints, resilience, tls};
use crate::config::error::Warning;
use crate::config::limits;
use crate::config::model::{BackendConfig, DnsConfig, EndpointConfig, HealthConfig};
use crate::config::path::Path;
use crate::config::raw;
use crate::config::units::format_duration;

/// The backends of the file, in the order of their names.
pub(super) fn check(raw: Option<&BTreeMap<String, raw::Backend>>, path: &Path, findings: &mut Findings) -> Vec<BackendConfig> {
    let backends = raw.into_iter().flatten();
    backends.map(|(name, raw)| backend(name, raw, &path.key(name), findings)).collect()
}

fn backend(name: &str, raw: &raw::Backend, path: &Path, findings: &mut Findings) -> BackendConfig {
    if !is_name(name) {
        findings.problems.add(path, name, "a name of 1 to 128 letters, digits, _, . and -");
    }
    let endpoints = endpoints::check(raw.endpoints.as_deref().unwrap_or_default(), &path.key("endpoints"), findings);
    if raw.dns.is_some() && !endpoints.iter().any(|endpoint| matches!(endpoint, EndpointConfig::Dns(_))) {
        findings.warnings.push(Warning { path: path.key("dns"), message: "no endpoint is dns:///host:port".to_owned() });
    }
    BackendConfig {
        name: name.into(),
        tls: tls::backend(raw, &endpoints, path, findings),
        endpoints,
        dns: dns(raw.dns.as_ref(), &path.key("dns"), findings),
        health: raw.health.as_ref().map(|raw| health(raw, &path.key("health"), findings)),
        connect_timeout: findings.quantity(
            &path.key("connect_timeout"),
            raw.connect_timeout.as_deref(),
            &limits::CONNECT_TIMEOUT,
        ),
        keepalive_timeout: findings.quantity(
            &path.key("keepalive_timeout"),
            raw.keepalive_timeout.as_deref(),
            &limits::KEEPALIVE_TIMEOUT,
        ),
        required: raw.required.unwrap_or_default(),
        protocol: raw.protocol.unwrap_or_default(),
        max_in_flight: raw.max_in_flight.unwrap_or(limits::BACKEND_IN_FLIGHT.fallback()),
        adaptive_limit: raw
            .adaptive_limit
            .as_ref()
            .map(|raw| resilience::adaptive_limit(raw, &path.key("adaptive_limit"), findings)),
        max_connections: raw.max_connections.unwrap_or(limits::ENDPOINT_CONNECTIONS.fallback()),
        retry: resilience::retry(raw.retry.as_ref()),
        hedging: resilience::hedging(raw, path, findings),
        retry_budget: resilience::budget(raw.retry_budget.as_ref(), &path.key("retry_budget"), findings),
        outlier_detection: resilience::outlier_detection(
            raw.outlier_detection.as_ref(),
            &path.key("outlier_detection"),
            findings,
        ),
        metadata: metadata(raw.metadata.as_ref(), &path.key("metadata"), findings),
    }
}

fn dns(raw: Option<&raw::Dns>, path: &Path, findings: &mut Findings) -> DnsConfig {
    let text = |of: fn(&raw::Dns) -> &Option<String>| raw.and_then(|raw| of(raw).as_deref());
    let min_ttl = findings.quantity(&path.key("min_ttl"), text(|raw| &raw.min_ttl), &limits::DNS_MIN_TTL);
    let max_ttl = findings.quantity(&path.key("max_ttl"), text(|raw| &raw.max_ttl), &limits::DNS_MAX_TTL);
    if min_ttl > max_ttl {
        let shown = |key: &str, time| findings.problems.shown(&path.key(key), format_duration(time));
        let (min, max) = (shown("min_ttl", min_ttl), shown("max_ttl", max_ttl));
        findings.problems.add(path, format_args!("min_ttl {min} and max_ttl {max}"), "min_ttl not above max_ttl");
    }
    DnsConfig { min_ttl, max_ttl }
}

fn health(raw: &raw::Health, path: &Path, findings: &mut Findings) -> HealthConfig {
    HealthConfig {
        service: raw.service.clone().unwrap_or_default(),
        interval: findings.quantity(&path.key("interval"), raw.interval.as_deref(), &limits::HEALTH_INTERVAL),
        timeout: findings.quantity(&path.key("timeout"), raw.timeout.as_deref(), &limits::HEALTH_TIMEOUT),
    }
}

fn metadata(raw: Option<&BTreeMap<String, String>>, path: &Path, findings: &mut Findings) -> Vec<(String, String)> {
    for (key, value) in raw.into_iter().flatten() {
        let at = path.key(key);
        if !is_metadata_key(key) {
            findings.problems.add(&at, key, "a key of lower-case letters, digits, _, . and -, not ending in -bin");
        } else if is_reserved(key) {
            findings.problems.add(&at, key, "a key that neither gRPC nor the bridge sets itself");
        } else if !is_metadata_value(value) {
            // It may be a secret, so it is not repeated.
            findings.problems.add(&at, "a value that HTTP cannot carry", "printable ASCII, without spaces at the ends");
        }
    }
    raw.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn is_name(name: &str) -> bool {
    let bytes = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=limits::MAX_NAME).contains(&name.len()) && name.bytes().all(bytes)
}

/// As gRPC's HTTP/2 mapping has it, for ASCII values.
fn is_metadata_key(key: &str) -> bool {
    let bytes = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    !key.is_empty() && !key.ends_with("-bin") && key.bytes().all(bytes)
}

fn is_reserved(key: &str) -> bool {
    const RESERVED: [&str; 10] = [
        "baggage",
        "connection",
        "content-length",
        "content-type",
        "host",
        "te",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "user-agent",
    ];
    key.starts_with("grpc-") || RESERVED.contains(&key)
}

fn is_metadata_value(value: &str) -> bool {
    value.trim() == value && value.bytes().all(|b| matches!(b, b' '..=b'~'))
}
