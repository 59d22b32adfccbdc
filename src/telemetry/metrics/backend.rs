//! What is measured of calls, for each backend: the metrics of gRFC A66, and ours.

use std::sync::OnceLock;
use std::time::Duration;

use tonic::Code;

use super::families as f;
use super::{Counter, Histogram, counter, histogram};
use crate::telemetry::trace::SpanContext;

/// The two ways to carry a decision. On the stream each decision counts as an attempt of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Decide,
    DecideStream,
}

impl Method {
    pub(crate) const ALL: [Self; 2] = [Self::Decide, Self::DecideStream];

    /// The full name, as gRPC's conventions want it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "spopbridge.v1.DecisionService/Decide",
            Self::DecideStream => "spopbridge.v1.DecisionService/DecideStream",
        }
    }
}

/// Why there is an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    First,
    Retry,
    /// No service had seen the one before.
    Transparent,
    Hedge,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Transparent => "transparent",
            Self::Hedge => "hedge",
        }
    }
}

/// The instruments of one backend.
#[derive(Debug)]
pub(crate) struct BackendMetrics {
    backend: Box<str>,
    target: Box<str>,
    started: [Counter; Method::ALL.len()],
    /// Made when the first attempt ends so.
    attempts: [[OnceLock<Histogram>; CODES]; Method::ALL.len()],
    calls: [[OnceLock<Histogram>; CODES]; Method::ALL.len()],
    retries: Counter,
    transparent: Counter,
    hedges: Counter,
    ejections: [Counter; 2],
}

/// Status codes of gRPC: 0 to 16.
const CODES: usize = 17;

impl BackendMetrics {
    /// `target` is the endpoint, if the configuration has one; else the backend.
    pub(crate) fn of(backend: &str, target: &str) -> Self {
        let again = |reason: Reason| counter(&f::RETRIES, &[backend, reason.as_str()]);
        let metrics = Self {
            backend: backend.into(),
            target: target.into(),
            started: Method::ALL.map(|method| counter(&f::ATTEMPTS_STARTED, &[backend, method.as_str(), target])),
            attempts: Default::default(),
            calls: Default::default(),
            retries: again(Reason::Retry),
            transparent: again(Reason::Transparent),
            hedges: again(Reason::Hedge),
            ejections: ["consecutive_failures", "success_rate"].map(|reason| counter(&f::EJECTIONS, &[backend, reason])),
        };
        // So that there is a series before the first decision.
        for method in Method::ALL {
            metrics.call(method, Code::Ok);
        }
        metrics
    }

    pub(crate) fn started(&self, method: Method, reason: Reason) {
        self.started.get(method as usize).iter().for_each(|counter| counter.increment());
        match reason {
            Reason::First => {}
            Reason::Retry => self.retries.increment(),
            Reason::Transparent => self.transparent.increment(),
            Reason::Hedge => self.hedges.increment(),
        }
    }

    /// An attempt ended with `code`, which is the bridge's own where the service had none to give.
    pub(crate) fn attempted(&self, method: Method, code: Code, duration: Duration, span: Option<SpanContext>) {
        let Some(histogram) = self.attempts.get(method as usize).and_then(|codes| codes.get(code as usize)) else { return };
        let make = || histogram_of_attempts(self, method, code);
        histogram.get_or_init(make).observe(duration, span);
    }

    /// A decision ended with `code`, after its last attempt was made by `method`.
    pub(crate) fn called(&self, method: Method, code: Code, duration: Duration, span: Option<SpanContext>) {
        if let Some(histogram) = self.call(method, code) {
            histogram.observe(duration, span);
        }
    }

    fn call(&self, method: Method, code: Code) -> Option<&Histogram> {
        let histogram = self.calls.get(method as usize)?.get(code as usize)?;
        let labels = [&*self.backend, method.as_str(), &self.target, code_name(code)];
        Some(histogram.get_or_init(|| self::histogram(&f::CALL_DURATION, &labels)))
    }

    pub(crate) fn ejected(&self, by_success_rate: bool) {
        self.ejections.get(usize::from(by_success_rate)).iter().for_each(|counter| counter.increment());
    }
}

fn histogram_of_attempts(metrics: &BackendMetrics, method: Method, code: Code) -> Histogram {
    histogram(&f::ATTEMPT_DURATION, &[&metrics.backend, method.as_str(), &metrics.target, code_name(code)])
}

/// As gRPC writes it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
