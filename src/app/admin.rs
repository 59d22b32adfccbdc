//! The admin port: bound, moved by a reload, and its connections, of which there are never too many.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use super::listener::{self, BindError};
use crate::admin::{MAX_CONNECTIONS, State, serve};
use crate::agent::{Listener, SocketListener};
use crate::config::AdminConfig;
use crate::shutdown::{Drain, Phase, Shutdown};

/// Before accepting is tried again after an error, of which lack of file descriptors is the likely one.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// For requests that are under way when the port is moved.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// Binds the port, if there is to be one.
///
/// # Errors
/// If that fails; for the default address, which nobody has asked for, a warning does.
pub(super) async fn bind(config: &AdminConfig) -> Result<Option<SocketListener>, BindError> {
    let Some(bind) = &config.bind else { return Ok(None) };
    match listener::bind_at("admin", bind).await {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if config.is_default => {
            tracing::warn!(
                %error,
                "no admin port: its default address cannot be had. Set admin.bind (--admin) to another address, or to off"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The port, if it is there.
#[derive(Debug)]
pub(super) struct Port {
    config: AdminConfig,
    state: Arc<State>,
    /// Ends it.
    live: Option<Shutdown>,
}

/// What a reload makes of it.
#[derive(Debug)]
pub(super) enum Next {
    Kept,
    Off,
    Bound(SocketListener),
}

impl Port {
    /// Answers on `socket` from now on, on the current runtime.
    pub(super) fn start(config: &AdminConfig, socket: Option<SocketListener>, state: &Arc<State>) -> Self {
        let live = socket.map(|socket| live(socket, state));
        Self { config: config.clone(), state: Arc::clone(state), live }
    }

    /// Binds what `config` says, if it is not there yet.
    ///
    /// # Errors
    /// As [`bind`].
    pub(super) async fn next(&self, config: &AdminConfig) -> Result<Next, BindError> {
        if config.bind == self.config.bind && self.live.is_some() {
            return Ok(Next::Kept);
        }
        Ok(bind(config).await?.map_or(Next::Off, Next::Bound))
    }

    /// Moves to what was bound; what is under way at the old place ends there.
    pub(super) fn change(&mut self, config: &AdminConfig, next: Next) {
        self.config = config.clone();
        let next = match next {
            Next::Kept => return,
            Next::Off => None,
            Next::Bound(socket) => Some(live(socket, &self.state)),
        };
        if let Some(before) = std::mem::replace(&mut self.live, next) {
            before.advance(Phase::Draining);
        }
    }
}

fn live(socket: SocketListener, state: &Arc<State>) -> Shutdown {
    tracing::info!(address = socket.address(), "admin listening");
    let stop = Shutdown::new();
    tokio::spawn(accept(socket, Arc::clone(state), stop.watch()));
    stop
}

async fn accept(mut listener: SocketListener, state: Arc<State>, mut stop: Drain) {
    let mut connections = Connections::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.reached(Phase::Draining) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => connections.add(serve(socket, is_local(&peer), Arc::clone(&state))).await,
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
        // However many come, those that are there have their turn.
        tokio::task::yield_now().await;
    }
    drop(listener);
    let _ = tokio::time::timeout(CLOSING_TIME, connections.tasks.join_all()).await;
}

fn is_local(peer: &str) -> bool {
    peer == "unix" || peer.parse::<SocketAddr>().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// Connections that are served. When there are too many the oldest has to go, which is one that is idle or slow: an answer takes no time.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    async fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.by_age.retain(|task| !task.is_finished());
        while self.tasks.len() >= MAX_CONNECTIONS {
            self.by_age.pop_front().inspect(AbortHandle::abort);
            self.tasks.join_next().await;
        }
        self.by_age.push_back(self.tasks.spawn(connection));
    }
}
