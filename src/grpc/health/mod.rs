//! Asks servers for their health: grpc.health.v1, as gRFC A17 and gRPC's health-checking.md have it.
//!
//! ```text
//! connect ─▶ Watch ──────────────▶ SERVING, NOT_SERVING, ... as they come
//!              └─UNIMPLEMENTED─▶ Check every interval
//!                                    └─UNIMPLEMENTED─▶ healthy, while the connection lasts
//! ```
//!
//! Each server has a connection and a task for that alone. Whatever comes on it is looked at rarely enough to cost little, and only the
//! newest of it counts.

mod conversation;
mod messages;
mod verdict;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use self::conversation::Conversation;
pub(super) use self::verdict::Verdict;
use super::backoff::Backoff;
use super::connect::{Connected, Connector, Sender};
use super::error::chain;
use super::members::Address;
use super::request;
use crate::config::{BackendConfig, HealthConfig};

/// Before a server is connected to again, at first; at most `interval`.
const BACKOFF: Duration = Duration::from_millis(50);
/// A connection that broke sooner than this counts as failed to connect: what accepts and hangs up must not make us spin.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// Least time between two turns of a connection. With what a turn reads, which is bounded, this bounds what a server that floods us costs.
const PACE: Duration = Duration::from_millis(10);

/// How a backend's servers are asked. Not to be printed: there may be secrets among the headers.
pub(super) struct Check {
    backend: Arc<str>,
    config: HealthConfig,
    headers: HeaderMap,
    connector: Arc<Connector>,
    /// Whether the log was told of a server without the service.
    said_missing: AtomicBool,
}

impl Check {
    pub(super) fn new(backend: &BackendConfig, config: &HealthConfig, connector: &Arc<Connector>) -> Self {
        Self {
            backend: Arc::clone(&backend.name),
            config: config.clone(),
            headers: request::headers(backend),
            connector: Arc::clone(connector),
            said_missing: AtomicBool::new(false),
        }
    }

    /// For the server at `address`, of which nothing is known yet. `changed` is told when that changes.
    pub(super) fn verdict(&self, address: &Address, changed: &Arc<Notify>) -> Verdict {
        Verdict::new(&self.backend, address, self.config.timeout, changed)
    }

    /// Asks for ever.
    pub(super) async fn run(&self, verdict: &Verdict) {
        tokio::select! {
            () = verdict.lose_patience() => {}
            () = self.ask(verdict) => {}
        }
    }

    async fn ask(&self, verdict: &Verdict) {
        let mut backoff = Backoff::new(BACKOFF, self.config.interval);
        loop {
            let begun = Instant::now();
            verdict.ask();
            verdict.fail(self.connect_and_ask(verdict).await);
            if begun.elapsed() >= STABLE_AFTER {
                backoff.reset();
            }
            sleep(backoff.next()).await;
        }
    }

    /// Asks on one connection for as long as it goes well. Returns why it did not any more.
    async fn connect_and_ask(&self, verdict: &Verdict) -> String {
        let Connected { sender, mut connection, allowance, .. } = match self.connector.connect(&verdict.address).await {
            Ok(connected) => connected,
            Err(error) => return chain(&error),
        };
        let mut conversation = pin!(Conversation { check: self, verdict, sender: sender.clone() }.hold());
        paced(|cx| {
            allowance.renew();
            let closed = connection.as_mut().poll(cx);
            if let Poll::Ready(reason) = conversation.as_mut().poll(cx) {
                return Poll::Ready(reason);
            }
            if let Poll::Ready(result) = closed {
                return Poll::Ready(result.map_or_else(|error| chain(&error), |()| "closed by the service".to_owned()));
            }
            // A service that stops may wait for us to end the call that we keep open.
            if is_going_away(&sender) {
                return Poll::Ready("the service wants the connection to end".to_owned());
            }
            // Sends what was said in this turn.
            connection.as_mut().poll(cx).map(|_| "closed by the service".to_owned())
        })
        .await
    }
}

fn is_going_away(sender: &Sender) -> bool {
    matches!(sender.clone().poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
}

/// Takes turns until one brings a result, as they are due, but not one right after the other.
async fn paced<T>(mut turn: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut next = Instant::now();
    let mut rest: Option<std::pin::Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|cx| {
        if rest.is_none() && Instant::now() < next {
            rest = Some(Box::pin(sleep_until(next)));
        }
        if let Some(resting) = &mut rest {
            std::task::ready!(resting.as_mut().poll(cx));
            rest = None;
        }
        let result = turn(cx);
        next = Instant::now() + PACE;
        result
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// However often a task is woken, turns keep their distance; and without being woken there are none.
    #[tokio::test(start_paused = true)]
    async fn turns_keep_their_distance() {
        let turns = Cell::new(0);
        let busy = paced(|cx| {
            turns.set(turns.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(tokio::time::timeout(Duration::from_secs(1), busy).await.is_err());
        assert!((90..=101).contains(&turns.get()), "{turns:?}");

        // The first, one for the wake-up that is left from before, and one at the end.
        turns.set(0);
        let idle = paced(|_| {
            turns.set(turns.get() + 1);
            Poll::<()>::Pending
        });
        assert!(tokio::time::timeout(Duration::from_secs(1), idle).await.is_err());
        assert!(turns.get() <= 3, "{turns:?}");
    }
}
