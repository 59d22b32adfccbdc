//! `backends.*.endpoints`: addresses and names of gRPC servers.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::Findings;
use super::address::{is_host_port, socket_path};
use crate::config::model::{DnsName, EndpointConfig};
use crate::config::path::Path;
use crate::config::raw::ENDPOINT_TITLE;

/// The endpoints of a backend, in their order.
pub(super) fn check(raw: &[String], path: &Path, findings: &mut Findings) -> Vec<EndpointConfig> {
    let mut endpoints = Vec::with_capacity(raw.len());
    let mut seen = HashSet::new();
    for (index, text) in raw.iter().enumerate() {
        let at = path.index(index);
        match endpoint(text) {
            Err(expected) => findings.problems.add(&at, text, expected),
            Ok(endpoint) if !seen.insert(endpoint.clone()) => findings.problems.add(&at, text, "each endpoint once"),
            Ok(endpoint) => endpoints.push(endpoint),
        }
    }
    endpoints
}

/// The endpoint, or what was expected.
fn endpoint(text: &str) -> Result<EndpointConfig, &'static str> {
    if let Some(path) = socket_path(text) {
        return Ok(EndpointConfig::Unix { path });
    }
    if let Some(name) = text.strip_prefix("dns:") {
        return dns(name).map(EndpointConfig::Dns);
    }
    http(text).ok_or(ENDPOINT_TITLE)
}

fn http(text: &str) -> Option<EndpointConfig> {
    let (scheme, authority) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if !is_host_port(authority) || authority.ends_with(":0") {
        return None;
    }
    let uri = format!("{scheme}://{authority}").parse().ok()?;
    Some(EndpointConfig::Http { uri })
}

/// What follows `dns:` in a name as gRPC writes it (naming.md): `//server/host:port`, the server and the port optional.
fn dns(text: &str) -> Result<DnsName, &'static str> {
    let (server, name) = match text.strip_prefix("//") {
        Some(rest) => rest.split_once('/').ok_or("dns:///host:port, with three slashes")?,
        None => ("", text),
    };
    let server = match server {
        "" => None,
        server => Some(dns_server(server).ok_or("an IP address, with or without a port, between // and /")?),
    };
    let (host, port) = match name.rsplit_once(':').filter(|_| is_host_port(name)) {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or(DNS_NAME)?)),
        // Without a port the name is for SRV records, which addresses do not have.
        None if is_host_port(&format!("{name}:1")) && name.parse::<IpAddr>().is_err() && !name.starts_with('[') => (name, None),
        None => return Err(DNS_NAME),
    };
    Ok(DnsName { server, host: host.to_ascii_lowercase(), port })
}

fn dns_server(text: &str) -> Option<SocketAddr> {
    const PORT: u16 = 53;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = text.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse().ok()?, PORT)))?;
    (address.port() != 0).then_some(address)
}

const DNS_NAME: &str = "dns:///host:port, or dns:///name for SRV records";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_dns() {
        let read = |text: &str| match endpoint(text) {
            Ok(EndpointConfig::Dns(name)) => Ok(name.to_string()),
            other => Err(format!("{other:?}")),
        };
        for (text, expected) in [
            ("dns:///decisions.default.svc:50051", "dns:///decisions.default.svc:50051"),
            ("dns:Decisions:50051", "dns:///decisions:50051"),
            ("dns:///decisions.", "dns:///decisions."),
            ("dns:///_grpc._tcp.decisions", "dns:///_grpc._tcp.decisions"),
            ("dns:///10.0.0.1:50051", "dns:///10.0.0.1:50051"),
            ("dns:///[::1]:50051", "dns:///[::1]:50051"),
            ("dns://10.0.0.10/decisions:1", "dns://10.0.0.10:53/decisions:1"),
            ("dns://10.0.0.10:5353/decisions:1", "dns://10.0.0.10:5353/decisions:1"),
            ("dns://[::1]:5353/decisions:1", "dns://[::1]:5353/decisions:1"),
            ("dns://::1/decisions:1", "dns://[::1]:53/decisions:1"),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()), "{text}");
            assert_eq!(read(expected), Ok(expected.to_owned()));
        }
        for bad in [
            "dns:",
            "dns:///",
            "dns://decisions:50051",
            "dns://server/decisions:50051",
            "dns://10.0.0.10:0/decisions:1",
            "dns:///decisions:0",
            "dns:///decisions:http",
            "dns:///10.0.0.1",
            "dns:///::1",
            "dns:///[::1]",
            "dns:///a/b:1",
            "dns:///a:1/",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
