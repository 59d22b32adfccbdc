//! Happenings with the servers of a backend: where they are, and how they are.

use tracing::{info, warn};

use crate::telemetry::Count;
use crate::telemetry::throttle::Throttle;

/// DNS has other addresses for a name than before.
pub(crate) struct AddressesChanged<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) added: &'a str,
    pub(crate) removed: &'a str,
    /// How many there are now.
    pub(crate) addresses: usize,
}

impl AddressesChanged<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        Count::AddressChanges.increment();
        let Self { backend, endpoint, added, removed, addresses } = *self;
        if let Some(suppressed) = THROTTLE.admit() {
            info!(backend, endpoint, added, removed, addresses, suppressed, "addresses changed");
        }
    }
}

/// DNS gave no answer for a name, or one that is of no use.
pub(crate) struct ResolutionFailed<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) error: &'a str,
    /// Addresses from before that go on being used.
    pub(crate) kept: usize,
    /// The one before did not fail.
    pub(crate) is_first: bool,
}

impl ResolutionFailed<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        Count::ResolutionFailures.increment();
        let Self { backend, endpoint, error, kept, is_first } = *self;
        if is_first && let Some(suppressed) = THROTTLE.admit() {
            warn!(backend, endpoint, error, kept, suppressed, "name not resolved, trying on with the addresses known so far");
        }
    }
}

/// Parts of an answer of DNS are not used, and they are not those of the answer before.
pub(crate) struct AnswerCut<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) of_other_names: usize,
    pub(crate) unusable: usize,
    pub(crate) too_many: usize,
}

impl AnswerCut<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Self { backend, endpoint, of_other_names, unusable, too_many } = *self;
        if (of_other_names, unusable, too_many) == (0, 0, 0) {
            return;
        }
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(
                backend,
                endpoint,
                of_other_names,
                unusable,
                too_many,
                suppressed,
                "parts of the answer of DNS are not used: records of other names, addresses that no server has, addresses above the limit"
            );
        }
    }
}

/// DNS answers again.
pub(crate) struct ResolutionRecovered<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
}

impl ResolutionRecovered<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        if let Some(suppressed) = THROTTLE.admit() {
            info!(backend = self.backend, endpoint = self.endpoint, suppressed, "name resolved again");
        }
    }
}

/// A server says that it can serve, after it did not.
pub(crate) struct EndpointHealthy<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
}

impl EndpointHealthy<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        if let Some(suppressed) = THROTTLE.admit() {
            info!(backend = self.backend, endpoint = self.endpoint, suppressed, "endpoint healthy");
        }
    }
}

/// A server says that it cannot serve, or cannot be asked.
pub(crate) struct EndpointUnhealthy<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) reason: &'a str,
}

impl EndpointUnhealthy<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        Count::EndpointsUnhealthy.increment();
        let Self { backend, endpoint, reason } = *self;
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(backend, endpoint, reason, suppressed, "endpoint unhealthy, it gets no decisions");
        }
    }
}

/// A server cannot be asked for its health, which is its right.
pub(crate) struct HealthUnimplemented<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
}

impl HealthUnimplemented<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Self { backend, endpoint } = *self;
        if let Some(suppressed) = THROTTLE.admit() {
            info!(backend, endpoint, suppressed, "the service has no grpc.health.v1.Health, such endpoints count as healthy");
        }
    }
}
