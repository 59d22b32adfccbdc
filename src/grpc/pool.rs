//! A backend's endpoints as one worker sees them, and the choice among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::CallError;
use super::connect::Sender;
use super::endpoint::{Endpoint, Log, State};
use crate::config::BackendConfig;

/// A worker's connections to one backend. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    tasks: Vec<AbortHandle>,
    /// Some endpoint's state has changed.
    changed: Arc<Notify>,
    /// Where the search for the least loaded endpoint starts, so that equals take turns.
    turn: AtomicUsize,
    pub(super) metadata: tonic::metadata::MetadataMap,
}

impl Pool {
    /// Starts connecting to all endpoints of `backend` on the current runtime. `speaks` is whether this worker tells the log.
    pub(crate) fn start(backend: &BackendConfig, speaks: bool) -> Self {
        let endpoints: Vec<_> = backend.endpoints.iter().map(|target| Arc::new(Endpoint::new(target))).collect();
        let changed = Arc::new(Notify::new());
        let tasks = endpoints.iter().map(|endpoint| {
            let (endpoint, changed, timeout) = (Arc::clone(endpoint), Arc::clone(&changed), backend.connect_timeout);
            let log = Log::new(&backend.name, speaks);
            tokio::spawn(async move { endpoint.keep_connected(timeout, &changed, log).await }).abort_handle()
        });
        Self { tasks: tasks.collect(), endpoints, changed, turn: AtomicUsize::new(0), metadata: metadata(backend) }
    }

    /// The connected endpoint with the fewest calls in flight. Waits while some are connecting and none is connected; the
    /// caller bounds that by its deadline.
    pub(super) async fn pick(&self) -> Result<Picked<'_>, CallError> {
        if let Some(picked) = self.pick_now()? {
            return Ok(picked);
        }
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before looking, so that no change is missed in between.
            changed.as_mut().enable();
            if let Some(picked) = self.pick_now()? {
                return Ok(picked);
            }
            changed.await;
        }
    }

    fn pick_now(&self) -> Result<Option<Picked<'_>>, CallError> {
        let endpoints = &self.endpoints;
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % endpoints.len();
        let (before, after) = endpoints.split_at(start);
        let mut best: Option<(usize, &Endpoint, Sender)> = None;
        let mut failed = None;
        let mut connecting = false;
        for endpoint in after.iter().chain(before) {
            match &*endpoint.state() {
                // Known here before the task that keeps the connection has had its turn.
                State::Ready(sender) if sender.is_closed() => connecting = true,
                State::Ready(sender) => {
                    let load = endpoint.in_flight.load(Ordering::Relaxed);
                    if best.as_ref().is_none_or(|(least, ..)| load < *least) {
                        best = Some((load, endpoint, sender.clone()));
                    }
                }
                State::Connecting => connecting = true,
                State::Failed(reason) => {
                    failed.get_or_insert_with(|| (Arc::clone(&endpoint.name), Arc::clone(reason)));
                }
            }
        }
        match (best, failed) {
            (Some((_, endpoint, sender)), _) => {
                endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
                Ok(Some(Picked { endpoint, sender }))
            }
            (None, Some((endpoint, reason))) if !connecting => Err(CallError::NotConnected { endpoint, reason }),
            (None, _) => Ok(None),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An endpoint chosen for one call, which counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Picked<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) sender: Sender,
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn metadata(backend: &BackendConfig) -> tonic::metadata::MetadataMap {
    let headers = backend.metadata.iter().filter_map(|(name, value)| {
        // Both were checked with the configuration.
        Some((http::HeaderName::try_from(name).ok()?, http::HeaderValue::try_from(value).ok()?))
    });
    tonic::metadata::MetadataMap::from_headers(headers.collect())
}
