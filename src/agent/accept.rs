//! The accept loop, which never ends by an error.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::listener::Listener;
use super::reserve::{Reserve, is_exhausted};
use crate::shutdown::{Drain, Phase};
use crate::telemetry::event;
use crate::telemetry::metrics::ListenerMetrics;

/// How long accepting pauses after an error that trying again at once would bring again.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Accepts until `drain` reaches [`Phase::Draining`], and hands each connection on that there is a place for.
pub(crate) async fn accept<L, F>(mut listener: L, places: &Arc<Places>, mut drain: Drain, mut hand_on: F)
where
    L: Listener,
    F: FnMut(L::Stream, String, Place),
{
    let mut reserve = Reserve::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.reached(Phase::Draining) => return,
            accepted = listener.accept() => accepted,
        };
        let Terms { name, limit, metrics } = &places.terms().clone();
        match accepted {
            Ok((stream, peer)) => match places.take() {
                Some(place) => {
                    event::ConnectionOpened { metrics, listener: name, peer: &peer }.record();
                    hand_on(stream, peer, place);
                }
                // Closed at once, HAProxy can try another server; left in the backlog, it would wait for its timer.
                None => {
                    event::ConnectionRefused { metrics, listener: name, peer: &peer, limit: *limit }.record();
                }
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) if is_exhausted(&error) => match reserve.turn_away(&mut listener) {
                Ok(Some(peer)) => event::ConnectionTurnedAway { metrics, listener: name, peer: &peer, error: &error }.record(),
                Ok(None) => {}
                Err(_) => {
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    reserve.refill();
                }
            },
            Err(error) => {
                event::AcceptFailed { listener: name, error: &error }.record();
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Whether only the connection at hand is lost: it ended before it was accepted, or the network did (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable)
}

/// The connections that a listener has, out of those that it may have.
#[derive(Debug)]
pub(crate) struct Places {
    terms: Mutex<Terms>,
    taken: watch::Sender<usize>,
}

/// What may change about a listener while it accepts.
#[derive(Clone, Debug)]
struct Terms {
    name: Arc<str>,
    limit: usize,
    metrics: Arc<ListenerMetrics>,
}

impl Terms {
    fn new(name: &Arc<str>, limit: usize, metrics: &Arc<ListenerMetrics>) -> Self {
        Self { name: Arc::clone(name), limit, metrics: Arc::clone(metrics) }
    }
}

/// A place among the connections that a listener may have; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
    }
}

impl Places {
    /// `limit` places for the listener called `name`.
    pub(crate) fn new(name: &Arc<str>, limit: usize, metrics: &Arc<ListenerMetrics>) -> Arc<Self> {
        let terms = Mutex::new(Terms::new(name, limit, metrics));
        Arc::new(Self { terms, taken: watch::Sender::new(0) })
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

    fn take(self: &Arc<Self>) -> Option<Place> {
        let limit = self.terms().limit;
        let free = self.taken.send_if_modified(|taken| {
            let free = *taken < limit;
            *taken += usize::from(free);
            free
        });
        free.then(|| Place(Arc::clone(self)))
    }

    fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
