//! One endpoint as one worker sees it: a link, and the task that keeps it.
//!
//! ```text
//!      ┌────────────lost, going away (calls)─────────────┐
//!      ▼                                                 │
//! Connecting ──connected──▶ Ready ──going away (stream)──▶ Leaving ──replaced──▶ Ready
//!      └──not──▶ Failed ──(backoff)──connected──▶ Ready
//! ```

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{HeaderMap, Uri};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::backend::Backend;
use super::connect::{Connector, Sender};
use super::error::{chain, describe};
use super::link::{Event, Link, Stream};
use super::log::Log;
use super::members::Address;
use super::request;
use super::silence::Silence;
use super::stream::Decisions;
use crate::config::Protocol;

/// Between attempts to connect: doubled from the one to the other. A service next door that restarts is found again within a
/// second, and a dead one costs a worker one attempt a second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that broke sooner than this counts as failed to connect: what accepts and hangs up must not make us spin.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// How long a stream whose connection is going away is used while no other can be had. A service that is stopping waits for it to end.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a service may take to end a stream when the bridge itself stops.
const GOODBYE: Duration = Duration::from_millis(200);
/// How long a connection that is left may take for what has begun on it: longer than any decision may take.
const DRAIN: Duration = Duration::from_secs(61);

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: Arc<str>,
    pub(super) decide: Uri,
    pub(super) headers: HeaderMap,
    pub(super) in_flight: AtomicUsize,
    address: Address,
    connector: Arc<Connector>,
    protocol: Protocol,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) enum State {
    Connecting,
    Ready(Carrier),
    /// Going away: only if no other endpoint is ready.
    Leaving(Carrier),
    Failed(Arc<str>),
}

/// What carries decisions to an endpoint.
#[derive(Clone, Debug)]
pub(super) enum Carrier {
    Stream(Arc<Decisions>),
    Calls(Sender, Arc<Silence>),
}

impl Carrier {
    /// Whether it takes decisions. It may be over before the task that keeps it has had its turn.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Stream(decisions) => decisions.is_open(),
            Self::Calls(_, silence) if silence.is_too_long() => false,
            Self::Calls(sender, _) => {
                let mut cx = Context::from_waker(Waker::noop());
                !matches!(sender.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
            }
        }
    }
}

