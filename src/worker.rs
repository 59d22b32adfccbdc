//! One core: its runtime, its SPOP connections, its connections to every endpoint. Workers share nothing that a NOTIFY touches.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_rustls::rustls::ServerConfig;

use crate::agent::accept::Place;
use crate::agent::{Agent, AgentBuilder, BuildError, DetachedSocket, Process, Tls};
use crate::bridge::{Bridge, Decide, status_actions};
use crate::config::{Cause, Config, ListenerConfig};
use crate::deadline::Deadline;
use crate::grpc::{Backend, CallError, Engine, Pool, Request};
use crate::shutdown::Drain;

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Position of its listener in the configuration.
    pub(crate) listener: usize,
    pub(crate) socket: DetachedSocket,
    pub(crate) peer: String,
    /// TLS as it was said when the connection was accepted.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Its place among the listener's connections.
    pub(crate) place: Place,
}

/// A running worker, as the control thread sees it. Dropping the sender lets the thread end.
#[derive(Debug)]
pub(crate) struct Worker {
    sender: mpsc::UnboundedSender<(Handover, Load)>,
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// Counts a connection among its worker's until dropped.
#[derive(Debug)]
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Starts the thread of worker number `index`, which connects to all endpoints at once.
    ///
    /// # Errors
    /// When the operating system gives no thread or no descriptors for a runtime, or an agent refuses its settings, which the
    /// check of the configuration rules out.
    pub(crate) fn start(index: usize, config: &Arc<Config>, backends: &[Arc<Backend>], drain: Drain) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let pools = backends.iter().map(|backend| backend.pool(index == 0)).collect();
        let backends = Backends(Arc::new(pools));
        let bridge = Bridge::new(Arc::clone(config), backends.clone());
        let agents = config.listeners.iter().map(|listener| agent(config, listener, bridge.clone()));
        let agents = agents.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        drop(entered);
        // Unbounded in name: each handover holds one of its listener's places.
        let (sender, receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            runtime.block_on(async {
                serve(&agents, receiver, drain).await;
                join_all(backends.0.iter().map(Pool::shut_down)).await;
            });
        })?;
        Ok(Self { sender, connections: Arc::new(AtomicUsize::new(0)), thread })
    }

    /// Its open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn hand_over(&self, handover: Handover) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&self.connections));
        // Fails only after the worker has ended; the connection is then closed.
        let _ = self.sender.send((handover, load));
    }

    /// Lets the worker end, which closes what it still has.
    pub(crate) fn join(self) {
        drop(self.sender);
        let _ = self.thread.join();
    }
}

async fn serve(agents: &[Agent<Bridge<Backends>>], mut handovers: mpsc::UnboundedReceiver<(Handover, Load)>, drain: Drain) {
    while let Some((handover, load)) = handovers.recv().await {
        let Handover { listener, socket, peer, tls, place } = handover;
        let (Some(agent), Ok(socket)) = (agents.get(listener).cloned(), socket.attach()) else { continue };
        let drain = drain.clone();
        tokio::spawn(async move {
            match tls {
                Some(tls) => agent.serve_connection(Tls::accept(socket, tls), &peer, drain).await,
                None => agent.serve_connection(socket, &peer, drain).await,
            }
            drop((place, load));
        });
    }
}

/// The agent of one listener.
fn agent(config: &Config, listener: &ListenerConfig, bridge: Bridge<Backends>) -> Result<Agent<Bridge<Backends>>, BuildError> {
    let status = status_actions(config, Cause::Internal.as_str());
    let mut fallback = config.on_failure.actions(Cause::Internal).clone();
    fallback.append(&status);
    let build = |fallback| settings(listener, Agent::builder(bridge.clone())).fallback(fallback).build();
    // What the operator wants set may be too long for the smallest frame; the status is not.
    build(fallback).or_else(|_| build(status))
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

/// A pool for each backend, by its position in the configuration.
#[derive(Clone, Debug)]
struct Backends(Arc<Vec<Pool>>);

impl Decide for Backends {
    type Engine = Box<[Arc<Engine>]>;

    fn engine(&self, id: &Bytes) -> Self::Engine {
        self.0.iter().map(|pool| pool.engine(id)).collect()
    }

    async fn decide(
        &self,
        backend: usize,
        engine: &Self::Engine,
        request: Request,
        deadline: Deadline,
    ) -> Result<Bytes, CallError> {
        // Routes name backends by positions that the check made from the same list.
        self.0[backend].decide(&engine[backend], request, deadline).await
    }
}
