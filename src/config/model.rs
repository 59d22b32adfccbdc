//! The checked configuration: plain values that cannot be wrong.
//!
//! Only the checker makes them, and the whole of it: what holds between two parts holds here too.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::effective::Effective;
use super::haproxy::{HaproxyConfig, RouteHaproxy};
use super::log::LogConfig;
use super::on_failure::OnFailure;
use super::pattern::Pattern;
use super::protocol::Protocol;
use super::status_code::StatusCode;
use super::tls::{BackendTls, ListenerTls};
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

/// A line for decisions that failed, and for a sample of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionLogConfig {
    /// Those that ended in a fallback.
    pub failures: bool,
    /// One of so many, whatever became of it; 0: none.
    pub one_in: u32,
    /// Lines at most.
    pub max_per_second: u32,
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
    /// How often the names among them are resolved.
    pub dns: DnsConfig,
    /// How to ask servers for their health; `None`: not at all.
    pub health: Option<HealthConfig>,
    /// TLS to all of them, if it is on.
    pub tls: Option<BackendTls>,
    /// For one connection to an endpoint.
    pub connect_timeout: Duration,
    /// For a sign of life on a connection.
    pub keepalive_timeout: Duration,
    /// Health checks are refused while none of its servers takes decisions.
    pub required: bool,
    /// How decisions are carried to an endpoint.
    pub protocol: Protocol,
    /// Decisions in flight, of all workers together; more are `overloaded` at once.
    pub max_in_flight: usize,
    /// Finds a lower limit by latency, for each worker.
    pub adaptive_limit: Option<AdaptiveLimitConfig>,
    /// Connections of a worker to an endpoint, if one has not streams enough for the calls.
    pub max_connections: usize,
    /// When a decision is tried again.
    pub retry: RetryConfig,
    /// When a decision is asked for twice at a time; only for backends that are idempotent.
    pub hedging: Option<HedgingConfig>,
    /// For retries and hedges together.
    pub retry_budget: BudgetConfig,
    /// When an endpoint is left out that fails.
    pub outlier_detection: OutlierConfig,
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
            .field("dns", &self.dns)
            .field("health", &self.health)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("keepalive_timeout", &self.keepalive_timeout)
            .field("required", &self.required)
            .field("protocol", &self.protocol)
            .field("max_in_flight", &self.max_in_flight)
            .field("adaptive_limit", &self.adaptive_limit)
            .field("max_connections", &self.max_connections)
            .field("retry", &self.retry)
            .field("hedging", &self.hedging)
            .field("retry_budget", &self.retry_budget)
            .field("outlier_detection", &self.outlier_detection)
            .field("metadata", &metadata)
            .finish()
    }
}

/// Whether the value of this metadata key must never be printed.
pub(super) fn is_secret(key: &str) -> bool {
    let words = ["authorization", "token", "key", "secret", "password", "cookie"];
    words.iter().any(|word| key.ends_with(word))
}

pub(super) const REDACTED: &str = "(redacted)";

/// How often names are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Least time between two questions for the same name.
    pub min_ttl: Duration,
    /// Longest time for which an answer is used. Not below `min_ttl`.
    pub max_ttl: Duration,
}

/// How to ask servers for their health, by grpc.health.v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// The service asked for; empty: the server as a whole.
    pub service: String,
    /// Between two questions to a server that cannot be watched.
    pub interval: Duration,
    /// For an answer.
    pub timeout: Duration,
}

/// One gRPC server, or a name that stands for several.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointConfig {
    /// Over TCP. Scheme `http` or, if the backend has TLS, `https`; a host and a port, nothing else.
    Http {
        /// `http://host:port` or `https://host:port`.
        uri: http::Uri,
    },
    /// All addresses that DNS has for a name.
    Dns(DnsName),
    /// Over a Unix socket.
    Unix {
        /// The socket's file.
        path: PathBuf,
    },
}

/// A name to look up in DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    /// The DNS server to ask; `None`: as the operating system is configured.
    pub server: Option<SocketAddr>,
    /// The name, in lower case. May be an IP address, one of IPv6 in brackets, if there is a port.
    pub host: String,
    /// `None`: SRV records say hosts and ports.
    pub port: Option<u16>,
}

/// As it is written in a configuration.
impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, host, port } = self;
        f.write_str("dns://")?;
        server.iter().try_for_each(|server| write!(f, "{server}"))?;
        write!(f, "/{host}")?;
        port.iter().try_for_each(|port| write!(f, ":{port}"))
    }
}

/// As it is written in a configuration.
impl fmt::Display for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `Uri` prints the path "/" that nobody wrote.
            Self::Http { uri } => {
                let authority = uri.authority().map_or("", |authority| authority.as_str());
                write!(f, "{}://{authority}", uri.scheme_str().unwrap_or("http"))
            }
            Self::Dns(name) => name.fmt(f),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A limit of decisions in flight that follows latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveLimitConfig {
    /// It does not go below.
    pub min: usize,
    /// How far latency may be above what is usual, in percent of that: 150 is half as long again.
    pub tolerance: u16,
}

/// When a decision is tried again (gRFC A6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// The first one included; 1: never again.
    pub max_attempts: usize,
    /// Statuses of the service after which it is. A connection that breaks counts as UNAVAILABLE.
    pub retryable_status_codes: Vec<StatusCode>,
}

/// When a decision is asked for twice at a time (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgingConfig {
    /// The first one included.
    pub max_attempts: usize,
    /// From one attempt to the next.
    pub delay: HedgingDelay,
}

/// When a decision counts as slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgingDelay {
    /// After this time.
    Fixed(Duration),
    /// When it takes longer than 95 of 100 did lately.
    P95,
}

/// How many retries and hedges there may be, for each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Of the decisions.
    pub percent: u16,
    /// Besides those.
    pub min_per_second: u32,
}

/// When an endpoint is left out that fails (gRFC A50).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierConfig {
    /// Failures in a row; `None`: they do not matter.
    pub consecutive_failures: Option<u32>,
    /// Between looks at the success rate.
    pub interval: Duration,
    /// The first time, doubled from time to time.
    pub base_ejection_time: Duration,
    /// At most.
    pub max_ejection_time: Duration,
    /// Of the endpoints, at a time.
    pub max_ejection_percent: u16,
    /// By comparison with the other endpoints.
    pub success_rate: Option<SuccessRateConfig>,
}

/// When an endpoint's success rate is too low (gRFC A50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRateConfig {
    /// Standard deviations below the mean, in thousandths.
    pub stdev_factor: u32,
    /// Endpoints that must have had enough decisions.
    pub minimum_hosts: usize,
    /// Decisions in an interval that are enough.
    pub request_volume: u32,
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
        assert!(printed.contains(r#"("x-tenant", "shop")"#), "{printed}");
        assert_eq!(printed.matches(REDACTED).count(), 3, "{printed}");
        assert!(!printed.contains("Bearer"));
    }
}
