//! The shape of a configuration file, and nothing but its shape.
//!
//! The JSON Schema is made from these types, and the [walk along the schema](super::shape) makes a tree fit them. So
//! what a comment here says is what an editor shows, and what is accepted is what the schema describes. A `title` is
//! what a problem says was expected.
//!
//! Texts stay texts: [`check`](super::check) reads the units, addresses, names and patterns in them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::transform::Transform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::cause::Cause;
use super::log::{LogFormat, LogLevel};
use super::model::{DecisionLogConfig, TraceArgs};
use super::protocol::Protocol;
use super::status_code::StatusCode;
use super::tls::TlsVersion;
use super::{limits, variable};

/// Configuration of spop-bridge.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a configuration of spop-bridge")]
pub(super) struct Config {
    /// Threads that serve connections. Default: one for each core that is available.
    #[schemars(transform = limits::WORKERS.clone())]
    pub(super) workers: Option<usize>,
    /// Where HAProxy connects. Default: one listener on 127.0.0.1:9000.
    #[schemars(length(min = 1))]
    pub(super) listeners: Option<Vec<Listener>>,
    /// Groups of gRPC endpoints, by name. At least one.
    #[schemars(required, extend("minProperties" = 1, "propertyNames" = { "pattern": BACKEND_NAME_PATTERN }))]
    pub(super) backends: Option<BTreeMap<String, Backend>>,
    /// Which message goes to which backend. For each message the first route that matches counts. Default: everything to the
    /// backend, if there is only one.
    #[schemars(length(min = 1))]
    pub(super) routes: Option<Vec<Route>>,
    /// What HAProxy gets when there is no decision, on every route that does not say it itself, and for messages without a route.
    pub(super) on_failure: Option<OnFailure>,
    /// The variable (scope.name) that is set to the cause when there is no decision, and to `ok` when a decision has no actions.
    #[schemars(extend("pattern" = variable::PATTERN, "default" = DEFAULT_STATUS_VARIABLE))]
    pub(super) status_variable: Option<String>,
    /// A variable (scope.name) below which each ACK says how its decision came about: `NAME.cause`, `NAME.latency_us`,
    /// `NAME.attempts` and `NAME.source`. Default: none.
    #[schemars(extend("pattern" = variable::PATTERN))]
    pub(super) decision_variables: Option<String>,
    /// The args that carry the trace of a request.
    pub(super) trace_context: Option<TraceContext>,
    /// Taken off every route's timeout, so that the ACK reaches HAProxy before its own timer fires. Must be below every
    /// route's timeout.
    #[schemars(transform = limits::ACK_MARGIN.clone())]
    pub(super) ack_margin: Option<String>,
    /// How to stop.
    pub(super) drain: Option<Drain>,
    /// What to log, and how.
    pub(super) log: Option<Log>,
    /// What to log of decisions. Default: nothing but warnings about those that failed, in the log.
    pub(super) decision_log: Option<DecisionLog>,
    /// The port for operators: health, metrics, what runs.
    pub(super) admin: Option<Admin>,
}

/// Args that carry W3C Trace Context and Baggage, each as the header of that name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceContext {
    /// The arg with the `traceparent` header.
    #[schemars(length(min = 1, max = limits::MAX_NAME), extend("default" = TraceArgs::TRACEPARENT))]
    pub(super) traceparent: Option<String>,
    /// The arg with the `tracestate` header.
    #[schemars(length(min = 1, max = limits::MAX_NAME), extend("default" = TraceArgs::TRACESTATE))]
    pub(super) tracestate: Option<String>,
    /// The arg with the `baggage` header.
    #[schemars(length(min = 1, max = limits::MAX_NAME), extend("default" = TraceArgs::BAGGAGE))]
    pub(super) baggage: Option<String>,
}

