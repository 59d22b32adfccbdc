//! The only composer: a configuration in, a running bridge out; another configuration in, the same bridge changed.

mod admin;
mod bind;
mod change;
mod listener;
mod readiness;
mod reload;
mod socket;
mod systemd;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use admin::Port;
use bind::BindError;
use futures_util::future::join_all;
use listener::{CLOSING_TIME, Live};
use readiness::Requirements;
use thiserror::Error;
use tokio::task::JoinSet;

use crate::admin::{Running, State};
use crate::agent::{Readiness, SocketListener};
use crate::config::{Config, ListenerConfig, format_duration};
use crate::control::Control;
use crate::grpc::Backend;
use crate::shutdown::Shutdown;
use crate::telemetry::{Totals, metrics};
use crate::tls::Material;
use crate::worker::{Generation, ListenerId, Worker};

/// Why the bridge could not start. It costs the process.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("{}", lines(.0))]
    Listeners(Vec<BindError>),
    #[error("cannot start a worker thread: {0}")]
    Worker(#[from] io::Error),
}

fn lines(errors: &[BindError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A bridge whose listeners are bound and whose workers run.
#[derive(Debug)]
pub(crate) struct App {
    generation: Arc<Generation>,
    workers: Arc<Vec<Worker>>,
    /// In the order of the configuration.
    listeners: Vec<Live>,
    next_listener: ListenerId,
    requirements: Requirements,
    /// What operators are told.
    state: Arc<State>,
    admin: Port,
    /// Listeners that a reload has removed, with their last connections.
    leaving: JoinSet<()>,
    /// Says to all listeners that the grace period of the process is over.
    last: Shutdown,
}

impl App {
    /// Binds all listeners, then starts the workers and accepts. Must be called within a tokio runtime, that of the control
    /// thread.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running or bound.
    pub(crate) async fn start(config: Config, material: Material, source: &str) -> Result<Self, StartError> {
        let (sockets, admin) = bind_everything(&config).await.map_err(StartError::Listeners)?;
        let backends: Vec<_> =
            config.backends.iter().zip(material.backends).map(|(backend, tls)| Backend::start(backend, tls)).collect();
        let readiness = Readiness::new();
        let listeners = (0..).take(config.listeners.len()).collect();
        let generation = Arc::new(Generation::new(1, Arc::new(config), listeners, backends));
        let config = &generation.config;
        let addresses = sockets.iter().map(|socket| socket.address().to_owned());
        let state = State::new(running(&generation, source, addresses, material.expiries));
        let requirements = Requirements::start(config, &generation.backends, &readiness, &state);
        let workers = (0..config.workers.get()).map(|index| Worker::start(index, &generation, &readiness));
        let workers = Arc::new(workers.collect::<io::Result<Vec<_>>>()?);
        let live =
            |(((id, config, metrics), socket), tls): ((_, _), _)| Live::start(id, config, metrics, socket, tls, &workers, &state);
        let listeners: Vec<_> = generation.listeners().zip(sockets).zip(material.listeners).map(live).collect();
        let next_listener = listeners.len() as ListenerId;
        metrics::observe(Arc::downgrade(&state) as _);
        let admin = Port::start(&config.admin, admin, &state);
        let (leaving, last) = (JoinSet::new(), Shutdown::new());
        Ok(Self { generation, workers, listeners, next_listener, requirements, state, admin, leaving, last })
    }

    /// The listeners' addresses as bound, in the order of the configuration.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        self.listeners.iter().map(|listener| &*listener.address).collect()
    }

    /// Serves until `stop` says so, by the configuration that `control` has last, then drains:
    ///
    /// 1. not ready: health checks are refused for `drain.delay`, while everything is still served, so that HAProxy moves on;
    /// 2. stop accepting; what is connected is served until it is quiet, then ends with AGENT-DISCONNECT;
    /// 3. after `drain.grace_period` what is still in flight gets the fallback, and connections end;
    /// 4. workers end, and what happened is summed up in the log.
    ///
    /// The admin port answers until the end.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>, control: Option<Control>) {
        systemd::ready(self.status());
        tokio::select! {
            biased;
            () = stop => {}
            // Left in the middle of a reload, it has changed nothing yet.
            () = self.follow(control) => {}
        }
        let drain = self.generation.config.drain;
        let (delay, grace_period) = (format_duration(drain.delay), format_duration(drain.grace_period));
        tracing::info!(%delay, %grace_period, "draining");
        systemd::stopping(drain.delay + drain.grace_period);
        self.state.set_draining();
        self.listeners.iter().for_each(Live::not_ready);
        tokio::time::sleep(drain.delay).await;
        let leaving: Vec<_> =
            self.listeners.into_iter().map(|listener| listener.leave(drain.grace_period, self.last.watch())).collect();
        // Those that a reload has removed may have been given more time than there is now.
        tokio::spawn(async move { self.last.drain(Duration::ZERO, drain.grace_period).await });
        tokio::join!(join_all(leaving), self.leaving.join_all());
        // The acceptors are gone and with them the other owners.
        if let Ok(workers) = Arc::try_unwrap(self.workers) {
            let ended = tokio::task::spawn_blocking(|| workers.into_iter().for_each(Worker::join));
            let _ = tokio::time::timeout(CLOSING_TIME, ended).await;
        }
        drop(self.admin);
        tracing::info!(totals = %Totals::now(), "stopped");
    }

    /// What it does, on a line.
    fn status(&self) -> String {
        format!("serving on {}", self.addresses().join(", "))
    }

    /// Puts every configuration into effect that `control` brings.
    async fn follow(&mut self, control: Option<Control>) {
        let Some(mut control) = control else { return std::future::pending().await };
        loop {
            let drain = self.generation.config.drain;
            control.limit.set(drain.delay + drain.grace_period);
            control.changed().await;
            self.reload(&mut control).await;
        }
    }
}

/// What operators are told of a generation whose listeners are bound to `addresses`.
fn running(
    generation: &Generation,
    source: &str,
    addresses: impl Iterator<Item = String>,
    expiries: Vec<(String, SystemTime)>,
) -> Running {
    let names = generation.config.listeners.iter().map(|listener| Arc::clone(&listener.name));
    Running {
        generation: generation.number,
        config: Arc::clone(&generation.config),
        source: source.into(),
        loaded: SystemTime::now(),
        backends: generation.backends.clone(),
        listeners: names.zip(addresses).collect(),
        expiries,
    }
}

/// Binds all listeners and the admin port, or nothing.
async fn bind_everything(config: &Config) -> Result<(Vec<SocketListener>, Option<SocketListener>), Vec<BindError>> {
    let sockets = bind_all(config.listeners.iter().enumerate()).await;
    match (sockets, admin::bind(&config.admin).await) {
        (Ok(sockets), Ok(admin)) => Ok((sockets, admin)),
        (sockets, admin) => Err(sockets.err().into_iter().flatten().chain(admin.err()).collect()),
    }
}

/// Binds all of these, or none.
async fn bind_all(listeners: impl Iterator<Item = (usize, &ListenerConfig)>) -> Result<Vec<SocketListener>, Vec<BindError>> {
    let (mut sockets, mut errors) = (Vec::new(), Vec::new());
    for (index, listener) in listeners {
        match bind::bind(index, listener).await {
            Ok(socket) => sockets.push(socket),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        return Ok(sockets);
    }
    // Their files are removed.
    let _ = bind::touch("the folder of a socket".to_owned(), move || drop(sockets)).await;
    Err(errors)
}
