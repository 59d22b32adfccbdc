//! One worker's connection to an endpoint, and the task that keeps it.
//!
//! ```text
//!      ┌────────────lost, going away (calls)─────────────┐
//!      ▼                                                 │
//! Connecting ──connected──▶ Ready ──going away (stream)──▶ Draining ──replaced──▶ Ready
//!      └──not──▶ Failed ──(backoff)──connected──▶ Ready
//!      ▲           │
//!      └──healthy──┘
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;

use super::backend::Backend;
use super::backoff::Backoff;
use super::connect::Sender;
use super::draining::Draining;
use super::error::{chain, describe};
use super::link::{Event, Link, Stream};
use super::log::Log;
use super::silence::Silence;
use super::stream::Decisions;
use super::target::Target;
use crate::config::Protocol;

/// Between attempts to connect: doubled from the one to the other. A service next door that restarts is found again within a
/// second, and a dead one costs a worker one attempt a second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A connection that broke sooner than this, and has answered nothing, counts as failed to connect: what accepts and hangs up must not
/// make us spin.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// How long a service may take to end a stream when the bridge itself stops.
const GOODBYE: Duration = Duration::from_millis(200);
/// What is wrong with a server that does not even say that it speaks HTTP/2.
const NOTHING_SAID: &str = "connected, but no HTTP/2 SETTINGS came within keepalive_timeout";
/// Before it is tried again because another worker was successful. A server that takes connections and hangs up must not make us spin.
const EARLY: Duration = Duration::from_millis(200);
/// Before it is tried again after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// How long a connection that is left may take for what has begun on it: longer than any decision may take.
const DRAIN: Duration = Duration::from_secs(61);

/// See the drawing above.
#[derive(Debug)]
pub(super) struct Channel {
    target: Arc<Target>,
    state: Mutex<State>,
    /// There is no reason to wait any longer before the next attempt.
    hurry: Notify,
    retired: watch::Sender<bool>,
}

#[derive(Debug)]
pub(super) enum State {
    Connecting,
    Ready(Carrier),
    /// Going away: only if no other endpoint is ready.
    Draining(Carrier),
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

impl Channel {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
            state: Mutex::new(State::Connecting),
            hurry: Notify::new(),
            retired: watch::Sender::new(false),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more decisions, and is closed when those that are under way have ended.
    pub(super) fn retire(&self) {
        self.retired.send_replace(true);
    }

    /// Has the server asked for a sign of life, if nothing comes from it.
    pub(super) fn doubt(&self) {
        match &*self.state() {
            State::Ready(Carrier::Stream(decisions)) => decisions.doubt(),
            State::Ready(Carrier::Calls(_, silence)) => silence.unanswered(),
            State::Draining(_) | State::Connecting | State::Failed(_) => {}
        }
    }

    /// The server says that it serves again. It is connected to at once, and decisions that have nowhere else to go wait for that: the
    /// server that they went to may be the next one to stop.
    pub(super) fn hurry(&self) {
        let mut state = self.state();
        match &*state {
            State::Ready(_) | State::Connecting => return,
            State::Draining(_) => {}
            State::Failed(_) => *state = State::Connecting,
        }
        self.hurry.notify_one();
    }

    /// Says that it cannot be called, and why.
    fn fail(&self, changed: &Notify, log: &mut Log, reason: &str) {
        log.failed(&self.target.name, reason);
        *self.state() = State::Failed(reason.into());
        changed.notify_waiters();
        // Perhaps it is no longer where it was.
        self.target.backend.wanted.notify_one();
    }

    /// Keeps it connected until it is retired or told to `stop`. `changed` is told of every new state.
    pub(super) async fn keep(&self, changed: &Notify, mut log: Log, mut stop: watch::Receiver<bool>) {
        loop {
            let run = AssertUnwindSafe(self.run(changed, &mut log, &mut stop));
            if run.catch_unwind().await.is_ok() {
                return;
            }
            // A bug, here or below. Decisions must not wait for a channel that nobody keeps.
            self.fail(changed, &mut log, "internal error, please report it");
            tokio::time::sleep(AFTER_PANIC).await;
        }
    }

