//! Happenings on the gRPC side.

use std::time::Duration;

use tracing::{info, warn};

use crate::config::{Cause, format_duration};
use crate::telemetry::Count;
use crate::telemetry::metrics::{BackendMetrics, Method, Reason};
use crate::telemetry::throttle::Throttle;
use crate::telemetry::trace::hex;

/// A branch of a NOTIFY got a fallback instead of a decision.
pub(crate) struct DecisionFailed<'a> {
    pub(crate) cause: Cause,
    /// The route's name; empty for a message without one.
    pub(crate) route: &'a str,
    pub(crate) backend: &'a str,
    /// Of the trace that the NOTIFY belongs to, if HAProxy has named one.
    pub(crate) trace_id: Option<[u8; 16]>,
    /// What went wrong, for people.
    pub(crate) detail: &'a dyn std::fmt::Display,
    /// The ACK has the fallback, or a part of it; else nothing of it.
    pub(crate) sent: bool,
    /// The variables of the fallback that are not in the ACK.
    pub(crate) left_out: Option<&'a dyn std::fmt::Display>,
}

impl DecisionFailed<'_> {
    pub(crate) fn record(&self) {
        // One line a second for each cause: a flood of timeouts does not hide the one bad response, nor the one fallback that is not sent.
        static SENT: [Throttle; Cause::ALL.len()] = [const { Throttle::new() }; Cause::ALL.len()];
        static LEFT_OUT: [Throttle; Cause::ALL.len()] = [const { Throttle::new() }; Cause::ALL.len()];
        let count = match self.cause {
            Cause::Timeout => Count::Timeout,
            Cause::Unavailable => Count::Unavailable,
            Cause::Overloaded => Count::Overloaded,
            Cause::Rejected => Count::Rejected,
            Cause::InvalidResponse => Count::InvalidResponse,
            Cause::Unrouted => Count::Unrouted,
            Cause::Internal => Count::Internal,
        };
        count.increment();
        let throttles = if self.left_out.is_some() { &LEFT_OUT } else { &SENT };
        if let Some(suppressed) = throttles.get(self.cause.index()).and_then(Throttle::admit) {
            let Self { route, backend, detail, .. } = *self;
            let (trace_id, left_out) = (self.trace_id.map(|id| hex(&id)), self.left_out.map(tracing::field::display));
            let cause = self.cause.as_str();
            if self.sent {
                warn!(cause, route, backend, trace_id, suppressed, left_out, detail = %detail, "decision failed, fallback sent");
            } else {
                warn!(cause, route, backend, trace_id, suppressed, left_out, detail = %detail, "decision failed, fallback left out");
            }
        }
    }
}

/// Why something that was to be set is not in an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftOutReason {
    /// A fallback gives way to another service's answer about the same variable.
    Answered,
    /// Another answer, or another fallback, that names the same variable comes first.
    Conflict,
    /// The frame has no room for it.
    NoRoom,
}

impl LeftOutReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Conflict => "conflict",
            Self::NoRoom => "no_room",
        }
    }

    /// Counts one action.
    pub(crate) fn count(self) {
        match self {
            Self::Answered => Count::LeftOutAnswered.increment(),
            Self::Conflict => Count::LeftOutConflict.increment(),
            Self::NoRoom => Count::LeftOutNoRoom.increment(),
        }
    }
}

/// Not all that a service has answered is in the ACK: another one has answered about the same variables, and counts.
pub(crate) struct AnswerCutShort<'a> {
    pub(crate) route: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) trace_id: Option<[u8; 16]>,
    pub(crate) left_out: &'a dyn std::fmt::Display,
}

impl AnswerCutShort<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        if let Some(suppressed) = THROTTLE.admit() {
            let Self { route, backend, left_out, .. } = *self;
            let trace_id = self.trace_id.map(|id| hex(&id));
            warn!(route, backend, trace_id, suppressed, left_out = %left_out, "two services have answered about one variable, the first in message order counts");
        }
    }
}

