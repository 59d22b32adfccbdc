//! How a backend is, for people and metrics: what its workers' pools know, put together when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::channel::{Carrier, State};
use super::endpoint::Endpoint;
use super::members::{Address, Health};
use super::pool::Pool;
use crate::telemetry::metrics::{Batch, Observe, families as f};

/// A backend at one moment.
#[derive(Debug)]
pub(crate) struct BackendStatus {
    pub(crate) name: Arc<str>,
    pub(crate) required: bool,
    pub(crate) in_flight: usize,
    pub(crate) max_in_flight: usize,
    /// What each worker has found for itself; empty if it is off.
    pub(crate) adaptive_limits: Vec<usize>,
    /// Retries and hedges that may be made now, of all workers.
    pub(crate) retry_budget: f64,
    /// A name has had no answer from DNS yet.
    pub(crate) resolving: bool,
    /// A name without addresses, and why.
    pub(crate) unresolved: Option<(Arc<str>, Arc<str>)>,
    pub(crate) endpoints: Vec<EndpointStatus>,
}

/// An endpoint at one moment, as all workers together see it.
#[derive(Debug)]
pub(crate) struct EndpointStatus {
    pub(crate) endpoint: Arc<str>,
    /// The address that DNS has for it.
    pub(crate) address: Option<String>,
    /// How many workers see it in which state, the best first.
    pub(crate) states: Vec<(EndpointState, usize)>,
    /// Why it is failed or unhealthy for one of them.
    pub(crate) reason: Option<Arc<str>>,
    /// When the last worker that leaves it out tries it again.
    pub(crate) ejected_for: Option<Duration>,
    /// Ejections that are not forgotten: those of the worker that has most.
    pub(crate) ejections: u32,
    /// `stream` or `calls`; `None`: not connected.
    pub(crate) protocol: Option<&'static str>,
    /// Of all workers.
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    /// What a decision takes there, as the worker sees it that sees it slowest; sinks while there are none. `None`: there was none.
    pub(crate) latency: Option<Duration>,
}

/// What becomes of decisions for an endpoint. Better is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndpointState {
    /// It takes decisions.
    Ready,
    /// Its connection is going away: only if there is no other.
    Draining,
    /// Left out because it failed: only if there is no other.
    Ejected,
    /// There is no connection yet, or no longer.
    Connecting,
    /// It says that it cannot serve, or cannot be asked.
    Unhealthy,
    /// It cannot be connected to.
    Failed,
}

impl EndpointState {
    pub(crate) const ALL: [Self; 6] =
        [Self::Ready, Self::Draining, Self::Ejected, Self::Connecting, Self::Unhealthy, Self::Failed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
            Self::Connecting => "connecting",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
        }
    }
}

impl EndpointStatus {
    fn new(endpoint: &Endpoint) -> Self {
        let target = &endpoint.target;
        let address = match &target.address {
            Address::Resolved { address, .. } => Some(address.to_string()),
            Address::Host(_) | Address::Unix(_) => None,
        };
        Self {
            endpoint: Arc::clone(&target.name),
            address,
            states: Vec::new(),
            reason: None,
            ejected_for: None,
            ejections: 0,
            protocol: None,
            connections: 0,
            in_flight: 0,
            latency: None,
        }
    }

    /// The best that any worker sees.
    pub(crate) fn state(&self) -> EndpointState {
        self.states.first().map_or(EndpointState::Connecting, |(state, _)| *state)
    }

    /// Adds what one worker sees.
    fn add(&mut self, endpoint: &Endpoint, now: Instant) {
        let (mut state, mut reason) = (EndpointState::Failed, None);
        let health = endpoint.health().clone();
        for channel in endpoint.channels().iter() {
            let (seen, why) = match &*channel.state() {
                State::Ready(carrier) if carrier.is_open() => {
                    self.connections += 1;
                    self.protocol = Some(protocol(carrier));
                    (EndpointState::Ready, None)
                }
                State::Draining(carrier) if carrier.is_open() => {
                    self.connections += 1;
                    (EndpointState::Draining, None)
                }
                State::Ready(_) | State::Draining(_) | State::Connecting => (EndpointState::Connecting, None),
                State::Failed(reason) => (EndpointState::Failed, Some(Arc::clone(reason))),
            };
            if seen <= state {
                (state, reason) = (seen, why);
            }
        }
        let (until, ejections) = endpoint.outlier.ejection(now);
        match (health, until) {
            (Health::NotServing(why), _) => (state, reason) = (EndpointState::Unhealthy, Some(why)),
            (_, Some(until)) => {
                self.ejected_for = self.ejected_for.max(Some(until.saturating_duration_since(now)));
                state = state.max(EndpointState::Ejected);
            }
            _ => {}
        }
        match self.states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, workers)) => *workers += 1,
            None => self.states.push((state, 1)),
        }
        self.states.sort();
        self.reason = self.reason.take().or(reason);
        self.ejections = self.ejections.max(ejections);
        self.in_flight += endpoint.load.in_flight();
        self.latency = self.latency.max(endpoint.load.is_known().then(|| endpoint.load.expected(now)));
    }
}

fn protocol(carrier: &Carrier) -> &'static str {
    match carrier {
        Carrier::Stream(_) => "stream",
        Carrier::Calls(..) => "calls",
    }
}

impl Backend {
    /// How it is now. Takes each lock for a moment only.
    pub(crate) fn status(&self) -> BackendStatus {
        let (now, pools) = (Instant::now(), self.pools());
        let members = self.members.borrow().clone();
        BackendStatus {
            name: Arc::clone(&self.config.name),
            required: self.config.required,
            in_flight: self.admission.in_flight(),
            max_in_flight: self.config.max_in_flight,
            adaptive_limits: pools.iter().filter_map(|pool| pool.adaptive.as_ref()).map(|(limit, _)| limit.limit()).collect(),
            retry_budget: pools.iter().map(|pool| pool.budget.left(now)).sum(),
            resolving: members.resolving,
            unresolved: members.unresolved.map(|name| (name.endpoint, name.reason)),
            endpoints: endpoints(&pools, now),
        }
    }
}

/// The endpoints of all pools, each once, in the order of the configuration.
fn endpoints(pools: &[Arc<Pool>], now: Instant) -> Vec<EndpointStatus> {
    let (mut all, mut positions) = (Vec::new(), HashMap::new());
    for pool in pools {
        for endpoint in &pool.endpoints.set.load().list {
            let position = *positions.entry(endpoint.target.address.clone()).or_insert_with(|| {
                all.push(EndpointStatus::new(endpoint));
                all.len() - 1
            });
            all.get_mut(position).into_iter().for_each(|status| status.add(endpoint, now));
        }
    }
    all
}

impl Observe for Backend {
    fn observe(&self, batch: &mut Batch) {
        let status = self.status();
        let name = &*status.name;
        for state in EndpointState::ALL {
            let count = status.endpoints.iter().filter(|endpoint| endpoint.state() == state).count();
            batch.add(&f::ENDPOINTS, &[name, state.as_str()], count as f64);
        }
        batch.add(&f::IN_FLIGHT, &[name], status.in_flight as f64);
        batch.add(&f::IN_FLIGHT_LIMIT, &[name], status.max_in_flight as f64);
        batch.add(&f::RETRY_BUDGET, &[name], status.retry_budget.floor());
    }
}
