//! Happenings on the control thread.

use std::fmt::Display;

use tracing::{error, info, warn};

use crate::telemetry::throttle::Throttle;
use crate::telemetry::{Count, few};

/// A new configuration is in effect.
pub(crate) struct ConfigReloaded<'a> {
    /// How many have been, the one of the start among them.
    pub(crate) generation: u64,
    /// What is different, for people.
    pub(crate) changes: &'a dyn Display,
}

impl ConfigReloaded<'_> {
    pub(crate) fn record(&self) {
        Count::ConfigReloads.increment();
        info!(generation = self.generation, changes = %self.changes, "configuration reloaded");
    }
}

/// A new configuration cannot be used.
pub(crate) struct ConfigRefused<'a> {
    /// Of the one that goes on.
    pub(crate) generation: u64,
    /// Everything that is wrong, a line each.
    pub(crate) problems: &'a [String],
}

impl ConfigRefused<'_> {
    pub(crate) fn record(&self) {
        Count::ConfigRefusals.increment();
        for problem in self.problems.iter().take(PROBLEMS) {
            error!(%problem, "configuration");
        }
        if let Some(more @ 1..) = self.problems.len().checked_sub(PROBLEMS) {
            error!(more, "configuration: more problems than are logged, `spop-bridge check` has them all");
        }
        let (generation, problems) = (self.generation, self.problems.len());
        error!(generation, problems, "configuration not reloaded, the old one goes on");
    }
}

/// Lines about one configuration. More would push others out of the queue that the log has.
const PROBLEMS: usize = 100;

/// A line of the decision log was left out: there are too many in this second, or they are too long.
pub(crate) struct DecisionNotLogged;

impl DecisionNotLogged {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(suppressed, "decision log: a line left out, max_per_second or max_bytes_per_second is reached");
        }
    }
}

/// Which required backends cannot decide has changed, and with it perhaps what health checks are told.
pub(crate) struct ReadinessChanged<'a> {
    /// The names of required backends without a server that takes decisions; none: ready.
    pub(crate) missing: &'a [&'a str],
    /// Nothing was known before.
    pub(crate) at_start: bool,
}

impl ReadinessChanged<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Some(suppressed) = THROTTLE.admit() else { return };
        let backends = few(self.missing);
        if self.missing.is_empty() {
            info!(suppressed, "ready: every required backend has a server that takes decisions");
        } else if self.at_start {
            info!(backends, suppressed, "not ready yet: required backends are not connected, health checks are refused");
        } else {
            warn!(backends, suppressed, "not ready: no server of a required backend takes decisions, health checks are refused");
        }
    }
}
