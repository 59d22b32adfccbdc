//! A backend's endpoints as one worker sees them: a connection each, kept up by a task each, and the choice among them.
//!
//! ```text
//! Connecting ──connected──▶ Ready ──lost──▶ Connecting        a call waits while all that is not failed is connecting,
//!     └──not──▶ Failed ──(backoff)──connected──▶ Ready        and fails at once when all have failed
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::CallError;
use super::connect::{self, Sender, connect};
use super::error::chain;
use crate::config::{BackendConfig, EndpointConfig};
use crate::telemetry::event::{EndpointDown, EndpointUp};

/// Between attempts to connect: doubled from the one to the other. A service next door that restarts is found again within a
/// second, and a dead one costs a worker one attempt a second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that broke sooner than this counts as failed to connect: what accepts and hangs up must not make us spin.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// A worker's connections to one backend. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
    /// Where the search for the least loaded endpoint starts, so that equals take turns.
    turn: AtomicUsize,
    pub(super) metadata: tonic::metadata::MetadataMap,
}

#[derive(Debug)]
struct Shared {
    backend: Arc<str>,
    endpoints: Vec<Endpoint>,
    /// Some endpoint's state has changed.
    changed: Notify,
    /// Whether this worker speaks for the process in the log: all workers see the same services come and go.
    speaks: bool,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: Arc<str>,
    pub(super) origin: Uri,
    target: EndpointConfig,
    state: Mutex<State>,
    in_flight: AtomicUsize,
}

#[derive(Clone, Debug)]
enum State {
    Connecting,
    Ready(Sender),
    Failed(Arc<str>),
}

impl Pool {
    /// Starts connecting to all endpoints of `backend` on the current runtime.
    pub(crate) fn start(backend: &BackendConfig, speaks: bool) -> Self {
        let endpoints = backend.endpoints.iter().map(|target| Endpoint {
            name: target.to_string().into(),
            origin: connect::origin(target),
            target: target.clone(),
            state: Mutex::new(State::Connecting),
            in_flight: AtomicUsize::new(0),
        });
        let shared = Arc::new(Shared {
            backend: Arc::clone(&backend.name),
            endpoints: endpoints.collect(),
            changed: Notify::new(),
            speaks,
        });
        let tasks = (0..shared.endpoints.len()).map(|index| {
            let (shared, timeout) = (Arc::clone(&shared), backend.connect_timeout);
            tokio::spawn(async move { shared.keep_connected(index, timeout).await }).abort_handle()
        });
        Self { tasks: tasks.collect(), shared, turn: AtomicUsize::new(0), metadata: metadata(backend) }
    }

    /// The connected endpoint with the fewest calls in flight. Waits while some are connecting and none is connected; the
    /// caller bounds that by its deadline.
    pub(super) async fn pick(&self) -> Result<Picked<'_>, CallError> {
        loop {
            let changed = self.shared.changed.notified();
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
        let endpoints = &self.shared.endpoints;
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

impl Endpoint {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    async fn keep_connected(&self, index: usize, timeout: Duration) {
        let Some(endpoint) = self.endpoints.get(index) else { return };
        let mut backoff = BACKOFF.0;
        loop {
            let started = Instant::now();
            let reason = match connect(&endpoint.target, timeout).await {
                Ok((sender, connection)) => {
                    self.set(endpoint, State::Ready(sender));
                    let ended = connection.await;
                    // From here no call can start on it; those that have begun end with it or, after GOAWAY, drain.
                    let reason = ended.map_or_else(|error| chain(&error), |()| "closed by the service".to_owned());
                    if started.elapsed() >= STABLE_AFTER {
                        backoff = BACKOFF.0;
                        self.set(endpoint, State::Connecting);
                        continue;
                    }
                    reason
                }
                Err(error) => chain(&error),
            };
            self.set(endpoint, State::Failed(reason.into()));
            tokio::time::sleep(jittered(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn set(&self, endpoint: &Endpoint, state: State) {
        let before = std::mem::replace(&mut *endpoint.state(), state.clone());
        self.changed.notify_waiters();
        if !self.speaks {
            return;
        }
        let (backend, name) = (&*self.backend, &*endpoint.name);
        match (before, state) {
            (_, State::Ready(_)) => EndpointUp { backend, endpoint: name }.record(),
            // Every further attempt that fails is no news.
            (State::Failed(_), _) | (_, State::Connecting) => {}
            (_, State::Failed(reason)) => EndpointDown { backend, endpoint: name, error: &reason }.record(),
        }
    }
}

/// Half to all of `backoff`, so that many workers and bridges do not come at once.
fn jittered(backoff: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Every `RandomState` is seeded anew: randomness enough to spread attempts.
    let random = RandomState::new().hash_one(0) as u32;
    backoff / 2 + (backoff / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

fn metadata(backend: &BackendConfig) -> tonic::metadata::MetadataMap {
    let headers = backend.metadata.iter().filter_map(|(name, value)| {
        // Both were checked with the configuration.
        Some((http::HeaderName::try_from(name).ok()?, http::HeaderValue::try_from(value).ok()?))
    });
    tonic::metadata::MetadataMap::from_headers(headers.collect())
}