/// An ACK has no room for `decision_variables`.
pub(crate) struct DecisionVariablesLeftOut {
    pub(crate) count: usize,
}

impl DecisionVariablesLeftOut {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        (0..self.count).for_each(|_| LeftOutReason::NoRoom.count());
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(suppressed, "decision_variables left out, the frame has no room for them");
        }
    }
}

/// An endpoint can be called.
pub(crate) struct EndpointUp<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
}

impl EndpointUp<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        if let Some(suppressed) = THROTTLE.admit() {
            info!(backend = self.backend, endpoint = self.endpoint, suppressed, "endpoint connected");
        }
    }
}

/// An endpoint cannot be called.
pub(crate) struct EndpointDown<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) error: &'a dyn std::fmt::Display,
}

impl EndpointDown<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Self { backend, endpoint, error } = *self;
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(backend, endpoint, error = %error, suppressed, "endpoint not connected, trying on");
        }
    }
}

/// A decision is sent to an endpoint.
pub(crate) struct AttemptStarted<'a> {
    pub(crate) metrics: &'a BackendMetrics,
    pub(crate) method: Method,
    pub(crate) reason: Reason,
}

impl AttemptStarted<'_> {
    pub(crate) fn record(&self) {
        match self.reason {
            Reason::Retry => Count::Retries.increment(),
            Reason::Hedge => Count::Hedges.increment(),
            Reason::First | Reason::Transparent => {}
        }
        self.metrics.started(self.method, self.reason);
    }
}

/// A worker leaves an endpoint out.
pub(crate) struct EndpointEjected<'a> {
    pub(crate) metrics: &'a BackendMetrics,
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
    /// It has a worse success rate than others; else it failed too often in a row.
    pub(crate) by_success_rate: bool,
    pub(crate) time: Duration,
}

impl EndpointEjected<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        Count::Ejections.increment();
        self.metrics.ejected(self.by_success_rate);
        let Self { backend, endpoint, time, .. } = *self;
        let reason = if self.by_success_rate { "success rate" } else { "consecutive failures" };
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(backend, endpoint, reason, time = format_duration(time), suppressed, "endpoint ejected");
        }
    }
}

/// An endpoint that was left out answers again.
pub(crate) struct EndpointBack<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
}

impl EndpointBack<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        if let Some(suppressed) = THROTTLE.admit() {
            info!(backend = self.backend, endpoint = self.endpoint, suppressed, "endpoint answers again");
        }
    }
}

/// A service does not take the stream; decisions go to it by calls.
pub(crate) struct StreamRefused<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
    /// It does not have the method, which is its right.
    pub(crate) is_missing: bool,
    pub(crate) status: &'a dyn std::fmt::Display,
}

impl StreamRefused<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Some(suppressed) = THROTTLE.admit() else { return };
        let Self { backend, endpoint, is_missing, status } = *self;
        if is_missing {
            info!(backend, endpoint, suppressed, "the service has no DecideStream, each decision is a Decide call");
        } else {
            warn!(backend, endpoint, status = %status, suppressed, "the service refused DecideStream, each decision is a Decide call until a reconnect");
        }
    }
}

/// An answer came for a decision that nobody waits for any more, or for one that was answered before.
pub(crate) struct LateAnswer;

impl LateAnswer {
    pub(crate) fn record(&self) {
        Count::LateAnswers.increment();
    }
}

/// An answer on a stream cannot be brought to a decision.
pub(crate) struct UnknownAnswer<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) problem: &'a dyn std::fmt::Display,
}

impl UnknownAnswer<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        Count::UnknownAnswers.increment();
        if let Some(suppressed) = THROTTLE.admit() {
            let Self { endpoint, problem } = *self;
            warn!(endpoint, suppressed, problem = %problem, "an answer on the stream is for no decision");
        }
    }
}
