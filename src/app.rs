//! The only composer: a configuration in, a running bridge out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

use crate::agent::accept::{self, Places};
use crate::agent::{SocketListener, UnixSocket};
use crate::config::{Bind, Config, ListenerConfig, format_duration};
use crate::grpc::Backend;
use crate::shutdown::{Drain, Shutdown};
use crate::telemetry::{Totals, event};
use crate::tls::{Live, Material};
use crate::worker::{Handover, Worker};

/// What connections get for their last bytes after the grace period.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// Why the bridge could not start. It costs the process.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("listeners[{index}].bind: cannot listen on {bind}: {source}. {advice}")]
    Bind { index: usize, bind: String, source: io::Error, advice: &'static str },
    #[error("listeners[{index}].unix: no {kind} `{name}` on this system; use a number or another name")]
    UnknownOwner { index: usize, kind: &'static str, name: String },
    #[error("cannot start a worker thread: {0}")]
    Worker(#[from] io::Error),
}

/// A bridge whose listeners are bound and whose workers run.
#[derive(Debug)]
pub(crate) struct App {
    addresses: Vec<String>,
    workers: Arc<Vec<Worker>>,
    acceptors: Vec<JoinHandle<Places>>,
    config: Arc<Config>,
    shutdown: Shutdown,
}

impl App {
    /// Binds all listeners, then starts the workers and accepts. `material` is what `config` says about TLS. Must be called within a tokio runtime, that of the control
    /// thread.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running or bound.
    pub(crate) async fn start(config: Config, material: Material) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let mut listeners = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            listeners.push(bind(index, listener).await?);
        }
        let shutdown = Shutdown::new();
        let backends: Vec<_> =
            config.backends.iter().zip(material.backends).map(|(backend, tls)| Backend::start(backend, tls)).collect();
        let workers = (0..config.workers.get()).map(|index| Worker::start(index, &config, &backends, shutdown.watch()));
        let workers = Arc::new(workers.collect::<io::Result<Vec<_>>>()?);
        let addresses = listeners.iter().map(|listener| listener.address().to_owned()).collect();
        let acceptors = listeners.into_iter().zip(material.listeners).enumerate().map(|(index, (listener, tls))| {
            event::Listening { listener: &config.listeners[index].name, address: listener.address() }.record();
            let (config, workers) = (Arc::clone(&config), Arc::clone(&workers));
            tokio::spawn(accept(index, listener, Live::new(tls), config, shutdown.watch(), workers))
        });
        let acceptors = acceptors.collect();
        Ok(Self { addresses, acceptors, workers, config, shutdown })
    }

    /// The listeners' addresses as bound, in the order of the configuration.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Serves until `stop` says so, then drains:
    ///
    /// 1. not ready: health checks are refused for `drain.delay`, while everything is still served, so that HAProxy moves on;
    /// 2. stop accepting; what is connected is served until it is quiet, then ends with AGENT-DISCONNECT;
    /// 3. after `drain.grace_period` what is still in flight gets the fallback, and connections end;
    /// 4. workers end, and what happened is summed up in the log.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        stop.await;
        let drain = self.config.drain;
        let (delay, grace_period) = (format_duration(drain.delay), format_duration(drain.grace_period));
        tracing::info!(%delay, %grace_period, "draining");
        let mut gone = Box::pin(async {
            for acceptor in self.acceptors {
                if let Ok(places) = acceptor.await {
                    places.all_free().await;
                }
            }
        });
        tokio::select! {
            () = &mut gone => {}
            () = self.shutdown.drain(drain.delay, drain.grace_period) => {
                tracing::warn!("grace period over, what is in flight gets the fallback");
                let _ = tokio::time::timeout(CLOSING_TIME, &mut gone).await;
            }
        }
        drop(gone);
        // The acceptors are gone and with them the other owners.
        if let Ok(workers) = Arc::try_unwrap(self.workers) {
            workers.into_iter().for_each(Worker::join);
        }
        tracing::info!(totals = %Totals::now(), "stopped");
    }
}

/// Accepts for one listener and gives each connection to the worker with the fewest.
async fn accept(
    index: usize,
    listener: SocketListener,
    tls: Live<ServerConfig>,
    config: Arc<Config>,
    drain: Drain,
    workers: Arc<Vec<Worker>>,
) -> Places {
    let ListenerConfig { name, max_connections, .. } = &config.listeners[index];
    accept::accept(listener, name, *max_connections, drain, |socket, peer, place| {
        let worker = workers.iter().min_by_key(|worker| worker.connections());
        if let (Some(worker), Ok(socket)) = (worker, socket.detach()) {
            worker.hand_over(Handover { listener: index, socket, peer, tls: tls.current(), place });
        }
    })
    .await
}

async fn bind(index: usize, listener: &ListenerConfig) -> Result<SocketListener, StartError> {
    let bound = match &listener.bind {
        Bind::Tcp(address) => bind_tcp(address).await,
        Bind::Unix { path, mode, user, group } => {
            let unknown = |kind, name: &str| StartError::UnknownOwner { index, kind, name: name.to_owned() };
            let user = user.as_deref().map(|name| user_id(name).ok_or_else(|| unknown("user", name))).transpose()?;
            let group = group.as_deref().map(|name| group_id(name).ok_or_else(|| unknown("group", name))).transpose()?;
            SocketListener::bind_unix(&UnixSocket::new(path).mode(*mode).owner(user, group))
        }
    };
    bound.map_err(|source| {
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => "Stop the process that listens there, or choose another address",
            io::ErrorKind::PermissionDenied => "Grant this user the right, or choose another address",
            io::ErrorKind::NotFound => "Create the folder, or choose another path",
            _ => "Choose another address",
        };
        StartError::Bind { index, bind: listener.bind.to_string(), source, advice }
    })
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
