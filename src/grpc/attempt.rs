//! What is told of an attempt: gRFC A66's metrics and, if the trace is recorded, a span by OpenTelemetry's conventions for RPC.

use std::time::{Duration, Instant};

use tonic::Code;

use super::channel::Carrier;
use super::endpoint::Endpoint;
use super::members::Address;
use super::request::Request;
use super::target::Target;
use super::trail::Trail;
use crate::telemetry::event::AttemptStarted;
use crate::telemetry::metrics::{BackendMetrics, Method, Reason, code_name};
use crate::telemetry::trace::{Attribute, Begun, Span, SpanKind, wall_clock};

/// An attempt that has begun.
#[derive(Debug)]
pub(super) struct Attempt {
    method: Method,
    span: Option<Box<AttemptSpan>>,
}

#[derive(Debug)]
struct AttemptSpan {
    begun: Begun,
    number: u32,
    reason: Reason,
}

impl Attempt {
    pub(super) fn begin(
        carrier: &Carrier,
        metrics: &BackendMetrics,
        reason: Reason,
        request: &mut Request,
        trail: &Trail,
    ) -> Self {
        let method = match carrier {
            Carrier::Stream(_) => Method::DecideStream,
            Carrier::Calls(..) => Method::Decide,
        };
        AttemptStarted { metrics, method, reason }.record();
        let number = trail.begin(method);
        let span = request.begin_attempt().map(|begun| Box::new(AttemptSpan { begun, number, reason }));
        Self { method, span }
    }

    /// It began at `start` and took `latency`; `problem` is what went wrong.
    pub(super) fn end(
        self,
        endpoint: &Endpoint,
        metrics: &BackendMetrics,
        start: Instant,
        latency: Duration,
        code: Code,
        problem: Option<&dyn std::fmt::Display>,
    ) {
        let context = self.span.as_ref().map(|span| span.begun.context);
        metrics.attempted(self.method, code, latency, context);
        if let Some(span) = self.span {
            let start = wall_clock(start);
            let AttemptSpan { begun, number, reason } = *span;
            let mut attributes = vec![
                ("rpc.system.name", Attribute::Static("grpc")),
                ("rpc.method", Attribute::Static(self.method.as_str())),
                ("rpc.response.status_code", Attribute::Static(code_name(code))),
                ("spop_bridge.backend", Attribute::Text(endpoint.target.backend_name())),
                ("spop_bridge.attempt.number", Attribute::Integer(number.into())),
                ("spop_bridge.attempt.reason", Attribute::Static(reason.as_str())),
            ];
            if code != Code::Ok {
                attributes.push(("error.type", Attribute::Static(code_name(code))));
            }
            describe(&endpoint.target, &mut attributes);
            Span {
                context: begun.context,
                parent: begun.parent,
                parent_is_remote: false,
                trace_state: begun.trace_state,
                kind: SpanKind::Client,
                name: self.method.as_str().into(),
                start,
                end: start + latency,
                attributes,
                error: problem.map(|problem| problem.to_string().into()),
            }
            .finish();
        }
    }
}

/// Where the server is: as it was configured, and as it was found.
fn describe(target: &Target, attributes: &mut Vec<(&'static str, Attribute)>) {
    let (authority, peer) = match &target.address {
        Address::Host(authority) => (authority, None),
        Address::Resolved { address, authority } => (authority, Some(address)),
        Address::Unix(path) => {
            attributes.push(("server.address", Attribute::Text(path.display().to_string().into())));
            return;
        }
    };
    attributes.push(("server.address", Attribute::Text(authority.host().trim_matches(['[', ']']).into())));
    attributes.extend(authority.port_u16().map(|port| ("server.port", Attribute::Integer(port.into()))));
    if let Some(peer) = peer {
        attributes.push(("network.peer.address", Attribute::Text(peer.ip().to_string().into())));
        attributes.push(("network.peer.port", Attribute::Integer(peer.port().into())));
    }
}
