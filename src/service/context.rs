//! What comes with a request and is no part of it: time, metadata, trace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

use crate::pb::v1::Decision;

/// What a handler may want to know beside the request.
#[derive(Clone, Debug)]
pub struct Context {
    deadline: Option<Instant>,
    metadata: Arc<MetadataMap>,
    /// Of an item of a stream; a call has it in its metadata.
    trace: Option<Trace>,
}

#[derive(Clone, Debug)]
struct Trace {
    traceparent: String,
    tracestate: String,
    baggage: String,
}

impl Context {
    pub(super) fn of_call(metadata: MetadataMap, now: Instant) -> Self {
        let timeout = metadata.get("grpc-timeout").and_then(|value| grpc_timeout(value.to_str().ok()?));
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        Self { deadline, metadata: Arc::new(metadata), trace: None }
    }

    /// Takes the trace context out of `decision`.
    pub(super) fn of_item(decision: &mut Decision, metadata: Arc<MetadataMap>, now: Instant) -> Self {
        let Decision { remaining_us, traceparent, tracestate, baggage, .. } = decision;
        // 0 is not in the contract. Like a call without `grpc-timeout`, it is what a tool sends that was not told otherwise.
        let remaining = Some(*remaining_us).filter(|remaining| *remaining > 0).map(Duration::from_micros);
        let trace = Trace {
            traceparent: std::mem::take(traceparent),
            tracestate: std::mem::take(tracestate),
            baggage: std::mem::take(baggage),
        };
        Self { deadline: remaining.and_then(|remaining| now.checked_add(remaining)), metadata, trace: Some(trace) }
    }

    /// When the answer must be there. Later nobody waits for it, and the handler's future has been dropped. `None` if the caller
    /// set no time; the bridge always does.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is left until the deadline; zero once it has passed.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.deadline?.saturating_duration_since(Instant::now()))
    }

    /// The metadata of the call. On a stream, that with which the stream was opened: the same for all its decisions.
    #[must_use]
    pub fn metadata(&self) -> &MetadataMap {
        &self.metadata
    }

    /// `traceparent` of W3C Trace Context, if the decision is traced.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.propagated("traceparent", |trace| &trace.traceparent)
    }

    /// `tracestate` of W3C Trace Context, if there is one.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.propagated("tracestate", |trace| &trace.tracestate)
    }

    /// `baggage` of W3C Baggage, if there is any.
    #[must_use]
    pub fn baggage(&self) -> Option<&str> {
        self.propagated("baggage", |trace| &trace.baggage)
    }

    fn propagated(&self, header: &str, field: impl Fn(&Trace) -> &str) -> Option<&str> {
        let text = match &self.trace {
            Some(trace) => field(trace),
            None => self.metadata.get(header)?.to_str().ok()?,
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Up to eight digits and a unit, as gRPC has it; anything else is no timeout.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeout_has_digits_and_a_unit() {
        assert_eq!(grpc_timeout("50m"), Some(Duration::from_millis(50)));
        assert_eq!(grpc_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(grpc_timeout("7n"), Some(Duration::from_nanos(7)));
        for wrong in ["", "m", "50", "+5m", "123456789m", "5x", "5é"] {
            assert_eq!(grpc_timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_call_has_time_and_trace_in_its_metadata() {
        let now = Instant::now();
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", "2S".parse().unwrap());
        metadata.insert("traceparent", "00-1-2-01".parse().unwrap());
        let context = Context::of_call(metadata, now);
        assert_eq!(context.deadline(), Some(now + Duration::from_secs(2)));
        assert!(context.remaining().unwrap() <= Duration::from_secs(2));
        assert_eq!((context.traceparent(), context.tracestate()), (Some("00-1-2-01"), None));
    }

    #[test]
    fn an_item_has_its_own_time_and_trace() {
        let now = Instant::now();
        let mut metadata = MetadataMap::new();
        metadata.insert("traceparent", "of the stream".parse().unwrap());
        metadata.insert("x-tenant", "blue".parse().unwrap());
        let metadata = Arc::new(metadata);
        let mut decision = Decision { remaining_us: 1500, baggage: "a=b".into(), ..Decision::default() };
        let context = Context::of_item(&mut decision, Arc::clone(&metadata), now);
        assert_eq!(context.deadline(), Some(now + Duration::from_micros(1500)));
        assert_eq!((context.traceparent(), context.baggage()), (None, Some("a=b")));
        assert_eq!(context.metadata().get("x-tenant").unwrap(), "blue");
        for none in [0, u64::MAX] {
            let mut decision = Decision { remaining_us: none, ..Decision::default() };
            let deadline = Context::of_item(&mut decision, Arc::clone(&metadata), now).deadline();
            assert!(deadline.is_none_or(|deadline| deadline > now + Duration::from_secs(1 << 40)), "{none}");
        }
    }
}