/// One address to serve SPOP on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// Name for routes, logs and metrics. Unique. Default: the text of `bind`.
    #[schemars(length(min = 1, max = limits::MAX_NAME))]
    pub(super) name: Option<String>,
    /// host:port, or unix: and the absolute path of a socket. Port 0: any that is free.
    #[schemars(required, title = "host:port or unix:/path")]
    pub(super) bind: Option<String>,
    /// Permissions and owner of a Unix socket. Only with a unix: bind.
    pub(super) unix: Option<UnixSocket>,
    /// TLS. Default: none.
    pub(super) tls: Option<ListenerTls>,
    /// Connections at a time; more are closed at once.
    #[schemars(transform = limits::MAX_CONNECTIONS.clone())]
    pub(super) max_connections: Option<usize>,
    /// NOTIFYs in flight on one connection; above it no more are read from it.
    #[schemars(transform = limits::MAX_IN_FLIGHT.clone())]
    pub(super) max_in_flight: Option<usize>,
    /// Most bytes of a frame that are agreed to. A smaller frame size that HAProxy offers is taken as it is.
    #[schemars(transform = limits::MAX_FRAME_SIZE.clone())]
    pub(super) max_frame_size: Option<String>,
    /// From accepting a connection to HAProxy's HELLO.
    #[schemars(transform = limits::HANDSHAKE_TIMEOUT.clone())]
    pub(super) handshake_timeout: Option<String>,
    /// From the first byte of a frame to its last.
    #[schemars(transform = limits::READ_TIMEOUT.clone())]
    pub(super) read_timeout: Option<String>,
    /// Without any progress while there is something to write.
    #[schemars(transform = limits::WRITE_TIMEOUT.clone())]
    pub(super) write_timeout: Option<String>,
    /// Without a frame. HAProxy closes its idle connections itself.
    #[schemars(transform = limits::IDLE_TIMEOUT.clone())]
    pub(super) idle_timeout: Option<String>,
    /// HAProxy's `option var-prefix` (or the engine's name without it), to check the length of variable names with.
    /// Default: 16 bytes are kept free for it.
    #[schemars(title = PREFIX_TITLE, extend("pattern" = PREFIX_PATTERN))]
    pub(super) var_prefix: Option<String>,
}

/// A Unix socket's file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnixSocket {
    /// Permissions in octal, in quotes.
    #[schemars(title = MODE_TITLE, extend("pattern" = "^0?[0-7]{3}$", "default" = DEFAULT_MODE))]
    pub(super) mode: Option<String>,
    /// Owner: a user's name or number. Default: whoever runs the bridge.
    #[schemars(title = "a user's name or number, in quotes", length(min = 1))]
    pub(super) user: Option<String>,
    /// Group: a group's name or number. Default: that of whoever runs the bridge.
    #[schemars(title = "a group's name or number, in quotes", length(min = 1))]
    pub(super) group: Option<String>,
}

/// TLS of a listener. All files are PEM, and are read again on a reload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerTls {
    /// Certificate that HAProxy sees, then those that lead to its CA.
    #[schemars(required, title = FILE_TITLE, length(min = 1))]
    pub(super) certificate: Option<String>,
    /// Private key, not encrypted. May be the same file.
    #[schemars(required, title = FILE_TITLE, length(min = 1))]
    pub(super) key: Option<String>,
    /// CAs of clients. With it, clients must show a certificate of one of them. Default: everybody may connect.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(super) client_ca: Option<String>,
    /// Names (SANs) of which a client's certificate must have one. Only with client_ca. Default: any.
    #[schemars(length(min = 1), inner(length(min = 1)), transform = Items("title", SAN_TITLE))]
    pub(super) allowed_sans: Option<Vec<String>>,
    /// The oldest version of TLS that is spoken.
    #[schemars(title = VERSION_TITLE, extend("default" = TlsVersion::default().as_str()))]
    pub(super) min_version: Option<TlsVersion>,
}

/// TLS to the endpoints of a backend. All files are PEM, and are read again on a reload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BackendTls {
    /// CAs of the servers' certificates. Default: those that the system trusts.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(super) ca: Option<String>,
    /// Certificate to show to servers that ask, then those that lead to its CA.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(super) certificate: Option<String>,
    /// Private key of the certificate, not encrypted. May be the same file.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(super) key: Option<String>,
    /// Name that is asked for (SNI) and that a server's certificate must have. Default: the host of the authority.
    #[schemars(title = SERVER_NAME_TITLE, length(min = 1))]
    pub(super) server_name: Option<String>,
    /// What requests have as their :authority. Default: that of the endpoint.
    #[schemars(title = AUTHORITY_TITLE, length(min = 1))]
    pub(super) authority: Option<String>,
    /// Names (SANs) of which a server's certificate must have one, instead of the server's name.
    #[schemars(length(min = 1), inner(length(min = 1)), transform = Items("title", SAN_TITLE))]
    pub(super) allowed_sans: Option<Vec<String>>,
    /// The oldest version of TLS that is spoken.
    #[schemars(title = VERSION_TITLE, extend("default" = TlsVersion::default().as_str()))]
    pub(super) min_version: Option<TlsVersion>,
}

