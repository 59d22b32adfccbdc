//! Which parts of the context go on to decision services.

use std::sync::OnceLock;

/// `OTEL_PROPAGATORS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Propagated {
    /// `traceparent` and `tracestate`.
    pub(crate) trace_context: bool,
    pub(crate) baggage: bool,
}

impl Propagated {
    /// Whether an arg of HAProxy's is looked at: baggage, or trace context.
    pub(super) fn takes(self, is_baggage: bool) -> bool {
        if is_baggage { self.baggage } else { self.trace_context }
    }
}

static PROPAGATED: OnceLock<Propagated> = OnceLock::new();

/// Only these from now on. Called once, before the first decision.
pub(crate) fn propagate(propagated: Propagated) {
    let _ = PROPAGATED.set(propagated);
}

/// Both, unless [`propagate`] said otherwise.
pub(crate) fn propagated() -> Propagated {
    PROPAGATED.get().copied().unwrap_or(Propagated { trace_context: true, baggage: true })
}
