//! Happenings with the servers of a backend: where they are, and how they are.

use tracing::{info, warn};

use crate::telemetry::Count;

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
        Count::AddressChanges.increment();
        let Self { backend, endpoint, added, removed, addresses } = *self;
        info!(backend, endpoint, added, removed, addresses, "addresses changed");
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
        Count::ResolutionFailures.increment();
        let Self { backend, endpoint, error, kept, is_first } = *self;
        if is_first {
            warn!(backend, endpoint, error, kept, "name not resolved, trying on with the addresses known so far");
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
        info!(backend = self.backend, endpoint = self.endpoint, "name resolved again");
    }
}

/// A server says that it can serve, after it did not.
pub(crate) struct EndpointHealthy<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
}

impl EndpointHealthy<'_> {
    pub(crate) fn record(&self) {
        info!(backend = self.backend, endpoint = self.endpoint, "endpoint healthy");
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
        Count::EndpointsUnhealthy.increment();
        let Self { backend, endpoint, reason } = *self;
        warn!(backend, endpoint, reason, "endpoint unhealthy, it gets no decisions");
    }
}

/// A server cannot be asked for its health, which is its right.
pub(crate) struct HealthUnimplemented<'a> {
    pub(crate) backend: &'a str,
    pub(crate) endpoint: &'a str,
}

impl HealthUnimplemented<'_> {
    pub(crate) fn record(&self) {
        let Self { backend, endpoint } = *self;
        info!(backend, endpoint, "the service has no grpc.health.v1.Health, such endpoints count as healthy");
    }
}
