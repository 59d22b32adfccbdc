//! The SPOP agent: a server for HAProxy's SPOE engines that knows sockets and time, and nothing of what is decided.
//!
//! A processor, which is a tower `Service` from a [`Notify`](crate::spop::Notify) to [`Actions`], is all that a user brings:
//!
//! ```
//! # use std::convert::Infallible;
//! # use spop_bridge::agent::{Agent, SocketListener};
//! # use spop_bridge::shutdown::{Phase, Shutdown};
//! # use spop_bridge::spop::{Actions, Notify, TypedData, VarScope};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let processor = tower::service_fn(|notify: Notify| async move {
//!     let mut actions = Actions::new();
//!     let count = i64::from(notify.message_count() == 1);
//!     let _ = actions.set_var(VarScope::Transaction, "single", TypedData::Int64(count));
//!     Ok::<_, Infallible>(actions)
//! });
//! let agent = Agent::builder(processor).listener_name("main").build()?;
//! let shutdown = Shutdown::new();
//! let listener = SocketListener::bind_tcp("127.0.0.1:0".parse()?)?;
//! println!("listening on {}", listener.address());
//! # shutdown.advance(Phase::Draining);
//! agent.serve(listener, &shutdown).await; // until `shutdown` says so
//! # Ok(()) }
//! ```
//!
//! What the agent takes care of (numbers are those of the duties in the project's tests): NOTIFYs of one connection run side
//! by side and are answered in any order (d9), each exactly once (d14), with whole frames written by a single task (d1, d2)
//! and many ACKs in one write; a processor that panics costs one fallback ACK; health checks say when the agent is not ready;
//! a peer that breaks the protocol is told why and disturbs nobody else.

pub(crate) mod accept;
mod connection;
mod error;
mod job;
mod listener;
pub(crate) mod places;
mod processor;
mod readiness;
pub(crate) mod reserve;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod unix;

use std::sync::Arc;
use std::time::Duration;

use accept::accept;
pub use error::{BuildError, ConnectionError};
pub use listener::{DetachedSocket, Listener, Socket, SocketListener};
use places::{Place, Places};
pub use processor::{Process, Processor};
pub use readiness::Readiness;
#[cfg(feature = "tls")]
pub use tls::{HandshakeError, Tls, TlsListener};
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "bridge")]
pub(crate) use unix::SocketFile;
pub use unix::UnixSocket;

use crate::shutdown::{Drain, Shutdown};
use crate::spop::frame::hello::MIN_FRAME_SIZE;
use crate::spop::{Actions, SessionConfig, TypedData, VarScope};
use crate::telemetry::metrics::ListenerMetrics;

/// The largest max-frame-size that can be set, in bytes. A frame is buffered whole, so a connection can cost this much.
pub const MAX_FRAME_SIZE: u32 = 16 * 1024 * 1024;
/// What of a frame's 256 bytes an ACK's header may take: type, flags, two varints of 10 bytes.
const ACK_HEADER: usize = 25;

/// How an agent treats its connections. Made by [`AgentBuilder`].
#[derive(Clone, Debug)]
struct Settings {
    session: Arc<SessionConfig>,
    max_connections: usize,
    handshake_timeout: Duration,
    read_timeout: Duration,
    write_timeout: Duration,
    idle_timeout: Option<Duration>,
    readiness: Readiness,
    /// For a NOTIFY whose processor panicked, answered too much, or was cut off by the end of the grace period.
    fallback: Actions,
    /// For a NOTIFY whose processor had nothing to say.
    placeholder: Actions,
}

/// An SPOP agent. Cloning it is cheap; clones share the processor.
#[derive(Debug)]
pub struct Agent<P> {
    settings: Arc<Settings>,
    metrics: Arc<ListenerMetrics>,
    processor: Processor<P>,
}

impl<P> Clone for Agent<P> {
    fn clone(&self) -> Self {
        let (settings, metrics) = (Arc::clone(&self.settings), Arc::clone(&self.metrics));
        Self { settings, metrics, processor: self.processor.clone() }
    }
}

impl<P: Process> Agent<P> {
    /// An agent that lets `processor` decide, with default settings to be changed.
    pub fn builder(processor: P) -> AgentBuilder<P> {
        Self::builder_with(Processor::new(processor))
    }

