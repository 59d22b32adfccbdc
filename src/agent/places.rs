//! The connections that a listener has, out of those that it may have.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::telemetry::metrics::ListenerMetrics;

/// After so long without a NOTIFY a connection may have to give its place to another. HAProxy opens one when it has something to send.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections above the limit while those that have to go say good-bye, which takes them a second at most as a rule.
const OVER: usize = 64;

/// The places of a listener.
///
/// When all are taken, the oldest connection without a NOTIFY has to go: HAProxy must not be kept out by those that only say HELLO.
#[derive(Debug)]
pub(crate) struct Places {
    terms: Mutex<Terms>,
    taken: watch::Sender<usize>,
    unused: Mutex<Connections>,
}

/// What may change about a listener while it accepts.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) name: Arc<str>,
    pub(super) limit: usize,
    pub(super) metrics: Arc<ListenerMetrics>,
}

/// Connections without a NOTIFY so far, in the order in which they came.
#[derive(Debug, Default)]
struct Connections {
    next: u64,
    waiting: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

impl Terms {
    fn new(name: &Arc<str>, limit: usize, metrics: &Arc<ListenerMetrics>) -> Self {
        Self { name: Arc::clone(name), limit, metrics: Arc::clone(metrics) }
    }
}

/// A place among the connections that a listener may have; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    unused: Option<Unused>,
}

impl Place {
    /// What its connection keeps until its first NOTIFY.
    pub(super) fn unused(&mut self) -> Option<Unused> {
        self.unused.take()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
    }
}

/// A connection among those without a NOTIFY until dropped.
pub(super) struct Unused {
    places: Arc<Places>,
    number: u64,
    has_to_go: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Unused {
    /// Ready when the connection has to go.
    pub(super) fn poll_has_to_go(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.has_to_go.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Unused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unused").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        self.places.unused().waiting.remove(&self.number);
    }
}

impl Places {
    /// `limit` places for the listener called `name`.
    pub(crate) fn new(name: &Arc<str>, limit: usize, metrics: &Arc<ListenerMetrics>) -> Arc<Self> {
        let terms = Mutex::new(Terms::new(name, limit, metrics));
        Arc::new(Self { terms, taken: watch::Sender::new(0), unused: Mutex::default() })
    }

    /// Another name and limit, for connections accepted from now on. Above a lower limit nobody has to go.
    #[cfg(feature = "bridge")]
    pub(crate) fn change(&self, name: &Arc<str>, limit: usize, metrics: &Arc<ListenerMetrics>) {
        *self.terms() = Terms::new(name, limit, metrics);
    }

    /// Waits until every connection has given its place back.
    pub(crate) async fn all_free(&self) {
        // The sender is here, so that there is no error.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let limit = self.terms().limit;
        let free = self.taken.send_if_modified(|taken| {
            let free = *taken < limit || (*taken < limit.saturating_add(OVER) && self.make_room());
            *taken += usize::from(free);
            free
        });
        free.then(|| Place { places: Arc::clone(self), unused: Some(self.enter()) })
    }

    /// Lets the connection go that has been without a NOTIFY for the longest time, if there is one.
    fn make_room(&self) -> bool {
        let mut unused = self.unused();
        let oldest = unused.waiting.first_entry().filter(|oldest| oldest.get().0.elapsed() >= PATIENCE);
        oldest.map(|oldest| oldest.remove().1.notify_one()).is_some()
    }

    fn enter(self: &Arc<Self>) -> Unused {
        let (mut unused, notify) = (self.unused(), Arc::new(Notify::new()));
        let number = unused.next;
        unused.next += 1;
        unused.waiting.insert(number, (Instant::now(), Arc::clone(&notify)));
        let has_to_go = Box::pin(async move { notify.notified().await });
        Unused { places: Arc::clone(self), number, has_to_go }
    }

    pub(super) fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unused(&self) -> MutexGuard<'_, Connections> {
        self.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
