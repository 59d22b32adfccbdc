//! A backend's endpoints as one worker sees them, and the choice among them.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::backend::Backend;
use super::endpoint::{Carrier, Endpoint, State};
use super::error::{CallError, Failure};
use super::log::Log;
use super::request::Request;
use super::unary::{self, Unanswered};
use crate::deadline::Deadline;

/// How often a request is sent that nobody has seen. Connections rarely end twice in a row; a peer that refuses all streams must not
/// make us spin until the deadline.
const MAX_ATTEMPTS: usize = 3;
/// Before an endpoint is tried again that made us panic.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// A worker's connections to one backend. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    tasks: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
    /// Some endpoint's state has changed.
    changed: Arc<Notify>,
    /// Where the search for the least loaded endpoint starts, so that equals take turns.
    turn: AtomicUsize,
}

impl Pool {
    /// Starts connecting to all endpoints of `backend` on the current runtime. `speaks` is whether this worker tells the log.
    pub(super) fn start(backend: &Arc<Backend>, speaks: bool) -> Self {
        let members = Arc::clone(&backend.members.borrow());
        let endpoints: Vec<_> = members.iter().map(|member| Arc::new(Endpoint::new(&member.address, backend))).collect();
        let changed = Arc::new(Notify::new());
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for endpoint in &endpoints {
            let (endpoint, changed, mut stop) = (Arc::clone(endpoint), Arc::clone(&changed), stop.subscribe());
            let mut log = Log::new(&backend.config.name, speaks);
            tasks.spawn(async move {
                loop {
                    let stop = async { drop(stop.wait_for(|stop| *stop).await) };
                    let run = AssertUnwindSafe(endpoint.run(&changed, &mut log, stop));
                    if run.catch_unwind().await.is_ok() {
                        return;
                    }
                    // A bug, here or below. Decisions must not wait for an endpoint that nobody keeps.
                    endpoint.fail(&changed, &mut log, "internal error, please report it");
                    tokio::time::sleep(AFTER_PANIC).await;
                }
            });
        }
        {
            let (endpoints, changed) = (endpoints.clone(), Arc::clone(&changed));
            let mut usable = Usable { among: backend.usable.clone(), is_counted: false };
            let mut stop = stop.subscribe();
            tasks.spawn(async move {
                let count = async {
                    loop {
                        let changed = changed.notified();
                        let mut changed = std::pin::pin!(changed);
                        changed.as_mut().enable();
                        usable.count(endpoints.iter().any(|one| matches!(*one.state(), State::Ready(_) | State::Leaving(_))));
                        changed.await;
                    }
                };
                tokio::select! { () = count => {}, _ = stop.wait_for(|stop| *stop) => {} }
            });
        }
        Self { tasks: Mutex::new(tasks), endpoints, changed, stop, turn: AtomicUsize::new(0) }
    }

    /// Waits until the first attempt to connect to each endpoint has ended.
    pub(crate) async fn settled(&self) {}

    /// Takes leave of the services. No decision may be under way any more.
    pub(crate) async fn shut_down(&self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }

    /// Brings the bytes of a request to an endpoint, and returns those of the response. At the deadline, or when the returned future is
    /// dropped, the decision is cancelled.
    pub(crate) async fn decide(&self, mut request: Request, deadline: Deadline) -> Result<Bytes, CallError> {
        let mut reasons = Vec::new();
        loop {
            let picked = match self.pick_now() {
                // Rare, and large: boxed, so that every other decision need not carry room for it.
                Ok(None) => Box::pin(self.pick(deadline)).await,
                Ok(Some(picked)) => Ok(picked),
                Err(error) => Err(error),
            };
            // Why nobody took it tells more than that nobody is left.
            let picked = picked.map_err(|error| reasons.pop().unwrap_or(error))?;
            let endpoint = picked.endpoint;
            let result = match &picked.carrier {
                Carrier::Stream(decisions) => match decisions.decide(request, deadline) {
                    Ok(decided) => decided.await,
                    Err(failure) => Err(failure),
                },
                Carrier::Calls(sender, silence) => {
                    let answered = Unanswered::new(silence, &request);
                    Box::pin(unary::call(endpoint, sender.clone(), answered, request, deadline)).await
                }
            };
            match result {
                Ok(response) => return Ok(response),
                Err(Failure::Unseen(unseen, error)) if reasons.len() + 1 < MAX_ATTEMPTS => {
                    reasons.push(error);
                    request = unseen;
                }
                Err(Failure::Unseen(_, error) | Failure::Final(error)) => return Err(error),
            }
        }
    }

    /// Waits while some endpoint is connecting and none is connected.
    async fn pick(&self, deadline: Deadline) -> Result<Picked<'_>, CallError> {
        let picked = async {
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
        };
        tokio::time::timeout_at(deadline.instant().into(), picked).await.unwrap_or(Err(CallError::Timeout))
    }

    /// The connected endpoint with the fewest decisions in flight.
    fn pick_now(&self) -> Result<Option<Picked<'_>>, CallError> {
        let endpoints = &self.endpoints;
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % endpoints.len();
        let (before, after) = endpoints.split_at(start);
        let mut best: Option<((bool, usize), &Endpoint, Carrier)> = None;
        let mut failed = None;
        let mut connecting = false;
        for endpoint in after.iter().chain(before) {
            let state = endpoint.state();
            match &*state {
                State::Ready(carrier) | State::Leaving(carrier) if carrier.is_open() => {
                    let rank = (matches!(*state, State::Leaving(_)), endpoint.in_flight.load(Ordering::Relaxed));
                    if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                        best = Some((rank, endpoint, carrier.clone()));
                    }
                }
                State::Ready(_) | State::Leaving(_) | State::Connecting => connecting = true,
                State::Failed(reason) => {
                    failed.get_or_insert_with(|| (Arc::clone(&endpoint.name), Arc::clone(reason)));
                }
            }
        }
        match (best, failed) {
            (Some((_, endpoint, carrier)), _) => {
                endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
                Ok(Some(Picked { endpoint, carrier }))
            }
            (None, Some((endpoint, reason))) if !connecting => Err(CallError::NotConnected { endpoint, reason }),
            (None, _) => Ok(None),
        }
    }
}

/// Counts this pool among those that have a server.
struct Usable {
    among: watch::Sender<usize>,
    is_counted: bool,
}

impl Usable {
    fn count(&mut self, is_usable: bool) {
        if self.is_counted != is_usable {
            self.is_counted = is_usable;
            self.among.send_modify(|usable| if is_usable { *usable += 1 } else { *usable -= 1 });
        }
    }
}

impl Drop for Usable {
    fn drop(&mut self) {
        self.count(false);
    }
}

/// An endpoint chosen for one decision, which counts as in flight until this is dropped.
#[derive(Debug)]
struct Picked<'a> {
    endpoint: &'a Endpoint,
    carrier: Carrier,
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
