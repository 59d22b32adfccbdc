//! The checked configuration: plain values that cannot be wrong.
//!
//! Only the checker makes them, and the whole of it: what holds between two parts holds here too.

mod backend;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::effective::Effective;
use super::haproxy::{HaproxyConfig, RouteHaproxy};
use super::log::LogConfig;
use super::on_failure::OnFailure;
use super::pattern::Pattern;
use super::tls::ListenerTls;
use super::variable::{Variable, VariablePattern};
use crate::spop::Actions;

pub(super) use self::backend::REDACTED;
pub use self::backend::{
    AdaptiveLimitConfig, BackendConfig, BudgetConfig, DnsConfig, DnsName, EndpointConfig, HealthConfig, HedgingConfig,
    HedgingDelay, OutlierConfig, RetryConfig, SuccessRateConfig,
};

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
    /// What HAProxy gets on each listener where the bridge fails before it knows the routes, or is stopped: what [`Config::on_failure`]
    /// and all routes of the listener say alike for [`Cause::Internal`](super::Cause::Internal).
    pub last_resorts: Vec<Actions>,
    /// The variable that tells HAProxy why there is no decision; `ok` where an ACK would be empty otherwise.
    pub status_variable: Variable,
    /// The variables that tell HAProxy how a decision came about, if it wants to know.
    pub decision_variables: Option<DecisionVariables>,
    /// The args that carry the trace of a request.
    pub trace_context: TraceArgs,
    /// Taken off every deadline, for the way of the ACK. Below every route's timeout.
    pub ack_margin: Duration,
    /// How to stop.
    pub drain: DrainConfig,
    /// What to log, and how.
    pub log: LogConfig,
    /// What to log of decisions, if anything.
    pub decision_log: Option<DecisionLogConfig>,
    /// The port for operators.
    pub admin: AdminConfig,
    /// HAProxy's side, for who writes it.
    pub haproxy: HaproxyConfig,
    /// All of it once more, for people to read.
    pub effective: Effective,
}

impl Config {
    /// The variables that the bridge sets itself, and no service.
    pub fn own_variables(&self) -> impl Iterator<Item = &Variable> {
        std::iter::once(&self.status_variable).chain(self.decision_variables.iter().flat_map(DecisionVariables::all))
    }
}

/// Variables that are set with every ACK, about the decision itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionVariables {
    /// `ok`, or the cause of the fallback: a string.
    pub cause: Variable,
    /// From the arrival of the NOTIFY to the last decision about it, in microseconds: an unsigned integer.
    pub latency: Variable,
    /// Attempts that were made, retries and hedges included: an unsigned integer.
    pub attempts: Variable,
    /// The endpoint that answered, or `fallback`: a string; several if the NOTIFY went to several backends.
    pub source: Variable,
}

impl DecisionVariables {
    /// Each of them.
    pub fn all(&self) -> [&Variable; 4] {
        [&self.cause, &self.latency, &self.attempts, &self.source]
    }
}

/// A line for decisions that failed, and for a sample of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionLogConfig {
    /// Those that ended in a fallback.
    pub failures: bool,
    /// One of so many, whatever became of it; 0: none.
    pub one_in: u32,
    /// Lines at most.
    pub max_per_second: u32,
    /// Bytes at most, or one line.
    pub max_bytes_per_second: u32,
    /// With the values of args.
    pub args: bool,
    /// Args whose values are not shown; in lower case.
    pub redact: Vec<Pattern>,
}

impl DecisionLogConfig {
    /// Credentials by their usual names, and what may hold any: whole headers, bodies, baggage.
    pub(super) const REDACT: [&str; 15] = [
        "*auth*",
        "*cookie*",
        "*pass*",
        "*pwd*",
        "*secret*",
        "*token*",
        "*key*",
        "*session*",
        "*credential*",
        "*jwt*",
        "*csrf*",
        "*hdr*",
        "*header*",
        "*body*",
        "*baggage*",
    ];
}

/// Names of the args that carry W3C Trace Context and Baggage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceArgs {
    /// The arg with the `traceparent` header.
    pub traceparent: String,
    /// The arg with the `tracestate` header.
    pub tracestate: String,
    /// The arg with the `baggage` header.
    pub baggage: String,
}

impl TraceArgs {
    pub(super) const TRACEPARENT: &str = "traceparent";
    pub(super) const TRACESTATE: &str = "tracestate";
    pub(super) const BAGGAGE: &str = "baggage";
}

/// Each arg is called as the header.
impl Default for TraceArgs {
    fn default() -> Self {
        let [traceparent, tracestate, baggage] = [Self::TRACEPARENT, Self::TRACESTATE, Self::BAGGAGE].map(str::to_owned);
        Self { traceparent, tracestate, baggage }
    }
}

/// One address to serve SPOP on.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerConfig {
    /// For routes, logs and metrics. Unique.
    pub name: Arc<str>,
    /// The address.
    pub bind: Bind,
    /// TLS, if it is on.
    pub tls: Option<ListenerTls>,
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// What the timeout is at least, whatever that arg says. At most [`RouteConfig::timeout`], and above [`Config::ack_margin`].
    pub timeout_arg_min: Duration,
    /// What the service may set and unset; `None`: all but the bridge's own variables.
    pub variables: Option<Vec<VariablePattern>>,
    /// What HAProxy gets instead of a decision, for every cause.
    pub on_failure: OnFailure,
    /// How HAProxy comes to send the messages, for who writes its side.
    pub haproxy: Option<RouteHaproxy>,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// From the signal until connections are no longer accepted.
    pub delay: Duration,
    /// For decisions in flight after that.
    pub grace_period: Duration,
}

/// The port for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The address; `None`: off.
    pub bind: Option<Bind>,
    /// Nobody has asked for it: the bridge can do without, if the address is taken.
    pub is_default: bool,
    /// Names of this host, in lower case, by which it may be asked.
    pub hosts: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let metadata = [("authorization", "Bearer a"), ("x-api-key", "b"), ("x-token", "c"), ("x-tenant", "shop")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let config = Config::quick(&[], &["http://a:1".to_owned()], None).unwrap();
        let backend = BackendConfig { metadata, ..config.backends[0].clone() };
        let printed = format!("{backend:?}");
        assert_eq!(printed.matches(REDACTED).count(), 4, "{printed}");
        assert!(!printed.contains("Bearer") && !printed.contains("shop"));
    }
}
