//! What all connections to an endpoint have in common.

use std::sync::Arc;

use http::{HeaderMap, Uri};

use super::backend::Backend;
use super::members::Address;
use super::request;

/// An endpoint, as it is called.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: Arc<str>,
    pub(super) address: Address,
    pub(super) decide: Uri,
    pub(super) decide_stream: Uri,
    pub(super) headers: HeaderMap,
    /// Requests may be sent again after a service has seen them.
    pub(super) may_retry: bool,
    pub(super) backend: Arc<Backend>,
}

impl Target {
    pub(super) fn backend_name(&self) -> Arc<str> {
        Arc::clone(&self.backend.config.name)
    }

    pub(super) fn new(address: &Address, backend: &Arc<Backend>) -> Self {
        let method = |path| backend.connector.method(address, path);
        Self {
            name: backend.connector.name(address).into(),
            address: address.clone(),
            decide: method("/spopbridge.v1.DecisionService/Decide"),
            decide_stream: method("/spopbridge.v1.DecisionService/DecideStream"),
            headers: request::headers(&backend.config),
            may_retry: backend.config.retry.max_attempts > 1 || backend.config.hedging.is_some(),
            backend: Arc::clone(backend),
        }
    }
}