    /// As [`Agent::builder`], with a processor that other agents have too: what replaces it replaces it for all of them.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use spop_bridge::agent::{Agent, BuildError, Processor};
    /// # use spop_bridge::spop::{Actions, Notify};
    /// # fn main() -> Result<(), BuildError> {
    /// let decide = tower::service_fn(|_: Notify| async { Ok::<_, Infallible>(Actions::new()) });
    /// let processor = Processor::new(decide);
    /// let edge = Agent::builder_with(processor.clone()).listener_name("edge").build()?;
    /// let inside = Agent::builder_with(processor.clone()).listener_name("inside").max_in_flight(64).build()?;
    /// processor.replace(decide); // on both
    /// # drop((edge, inside));
    /// # Ok(()) }
    /// ```
    pub fn builder_with(processor: Processor<P>) -> AgentBuilder<P> {
        let status = |value: &str| {
            let mut actions = Actions::new();
            // The name is a constant within HAProxy's rules, so this cannot fail.
            let _ = actions.set_var(VarScope::Transaction, "agent_status", TypedData::from(value));
            actions
        };
        let settings = Settings {
            session: Arc::new(SessionConfig { listener: Arc::from("spop"), max_in_flight: 1024, max_frame_size: 128 * 1024 }),
            max_connections: 4096,
            handshake_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            idle_timeout: None,
            readiness: Readiness::new(),
            fallback: status("failed"),
            placeholder: status("ok"),
        };
        AgentBuilder { settings, metrics: None, processor }
    }

    /// The handle by which the processor is replaced while connections stay.
    #[must_use]
    pub fn processor(&self) -> Processor<P> {
        self.processor.clone()
    }

    /// Accepts and serves connections on the current tokio runtime until `shutdown` has reached
    /// [`Phase::Draining`](crate::shutdown::Phase::Draining) and every connection has ended.
    ///
    /// Each connection is a task of its own; errors cost the connection they happen on and are logged.
    pub async fn serve<L: Listener>(&self, listener: L, shutdown: &Shutdown) {
        let drain = shutdown.watch();
        let places = Places::new(&self.settings.session.listener, self.settings.max_connections, &self.metrics);
        accept(listener, &places, drain.clone(), |stream, peer, place| {
            let (agent, drain) = (self.clone(), drain.clone());
            tokio::spawn(async move {
                agent.serve_at(stream, &peer, drain, Some(place)).await;
            });
        })
        .await;
        places.all_free().await;
    }

    /// Serves one connection to its end, for users with an accept loop of their own. `peer` is what logs and processors
    /// see as the peer's address.
    pub async fn serve_connection<S>(&self, stream: S, peer: &str, drain: Drain)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_at(stream, peer, drain, None).await;
    }

    /// Serves one connection to its end at its place, if it is one of a listener's.
    pub(crate) async fn serve_at<S>(&self, stream: S, peer: &str, drain: Drain, mut place: Option<Place>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (settings, metrics) = (Arc::clone(&self.settings), Arc::clone(&self.metrics));
        let unused = place.as_mut().and_then(Place::unused);
        connection::Connection::new(stream, peer, settings, metrics, self.processor.current(), drain, unused).serve().await;
    }
}

/// Settings of an [`Agent`] to be. Every setting has a default.
#[derive(Debug)]
pub struct AgentBuilder<P> {
    settings: Settings,
    metrics: Option<Arc<ListenerMetrics>>,
    processor: Processor<P>,
}

