//! A backend's endpoints as one worker sees them: they follow the backend's members, and are chosen from.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::context::Context;
use super::endpoint::Endpoint;
use super::load::UNKNOWN;
use super::members::{Address, Members, Unresolved};
use super::outlier::{Finding, below_success_rate, may_eject};
use crate::telemetry::event::{EndpointBack, EndpointEjected};

#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) context: Arc<Context>,
    pub(super) set: ArcSwap<Set>,
    /// Where the search begins, so that equals take turns.
    pub(super) turn: AtomicUsize,
}

/// All endpoints at one moment.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) list: Vec<Arc<Endpoint>>,
    pub(super) resolving: bool,
    pub(super) unresolved: Option<Unresolved>,
}

impl Endpoints {
    /// Starts to connect to all members, and to follow them, on the current runtime.
    pub(super) fn start(context: Arc<Context>) -> Arc<Self> {
        let endpoints = Arc::new(Self { context, set: ArcSwap::default(), turn: AtomicUsize::new(0) });
        let mut members = endpoints.context.backend.members.clone();
        endpoints.follow(&members.borrow_and_update().clone());
        let kept = Arc::clone(&endpoints);
        endpoints.context.spawn(async move {
            tokio::select! {
                () = kept.context.stopped() => {}
                () = kept.keep(members) => {}
            }
        });
        endpoints
    }

    async fn keep(&self, mut members: watch::Receiver<Members>) {
        let context = &self.context;
        let mut usable = Usable { among: &context.backend.usable, is_counted: false };
        let mut interval = tokio::time::interval(context.backend.config.outlier_detection.interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut silent = context.backend.silent.subscribe();
        let mut is_followed = true;
        loop {
            let changed = context.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before looking, so that no change is missed in between.
            changed.as_mut().enable();
            usable.count(self.set.load().list.iter().any(|endpoint| endpoint.is_usable()));
            tokio::select! {
                result = members.changed(), if is_followed => {
                    // Members that never change have nobody who would tell.
                    is_followed = result.is_ok();
                    let members = members.borrow_and_update().clone();
                    self.follow(&members);
                }
                () = changed => {}
                Ok(()) = silent.changed() => self.doubt(silent.borrow_and_update().as_ref()),
                _ = interval.tick() => self.end_interval(),
            }
        }
    }

    /// Makes the endpoints those of `members`. What stays is not disturbed, what goes finishes what it has.
    fn follow(&self, members: &Members) {
        let before = self.set.load();
        let expected = expected(&before.list);
        let mut known: HashMap<_, _> = before.list.iter().map(|endpoint| (&endpoint.target.address, endpoint)).collect();
        let list = members.list.iter().map(|member| {
            let known = known.remove(&member.address);
            let endpoint = known.map_or_else(|| Endpoint::new(&member.address, expected, &self.context), Arc::clone);
            endpoint.set_health(&member.health);
            endpoint
        });
        let list: Vec<_> = list.collect();
        known.into_values().for_each(|endpoint| endpoint.retire());
        self.set.store(Arc::new(Set { list, resolving: members.resolving, unresolved: members.unresolved.clone() }));
        self.context.changed.notify_waiters();
    }

    /// Another worker has found that the server at `address` answers nothing: it is asked on this worker's connections, too, which may have
    /// nothing to do, and look as if it were there.
    fn doubt(&self, address: Option<&Address>) {
        let set = self.set.load();
        let concerned = set.list.iter().filter(|endpoint| Some(&endpoint.target.address) == address);
        concerned.for_each(|endpoint| endpoint.channels().iter().for_each(|channel| channel.doubt()));
    }

    /// Waits until the first attempt to connect to each endpoint has ended, well or not.
    pub(super) async fn settled(&self) {
        loop {
            let changed = self.context.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let set = self.set.load_full();
            if !set.resolving && !set.list.iter().any(|endpoint| endpoint.is_connecting()) {
                return;
            }
            changed.await;
        }
    }

    /// What a decision's end says about its endpoint: see [`Outlier::record`](super::outlier::Outlier::record).
    pub(super) fn record(&self, now: Instant, endpoint: &Endpoint, probe: bool, answered: Option<bool>) {
        let config = &self.context.backend.config.outlier_detection;
        match endpoint.outlier.record(now, probe, answered, config) {
            Finding::Nothing | Finding::StillOut => {}
            Finding::Suspect => self.eject(now, endpoint, false),
            Finding::Back => {
                EndpointBack { backend: &self.context.backend.config.name, endpoint: &endpoint.target.name }.record();
            }
        }
    }

    fn eject(&self, now: Instant, endpoint: &Endpoint, by_success_rate: bool) {
        let config = &self.context.backend.config;
        let set = self.set.load();
        let ejected = set.list.iter().filter(|endpoint| endpoint.outlier.is_ejected()).count();
        if may_eject(ejected, set.list.len(), &config.outlier_detection) {
            let time = endpoint.outlier.eject(now, &config.outlier_detection);
            let (metrics, backend) = (&self.context.backend.metrics, &*config.name);
            EndpointEjected { metrics, backend, endpoint: &endpoint.target.name, by_success_rate, time }.record();
        }
    }

    fn end_interval(&self) {
        let set = self.set.load();
        let intervals: Vec<_> = set.list.iter().map(|endpoint| endpoint.outlier.end_interval()).collect();
        for index in below_success_rate(&intervals, &self.context.backend.config.outlier_detection) {
            if let Some(endpoint) = set.list.get(index).filter(|endpoint| !endpoint.outlier.is_ejected()) {
                self.eject(Instant::now(), endpoint, true);
            }
        }
        set.list.iter().for_each(|endpoint| endpoint.close_idle());
    }

    /// Where the next search begins.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a new endpoint is taken for: an average one.
fn expected(endpoints: &[Arc<Endpoint>]) -> Duration {
    let now = Instant::now();
    let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    let sum: Duration = endpoints.iter().map(|endpoint| endpoint.load.expected(now)).sum();
    sum.checked_div(count).unwrap_or(UNKNOWN)
}

/// A pool among those that can send decisions somewhere, while it can.
struct Usable<'a> {
    among: &'a watch::Sender<usize>,
    is_counted: bool,
}

impl Usable<'_> {
    fn count(&mut self, is_usable: bool) {
        if self.is_counted != is_usable {
            self.is_counted = is_usable;
            self.among.send_modify(|count| *count = if is_usable { *count + 1 } else { count.saturating_sub(1) });
        }
    }
}

impl Drop for Usable<'_> {
    fn drop(&mut self) {
        self.count(false);
    }
}
