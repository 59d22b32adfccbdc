//! The accept loop, which never ends by an error.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::listener::Listener;
use super::places::{Place, Places, Terms};
use super::reserve::{Reserve, is_exhausted};
use crate::shutdown::{Drain, Phase};
use crate::telemetry::event;

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
