//! The accept loop, which never ends by an error.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::listener::Listener;
use super::reserve::{Reserve, is_exhausted};
use crate::shutdown::{Drain, Phase};
use crate::telemetry::event;

/// How long accepting pauses after an error that trying again at once would bring again.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// A place among the connections that a listener may have; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Accepts for the listener called `name` until `drain` reaches [`Phase::Draining`], and hands each of at most `limit`
/// connections on with its place. Returns the places, by which one can wait until all connections are gone.
pub(crate) async fn accept<L, F>(mut listener: L, name: &str, limit: usize, mut drain: Drain, mut hand_on: F) -> Places
where
    L: Listener,
    F: FnMut(L::Stream, String, Place),
{
    let places = Places { semaphore: Arc::new(Semaphore::new(limit)), limit };
    let mut reserve = Reserve::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.reached(Phase::Draining) => return places,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&places.semaphore).try_acquire_owned() {
                Ok(permit) => {
                    event::ConnectionOpened { listener: name, peer: &peer }.record();
                    hand_on(stream, peer, Place(permit));
                }
                // Closed at once, HAProxy can try another server; left in the backlog, it would wait for its timer.
                Err(_) => {
                    event::ConnectionRefused { listener: name, peer: &peer, limit }.record();
                }
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) if is_exhausted(&error) => match reserve.turn_away(&mut listener) {
                Ok(Some(peer)) => event::ConnectionTurnedAway { listener: name, peer: &peer, error: &error }.record(),
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

/// All places of a listener.
#[derive(Debug)]
pub(crate) struct Places {
    semaphore: Arc<Semaphore>,
    limit: usize,
}

impl Places {
    /// Waits until every connection has given its place back.
    pub(crate) async fn all_free(self) {
        // `max_connections` is far below what a semaphore can count (checked by the builder).
        if let Ok(all) = u32::try_from(self.limit) {
            let _ = self.semaphore.acquire_many(all).await;
        }
    }
}
