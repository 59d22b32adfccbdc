//! A listener: bound, accepting, its settings replaced while it accepts, and leaving.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

use crate::agent::accept::accept;
use crate::agent::places::Places;
use crate::agent::{SocketListener, UnixSocket};
use crate::config::{Bind, ListenerConfig};
use crate::shutdown::{Drain, Phase, Shutdown};
use crate::telemetry::event;
use crate::telemetry::metrics::ListenerMetrics;
use crate::tls;
use crate::worker::{Handover, ListenerId, Worker};

/// What connections get for their last bytes after the grace period.
pub(super) const CLOSING_TIME: Duration = Duration::from_secs(2);

/// Why a listener cannot be had.
#[derive(Debug, Error)]
pub(crate) enum BindError {
    #[error("{place}.bind: cannot listen on {bind}: {source}. {advice}")]
    Bind { place: String, bind: String, source: io::Error, advice: &'static str },
    /// Without the name, which may have come from the environment.
    #[error("{place}.unix.{kind}: no such {kind} on this system; use a number or another name")]
    UnknownOwner { place: String, kind: &'static str },
}

/// Binds what stands at `index` in the configuration.
pub(super) async fn bind(index: usize, listener: &ListenerConfig) -> Result<SocketListener, BindError> {
    bind_at(&format!("listeners[{index}]"), &listener.bind).await
}

/// Binds what stands at `place` in the configuration.
pub(super) async fn bind_at(place: &str, bind: &Bind) -> Result<SocketListener, BindError> {
    let bound = match bind {
        Bind::Tcp(address) => bind_tcp(address).await,
        Bind::Unix { path, mode, user, group } => {
            let unknown = |kind| BindError::UnknownOwner { place: place.to_owned(), kind };
            let user = user.as_deref().map(|name| user_id(name).ok_or_else(|| unknown("user"))).transpose()?;
            let group = group.as_deref().map(|name| group_id(name).ok_or_else(|| unknown("group"))).transpose()?;
            SocketListener::bind_unix(&UnixSocket::new(path).mode(*mode).owner(user, group))
        }
    };
    bound.map_err(|source| {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "Stop the process that listens there (a listener of this one that is to go gives its address free after the reload), \
                 or choose another address"
            }
            io::ErrorKind::PermissionDenied => "Grant this user the right, or choose another address",
            io::ErrorKind::NotFound => "Create the folder, or choose another path",
            _ => "Choose another address",
        };
        BindError::Bind { place: place.to_owned(), bind: bind.to_string(), source, advice }
    })
}

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
    ) -> Self {
        let address = socket.address().to_owned();
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
        Self { id, config: config.clone(), address, places, accepting, connections, tls, acceptor }
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
            let Self { config, places, connections, acceptor, .. } = self;
            let gone = async {
                // Closes the socket and removes its file.
                let _ = acceptor.await;
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

/// Binds the first of the addresses that `address` resolves to and that can be bound.
async fn bind_tcp(address: &str) -> io::Result<SocketListener> {
    let mut result = Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"));
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(address).await?.collect();
    for address in addresses {
        result = SocketListener::bind_tcp(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn user_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| nix::unistd::User::from_name(name).ok()?.map(|user| user.uid.as_raw()))
}

fn group_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| nix::unistd::Group::from_name(name).ok()?.map(|group| group.gid.as_raw()))
}
