//! What is measured of decisions, for each route.

use super::families as f;
use super::{Counter, Histogram, counter, histogram};
use crate::config::Cause;

/// The instruments of one route.
#[derive(Clone, Debug)]
pub(crate) struct RouteMetrics {
    pub(crate) duration: Histogram,
    decided: Counter,
    failed: [Counter; Cause::ALL.len()],
    fallbacks: Counter,
}

impl RouteMetrics {
    /// Of the route with this name; empty: messages without one.
    pub(crate) fn of(route: &str) -> Self {
        Self {
            duration: histogram(&f::DECISION_DURATION, &[route]),
            decided: counter(&f::DECISIONS, &[route, "ok"]),
            failed: Cause::ALL.map(|cause| counter(&f::DECISIONS, &[route, cause.as_str()])),
            fallbacks: counter(&f::FALLBACKS, &[route]),
        }
    }

    /// A decision ended: well, or in the fallback for `cause`.
    pub(crate) fn ended(&self, cause: Option<Cause>) {
        match cause.map(|cause| self.failed.get(cause.index())) {
            None => self.decided.increment(),
            Some(failed) => {
                failed.iter().for_each(|counter| counter.increment());
                self.fallbacks.increment();
            }
        }
    }
}
