//! `OTEL_EXPORTER_OTLP_*`: where a signal goes, and how. Each has a form for one signal, which counts before the one for all.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::variables::Variables;
use crate::config::{BackendTls, Identity};
use crate::telemetry::metrics::Signal;

/// Where and how to send one signal.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) protocol: Protocol,
    /// What requests go to, with scheme, authority and path.
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// For one attempt.
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    /// Used where the URI says https.
    pub(crate) tls: BackendTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
}

const TIMEOUT: Duration = Duration::from_secs(10);

impl Receiver {
    /// Where and how, and whether the endpoint was said; `None` if it was, and cannot be used: better nowhere than to somebody else.
    pub(super) fn read(variables: &mut Variables, signal: Signal) -> Option<(Self, bool)> {
        let names = Names(signal);
        let protocol = names.protocol(variables);
        let insecure = names.first(variables, "INSECURE").is_some_and(|(name, _)| variables.flag(&name));
        let said = names.endpoint(variables, protocol, insecure);
        let is_said = said.is_some();
        let uri = said.unwrap_or_else(|| match protocol {
            Protocol::Grpc => grpc_target(&Uri::from_static("http://localhost:4317"), insecure, signal),
            Protocol::HttpProtobuf => http_target(&Uri::from_static("http://localhost:4318"), false, signal),
        });
        let headers = names.headers(variables);
        let timeout = names.of("TIMEOUT").map(|name| variables.duration(&name)).into_iter().flatten().next().unwrap_or(TIMEOUT);
        let (gzip, tls) = (names.gzip(variables), names.tls(variables));
        // Last, so that all variables are known.
        Some((Self { protocol, uri: uri?, headers, timeout, gzip, tls }, is_said))
    }
}

/// The variables of one signal.
struct Names(Signal);

impl Names {
    /// The one for this signal, then the one for all.
    fn of(&self, what: &str) -> [String; 2] {
        let signal = self.0.as_str().to_ascii_uppercase();
        [format!("OTEL_EXPORTER_OTLP_{signal}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")]
    }

    /// The one that counts, and its value.
    fn first(&self, variables: &mut Variables, what: &str) -> Option<(String, String)> {
        let values = self.of(what).map(|name| variables.text(&name).map(|value| (name, value)));
        values.into_iter().flatten().next()
    }

    fn protocol(&self, variables: &mut Variables) -> Protocol {
        let Some((name, value)) = self.first(variables, "PROTOCOL") else { return Protocol::HttpProtobuf };
        match &*value.to_ascii_lowercase() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::HttpProtobuf,
            other => {
                variables.warn(&name, format_args!("found {other}, expected grpc or http/protobuf; taken as http/protobuf"));
                Protocol::HttpProtobuf
            }
        }
    }

    fn gzip(&self, variables: &mut Variables) -> bool {
        let Some((name, value)) = self.first(variables, "COMPRESSION") else { return false };
        match &*value.to_ascii_lowercase() {
            "gzip" => true,
            "none" => false,
            other => {
                variables.warn(&name, format_args!("found {other}, expected gzip or none; taken as none"));
                false
            }
        }
    }

    /// What requests go to, if it is said, and if it can be used.
    fn endpoint(&self, variables: &mut Variables, protocol: Protocol, insecure: bool) -> Option<Option<Uri>> {
        let [own, _] = self.of("ENDPOINT");
        let (name, value) = self.first(variables, "ENDPOINT")?;
        let parsed = value.parse::<Uri>().ok().and_then(|uri| match protocol {
            Protocol::Grpc => grpc_target(&uri, insecure, self.0),
            Protocol::HttpProtobuf => http_target(&uri, name == own, self.0),
        });
        if parsed.is_none() {
            // Not the value: there may be a password in it.
            variables.warn(
                &name,
                "expected http://host:port or https://host:port, without user or password; what it is for is not exported",
            );
        }
        Some(parsed)
    }

    fn tls(&self, variables: &mut Variables) -> BackendTls {
        let mut file = |what| self.first(variables, what).map(|(name, path)| (name, PathBuf::from(path)));
        let [ca, certificate, key] = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"].map(&mut file);
        let identity = match (certificate, key) {
            (Some((_, certificate)), Some((_, key))) => Some(Identity { certificate, key }),
            (None, None) => None,
            (Some((name, _)), None) | (None, Some((name, _))) => {
                variables.warn(&name, "CLIENT_CERTIFICATE and CLIENT_KEY must both be set; ignored");
                None
            }
        };
        BackendTls { ca: ca.map(|(_, ca)| ca), identity, ..BackendTls::default() }
    }

    fn headers(&self, variables: &mut Variables) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some((name, value)) = self.first(variables, "HEADERS") else { return headers };
        for (number, pair) in value.split(',').map(str::trim).enumerate().filter(|(_, pair)| !pair.is_empty()) {
            match header(pair) {
                Some((key, value)) if is_free(&key) => _ = headers.append(key, value),
                Some((key, _)) => variables.warn(&name, format_args!("{key} is not yours to set; left out")),
                None => variables.warn(&name, format_args!("number {} is not name=value; left out", number + 1)),
            }
        }
        headers
    }
}

/// `name=value`, the value percent-encoded where it must be.
fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some((name.trim().to_ascii_lowercase().parse().ok()?, value))
}

/// Not one that says how the request is to be read.
fn is_free(name: &HeaderName) -> bool {
    let name = name.as_str();
    let taken = ["content-type", "content-length", "content-encoding", "transfer-encoding", "te", "host", "connection"];
    !name.starts_with("grpc-") && !taken.contains(&name)
}

/// Without a scheme it is TLS, unless it may be insecure. A path means nothing.
fn grpc_target(uri: &Uri, insecure: bool, signal: Signal) -> Option<Uri> {
    let scheme = match uri.scheme() {
        Some(scheme) => scheme.clone(),
        None if insecure => Scheme::HTTP,
        None => Scheme::HTTPS,
    };
    target(scheme, uri.authority()?.clone(), PathAndQuery::from_static(grpc_path(signal)))
}

/// An endpoint for all signals is a base to which the signal's path is added; one for a signal is taken as it is.
fn http_target(uri: &Uri, is_own: bool, signal: Signal) -> Option<Uri> {
    let path = match uri.path_and_query() {
        Some(path) if is_own => path.clone(),
        path => {
            let base = path.map_or("", PathAndQuery::path).trim_end_matches('/');
            format!("{base}{}", http_path(signal)).parse().ok()?
        }
    };
    target(uri.scheme()?.clone(), uri.authority()?.clone(), path)
}

/// Not with a password, which would stand in every line about it; that belongs into a header.
fn target(scheme: Scheme, authority: Authority, path: PathAndQuery) -> Option<Uri> {
    let (text, host) = (authority.as_str(), authority.host());
    let has_port = text.len() > host.len();
    let is_good = [Scheme::HTTP, Scheme::HTTPS].contains(&scheme)
        && !text.contains('@')
        && !host.is_empty()
        && (!has_port || authority.port_u16().is_some());
    is_good.then(|| Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()).flatten()
}

const fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

const fn http_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "/v1/traces",
        Signal::Metrics => "/v1/metrics",
        Signal::Logs => "/v1/logs",
    }
}
