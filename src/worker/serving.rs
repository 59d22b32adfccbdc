//! What a worker serves by, and how that is replaced: prepared beside it, swapped in one step, and what nobody uses any more let go.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Generation, Handover, ListenerId, Load};
use crate::agent::{Agent, AgentBuilder, BuildError, Process, Processor, Readiness, Tls};
use crate::bridge::{Bridge, Decide, status_actions};
use crate::config::{Cause, ListenerConfig};
use crate::deadline::Deadline;
use crate::grpc::{Backend, CallError, Engine, Pool, Request, Trail};
use crate::spop::Actions;
use crate::telemetry::metrics::ListenerMetrics;

/// How long a reload waits for the first connections to new backends. With the default connect timeout of 1 s they are there, or known
/// not to be, by then; decisions that come before wait for them by themselves.
const SETTLE: Duration = Duration::from_secs(2);

/// Each with the name of its listener, and with a processor of its own: what is left of a listener that is gone, or has another name now, is
/// decided by the configuration that knew it.
type Agents = HashMap<ListenerId, (Arc<str>, Agent<Bridge<Backends>>)>;

/// What a worker thread has.
#[derive(Debug)]
pub(super) struct Serving {
    /// Whether this worker tells the log about endpoints.
    speaks: bool,
    readiness: Readiness,
    agents: Agents,
    pools: Vec<Lender>,
    preparing: Option<Preparing>,
    prepared: Option<Prepared>,
    /// Pools whose last decisions are under way.
    leaving: JoinSet<()>,
}

/// Another generation, of which some backends are not looked at yet.
#[derive(Debug)]
struct Preparing {
    generation: Arc<Generation>,
    done: oneshot::Sender<Result<(), BuildError>>,
    /// Those that there are, by their backends.
    known: HashMap<usize, Lender>,
    pools: Vec<Lender>,
    /// Those of the pools that are new.
    unsettled: Vec<Arc<Pool>>,
}

/// Backends that are prepared before others on this thread have their turn: to begin to connect to one takes some ten microseconds.
const AT_ONCE: usize = 32;

/// Another generation, ready to serve by.
#[derive(Debug)]
struct Prepared {
    bridge: Bridge<Backends>,
    agents: Agents,
    pools: Vec<Lender>,
}

impl Serving {
    /// Must be called within the worker's runtime.
    pub(super) fn start(speaks: bool, generation: &Generation, readiness: &Readiness) -> Result<Self, BuildError> {
        let pools: Vec<_> = generation.backends.iter().map(|backend| Lender::start(backend, speaks)).collect();
        let agents = agents(generation, &bridge(generation, &pools), &Agents::new(), readiness)?;
        let readiness = readiness.clone();
        Ok(Self { speaks, readiness, agents, pools, preparing: None, prepared: None, leaving: JoinSet::new() })
    }

    pub(super) fn serve(&mut self, handover: Handover, load: Load) {
        let Handover { listener, socket, peer, tls, place, drain } = handover;
        let (Some((_, agent)), Ok(socket)) = (self.agents.get(&listener).cloned(), socket.attach()) else { return };
        tokio::spawn(async move {
            match tls {
                Some(tls) => agent.serve_at(Tls::accept(socket, tls), &peer, drain, Some(place)).await,
                None => agent.serve_at(socket, &peer, drain, Some(place)).await,
            }
            drop(load);
        });
    }

    /// Begins to make everything of `generation` that is not there yet, and says so to `done` when it has settled.
    pub(super) fn prepare(&mut self, generation: Arc<Generation>, done: oneshot::Sender<Result<(), BuildError>>) {
        // What an abandoned reload has left behind.
        self.prepared = None;
        let known = self.pools.iter().map(|pool| (place(&pool.backend), pool.clone())).collect();
        self.preparing = Some(Preparing { generation, done, known, pools: Vec::new(), unsettled: Vec::new() });
    }

    /// Whether there is something to prepare.
    pub(super) fn is_preparing(&self) -> bool {
        self.preparing.is_some()
    }

    /// Prepares some of what is left: many backends take longer than a decision may wait.
    pub(super) fn prepare_some(&mut self) {
        let Some(mut preparing) = self.preparing.take() else { return };
        let Preparing { generation, known, pools, unsettled, .. } = &mut preparing;
        let pool = |backend| {
            known.remove(&place(backend)).unwrap_or_else(|| {
                let pool = Lender::start(backend, self.speaks);
                unsettled.push(Arc::clone(&pool.loan.pool));
                pool
            })
        };
        let (begun, all) = (pools.len(), generation.backends.len());
        pools.extend(generation.backends.iter().skip(begun).take(AT_ONCE).map(pool));
        if pools.len() < all {
            self.preparing = Some(preparing);
        } else {
            self.finish(preparing);
        }
    }

    fn finish(&mut self, preparing: Preparing) {
        let Preparing { generation, done, pools, unsettled, .. } = preparing;
        let bridge = bridge(&generation, &pools);
        let agents = match agents(&generation, &bridge, &self.agents, &self.readiness) {
            Ok(agents) => agents,
            Err(error) => {
                let _ = done.send(Err(error));
                return;
            }
        };
        self.prepared = Some(Prepared { bridge, agents, pools });
        tokio::spawn(async move {
            let settled = join_all(unsettled.iter().map(|pool| pool.settled()));
            let _ = tokio::time::timeout(SETTLE, settled).await;
            let _ = done.send(Ok(()));
        });
    }

