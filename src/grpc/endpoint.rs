//! One endpoint as one worker sees it: a connection, and the task that keeps it.
//!
//! ```text
//! Connecting ──connected──▶ Ready ──lost──▶ Connecting
//!     └──not──▶ Failed ──(backoff)──connected──▶ Ready
//! ```

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::sync::Notify;

use super::connect::{self, Sender, connect};
use super::error::chain;
use crate::config::EndpointConfig;
use crate::telemetry::event::{EndpointDown, EndpointUp};

/// Between attempts to connect: doubled from the one to the other. A service next door that restarts is found again within a
/// second, and a dead one costs a worker one attempt a second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that broke sooner than this counts as failed to connect: what accepts and hangs up must not make us spin.
const STABLE_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: Arc<str>,
    pub(super) origin: Uri,
    pub(super) in_flight: AtomicUsize,
    target: EndpointConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) enum State {
    Connecting,
    Ready(Sender),
    Failed(Arc<str>),
}

impl Endpoint {
    pub(super) fn new(target: &EndpointConfig) -> Self {
        Self {
            name: target.to_string().into(),
            origin: connect::origin(target),
            in_flight: AtomicUsize::new(0),
            target: target.clone(),
            state: Mutex::new(State::Connecting),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, and connects again, for ever. `changed` is told of every new state.
    pub(super) async fn keep_connected(&self, timeout: Duration, changed: &Notify, mut log: Log) {
        let set = |state| {
            *self.state() = state;
            changed.notify_waiters();
        };
        let mut backoff = BACKOFF.0;
        loop {
            let reason = match connect(&self.target, timeout).await {
                Ok((sender, mut connection)) => {
                    set(State::Ready(sender));
                    log.connected(&self.name);
                    let ended = match tokio::time::timeout(STABLE_AFTER, &mut connection).await {
                        Ok(ended) => ended,
                        Err(_) => {
                            log.stable(&self.name);
                            backoff = BACKOFF.0;
                            // Its end is no failure. Calls that have begun end with it or, after GOAWAY, drain.
                            let _ = connection.await;
                            set(State::Connecting);
                            continue;
                        }
                    };
                    ended.map_or_else(|error| chain(&error), |()| "closed by the service".to_owned())
                }
                Err(error) => chain(&error),
            };
            log.failed(&self.name, &reason);
            set(State::Failed(reason.into()));
            tokio::time::sleep(jittered(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF.1);
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

/// Tells operators when an endpoint comes and goes, once each.
#[derive(Debug)]
pub(super) struct Log {
    backend: Arc<str>,
    /// What was said last.
    said: Option<Said>,
    /// One worker speaks for the process: all see the same services come and go.
    speaks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Up,
    Down,
}

impl Log {
    pub(super) fn new(backend: &Arc<str>, speaks: bool) -> Self {
        Self { backend: Arc::clone(backend), said: None, speaks }
    }

    /// After a failure good news waits until the connection has proved itself.
    fn connected(&mut self, endpoint: &str) {
        if self.said.is_none() {
            self.stable(endpoint);
        }
    }

    fn stable(&mut self, endpoint: &str) {
        if self.is_news(Said::Up) {
            EndpointUp { backend: &self.backend, endpoint }.record();
        }
    }

    fn failed(&mut self, endpoint: &str, error: &str) {
        if self.is_news(Said::Down) {
            EndpointDown { backend: &self.backend, endpoint, error: &error }.record();
        }
    }

    fn is_news(&mut self, what: Said) -> bool {
        self.speaks && self.said.replace(what) != Some(what)
    }
}
