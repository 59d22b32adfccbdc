//! Spans.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Encoded, SpanFlags, Status};

use super::{attributes, nanos, scope};
use crate::otlp::env::Limits;
use crate::telemetry::trace::{Span, SpanKind};

pub(in crate::otlp) fn traces(resource: &Resource, spans: &[Span], limits: Limits) -> ExportTraceServiceRequest {
    let spans = spans.iter().map(|span| encode(span, limits)).collect();
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
    let resource_spans = ResourceSpans { resource: Some(resource.clone()), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// Only such spans are recorded (W3C Trace Context).
const SAMPLED: u32 = 1;

fn encode(span: &Span, limits: Limits) -> Encoded {
    let (attributes, dropped_attributes_count) = attributes(&span.attributes, limits);
    let is_remote = if span.parent_is_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    let kind = match span.kind {
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
    };
    let error = |message: &str| Status { message: message.to_owned(), code: StatusCode::Error.into() };
    Encoded {
        trace_id: span.context.trace_id.to_vec(),
        span_id: span.context.span_id.to_vec(),
        trace_state: span.trace_state.to_string(),
        parent_span_id: span.parent.map(Vec::from).unwrap_or_default(),
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32 | is_remote,
        name: span.name.to_string(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes,
        dropped_attributes_count,
        status: span.error.as_deref().map(error),
        ..Encoded::default()
    }
}
