//! The checked configuration: plain values that cannot be wrong.
//!
//! Only the checker makes them, and the whole of it: what holds between two parts holds here too.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::log::LogConfig;
use super::on_failure::OnFailure;
use super::pattern::Pattern;
use super::protocol::Protocol;
use super::variable::Variable;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads that serve connections.
    pub workers: NonZeroUsize,
    /// Where HAProxy connects. At least one; names and addresses are unique.
    pub listeners: Vec<ListenerConfig>,
    /// Groups of endpoints, by name. At least one.
    pub backends: Vec<BackendConfig>,
    /// Which message goes where: the first that matches. At least one.
    pub routes: Vec<RouteConfig>,
    /// What HAProxy gets for messages that no route matches, and if the bridge fails before it comes to routes.
    pub on_failure: OnFailure,
    /// The variable that tells HAProxy why there is no decision; `ok` where an ACK would be empty otherwise.
    pub status_variable: Variable,
    /// Taken off every deadline, for the way of the ACK. Below every route's timeout.
    pub ack_margin: Duration,
    /// How to stop.
    pub drain: DrainConfig,
    /// What to log, and how.
    pub log: LogConfig,
}

impl Config {
    /// The files that it names, which are to be watched with its own.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// One address to serve SPOP on.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerConfig {
    /// For routes, logs and metrics. Unique.
    pub name: Arc<str>,
    /// The address.
    pub bind: Bind,
    /// Connections at a time; more are closed at once.
    pub max_connections: usize,
    /// NOTIFYs in flight on one connection; above it no more are read from it.
    pub max_in_flight: usize,
    /// Most bytes of a frame that are agreed to.
    pub max_frame_size: u32,
    /// From accepting a connection to its HELLO.
    pub handshake_timeout: Duration,
    /// From the first byte of a frame to its last.
    pub read_timeout: Duration,
    /// Without progress in writing.
    pub write_timeout: Duration,
    /// Without a frame; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// HAProxy's `option var-prefix` for engines on this listener, if it was told.
    pub var_prefix: Option<String>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// `host:port`, as it was given: resolved when it is bound. Port 0: any that is free.
    Tcp(String),
    /// A Unix socket.
    Unix {
        /// The socket's file.
        path: PathBuf,
        /// Its permissions, as for chmod.
        mode: u32,
        /// Its owner: a name or a number.
        user: Option<String>,
        /// Its group: a name or a number.
        group: Option<String>,
    },
}

/// As it is written in a configuration.
impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A named group of endpoints that all give the same decisions.
#[derive(Clone, PartialEq)]
pub struct BackendConfig {
    /// For routes, logs and metrics. Unique.
    pub name: Arc<str>,
    /// At least one, all different.
    pub endpoints: Vec<EndpointConfig>,
    /// For one connection to an endpoint.
    pub connect_timeout: Duration,
    /// Health checks are refused while none of its servers takes decisions.
    pub required: bool,
    /// How decisions are carried to an endpoint.
    pub protocol: Protocol,
    /// Sent with every call: lower-case ASCII keys, printable ASCII values. Values may be secret: [`Debug`](fmt::Debug)
    /// hides those.
    pub metadata: Vec<(String, String)>,
}

impl fmt::Debug for BackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(key, value): &(String, String)| {
            let value = if is_secret(key) { REDACTED.to_owned() } else { value.clone() };
            (key.clone(), value)
        };
        let metadata: Vec<_> = self.metadata.iter().map(shown).collect();
        f.debug_struct("BackendConfig")
            .field("name", &self.name)
            .field("endpoints", &self.endpoints)
            .field("connect_timeout", &self.connect_timeout)
            .field("required", &self.required)
            .field("protocol", &self.protocol)
            .field("metadata", &metadata)
            .finish()
    }
}

/// Whether the value of this metadata key must never be printed.
fn is_secret(key: &str) -> bool {
    let words = ["authorization", "token", "key", "secret", "password", "cookie"];
    words.iter().any(|word| key.ends_with(word))
}

const REDACTED: &str = "(redacted)";

/// One gRPC server.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointConfig {
    /// Over TCP, without TLS. Scheme `http`, a host and a port, nothing else.
    Http {
        /// `http://host:port`.
        uri: http::Uri,
    },
    /// Over a Unix socket.
    Unix {
        /// The socket's file.
        path: PathBuf,
    },
}

/// As it is written in a configuration.
impl fmt::Display for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `Uri` prints the path "/" that nobody wrote.
            Self::Http { uri } => write!(f, "http://{}", uri.authority().map_or("", |authority| authority.as_str())),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which messages go to which backend, and what happens if that fails.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// For logs and metrics. Unique.
    pub name: Arc<str>,
    /// Names of messages. At least one.
    pub messages: Vec<Pattern>,
    /// Engine ids; empty: any.
    pub engines: Vec<Pattern>,
    /// Positions in [`Config::listeners`]; empty: any.
    pub listeners: Vec<usize>,
    /// Position in [`Config::backends`].
    pub backend: usize,
    /// For a decision, from reading the NOTIFY to writing the ACK. Above [`Config::ack_margin`].
    pub timeout: Duration,
    /// An integer arg that may shorten the timeout, in milliseconds.
    pub timeout_arg: Option<String>,
    /// What HAProxy gets instead of a decision, for every cause.
    pub on_failure: OnFailure,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// From the signal until connections are no longer accepted.
    pub delay: Duration,
    /// For decisions in flight after that.
    pub grace_period: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let metadata = [("authorization", "Bearer a"), ("x-api-key", "b"), ("x-token", "c"), ("x-tenant", "shop")];
        let backend = BackendConfig {
            name: "decisions".into(),
            endpoints: Vec::new(),
            connect_timeout: Duration::ZERO,
            required: false,
            protocol: Protocol::default(),
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        };
        let printed = format!("{backend:?}");
        assert!(printed.contains(r#"("x-tenant", "shop")"#), "{printed}");
        assert_eq!(printed.matches(REDACTED).count(), 3, "{printed}");
        assert!(!printed.contains("Bearer"));
    }
}
