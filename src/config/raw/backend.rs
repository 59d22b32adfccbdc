//! Where decisions come from.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use super::{
    AUTHORITY_TITLE, ENDPOINT_TITLE, FILE_TITLE, Items, METADATA_KEY_PATTERN, SAN_TITLE, SERVER_NAME_TITLE, VERSION_TITLE,
};
use crate::config::limits;
use crate::config::protocol::Protocol;
use crate::config::status_code::StatusCode;
use crate::config::tls::TlsVersion;

/// TLS to the endpoints of a backend. All files are PEM, and are read again on a reload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct BackendTls {
    /// CAs of the servers' certificates. Default: those that the system trusts.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(in crate::config) ca: Option<String>,
    /// What servers see that ask for a certificate: the certificate, then those that lead to its CA. Default: none.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(in crate::config) certificate: Option<String>,
    /// The private key of `certificate`, not encrypted. May be the same file. Default: none.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(in crate::config) key: Option<String>,
    /// The name that is asked for (SNI; none for an address), and that the server's certificate must have. Default: the host of
    /// the authority.
    #[schemars(title = SERVER_NAME_TITLE, length(min = 1))]
    pub(in crate::config) server_name: Option<String>,
    /// What requests have as their `:authority`. Default: that of the endpoint; `localhost` for `unix:`.
    #[schemars(title = AUTHORITY_TITLE, length(min = 1))]
    pub(in crate::config) authority: Option<String>,
    /// Names (SANs) of which a server's certificate must have one, instead of `server_name`, which is still asked for: the SPIFFE
    /// ID of a workload has nothing to do with where it runs. Default: none.
    #[schemars(length(min = 1), inner(length(min = 1)), transform = Items("title", SAN_TITLE))]
    pub(in crate::config) allowed_sans: Option<Vec<String>>,
    /// The oldest version of TLS that is spoken.
    #[schemars(title = VERSION_TITLE, extend("default" = TlsVersion::default().as_str()))]
    pub(in crate::config) min_version: Option<TlsVersion>,
}