/// A named group of endpoints that all give the same decisions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    /// gRPC servers: http://host:port or https://host:port; dns:///host:port for all addresses that DNS has for the name; or unix: and the
    /// absolute path of a socket. At least one.
    #[schemars(required, length(min = 1), transform = Items("title", ENDPOINT_TITLE))]
    pub(super) endpoints: Option<Vec<String>>,
    /// TLS to all of the endpoints. Default: with https://, that with these defaults; otherwise none.
    pub(super) tls: Option<BackendTls>,
    /// How often the names of dns: endpoints are resolved.
    pub(super) dns: Option<Dns>,
    /// Asks each server for its health (grpc.health.v1) and leaves out those that are not serving. Default: nobody is asked. {}: with the
    /// defaults of its keys.
    pub(super) health: Option<Health>,
    /// For one connection to an endpoint.
    #[schemars(transform = limits::CONNECT_TIMEOUT.clone())]
    pub(super) connect_timeout: Option<String>,
    /// Whether HAProxy is to take other bridges while no server of this backend takes decisions: its health checks are then
    /// refused, for all listeners. As a sidecar leave it out: readiness counts for the whole pod.
    #[schemars(extend("default" = false))]
    pub(super) required: Option<bool>,
    /// How decisions are carried to an endpoint.
    #[schemars(extend("default" = Protocol::default().as_str()))]
    pub(super) protocol: Option<Protocol>,
    /// Decisions in flight, of all workers together; more are `overloaded` at once.
    #[schemars(transform = limits::BACKEND_IN_FLIGHT.clone())]
    pub(super) max_in_flight: Option<usize>,
    /// Finds a lower limit of decisions in flight by their latency, for each worker. `{}` for the defaults. Default: off.
    pub(super) adaptive_limit: Option<AdaptiveLimit>,
    /// Connections of a worker to an endpoint. A further one is opened when the service lets no more calls on those that there are
    /// (SETTINGS_MAX_CONCURRENT_STREAMS); a stream of decisions needs one.
    #[schemars(transform = limits::ENDPOINT_CONNECTIONS.clone())]
    pub(super) max_connections: Option<usize>,
    /// Whether asking twice does no harm: allows `hedging`. Default: false.
    pub(super) idempotent: Option<bool>,
    /// When a decision is tried again within its timeout, at another endpoint if there is one.
    pub(super) retry: Option<Retry>,
    /// Ask a second endpoint when the first is slow, and take the first answer. Needs `idempotent: true`. `{}` for the defaults. Default: off.
    pub(super) hedging: Option<Hedging>,
    /// How many retries and hedges there may be, for each worker.
    pub(super) retry_budget: Option<RetryBudget>,
    /// When an endpoint is left out that fails.
    pub(super) outlier_detection: Option<OutlierDetection>,
    /// Metadata (headers) to send with every call: lower-case keys, values of printable ASCII.
    #[schemars(transform = secret_values, extend("propertyNames" = { "pattern": METADATA_KEY_PATTERN }))]
    pub(super) metadata: Option<BTreeMap<String, String>>,
}

/// How often names are resolved.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    /// Least time between two questions for the same name, however short the answer is valid and whoever cannot connect.
    #[schemars(transform = limits::DNS_MIN_TTL.clone())]
    pub(super) min_ttl: Option<String>,
    /// Longest time for which an answer is used without asking again. Not below min_ttl.
    #[schemars(transform = limits::DNS_MAX_TTL.clone())]
    pub(super) max_ttl: Option<String>,
}

