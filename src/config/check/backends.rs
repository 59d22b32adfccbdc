//! `backends`: endpoints and metadata.

use std::collections::BTreeMap;

use super::Findings;
use super::address::{is_host_port, socket_path};
use crate::config::limits;
use crate::config::model::{BackendConfig, EndpointConfig};
use crate::config::path::Path;
use crate::config::raw;

/// The backends of the file, in the order of their names.
pub(super) fn check(raw: Option<&BTreeMap<String, raw::Backend>>, path: &Path, findings: &mut Findings) -> Vec<BackendConfig> {
    let backends = raw.into_iter().flatten();
    backends.map(|(name, raw)| backend(name, raw, &path.key(name), findings)).collect()
}

fn backend(name: &str, raw: &raw::Backend, path: &Path, findings: &mut Findings) -> BackendConfig {
    if !is_name(name) {
        findings.problems.add(path, name, "a name of 1 to 128 letters, digits, _, . and -");
    }
    BackendConfig {
        name: name.into(),
        endpoints: endpoints(raw.endpoints.as_deref().unwrap_or_default(), &path.key("endpoints"), findings),
        connect_timeout: findings.quantity(
            &path.key("connect_timeout"),
            raw.connect_timeout.as_deref(),
            &limits::CONNECT_TIMEOUT,
        ),
        required: raw.required.unwrap_or_default(),
        protocol: raw.protocol.unwrap_or_default(),
        metadata: metadata(raw.metadata.as_ref(), &path.key("metadata"), findings),
    }
}

fn endpoints(raw: &[String], path: &Path, findings: &mut Findings) -> Vec<EndpointConfig> {
    let mut endpoints = Vec::with_capacity(raw.len());
    for (index, text) in raw.iter().enumerate() {
        let at = path.index(index);
        match endpoint(text) {
            None => findings.problems.add(&at, text, "http://host:port or unix:/path"),
            Some(endpoint) if endpoints.contains(&endpoint) => findings.problems.add(&at, text, "each endpoint once"),
            Some(endpoint) => endpoints.push(endpoint),
        }
    }
    endpoints
}

fn endpoint(text: &str) -> Option<EndpointConfig> {
    if let Some(path) = socket_path(text) {
        return Some(EndpointConfig::Unix { path });
    }
    let authority = text.strip_prefix("http://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if !is_host_port(authority) || authority.ends_with(":0") {
        return None;
    }
    let uri = format!("http://{authority}").parse().ok()?;
    Some(EndpointConfig::Http { uri })
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
