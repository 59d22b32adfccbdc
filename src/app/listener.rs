//! A listener: bound, accepting, its settings replaced while it accepts, and leaving.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

use super::socket::{Kept, Published};
use crate::admin::State;
use crate::agent::SocketListener;
use crate::agent::accept::accept;
use crate::agent::places::Places;
use crate::config::ListenerConfig;
use crate::shutdown::{Drain, Phase, Shutdown};
use crate::telemetry::event;
use crate::telemetry::metrics::ListenerMetrics;
use crate::tls;
use crate::worker::{Handover, ListenerId, Worker};

/// What connections get for their last bytes after the grace period.
pub(super) const CLOSING_TIME: Duration = Duration::from_secs(2);

/// A listener that accepts.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: ListenerId,
    pub(super) config: ListenerConfig,
    pub(super) address: String,
    places: Arc<Places>,
    accepting: Shutdown,
    /// Of the connections that are accepted now.
    connections: Arc<Mutex<Shutdown>>,
    tls: tls::Live<ServerConfig>,
    acceptor: JoinHandle<()>,
    file: Kept,
}

impl Live {
    /// Accepts from now on, on the current runtime, and gives each connection to the worker with the fewest.
    pub(super) fn start(
        id: ListenerId,
        config: &ListenerConfig,
        metrics: &Arc<ListenerMetrics>,
        socket: SocketListener,
        tls: Option<Arc<ServerConfig>>,
        workers: &Arc<Vec<Worker>>,
        state: &Arc<State>,
    ) -> Self {
        let address = socket.address().to_owned();
        let socket = Published::new(format!("listener {}", config.bind), &config.bind, socket, state);
        let file = socket.file();
        event::Listening { listener: &config.name, address: &address }.record();
        let places = Places::new(&config.name, config.max_connections, metrics);
        let accepting = Shutdown::new();
        let connections = Arc::new(Mutex::new(Shutdown::new()));
        let tls = tls::Live::new(tls);
        let acceptor = {
            let tls = tls.clone();
            let (places, stop) = (Arc::clone(&places), accepting.watch());
            let (workers, connections) = (Arc::clone(workers), Arc::clone(&connections));
            tokio::spawn(async move {
                accept(socket, &places, stop, |socket, peer, place| {
                    let drain = connections.lock().unwrap_or_else(PoisonError::into_inner).watch();
                    let worker = workers.iter().min_by_key(|worker| worker.connections());
                    if let (Some(worker), Ok(socket)) = (worker, socket.detach()) {
                        worker.hand_over(Handover { listener: id, socket, peer, tls: tls.current(), place, drain });
                    }
                })
                .await;
            })
        };
        Self { id, config: config.clone(), address, places, accepting, connections, tls, acceptor, file }
    }

    /// Other settings, for connections accepted from now on.
    ///
    /// Under another name it is another listener to routes, which connections would ask for under the old one: those end, in order.
    pub(super) fn change(
        &mut self,
        config: &ListenerConfig,
        metrics: &Arc<ListenerMetrics>,
        tls: Option<Arc<ServerConfig>>,
        grace_period: Duration,
    ) {
        self.set_tls(tls);
        self.places.change(&config.name, config.max_connections, metrics);
        if config.name != self.config.name {
            let before = std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
            before.advance(Phase::Draining);
            tokio::spawn(async move { before.drain(Duration::ZERO, grace_period).await });
        }
        self.config = config.clone();
    }

    /// For connections accepted from now on.
    pub(super) fn set_tls(&self, tls: Option<Arc<ServerConfig>>) {
        self.tls.replace(tls);
    }

    /// Health checks are refused from now on.
    pub(super) fn not_ready(&self) {
        self.advance(Phase::NotReady);
    }

    /// Stops accepting at once. The rest takes until every connection has ended: when it is quiet, or after `grace_period`, or when the
    /// `last` moment of the process has come, with what is in flight given the fallback.
    pub(super) fn leave(self, grace_period: Duration, mut last: Drain) -> impl Future<Output = ()> + use<> {
        self.accepting.advance(Phase::Draining);
        self.advance(Phase::Draining);
        async move {
            let Self { config, places, connections, acceptor, file, .. } = self;
            let gone = async {
                // Closes the socket.
                let _ = acceptor.await;
                file.remove().await;
                places.all_free().await;
            };
            let mut gone = std::pin::pin!(gone);
            let over = tokio::time::timeout(grace_period, last.reached(Phase::Closing));
            tokio::select! {
                () = &mut gone => {}
                _ = over => {
                    tracing::warn!(listener = &*config.name, "grace period over, what is in flight gets the fallback");
                    connections.lock().unwrap_or_else(PoisonError::into_inner).advance(Phase::Closing);
                    let _ = tokio::time::timeout(CLOSING_TIME, &mut gone).await;
                }
            }
        }
    }

    fn advance(&self, phase: Phase) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).advance(phase);
    }
}