/// How to ask for health.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// The name of the service whose health is asked for. Default: empty, which means the server as a whole.
    #[schemars(title = "text of at most 256 characters", length(max = limits::MAX_HEALTH_SERVICE))]
    pub(super) service: Option<String>,
    /// Between two questions to a server that does not tell of changes (Watch) by itself, and at most between two attempts to ask.
    #[schemars(transform = limits::HEALTH_INTERVAL.clone())]
    pub(super) interval: Option<String>,
    /// For an answer. A server that cannot be asked for as long is not serving.
    #[schemars(transform = limits::HEALTH_TIMEOUT.clone())]
    pub(super) timeout: Option<String>,
}

/// A limit of decisions in flight that follows latency.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdaptiveLimit {
    /// It does not go below.
    #[schemars(transform = limits::ADAPTIVE_MIN.clone())]
    pub(super) min: Option<usize>,
    /// How long a decision may take of what is usual before the limit goes down.
    #[schemars(transform = limits::ADAPTIVE_TOLERANCE.clone())]
    pub(super) tolerance: Option<String>,
}

/// When a decision is tried again (gRFC A6).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Attempts, the first one included. 1: never again. What no service has seen is sent again in any case.
    #[schemars(transform = limits::RETRY_ATTEMPTS.clone())]
    pub(super) max_attempts: Option<usize>,
    /// Statuses after which it is tried again. A connection that breaks before the answer counts as UNAVAILABLE. Default: [UNAVAILABLE].
    pub(super) retryable_status_codes: Option<Vec<StatusCode>>,
}

/// When a second endpoint is asked (gRFC A6).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hedging {
    /// Attempts, the first one included.
    #[schemars(transform = limits::HEDGING_ATTEMPTS.clone())]
    pub(super) max_attempts: Option<usize>,
    /// From one attempt to the next: a duration, or p95: longer than 95 of 100 decisions took lately.
    #[schemars(transform = limits::HEDGING_DELAY.clone())]
    pub(super) delay: Option<String>,
}

/// How many retries and hedges there may be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryBudget {
    /// Of the decisions.
    #[schemars(transform = limits::BUDGET_PERCENT.clone())]
    pub(super) percent: Option<String>,
    /// Besides those, so that a quiet backend has some.
    #[schemars(transform = limits::BUDGET_PER_SECOND.clone())]
    pub(super) min_per_second: Option<usize>,
}

/// When an endpoint is left out that fails (gRFC A50).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutlierDetection {
    /// Failures in a row: no answer in time, a broken connection, UNAVAILABLE, INTERNAL, UNKNOWN or DATA_LOSS. 0: they do not matter.
    #[schemars(transform = limits::CONSECUTIVE_FAILURES.clone())]
    pub(super) consecutive_failures: Option<usize>,
    /// Between looks at the success rate.
    #[schemars(transform = limits::OUTLIER_INTERVAL.clone())]
    pub(super) interval: Option<String>,
    /// How long an endpoint is out the first time; then one decision goes there as a probe, and if that fails it is out for twice as long.
    #[schemars(transform = limits::BASE_EJECTION_TIME.clone())]
    pub(super) base_ejection_time: Option<String>,
    /// How long at most.
    #[schemars(transform = limits::MAX_EJECTION_TIME.clone())]
    pub(super) max_ejection_time: Option<String>,
    /// Of the endpoints at a time. 0%: none.
    #[schemars(transform = limits::MAX_EJECTION_PERCENT.clone())]
    pub(super) max_ejection_percent: Option<String>,
    /// Leave out endpoints that succeed less often than the others. `{}` for the defaults. Default: off.
    pub(super) success_rate: Option<SuccessRate>,
}

/// When an endpoint's success rate is too low (gRFC A50).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SuccessRate {
    /// Standard deviations below the mean of all endpoints, in thousandths.
    #[schemars(transform = limits::STDEV_FACTOR.clone())]
    pub(super) stdev_factor: Option<usize>,
    /// Endpoints that must have had enough decisions in the interval.
    #[schemars(transform = limits::MINIMUM_HOSTS.clone())]
    pub(super) minimum_hosts: Option<usize>,
    /// Decisions in the interval that are enough.
    #[schemars(transform = limits::REQUEST_VOLUME.clone())]
    pub(super) request_volume: Option<usize>,
}