impl Endpoint {
    pub(super) fn new(address: &Address, backend: &Backend) -> Self {
        Self {
            name: address.to_string().into(),
            decide: backend.connector.method(address, "/spopbridge.v1.DecisionService/Decide"),
            headers: request::headers(&backend.config),
            in_flight: AtomicUsize::new(0),
            address: address.clone(),
            connector: Arc::clone(&backend.connector),
            protocol: backend.config.protocol,
            state: Mutex::new(State::Connecting),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it cannot be called, and why.
    pub(super) fn fail(&self, changed: &Notify, log: &mut Log, reason: &str) {
        log.failed(&self.name, reason);
        *self.state() = State::Failed(reason.into());
        changed.notify_waiters();
    }

    /// Connects, and connects again, until told to `stop`. `changed` is told of every new state.
    pub(super) async fn run(&self, changed: &Notify, log: &mut Log, stop: impl Future<Output = ()>) {
        let mut link = None;
        tokio::select! {
            biased;
            () = stop => {}
            () = self.keep_connected(&mut link, changed, log) => {}
        }
        // A stream that ends in order is no error in the service's log.
        if let Some((link, Carrier::Stream(decisions))) = link {
            decisions.close();
            let _ = tokio::time::timeout(GOODBYE, link.drain()).await;
        }
    }

    async fn keep_connected(&self, current: &mut Option<(Link, Carrier)>, changed: &Notify, log: &mut Log) {
        let set = |state| {
            *self.state() = state;
            changed.notify_waiters();
        };
        let mut backoff = BACKOFF.0;
        // Connections that were left, with what has begun on them.
        let mut left = JoinSet::new();
        let mut leaving = Leaving::default();
        loop {
            while left.try_join_next().is_some() {}
            let reason = match self.link().await {
                Ok((link, carrier)) => {
                    set(State::Ready(carrier.clone()));
                    leaving.end();
                    log.connected(&self.name);
                    let (link, carrier) = current.insert((link, carrier));
                    let (end, stable) = self.serve(link, carrier, &set, log).await;
                    if stable {
                        backoff = BACKOFF.0;
                    }
                    let Some((link, carrier)) = current.take() else { return };
                    match end {
                        End::GoingAway => {
                            left.spawn(tokio::time::timeout(DRAIN, link.drain()));
                            match carrier {
                                Carrier::Stream(decisions) if decisions.is_open() => {
                                    set(State::Leaving(Carrier::Stream(Arc::clone(&decisions))));
                                    leaving.begin(decisions);
                                }
                                _ => set(State::Connecting),
                            }
                            if !stable {
                                tokio::time::sleep(jittered(backoff)).await;
                                backoff = (backoff * 2).min(BACKOFF.1);
                            }
                            continue;
                        }
                        // Its end is no failure.
                        End::Lost(_) if stable => {
                            set(State::Connecting);
                            continue;
                        }
                        End::Lost(reason) => reason,
                    }
                }
                Err(reason) => reason,
            };
            if !leaving.is_of_use() {
                leaving.end();
                self.fail(changed, log, &reason);
            }
            tokio::time::sleep(jittered(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Connects and opens the stream, if there is to be one.
    async fn link(&self) -> Result<(Link, Carrier), String> {
        let (mut sender, connection, allowance) = self.connector.connect(&self.address).await.map_err(|error| chain(&error))?;
        if self.protocol == Protocol::Decide {
            let link = Link::new(connection, sender.clone(), allowance, None);
            let silence = Arc::clone(link.silence());
            return Ok((link, Carrier::Calls(sender, silence)));
        }
        let method = self.connector.method(&self.address, "/spopbridge.v1.DecisionService/DecideStream");
        let stream = Stream::open(&mut sender, &method, &self.headers, &self.name).map_err(|error| chain(&error))?;
        let decisions = Arc::clone(stream.decisions());
        Ok((Link::new(connection, sender, allowance, Some(stream)), Carrier::Stream(decisions)))
    }

    /// Drives a link until it is to be left, and says whether it was good for long enough.
    async fn serve(&self, link: &mut Link, carrier: &mut Carrier, set: &impl Fn(State), log: &mut Log) -> (End, bool) {
        let stable = tokio::time::sleep(STABLE_AFTER);
        let mut stable = std::pin::pin!(stable);
        let mut is_stable = false;
        loop {
            let event = tokio::select! {
                biased;
                event = link.event() => event,
                () = &mut stable, if !is_stable => {
                    is_stable = true;
                    log.stable(&self.name);
                    continue;
                }
            };
            let end = match event {
                Event::Refused(status, Some(sender)) if self.protocol == Protocol::Auto => {
                    log.refused(&self.name, &status);
                    *carrier = Carrier::Calls(sender, Arc::clone(link.silence()));
                    set(State::Ready(carrier.clone()));
                    continue;
                }
                Event::Refused(status, _) => End::Lost(format!("DecideStream was refused with {}", describe(&status))),
                Event::GoingAway => End::GoingAway,
                Event::Ended(reason) => End::Lost(reason),
            };
            return (end, is_stable);
        }
    }
}

/// The stream of a connection that is going away. It is used until there is another, or for as long as it is polite.
#[derive(Default)]
struct Leaving(Option<(Arc<Decisions>, Instant)>);

impl Leaving {
    fn begin(&mut self, decisions: Arc<Decisions>) {
        self.0 = Some((decisions, Instant::now()));
    }

    fn is_of_use(&self) -> bool {
        self.0.as_ref().is_some_and(|(decisions, since)| decisions.is_open() && since.elapsed() < LEAVE)
    }

    fn end(&mut self) {
        if let Some((decisions, _)) = self.0.take() {
            decisions.close();
        }
    }
}

/// Why a link is left.
enum End {
    GoingAway,
    Lost(String),
}

/// Half to all of `backoff`, so that many workers and bridges do not come at once.
fn jittered(backoff: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Every `RandomState` is seeded anew: randomness enough to spread attempts.
    let random = RandomState::new().hash_one(0) as u32;
    backoff / 2 + (backoff / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
