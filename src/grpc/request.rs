//! A request on its way, and the headers it goes with.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::{Method, Uri, Version};

use super::framing;
use crate::config::BackendConfig;
use crate::telemetry::TraceContext;
use crate::telemetry::trace::{Begun, SpanContext};

/// The bytes of a message, with gRPC's prefix before them, so that a call of its own can send them as they are.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    framed: Vec<u8>,
    trace: Option<Box<TraceContext>>,
}

impl Request {
    /// A request whose message is what `write` appends; it is expected to be of about `capacity` bytes.
    pub(crate) fn new(capacity: usize, write: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let mut framed = Vec::with_capacity(framing::PREFIX + capacity);
        framed.extend_from_slice(&[0; framing::PREFIX]);
        let mut framed = write(framed);
        let length = framed.len() - framing::PREFIX;
        if let Some(prefix) = framed.first_chunk_mut() {
            *prefix = framing::prefix(length);
        }
        Self { framed, trace: None }
    }

    /// It is part of this trace.
    pub(crate) fn set_trace(&mut self, trace: Box<TraceContext>) {
        self.trace = Some(trace);
    }

    /// Lets the span of an attempt begin, if the trace is recorded.
    pub(super) fn begin_attempt(&mut self) -> Option<Begun> {
        self.trace.as_mut()?.begin_attempt()
    }

    /// The span that it belongs to, if the trace is recorded.
    pub(super) fn span(&self) -> Option<SpanContext> {
        self.trace.as_ref()?.span()
    }

    pub(super) fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_deref()
    }

    /// The message alone.
    pub(crate) fn message(&self) -> &[u8] {
        self.framed.get(framing::PREFIX..).unwrap_or_default()
    }

    /// Takes it apart: the message with its prefix, and the trace.
    pub(super) fn into_parts(self) -> (Vec<u8>, Option<Box<TraceContext>>) {
        (self.framed, self.trace)
    }

    pub(super) fn from_parts(framed: Vec<u8>, trace: Option<Box<TraceContext>>) -> Self {
        Self { framed, trace }
    }
}

/// The headers of every call to a backend: gRPC's own and the configured metadata.
pub(super) fn headers(backend: &BackendConfig) -> HeaderMap {
    let mut headers: HeaderMap = backend
        .metadata
        .iter()
        // Both were checked with the configuration.
        .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?)))
        .collect();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("spop-bridge/", env!("CARGO_PKG_VERSION"))));
    headers
}

/// The head of a call to the method at `uri`.
pub(super) fn head(uri: &Uri, headers: &HeaderMap) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    request
}

/// Puts the trace of a call into its headers.
pub(super) fn insert_trace(headers: &mut HeaderMap, trace: &TraceContext) {
    for (name, value) in trace.parts() {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
}

/// The value of `grpc-timeout` (gRPC over HTTP/2: at most 8 digits and a unit).
///
/// From 20 ms on in whole milliseconds: then it rarely changes from call to call, and HPACK sends a byte instead of the text.
pub(super) fn grpc_timeout(budget: Duration) -> HeaderValue {
    let (number, unit) = match budget.as_micros() {
        micros @ ..20_000 => (micros, 'u'),
        micros => (micros / 1_000, 'm'),
    };
    let number = number.min(99_999_999);
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or_else(|_| HeaderValue::from_static("1m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_for_grpc() {
        let request = Request::new(0, |mut out| {
            out.extend_from_slice(&[7; 300]);
            out
        });
        assert_eq!(request.message(), [7; 300]);
        assert_eq!(request.into_parts().0[..6], [0, 0, 0, 1, 44, 7]);
    }

    #[test]
    fn timeouts_have_at_most_8_digits() {
        let text = |budget| grpc_timeout(budget).to_str().unwrap().to_owned();
        assert_eq!(text(Duration::ZERO), "0u");
        assert_eq!(text(Duration::from_micros(19_999)), "19999u");
        assert_eq!(text(Duration::from_micros(47_999)), "47m");
        assert_eq!(text(Duration::from_secs(60)), "60000m");
        assert_eq!(text(Duration::MAX), "99999999m");
    }
}