/// Which messages go to which backend, and what happens if that fails.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// Name for logs and metrics. Unique. Default: the first of `messages`, or `routes[2]` if that name is taken.
    #[schemars(length(min = 1, max = limits::MAX_NAME))]
    pub(super) name: Option<String>,
    /// Names of messages, exact or with * (anything) and ? (one byte). Default: every message.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub(super) messages: Option<Vec<String>>,
    /// Engine ids (from HAProxy's HELLO), exact or with * and ?. Default: any.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub(super) engines: Option<Vec<String>>,
    /// Names of listeners. Default: any.
    #[schemars(length(min = 1))]
    pub(super) listeners: Option<Vec<String>>,
    /// Name of the backend that decides.
    #[schemars(required, title = "the name of a backend")]
    pub(super) backend: Option<String>,
    /// For a decision, from reading the NOTIFY to writing the ACK. Set HAProxy's `timeout processing` to the same value or above.
    #[schemars(transform = limits::ROUTE_TIMEOUT.clone())]
    pub(super) timeout: Option<String>,
    /// An arg of a message with an integer, in milliseconds, that may shorten the timeout. Default: none.
    #[schemars(length(min = 1))]
    pub(super) timeout_arg: Option<String>,
    /// What HAProxy gets when this route has no decision; goes before the `on_failure` at the top level.
    #[schemars(transform = without_unrouted)]
    pub(super) on_failure: Option<OnFailure>,
}

/// Actions by cause. A cause that is not there has those of `default`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OnFailure {
    /// For every cause that is not listed.
    pub(super) default: Option<FailureActions>,
    /// The deadline passed, or the service answered DEADLINE_EXCEEDED.
    pub(super) timeout: Option<FailureActions>,
    /// No connection to the service, or it answered UNAVAILABLE.
    pub(super) unavailable: Option<FailureActions>,
    /// The bridge shed the call, or the service answered RESOURCE_EXHAUSTED.
    pub(super) overloaded: Option<FailureActions>,
    /// The service answered any other gRPC status but OK.
    pub(super) rejected: Option<FailureActions>,
    /// The service's answer cannot be sent to HAProxy.
    pub(super) invalid_response: Option<FailureActions>,
    /// No route wants the message.
    pub(super) unrouted: Option<FailureActions>,
    /// A bug of the bridge.
    pub(super) internal: Option<FailureActions>,
}

impl OnFailure {
    /// What is said for exactly this cause.
    pub(super) fn cause(&self, cause: Cause) -> Option<&FailureActions> {
        let actions = match cause {
            Cause::Timeout => &self.timeout,
            Cause::Unavailable => &self.unavailable,
            Cause::Overloaded => &self.overloaded,
            Cause::Rejected => &self.rejected,
            Cause::InvalidResponse => &self.invalid_response,
            Cause::Unrouted => &self.unrouted,
            Cause::Internal => &self.internal,
        };
        actions.as_ref()
    }
}

/// What to do with HAProxy's variables.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureActions {
    /// Variables (scope.name) to set, and their values.
    #[schemars(extend("propertyNames" = { "pattern": variable::PATTERN }))]
    pub(super) set: Option<BTreeMap<String, Constant>>,
    /// Variables (scope.name) to unset.
    #[schemars(transform = Items("pattern", variable::PATTERN))]
    pub(super) unset: Option<Vec<String>>,
}

/// A value for a variable, as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Constant(pub(super) serde_json::Value);

impl JsonSchema for Constant {
    fn schema_name() -> Cow<'static, str> {
        "Constant".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "true, false, an integer, text, null, {ipv4: address}, {ipv6: address} or {bytes: base64}",
            "description": "A boolean, an integer of 64 bits, text, null (unsets the variable), an address or bytes.",
            "type": ["boolean", "integer", "string", "null", "object"],
            "minimum": i64::MIN,
            "maximum": i64::MAX,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {
                "ipv4": { "type": "string", "title": "an IPv4 address", "format": "ipv4" },
                "ipv6": { "type": "string", "title": "an IPv6 address", "format": "ipv6" },
                "bytes": { "type": "string", "title": "base64", "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$" },
            },
        })
    }
}

/// How to stop.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// From the signal until connections are no longer accepted; health checks fail in the meantime.
    #[schemars(transform = limits::DRAIN_DELAY.clone())]
    pub(super) delay: Option<String>,
    /// For decisions in flight after that.
    #[schemars(transform = limits::GRACE_PERIOD.clone())]
    pub(super) grace_period: Option<String>,
}

