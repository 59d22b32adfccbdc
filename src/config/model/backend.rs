//! Where decisions come from.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::protocol::Protocol;
use crate::config::status_code::StatusCode;
use crate::config::tls::BackendTls;

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
    /// Sent with every call: lower-case ASCII keys, printable ASCII values. Each may be secret: [`Debug`](fmt::Debug) hides
    /// them.
    pub metadata: Vec<(String, String)>,
}

impl fmt::Debug for BackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata: Vec<_> = self.metadata.iter().map(|(key, _)| (key, REDACTED)).collect();
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

/// What is shown in place of a value that may be secret.
pub(in crate::config) const REDACTED: &str = "(redacted)";

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