/// A named group of endpoints that all give the same decisions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Backend {
    /// gRPC servers that give the same decisions, all different, at least one. `http://` and `https://` are one server, whose
    /// name is looked up at each connect; `dns:///host:port` is one server for each address that DNS has for the name.
    #[schemars(required, length(min = 1), transform = Items("title", ENDPOINT_TITLE))]
    pub(in crate::config) endpoints: Option<Vec<String>>,
    /// TLS to all of the endpoints. `http://` beside it is a problem. Default: none; with an `https://` endpoint, that with its
    /// defaults.
    pub(in crate::config) tls: Option<BackendTls>,
    /// How often the names of `dns:` endpoints are resolved.
    pub(in crate::config) dns: Option<Dns>,
    /// Asks each server for its health (`grpc.health.v1`) and leaves out those that are not serving. `{}` asks with the defaults.
    /// Default: nobody is asked.
    pub(in crate::config) health: Option<Health>,
    /// For one connection to an endpoint, TLS included.
    #[schemars(transform = limits::CONNECT_TIMEOUT.clone())]
    pub(in crate::config) connect_timeout: Option<String>,
    /// For a sign of life: the first HTTP/2 frame on a new connection; and, on one on which a decision ended unanswered and none was
    /// answered for a second, the acknowledgement of a PING. Then the connection is given up, and another one made. A server that is
    /// there and slow acknowledges, so that this is no limit for decisions.
    #[schemars(transform = limits::KEEPALIVE_TIMEOUT.clone())]
    pub(in crate::config) keepalive_timeout: Option<String>,
    /// Health checks of HAProxy (`option spop-check`) are refused on all listeners while no server of this backend takes
    /// decisions, so that HAProxy takes other bridges. As a sidecar leave it `false`: readiness counts for the whole pod, and
    /// there is no other bridge to take.
    #[schemars(extend("default" = false))]
    pub(in crate::config) required: Option<bool>,
    /// How decisions are carried to an endpoint. The stream costs a fraction of the calls. A balancer between bridge and service
    /// (a mesh, a ClusterIP) sends a whole stream to one endpoint: list the endpoints here, or use `decide`.
    #[schemars(extend("default" = Protocol::default().as_str()))]
    pub(in crate::config) protocol: Option<Protocol>,
    /// Decisions in flight, of all workers together. One more is `overloaded` at once, without a place in a queue. While several
    /// engines (HAProxy processes) are connected, the last eighth is kept for those that have less than their even share. All
    /// requests in flight together may also have at most 64 MiB.
    #[schemars(transform = limits::BACKEND_IN_FLIGHT.clone())]
    pub(in crate::config) max_in_flight: Option<usize>,
    /// Finds a lower limit of decisions in flight by their latency, for each worker. `{}` turns it on. Default: off.
    pub(in crate::config) adaptive_limit: Option<AdaptiveLimit>,
    /// Connections of a worker to an endpoint. Calls get a further one when the service lets no more of them on those that there
    /// are (SETTINGS_MAX_CONCURRENT_STREAMS); one that is not needed any more is closed within `outlier_detection.interval`. A
    /// stream of decisions needs one.
    #[schemars(transform = limits::ENDPOINT_CONNECTIONS.clone())]
    pub(in crate::config) max_connections: Option<usize>,
    /// Asking twice does no harm. Needed for `hedging`.
    #[schemars(extend("default" = false))]
    pub(in crate::config) idempotent: Option<bool>,
    /// When a decision is tried again within its timeout, at another endpoint if there is one.
    pub(in crate::config) retry: Option<Retry>,
    /// Asks a second endpoint when the first is slow, and takes the first answer. Needs `idempotent: true`. `{}` turns it on.
    /// Default: off.
    pub(in crate::config) hedging: Option<Hedging>,
    /// How many retries and hedges there may be, for each worker.
    pub(in crate::config) retry_budget: Option<RetryBudget>,
    /// When an endpoint is left out that fails.
    pub(in crate::config) outlier_detection: Option<OutlierDetection>,
    /// Metadata (headers) to send with every call. Names: lower-case letters, digits, `_`, `.`, `-`, not ending in `-bin`, and
    /// none that gRPC or the bridge sets (`grpc-...`, `content-type`, `te`, `user-agent`, `host`, `traceparent`, ...). Values:
    /// printable ASCII. Values are never shown. Default: none.
    #[schemars(transform = secret_values, extend("propertyNames" = { "pattern": METADATA_KEY_PATTERN }))]
    pub(in crate::config) metadata: Option<BTreeMap<String, String>>,
}

/// How often names are resolved.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Dns {
    /// Least time between two questions for a name, however short the answer is valid and whoever cannot connect.
    #[schemars(transform = limits::DNS_MIN_TTL.clone())]
    pub(in crate::config) min_ttl: Option<String>,
    /// Longest time for which an answer is used without asking again. Not below `min_ttl`.
    #[schemars(transform = limits::DNS_MAX_TTL.clone())]
    pub(in crate::config) max_ttl: Option<String>,
}

/// How to ask for health.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Health {
    /// The name of the service whose health is asked for. Default: empty, which means the server as a whole.
    #[schemars(title = "text of at most 256 characters", length(max = limits::MAX_HEALTH_SERVICE))]
    pub(in crate::config) service: Option<String>,
    /// Between two questions to a server that does not tell of changes by itself (`Watch`), and at most between two attempts to
    /// ask.
    #[schemars(transform = limits::HEALTH_INTERVAL.clone())]
    pub(in crate::config) interval: Option<String>,
    /// For an answer. A server that cannot be asked for as long is not serving.
    #[schemars(transform = limits::HEALTH_TIMEOUT.clone())]
    pub(in crate::config) timeout: Option<String>,
}

/// A limit of decisions in flight that follows latency.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AdaptiveLimit {
    /// What it starts from and does not go below. `max_in_flight` is what it does not go above.
    #[schemars(transform = limits::ADAPTIVE_MIN.clone())]
    pub(in crate::config) min: Option<usize>,
    /// How long a decision may take of what is usual before the limit goes down.
    #[schemars(transform = limits::ADAPTIVE_TOLERANCE.clone())]
    pub(in crate::config) tolerance: Option<String>,
}