/// A JSON line on standard output for each decision that failed, and for a sample of the others.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionLog {
    /// Log every decision that ended in a fallback. Default: true.
    #[schemars(extend("default" = true))]
    pub(super) failures: Option<bool>,
    /// Log one of so many decisions, whatever became of them. 1: all; 0: none.
    #[schemars(transform = limits::LOG_ONE_IN.clone())]
    pub(super) one_in: Option<usize>,
    /// Lines a second at most; more are left out and counted.
    #[schemars(transform = limits::LOG_PER_SECOND.clone())]
    pub(super) max_per_second: Option<usize>,
    /// Log the values of args. Default: true.
    #[schemars(extend("default" = true))]
    pub(super) args: Option<bool>,
    /// Args whose values are never shown: names or globs with * and ?, in whatever case. Replaces the default list.
    #[schemars(extend("default" = DecisionLogConfig::REDACT))]
    pub(super) redact: Option<Vec<String>>,
}

/// What to log, and how.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// The least important lines to print.
    #[schemars(extend("default" = LogLevel::Info.as_str()))]
    pub(super) level: Option<LogLevel>,
    /// What a line looks like.
    #[schemars(extend("default" = LogFormat::Auto.as_str()))]
    pub(super) format: Option<LogFormat>,
}

/// The port for operators.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// host:port, unix: and the absolute path of a socket, or off. Whoever reaches it can read everything there, so it belongs on loopback or behind a
    /// network policy.
    #[schemars(title = ADMIN_BIND_TITLE, extend("default" = DEFAULT_ADMIN_BIND))]
    pub(super) bind: Option<String>,
    /// Permissions and owner of a Unix socket. Only with a unix: bind.
    pub(super) unix: Option<UnixSocket>,
}

/// Says something about each item of a list.
struct Items(&'static str, &'static str);

impl Transform for Items {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(items) = schema.get_mut("items").and_then(|items| items.as_object_mut()) {
            items.insert(self.0.to_owned(), self.1.into());
        }
    }
}

/// Metadata values are never repeated in a problem: they may be tokens.
fn secret_values(schema: &mut Schema) {
    if let Some(values) = schema.get_mut("additionalProperties").and_then(|values| values.as_object_mut()) {
        values.insert("writeOnly".to_owned(), true.into());
    }
}

/// A message on a route is routed.
fn without_unrouted(schema: &mut Schema) {
    if let Some(properties) = schema.get_mut("properties").and_then(|properties| properties.as_object_mut()) {
        properties.remove(Cause::Unrouted.as_str());
    }
}

pub(super) const DEFAULT_BIND: &str = "127.0.0.1:9000";
pub(super) const DEFAULT_ADMIN_BIND: &str = "127.0.0.1:9902";
pub(super) const ADMIN_BIND_TITLE: &str = "host:port, unix:/path or off";
pub(super) const DEFAULT_STATUS_VARIABLE: &str = "txn.bridge_status";
pub(super) const DEFAULT_MODE: &str = "0660";
pub(super) const MODE_TITLE: &str = r#"permissions in octal, in quotes, such as "0660""#;
pub(super) const ENDPOINT_TITLE: &str = "http(s)://host:port, dns:///host:port or unix:/path";
pub(super) const SERVER_NAME_TITLE: &str = "a DNS name or an IP address";
pub(super) const AUTHORITY_TITLE: &str = "host or host:port";
pub(super) const SAN_TITLE: &str = "a DNS name, an IP address, or a URI such as spiffe://example.org/haproxy";
const FILE_TITLE: &str = "the path of a PEM file";
const VERSION_TITLE: &str = r#""1.2" or "1.3", in quotes"#;
const BACKEND_NAME_PATTERN: &str = "^[A-Za-z0-9_.-]{1,128}$";
const METADATA_KEY_PATTERN: &str = "^[a-z0-9_.-]+$";
pub(super) const PREFIX_TITLE: &str = "letters, digits, _ and ., at most 57 bytes";
const PREFIX_PATTERN: &str = "^[A-Za-z0-9_.]{1,57}$";