impl<P: Process> AgentBuilder<P> {
    /// The listener's name, for logs and [`Peer::listener`](crate::spop::Peer). Default: `spop`.
    #[must_use]
    pub fn listener_name(mut self, name: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.settings.session).listener = name.into();
        self
    }

    /// Connections at a time; one more is closed at once. 1 to 1,000,000, default 4096.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// NOTIFYs in flight on one connection; at the limit the agent stops reading that connection. 1 to 65,536, default 1024
    /// (HAProxy from 3.1 on sends at most 20).
    #[must_use]
    pub fn max_in_flight(mut self, notifies: usize) -> Self {
        Arc::make_mut(&mut self.settings.session).max_in_flight = notifies;
        self
    }

    /// The largest frame accepted, in bytes; HAProxy's offer is answered as it is up to this (d6, d7). 256 to
    /// [`MAX_FRAME_SIZE`], default 131,072. HAProxy's default offer is 16,380.
    #[must_use]
    pub fn max_frame_size(mut self, bytes: u32) -> Self {
        Arc::make_mut(&mut self.settings.session).max_frame_size = bytes;
        self
    }

    /// From accepting a connection to its complete HAPROXY-HELLO; then AGENT-DISCONNECT 2. Above zero, default 5 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// From a frame's first byte to its last; then AGENT-DISCONNECT 2. Above zero, default 10 s.
    #[must_use]
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.settings.read_timeout = timeout;
        self
    }

    /// How long a peer may take none of our bytes; then the connection is closed. Above zero, default 10 s.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// How long a connection may be without any NOTIFY; then AGENT-DISCONNECT 0. Default `None`: HAProxy closes what it no longer
    /// needs itself, and only a connection that has never had a NOTIFY ends, after a minute.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// What health checks are told as long as the agent is not draining. One handle may be given to many agents. Default: ready.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.settings.readiness = readiness;
        self
    }

    /// The answer to a NOTIFY whose processor panicked, whose actions do not fit into the negotiated frame, or that was cut off
    /// by the end of the grace period. 1 to 231 bytes encoded. Default: `txn.agent_status` set to `failed`.
    #[must_use]
    pub fn fallback(mut self, actions: Actions) -> Self {
        self.settings.fallback = actions;
        self
    }

    /// The answer to a NOTIFY whose processor returned no actions: some 3.1 releases of HAProxy hang on an empty ACK (d15).
    /// 1 to 231 bytes encoded. Default: `txn.agent_status` set to `ok`.
    #[must_use]
    pub fn placeholder(mut self, actions: Actions) -> Self {
        self.settings.placeholder = actions;
        self
    }

    /// Counts by these instruments, which are those of the listener's name.
    #[cfg(feature = "bridge")]
    pub(crate) fn metrics(mut self, metrics: &Arc<ListenerMetrics>) -> Self {
        self.metrics = Some(Arc::clone(metrics));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] for the first setting out of the range that its method names.
    pub fn build(self) -> Result<Agent<P>, BuildError> {
        let s = &self.settings;
        check("max_connections", s.max_connections, (1..=1_000_000).contains(&s.max_connections), "1 to 1000000")?;
        let (in_flight, frame_size) = (s.session.max_in_flight, s.session.max_frame_size);
        check("max_in_flight", in_flight, (1..=65_536).contains(&in_flight), "1 to 65536")?;
        let frames = MIN_FRAME_SIZE..=MAX_FRAME_SIZE;
        check("max_frame_size", frame_size, frames.contains(&frame_size), "256 to 16777216 bytes")?;
        for (setting, timeout) in [
            ("handshake_timeout", Some(s.handshake_timeout)),
            ("read_timeout", Some(s.read_timeout)),
            ("write_timeout", Some(s.write_timeout)),
            ("idle_timeout", s.idle_timeout),
        ] {
            let found = timeout.unwrap_or_default();
            check(setting, format!("{found:?}"), timeout != Some(Duration::ZERO), "more than 0s")?;
        }
        let room = MIN_FRAME_SIZE as usize - ACK_HEADER;
        for (setting, actions) in [("fallback", &s.fallback), ("placeholder", &s.placeholder)] {
            let fits = !actions.is_empty() && actions.len_bytes() <= room;
            check(setting, format!("{} bytes", actions.len_bytes()), fits, "1 to 231 bytes of actions")?;
        }
        let metrics = self.metrics.unwrap_or_else(|| Arc::new(ListenerMetrics::of(&s.session.listener)));
        Ok(Agent { settings: Arc::new(self.settings), metrics, processor: self.processor })
    }
}

fn check(setting: &'static str, found: impl ToString, ok: bool, expected: &'static str) -> Result<(), BuildError> {
    if ok { Ok(()) } else { Err(BuildError::OutOfRange { setting, found: found.to_string(), expected }) }
}