/// When a decision is tried again (gRFC A6).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Retry {
    /// Attempts, the first one included. 1: none after it. What no service has seen is sent again in any case.
    #[schemars(transform = limits::RETRY_ATTEMPTS.clone())]
    pub(in crate::config) max_attempts: Option<usize>,
    /// Statuses after which it is tried again. A connection that breaks before the answer counts as UNAVAILABLE. A service that
    /// must not be asked twice for one decision (a counter) needs `[]`. Default: `[UNAVAILABLE]`.
    pub(in crate::config) retryable_status_codes: Option<Vec<StatusCode>>,
}

/// When a second endpoint is asked (gRFC A6).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Hedging {
    /// Attempts, the first one included, each at another endpoint: with one endpoint there is no hedging.
    #[schemars(transform = limits::HEDGING_ATTEMPTS.clone())]
    pub(in crate::config) max_attempts: Option<usize>,
    /// From one attempt to the next. `p95`: longer than 95 of 100 decisions took in the last 5 to 10 seconds, from the 20th
    /// decision on.
    #[schemars(transform = limits::HEDGING_DELAY.clone())]
    pub(in crate::config) delay: Option<String>,
}

/// How many retries and hedges there may be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RetryBudget {
    /// Of the decisions: each puts so many hundredths of a token into the bucket.
    #[schemars(transform = limits::BUDGET_PERCENT.clone())]
    pub(in crate::config) percent: Option<String>,
    /// Besides those: so many tokens each second, so that a quiet backend has some.
    #[schemars(transform = limits::BUDGET_PER_SECOND.clone())]
    pub(in crate::config) min_per_second: Option<usize>,
}

/// When an endpoint is left out that fails (gRFC A50).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct OutlierDetection {
    /// Failures in a row after which an endpoint is out: no answer in time, a broken connection, UNAVAILABLE, INTERNAL, UNKNOWN
    /// or DATA_LOSS. 0: they do not matter.
    #[schemars(transform = limits::CONSECUTIVE_FAILURES.clone())]
    pub(in crate::config) consecutive_failures: Option<usize>,
    /// Between looks at the success rate.
    #[schemars(transform = limits::OUTLIER_INTERVAL.clone())]
    pub(in crate::config) interval: Option<String>,
    /// How long an endpoint is out the first time; then one decision goes there as a probe, and if that fails it is out for twice as long.
    #[schemars(transform = limits::BASE_EJECTION_TIME.clone())]
    pub(in crate::config) base_ejection_time: Option<String>,
    /// How long at most.
    #[schemars(transform = limits::MAX_EJECTION_TIME.clone())]
    pub(in crate::config) max_ejection_time: Option<String>,
    /// Of the endpoints at a time, rounded down, but one in any case if another is left. 0%: none.
    #[schemars(transform = limits::MAX_EJECTION_PERCENT.clone())]
    pub(in crate::config) max_ejection_percent: Option<String>,
    /// Leaves out endpoints that succeed less often than the others. `{}` turns it on. Default: off.
    pub(in crate::config) success_rate: Option<SuccessRate>,
}

/// When an endpoint's success rate is too low (gRFC A50).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SuccessRate {
    /// Standard deviations below the mean of all endpoints, in thousandths.
    #[schemars(transform = limits::STDEV_FACTOR.clone())]
    pub(in crate::config) stdev_factor: Option<usize>,
    /// Endpoints that must have had enough decisions in the interval.
    #[schemars(transform = limits::MINIMUM_HOSTS.clone())]
    pub(in crate::config) minimum_hosts: Option<usize>,
    /// Decisions in the interval that are enough, as one worker counts them.
    #[schemars(transform = limits::REQUEST_VOLUME.clone())]
    pub(in crate::config) request_volume: Option<usize>,
}

/// Metadata values are never repeated in a problem: they may be tokens.
fn secret_values(schema: &mut Schema) {
    if let Some(values) = schema.get_mut("additionalProperties").and_then(|values| values.as_object_mut()) {
        values.insert("writeOnly".to_owned(), true.into());
    }
}