    /// From here on every NOTIFY is decided by what was prepared. Those in flight stay with the bridge that has them.
    pub(super) fn swap(&mut self) {
        let Some(Prepared { bridge, agents, pools }) = self.prepared.take() else { return };
        agents.values().for_each(|(_, agent)| agent.processor().replace(bridge.clone()));
        self.agents = agents;
        let kept: HashSet<_> = pools.iter().map(|pool| place(&pool.backend)).collect();
        for pool in std::mem::replace(&mut self.pools, pools) {
            if !kept.contains(&place(&pool.backend)) {
                self.leaving.spawn(pool.shut_down());
            }
        }
        while self.leaving.try_join_next().is_some() {}
    }

    /// Takes leave of all services. No connection is open any more, or none that is waited for.
    pub(super) async fn shut_down(self) {
        join_all(self.pools.iter().map(|pool| pool.loan.pool.shut_down())).await;
    }
}

/// What tells a backend from all others that there are.
fn place(backend: &Arc<Backend>) -> usize {
    Arc::as_ptr(backend).addr()
}

/// A worker's pool of one backend, lent to bridges.
#[derive(Clone, Debug)]
struct Lender {
    backend: Arc<Backend>,
    loan: Loan,
    /// Ends when every loan is over.
    over: Arc<tokio::sync::Mutex<mpsc::Receiver<Infallible>>>,
}

/// A pool that may be used until this is dropped.
#[derive(Clone, Debug)]
struct Loan {
    pool: Arc<Pool>,
    _lent: mpsc::Sender<Infallible>,
}

impl Lender {
    fn start(backend: &Arc<Backend>, speaks: bool) -> Self {
        let (sender, over) = mpsc::channel(1);
        let loan = Loan { pool: backend.pool(speaks), _lent: sender };
        Self { backend: Arc::clone(backend), loan, over: Arc::new(tokio::sync::Mutex::new(over)) }
    }

    /// Takes leave of the services when the last decision is made. The backend is kept until then, and so is its discovery.
    async fn shut_down(self) {
        let Self { backend, loan: Loan { pool, _lent }, over } = self;
        drop(_lent);
        // Nobody sends: this is the end of the last loan.
        let _ = over.lock().await.recv().await;
        pool.shut_down().await;
        drop(backend);
    }
}

/// A pool for each backend, by its position in the configuration.
#[derive(Clone, Debug)]
struct Backends(Arc<[Loan]>);

/// An engine, as each backend knows it: made with the first decision that goes there.
#[derive(Debug)]
struct Engines {
    id: Bytes,
    /// By the backend's position.
    known: Box<[OnceLock<Arc<Engine>>]>,
}

impl Decide for Backends {
    type Engine = Engines;

    fn engine(&self, id: &Bytes) -> Engines {
        Engines { id: id.clone(), known: self.0.iter().map(|_| OnceLock::new()).collect() }
    }

    #[allow(clippy::indexing_slicing, reason = "routes name backends by positions that the check made from the same list")]
    async fn decide(
        &self,
        backend: usize,
        engine: &Self::Engine,
        request: Request,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, CallError> {
        let pool = &self.0[backend].pool;
        let engine = engine.known[backend].get_or_init(|| pool.engine(&engine.id));
        pool.decide(engine, request, deadline, trail).await
    }
}

fn bridge(generation: &Generation, pools: &[Lender]) -> Bridge<Backends> {
    let loans = pools.iter().map(|pool| pool.loan.clone()).collect();
    Bridge::new(Arc::clone(&generation.config), Arc::clone(&generation.routes), Backends(loans))
}

/// An agent for each listener. One that was there `before` keeps its processor, by which `bridge` then reaches its connections.
fn agents(
    generation: &Generation,
    bridge: &Bridge<Backends>,
    before: &Agents,
    readiness: &Readiness,
) -> Result<Agents, BuildError> {
    let config = &generation.config;
    let agent = |((id, listener, metrics), last_resort): ((ListenerId, &ListenerConfig, &Arc<ListenerMetrics>), &Actions)| {
        let known = before.get(&id).filter(|(name, _)| *name == listener.name);
        let processor = known.map_or_else(|| Processor::new(bridge.clone()), |(_, agent)| agent.processor());
        let build = |fallback| {
            let builder = Agent::builder_with(processor.clone()).metrics(metrics).readiness(readiness.clone()).fallback(fallback);
            settings(listener, builder).build()
        };
        let status = status_actions(config, Cause::Internal.as_str());
        let mut fallback = last_resort.clone();
        fallback.append(&status);
        // What the operator wants set may be too long for the smallest frame; the status is not.
        Ok((id, (Arc::clone(&listener.name), build(fallback).or_else(|_| build(status))?)))
    };
    generation.listeners().zip(&config.last_resorts).map(agent).collect()
}

fn settings<P: Process>(listener: &ListenerConfig, builder: AgentBuilder<P>) -> AgentBuilder<P> {
    builder
        .listener_name(Arc::clone(&listener.name))
        .max_connections(listener.max_connections)
        .max_in_flight(listener.max_in_flight)
        .max_frame_size(listener.max_frame_size)
        .handshake_timeout(listener.handshake_timeout)
        .read_timeout(listener.read_timeout)
        .write_timeout(listener.write_timeout)
        .idle_timeout(listener.idle_timeout)
}
