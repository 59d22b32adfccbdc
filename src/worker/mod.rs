//! One core: its runtime, its SPOP connections, its connections to every endpoint. Workers share nothing that a NOTIFY touches.

mod serving;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serving::Serving;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::rustls::ServerConfig;

use crate::agent::places::Place;
use crate::agent::{BuildError, DetachedSocket, Readiness};
use crate::bridge::Routes;
use crate::config::{Config, ListenerConfig};
use crate::grpc::Backend;
use crate::shutdown::Drain;
use crate::telemetry::metrics::ListenerMetrics;

/// A listener for as long as the process has it, whatever becomes of its name, its settings and its place in the configuration.
pub(crate) type ListenerId = u64;

/// What workers serve by: a configuration and what belongs to it by position. Whatever takes long if the configuration is long is done
/// when this is made, and workers share it.
#[derive(Debug)]
pub(crate) struct Generation {
    /// 1 for that of the start.
    pub(crate) number: u64,
    pub(crate) config: Arc<Config>,
    pub(crate) backends: Vec<Arc<Backend>>,
    listeners: Vec<(ListenerId, Arc<ListenerMetrics>)>,
    routes: Arc<Routes>,
}

impl Generation {
    /// `listeners` and `backends` are those of `config`, in its order.
    pub(crate) fn new(number: u64, config: Arc<Config>, listeners: Vec<ListenerId>, backends: Vec<Arc<Backend>>) -> Self {
        let metrics = config.listeners.iter().map(|listener| Arc::new(ListenerMetrics::of(&listener.name)));
        let listeners = listeners.into_iter().zip(metrics).collect();
        Self { number, routes: Arc::new(Routes::new(&config)), config, backends, listeners }
    }

    /// The listeners, in the order of the configuration.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (ListenerId, &ListenerConfig, &Arc<ListenerMetrics>)> {
        self.listeners.iter().zip(&self.config.listeners).map(|((id, metrics), config)| (*id, config, metrics))
    }

    /// Whether a worker, or anything else, still has a part of it that takes long to let go of.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.config) > 1 || Arc::strong_count(&self.routes) > 1
    }
}

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) listener: ListenerId,
    pub(crate) socket: DetachedSocket,
    pub(crate) peer: String,
    /// TLS as it was said when the connection was accepted.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Its place among the listener's connections.
    pub(crate) place: Place,
    /// Says when it is to end.
    pub(crate) drain: Drain,
}

/// What a worker is asked to do, one after the other.
#[derive(Debug)]
enum Command {
    Serve(Handover, Load),
    /// Get ready to serve by another generation, and say so.
    Prepare(Arc<Generation>, oneshot::Sender<Result<(), BuildError>>),
    /// Serve by what was prepared last.
    Swap,
}

/// A running worker, as the control thread sees it. Dropping the sender lets the thread end.
#[derive(Debug)]
pub(crate) struct Worker {
    sender: mpsc::UnboundedSender<Command>,
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// Threads of a worker that may wait for the C library to look up the name of an endpoint.
const MAX_BLOCKING: usize = 64;

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
    pub(crate) fn start(index: usize, generation: &Arc<Generation>, readiness: &Readiness) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(MAX_BLOCKING).build()?;
        let entered = runtime.enter();
        let mut serving = Serving::start(index == 0, generation, readiness).map_err(io::Error::other)?;
        drop(entered);
        // Unbounded in name: each handover holds one of its listener's places, and reloads come one after the other.
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            runtime.block_on(async {
                loop {
                    let command = tokio::select! {
                        biased;
                        command = receiver.recv() => command,
                        // Between two steps everything else has its turn.
                        () = tokio::task::yield_now(), if serving.is_preparing() => {
                            serving.prepare_some();
                            continue;
                        }
                    };
                    match command {
                        Some(Command::Serve(handover, load)) => serving.serve(handover, load),
                        Some(Command::Prepare(generation, done)) => serving.prepare(generation, done),
                        Some(Command::Swap) => serving.swap(),
                        None => break,
                    }
                }
                serving.shut_down().await;
            });
            // Dropped, it would wait for lookups of names that nobody needs any more.
            runtime.shutdown_background();
        })?;
        Ok(Self { sender, connections: Arc::new(AtomicUsize::new(0)), thread })
    }

    /// Its open connections.
    pub(crate) fn connections(&self) -> usize {
        // One whose thread has ended, which would be a bug, must not look like the one with the least to do.
        if self.sender.is_closed() { usize::MAX } else { self.connections.load(Ordering::Relaxed) }
    }

    pub(crate) fn hand_over(&self, handover: Handover) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&self.connections));
        // Fails only after the worker has ended; the connection is then closed.
        let _ = self.sender.send(Command::Serve(handover, load));
    }

    /// Lets the worker connect to what is new in `generation`, while it goes on as it is. Done when the first attempts to connect have
    /// ended, or have taken too long.
    ///
    /// # Errors
    /// When an agent refuses its settings, which the check of the configuration rules out.
    pub(crate) async fn prepare(&self, generation: &Arc<Generation>) -> Result<(), BuildError> {
        let (done, prepared) = oneshot::channel();
        let _ = self.sender.send(Command::Prepare(Arc::clone(generation), done));
        // A worker that has ended has nothing to prepare.
        prepared.await.unwrap_or(Ok(()))
    }

    /// Lets the worker serve by what it has prepared. What is handed over after this is served by it.
    pub(crate) fn swap(&self) {
        let _ = self.sender.send(Command::Swap);
    }

    /// Lets the worker end, which closes what it still has.
    pub(crate) fn join(self) {
        drop(self.sender);
        let _ = self.thread.join();
    }
}
