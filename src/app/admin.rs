//! The admin port: bound, moved by a reload, and its connections, of which there are never too many.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::bind::{BindError, bind_at};
use super::socket::Published;
use crate::admin::{Peer, Places, State, serve};
use crate::agent::reserve::{Reserve, is_exhausted};
use crate::agent::{Listener, Socket, SocketListener};
use crate::config::{AdminConfig, Bind};
use crate::shutdown::{Drain, Phase, Shutdown};

/// Before accepting is tried again after an error, of which lack of file descriptors is the likely one.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// Newcomers that are accepted before those that are there have their turn: a backlog that fills faster than it is emptied loses probes.
const MOST_AT_ONCE: usize = 8;
/// Descriptors kept for probes.
const RESERVED: usize = 4;
/// For requests that are under way when the port is moved.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// Binds the port, if there is to be one.
///
/// # Errors
/// If that fails; for the default address, which nobody has asked for, a warning does.
pub(super) async fn bind(config: &AdminConfig) -> Result<Option<SocketListener>, BindError> {
    let Some(bind) = &config.bind else { return Ok(None) };
    match bind_at("admin", bind).await {
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
        let live = config.bind.as_ref().zip(socket).map(|(bind, socket)| live(bind, socket, state));
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
            Next::Bound(socket) => config.bind.as_ref().map(|bind| live(bind, socket, &self.state)),
        };
        if let Some(before) = std::mem::replace(&mut self.live, next) {
            before.advance(Phase::Draining);
        }
    }
}

fn live(bind: &Bind, socket: SocketListener, state: &Arc<State>) -> Shutdown {
    tracing::info!(address = socket.address(), "admin listening");
    let stop = Shutdown::new();
    let socket = Published::new("admin".to_owned(), bind, socket, state);
    tokio::spawn(accept(socket, Arc::clone(state), stop.watch()));
    stop
}

async fn accept(mut listener: Published, state: Arc<State>, mut stop: Drain) {
    let places = Arc::new(Places::default());
    let reserves = Arc::new(Reserves::new());
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.reached(Phase::Draining) => break,
            accepted = listener.accept() => accepted,
        };
        let mut next = Some(accepted);
        for _ in 0..MOST_AT_ONCE {
            match next {
                Some(Ok((socket, peer))) => _ = tasks.spawn(serve(socket, kind(&peer), places.enter(), Arc::clone(&state))),
                Some(Err(error)) if is_exhausted(&error) => match reserves.accept(&mut listener) {
                    Ok(Some((socket, peer, lent))) => {
                        let connection = serve(socket, kind(&peer), places.enter(), Arc::clone(&state));
                        tasks.spawn(async move {
                            connection.await;
                            drop(lent);
                        });
                    }
                    Ok(None) => {}
                    // All are lent: who has not asked has to go, and with him a descriptor comes back.
                    Err(_) if places.make_room() => break,
                    Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
                },
                Some(Err(_)) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
                None => break,
            }
            next = listener.accept().now_or_never();
        }
        while tasks.try_join_next().is_some() {}
        // However many come, those that are there have their turn.
        tokio::task::yield_now().await;
    }
    let file = listener.file();
    drop(listener);
    file.remove().await;
    let _ = tokio::time::timeout(CLOSING_TIME, tasks.join_all()).await;
}

fn kind(peer: &str) -> Peer {
    match peer.parse::<SocketAddr>() {
        Ok(address) if address.ip().to_canonical().is_loopback() => Peer::Loopback,
        Ok(_) => Peer::Remote,
        Err(_) => Peer::Unix,
    }
}

/// Descriptors for connections when there are no others.
#[derive(Debug)]
struct Reserves(Mutex<Vec<Reserve>>);

/// A descriptor of those that a connection has. Dropping it after the connection puts it back before anything else takes it.
struct Lent(Arc<Reserves>, Reserve);

impl Reserves {
    fn new() -> Self {
        Self(Mutex::new((0..RESERVED).map(|_| Reserve::new()).collect()))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Reserve>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that waits to be accepted, if there is one.
    fn accept(self: &Arc<Self>, listener: &mut Published) -> io::Result<Option<(Socket, String, Lent)>> {
        let Some(mut reserve) = self.all().pop() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let accepted = reserve.accept(listener);
        // Refilled, if there is nobody.
        let lent = Lent(Arc::clone(self), reserve);
        Ok(accepted?.map(|(socket, peer)| (socket, peer, lent)))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut reserve = std::mem::replace(&mut self.1, Reserve::empty());
        reserve.refill();
        self.0.all().push(reserve);
    }
}
