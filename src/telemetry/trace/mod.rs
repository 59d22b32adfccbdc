//! Traces: the context that HAProxy hands in, whether it is sampled, and the spans of those that are.

#[cfg(feature = "bridge")]
mod context;
#[cfg(feature = "bridge")]
mod propagation;
#[cfg(feature = "bridge")]
mod sampler;
#[cfg(feature = "bridge")]
mod span;

#[cfg(feature = "bridge")]
pub(crate) use context::{Begun, TraceContext, hex};
#[cfg(feature = "bridge")]
pub(crate) use propagation::{Propagated, propagate};
#[cfg(feature = "bridge")]
pub(crate) use sampler::{Root, Sampler, start};
#[cfg(feature = "bridge")]
pub(crate) use span::{Attribute, SPANS, Span, SpanKind, wall_clock};

/// Where a sampled measurement or span belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanContext {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
}