    async fn run(&self, changed: &Notify, log: &mut Log, stop: &mut watch::Receiver<bool>) {
        let mut link = None;
        // Connections that were left, with what has begun on them.
        let mut left = JoinSet::new();
        let mut retired = self.retired.subscribe();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            _ = retired.wait_for(|retired| *retired) => {}
            () = self.keep_connected(&mut link, &mut left, changed, log) => {}
        }
        // Also because a sender in it would keep a connection open.
        *self.state() = State::Failed("no longer one of the backend's endpoints".into());
        changed.notify_waiters();
        if let Some((link, carrier)) = link {
            match carrier {
                // A stream that ends in order is no error in the service's log.
                Carrier::Stream(decisions) => decisions.close(),
                // As long as there is a handle, HTTP/2 keeps the connection for it.
                Carrier::Calls(sender, _) => drop(sender),
            }
            left.spawn(tokio::time::timeout(DRAIN, link.drain()));
        }
        let hurry = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(GOODBYE).await;
        };
        tokio::select! {
            _ = left.join_all() => {}
            () = hurry => {}
        }
    }

    async fn keep_connected(
        &self,
        current: &mut Option<(Link, Carrier)>,
        left: &mut JoinSet<Result<(), Elapsed>>,
        changed: &Notify,
        log: &mut Log,
    ) {
        let set = |state| {
            *self.state() = state;
            changed.notify_waiters();
        };
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut draining = Draining::default();
        loop {
            while left.try_join_next().is_some() {}
            let reason = match self.link().await {
                Ok((link, carrier)) => {
                    let ready = |carrier: &Carrier| {
                        set(State::Ready(carrier.clone()));
                        self.target.backend.reached.send_replace(Some(self.target.address.clone()));
                        draining.end();
                    };
                    let (link, carrier) = current.insert((link, carrier));
                    let (end, stable) = self.serve(link, carrier, ready, log).await;
                    if stable {
                        backoff.reset();
                    }
                    let Some((link, carrier)) = current.take() else { return };
                    match end {
                        End::GoingAway => {
                            left.spawn(tokio::time::timeout(DRAIN, link.drain()));
                            match carrier {
                                Carrier::Stream(decisions) if decisions.is_open() => {
                                    set(State::Draining(Carrier::Stream(Arc::clone(&decisions))));
                                    draining.begin(decisions);
                                }
                                _ => set(State::Connecting),
                            }
                            if !stable {
                                if !draining.is_of_use() {
                                    *self.state() = State::Failed("the service ends connections as soon as they are made".into());
                                    changed.notify_waiters();
                                }
                                self.pause(backoff.next()).await;
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
            if !draining.is_of_use() {
                draining.end();
                self.fail(changed, log, &reason);
            }
            self.pause(backoff.next()).await;
        }
    }

    /// Waits for `backoff`, or until another worker or the health check has reached the server: all are back together.
    async fn pause(&self, backoff: Duration) {
        let mut reached = self.target.backend.reached.subscribe();
        let early = async {
            tokio::time::sleep(backoff.min(EARLY)).await;
            while reached.changed().await.is_ok() && reached.borrow().as_ref() != Some(&self.target.address) {}
        };
        tokio::select! {
            () = early => {}
            () = self.hurry.notified() => {}
            () = tokio::time::sleep(backoff) => {}
        }
    }

    /// Connects and opens the stream, if there is to be one.
    async fn link(&self) -> Result<(Link, Carrier), String> {
        let Backend { connector, config, .. } = &*self.target.backend;
        let mut connected = connector.connect(&self.target.address).await.map_err(|error| chain(&error))?;
        let silence = Arc::<Silence>::default();
        let (stream, carrier) = match config.protocol {
            Protocol::Decide => (None, Carrier::Calls(connected.sender.clone(), Arc::clone(&silence))),
            Protocol::Auto | Protocol::DecideStream => {
                let stream = Stream::open(&mut connected.sender, &self.target, &silence).map_err(|error| chain(&error))?;
                let decisions = Arc::clone(stream.decisions());
                (Some(stream), Carrier::Stream(decisions))
            }
        };
        Ok((Link::new(connected, stream, silence, config.keepalive_timeout), carrier))
    }

    /// Drives a link until it is to be left, and says whether it was good: that is what answers decisions, or has lasted. `ready` is told
    /// what carries decisions once the server has shown that it is there.
    async fn serve(&self, link: &mut Link, carrier: &mut Carrier, mut ready: impl FnMut(&Carrier), log: &mut Log) -> (End, bool) {
        let config = &self.target.backend.config;
        // The patience with a server that has said nothing yet; then how long it has to last.
        let timer = tokio::time::sleep(config.keepalive_timeout);
        let mut timer = std::pin::pin!(timer);
        let (mut is_open, mut is_stable) = (false, false);
        loop {
            let event = tokio::select! {
                biased;
                event = link.event() => event,
                () = &mut timer, if !is_stable => {
                    if !is_open {
                        return (End::Lost(NOTHING_SAID.to_owned()), false);
                    }
                    is_stable = true;
                    log.stable(&self.target.name);
                    continue;
                }
            };
            let end = match event {
                Event::Opened => {
                    is_open = true;
                    timer.as_mut().reset((Instant::now() + STABLE_AFTER).into());
                    ready(carrier);
                    log.connected(&self.target.name);
                    continue;
                }
                Event::Refused(status, Some(sender)) if config.protocol == Protocol::Auto => {
                    log.refused(&self.target.name, &status);
                    *carrier = Carrier::Calls(sender, Arc::clone(link.silence()));
                    ready(carrier);
                    continue;
                }
                Event::Refused(status, _) => End::Lost(format!("DecideStream was refused with {}", describe(&status))),
                Event::GoingAway => End::GoingAway,
                Event::Ended(reason) => End::Lost(reason),
                Event::Silent(reason) => {
                    self.target.backend.silent.send_replace(Some(self.target.address.clone()));
                    return (End::Lost(reason), false);
                }
            };
            return (end, is_stable || link.silence().has_ever_answered());
        }
    }
}

/// Why a link is left.
enum End {
    GoingAway,
    Lost(String),
}
