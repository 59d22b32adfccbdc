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
use super::haproxy::{Event, NoVerdict};
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
    /// Groups of gRPC endpoints, by name: 1 to 128 letters, digits, `_`, `.`, `-`. At least one.
    #[schemars(required, extend("minProperties" = 1, "propertyNames" = { "pattern": BACKEND_NAME_PATTERN }))]
    pub(super) backends: Option<BTreeMap<String, Backend>>,
    /// Which message goes to which backend. For each message by itself, the first route that matches counts. Default: everything
    /// to the backend, if there is only one.
    #[schemars(length(min = 1))]
    pub(super) routes: Option<Vec<Route>>,
    /// What HAProxy gets when there is no decision, on every route that does not say it itself, and for messages without a route.
    /// Default: only `status_variable` is set.
    pub(super) on_failure: Option<OnFailure>,
    /// The variable that is set to the cause when there is no decision, and to `ok` when a decision has no actions: an ACK is
    /// never empty, which some HAProxy releases do not take.
    #[schemars(extend("pattern" = variable::PATTERN, "default" = DEFAULT_STATUS_VARIABLE))]
    pub(super) status_variable: Option<String>,
    /// A variable below which each ACK says how its decision came about: `NAME.cause`, `NAME.latency_us`, `NAME.attempts` and
    /// `NAME.source`. Default: none.
    #[schemars(extend("pattern" = variable::PATTERN))]
    pub(super) decision_variables: Option<String>,
    /// The args that carry the trace of a request.
    pub(super) trace_context: Option<TraceContext>,
    /// Taken off every route's timeout, so that the ACK reaches HAProxy within it: timers fire up to 1 ms late. Must be below
    /// every route's timeout.
    #[schemars(transform = limits::ACK_MARGIN.clone())]
    pub(super) ack_margin: Option<String>,
    /// How to stop.
    pub(super) drain: Option<Drain>,
    /// What to log, and how.
    pub(super) log: Option<Log>,
    /// A JSON line on standard output for each decision that failed, and for a sample of the others. `{}` turns it on. Default:
    /// off; failures are warnings in the log.
    pub(super) decision_log: Option<DecisionLog>,
    /// The port for operators: health, metrics, what runs.
    pub(super) admin: Option<Admin>,
    /// HAProxy's side, for `spop-bridge haproxy generate`. The bridge itself does not look at it.
    pub(super) haproxy: Option<Haproxy>,
}

/// What holds for all of HAProxy's side.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Haproxy {
    /// Name of the engine (of the `filter` line and the SPOE file) and of its agent.
    #[schemars(title = SECTION_NAME_TITLE, extend("pattern" = SECTION_NAME_PATTERN, "default" = DEFAULT_ENGINE))]
    pub(super) engine: Option<String>,
    /// Name of HAProxy's backend section whose servers are this bridge.
    #[schemars(title = SECTION_NAME_TITLE, extend("pattern" = SECTION_NAME_PATTERN, "default" = DEFAULT_HAPROXY_BACKEND))]
    pub(super) backend: Option<String>,
    /// HAProxy's `tune.bufsize`, into which a NOTIFY must fit: how much of a body is sent depends on it.
    #[schemars(transform = limits::BUFSIZE.clone())]
    pub(super) bufsize: Option<String>,
}

/// Args that carry W3C Trace Context and Baggage, each as the header of that name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceContext {
    /// The arg with the request's `traceparent` header (W3C Trace Context).
    #[schemars(length(min = 1, max = limits::MAX_NAME), extend("default" = TraceArgs::TRACEPARENT))]
    pub(super) traceparent: Option<String>,
    /// The arg with its `tracestate` header.
    #[schemars(length(min = 1, max = limits::MAX_NAME), extend("default" = TraceArgs::TRACESTATE))]
    pub(super) tracestate: Option<String>,
    /// The arg with its `baggage` header (W3C Baggage).
    #[schemars(length(min = 1, max = limits::MAX_NAME), extend("default" = TraceArgs::BAGGAGE))]
    pub(super) baggage: Option<String>,
}

/// One address to serve SPOP on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// Name for routes, logs and metrics, and for the service (`origin.listener`). Unique. Default: the text of `bind`.
    #[schemars(length(min = 1, max = limits::MAX_NAME))]
    pub(super) name: Option<String>,
    /// Where to listen. IPv6 in brackets: `[::]:9000`. Port 0: any that is free. The path of a socket is absolute and at most 107
    /// bytes long.
    #[schemars(required, title = "host:port or unix:/path")]
    pub(super) bind: Option<String>,
    /// Permissions and owner of a Unix socket. Only with a `unix:` bind.
    pub(super) unix: Option<UnixSocket>,
    /// TLS. HAProxy's `server` lines then have `ssl`. Default: none.
    pub(super) tls: Option<ListenerTls>,
    /// Connections at a time; more are closed at once.
    #[schemars(transform = limits::MAX_CONNECTIONS.clone())]
    pub(super) max_connections: Option<usize>,
    /// NOTIFYs in flight on one connection; above it no more are read from it.
    #[schemars(transform = limits::MAX_IN_FLIGHT.clone())]
    pub(super) max_in_flight: Option<usize>,
    /// Largest frame that is agreed to in the HELLO. HAProxy offers its `tune.bufsize` less 4 bytes, 16380 by default; what it
    /// offers is taken if it is below this. Common gRPC servers refuse messages over 4 MiB, and end the stream on which one
    /// comes.
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
    /// HAProxy's `option var-prefix`, or the engine's name without it. Only used to check the length of variable names, here and
    /// in responses. Default: unknown; 16 bytes are kept free for it.
    #[schemars(title = PREFIX_TITLE, extend("pattern" = PREFIX_PATTERN))]
    pub(super) var_prefix: Option<String>,
}

/// A Unix socket's file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnixSocket {
    /// Permissions in octal, in quotes. HAProxy must be able to write to its socket.
    #[schemars(title = MODE_TITLE, extend("pattern" = "^0?[0-7]{3}$", "default" = DEFAULT_MODE))]
    pub(super) mode: Option<String>,
    /// Owner: a user's name or number. Changing it takes privileges. Default: whoever runs the bridge.
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
    /// What HAProxy sees: the certificate, then those that lead to its CA.
    #[schemars(required, title = FILE_TITLE, length(min = 1))]
    pub(super) certificate: Option<String>,
    /// The private key, not encrypted: RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519. May be the same file, as
    /// HAProxy has it.
    #[schemars(required, title = FILE_TITLE, length(min = 1))]
    pub(super) key: Option<String>,
    /// CAs of clients. HAProxy must then show a certificate of one of them: `crt` on its `server` lines. Default: everybody may
    /// connect.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(super) client_ca: Option<String>,
    /// Names (SANs) of which a client's certificate must have one. Only with `client_ca`. A certificate for `*.example.com` has
    /// the name `a.example.com`; URIs, such as SPIFFE IDs, are compared byte by byte. Default: any.
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
    /// What servers see that ask for a certificate: the certificate, then those that lead to its CA. Default: none.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(super) certificate: Option<String>,
    /// The private key of `certificate`, not encrypted. May be the same file. Default: none.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(super) key: Option<String>,
    /// The name that is asked for (SNI; none for an address), and that the server's certificate must have. Default: the host of
    /// the authority.
    #[schemars(title = SERVER_NAME_TITLE, length(min = 1))]
    pub(super) server_name: Option<String>,
    /// What requests have as their `:authority`. Default: that of the endpoint; `localhost` for `unix:`.
    #[schemars(title = AUTHORITY_TITLE, length(min = 1))]
    pub(super) authority: Option<String>,
    /// Names (SANs) of which a server's certificate must have one, instead of `server_name`, which is still asked for: the SPIFFE
    /// ID of a workload has nothing to do with where it runs. Default: none.
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
    /// gRPC servers that give the same decisions, all different, at least one. `http://` and `https://` are one server, whose
    /// name is looked up at each connect; `dns:///host:port` is one server for each address that DNS has for the name.
    #[schemars(required, length(min = 1), transform = Items("title", ENDPOINT_TITLE))]
    pub(super) endpoints: Option<Vec<String>>,
    /// TLS to all of the endpoints. `http://` beside it is a problem. Default: none; with an `https://` endpoint, that with its
    /// defaults.
    pub(super) tls: Option<BackendTls>,
    /// How often the names of `dns:` endpoints are resolved.
    pub(super) dns: Option<Dns>,
    /// Asks each server for its health (`grpc.health.v1`) and leaves out those that are not serving. `{}` asks with the defaults.
    /// Default: nobody is asked.
    pub(super) health: Option<Health>,
    /// For one connection to an endpoint, TLS included.
    #[schemars(transform = limits::CONNECT_TIMEOUT.clone())]
    pub(super) connect_timeout: Option<String>,
    /// For a sign of life: the first HTTP/2 frame on a new connection; and, on one on which a decision ended unanswered and none was
    /// answered for a second, the acknowledgement of a PING. Then the connection is given up, and another one made. A server that is
    /// there and slow acknowledges, so that this is no limit for decisions.
    #[schemars(transform = limits::KEEPALIVE_TIMEOUT.clone())]
    pub(super) keepalive_timeout: Option<String>,
    /// Health checks of HAProxy (`option spop-check`) are refused on all listeners while no server of this backend takes
    /// decisions, so that HAProxy takes other bridges. As a sidecar leave it `false`: readiness counts for the whole pod, and
    /// there is no other bridge to take.
    #[schemars(extend("default" = false))]
    pub(super) required: Option<bool>,
    /// How decisions are carried to an endpoint. The stream costs a fraction of the calls. A balancer between bridge and service
    /// (a mesh, a ClusterIP) sends a whole stream to one endpoint: list the endpoints here, or use `decide`.
    #[schemars(extend("default" = Protocol::default().as_str()))]
    pub(super) protocol: Option<Protocol>,
    /// Decisions in flight, of all workers together. One more is `overloaded` at once, without a place in a queue. While several
    /// engines (HAProxy processes) are connected, the last eighth is kept for those that have less than their even share. All
    /// requests in flight together may also have at most 64 MiB.
    #[schemars(transform = limits::BACKEND_IN_FLIGHT.clone())]
    pub(super) max_in_flight: Option<usize>,
    /// Finds a lower limit of decisions in flight by their latency, for each worker. `{}` turns it on. Default: off.
    pub(super) adaptive_limit: Option<AdaptiveLimit>,
    /// Connections of a worker to an endpoint. Calls get a further one when the service lets no more of them on those that there
    /// are (SETTINGS_MAX_CONCURRENT_STREAMS); one that is not needed any more is closed within `outlier_detection.interval`. A
    /// stream of decisions needs one.
    #[schemars(transform = limits::ENDPOINT_CONNECTIONS.clone())]
    pub(super) max_connections: Option<usize>,
    /// Asking twice does no harm. Needed for `hedging`.
    #[schemars(extend("default" = false))]
    pub(super) idempotent: Option<bool>,
    /// When a decision is tried again within its timeout, at another endpoint if there is one.
    pub(super) retry: Option<Retry>,
    /// Asks a second endpoint when the first is slow, and takes the first answer. Needs `idempotent: true`. `{}` turns it on.
    /// Default: off.
    pub(super) hedging: Option<Hedging>,
    /// How many retries and hedges there may be, for each worker.
    pub(super) retry_budget: Option<RetryBudget>,
    /// When an endpoint is left out that fails.
    pub(super) outlier_detection: Option<OutlierDetection>,
    /// Metadata (headers) to send with every call. Names: lower-case letters, digits, `_`, `.`, `-`, not ending in `-bin`, and
    /// none that gRPC or the bridge sets (`grpc-...`, `content-type`, `te`, `user-agent`, `host`, `traceparent`, ...). Values:
    /// printable ASCII. Values are never repeated in problems, and not printed for names that end in `authorization`, `token`,
    /// `key`, `secret`, `password` or `cookie`. Default: none.
    #[schemars(transform = secret_values, extend("propertyNames" = { "pattern": METADATA_KEY_PATTERN }))]
    pub(super) metadata: Option<BTreeMap<String, String>>,
}

/// How often names are resolved.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    /// Least time between two questions for a name, however short the answer is valid and whoever cannot connect.
    #[schemars(transform = limits::DNS_MIN_TTL.clone())]
    pub(super) min_ttl: Option<String>,
    /// Longest time for which an answer is used without asking again. Not below `min_ttl`.
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
    /// Between two questions to a server that does not tell of changes by itself (`Watch`), and at most between two attempts to
    /// ask.
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
    /// What it starts from and does not go below. `max_in_flight` is what it does not go above.
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
    /// Attempts, the first one included. 1: none after it. What no service has seen is sent again in any case.
    #[schemars(transform = limits::RETRY_ATTEMPTS.clone())]
    pub(super) max_attempts: Option<usize>,
    /// Statuses after which it is tried again. A connection that breaks before the answer counts as UNAVAILABLE. A service that
    /// must not be asked twice for one decision (a counter) needs `[]`. Default: `[UNAVAILABLE]`.
    pub(super) retryable_status_codes: Option<Vec<StatusCode>>,
}

/// When a second endpoint is asked (gRFC A6).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hedging {
    /// Attempts, the first one included, each at another endpoint: with one endpoint there is no hedging.
    #[schemars(transform = limits::HEDGING_ATTEMPTS.clone())]
    pub(super) max_attempts: Option<usize>,
    /// From one attempt to the next. `p95`: longer than 95 of 100 decisions took in the last 5 to 10 seconds, from the 20th
    /// decision on.
    #[schemars(transform = limits::HEDGING_DELAY.clone())]
    pub(super) delay: Option<String>,
}

/// How many retries and hedges there may be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryBudget {
    /// Of the decisions: each puts so many hundredths of a token into the bucket.
    #[schemars(transform = limits::BUDGET_PERCENT.clone())]
    pub(super) percent: Option<String>,
    /// Besides those: so many tokens each second, so that a quiet backend has some.
    #[schemars(transform = limits::BUDGET_PER_SECOND.clone())]
    pub(super) min_per_second: Option<usize>,
}

/// When an endpoint is left out that fails (gRFC A50).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutlierDetection {
    /// Failures in a row after which an endpoint is out: no answer in time, a broken connection, UNAVAILABLE, INTERNAL, UNKNOWN
    /// or DATA_LOSS. 0: they do not matter.
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
    /// Of the endpoints at a time, rounded down, but one in any case if another is left. 0%: none.
    #[schemars(transform = limits::MAX_EJECTION_PERCENT.clone())]
    pub(super) max_ejection_percent: Option<String>,
    /// Leaves out endpoints that succeed less often than the others. `{}` turns it on. Default: off.
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
    /// Decisions in the interval that are enough, as one worker counts them.
    #[schemars(transform = limits::REQUEST_VOLUME.clone())]
    pub(super) request_volume: Option<usize>,
}

/// Which messages go to which backend, and what happens if that fails.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// Name for logs and metrics. Unique. Default: the first of `messages`, or `routes[2]` if another route has that name.
    #[schemars(length(min = 1, max = limits::MAX_NAME))]
    pub(super) name: Option<String>,
    /// Names of messages (`spoe-message` in HAProxy), exact or with `*` (anything) and `?` (one byte). Default: every message.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub(super) messages: Option<Vec<String>>,
    /// Engine ids from HAProxy's HELLO, exact or with `*` and `?`. HAProxy makes them up, one UUID per process and engine; to
    /// tell engines apart give each its own listener. Default: any.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub(super) engines: Option<Vec<String>>,
    /// Names of listeners that the message came in on. Default: any.
    #[schemars(length(min = 1))]
    pub(super) listeners: Option<Vec<String>>,
    /// Name of the backend that decides.
    #[schemars(required, title = "the name of a backend")]
    pub(super) backend: Option<String>,
    /// For a decision, from reading the NOTIFY to writing the ACK. Above `ack_margin`, and 20 ms or more below HAProxy's `timeout
    /// processing`, whose clock starts earlier: it counts queueing, connecting and HELLO.
    #[schemars(transform = limits::ROUTE_TIMEOUT.clone())]
    pub(super) timeout: Option<String>,
    /// Name of an arg with an integer, in milliseconds, that shortens the timeout for the messages it comes with. It never makes
    /// it longer. Default: none.
    #[schemars(length(min = 1))]
    pub(super) timeout_arg: Option<String>,
    /// What HAProxy gets when this route has no decision; goes before the `on_failure` at the top level.
    #[schemars(transform = without_unrouted)]
    pub(super) on_failure: Option<OnFailure>,
    /// When HAProxy sends these messages, with what, and what it does with the answer, for `spop-bridge haproxy generate`. `{}` for the
    /// defaults. Default: nothing is written for this route.
    pub(super) haproxy: Option<RouteHaproxy>,
}

/// When HAProxy sends the messages of a route, with what, and what it does with the answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteHaproxy {
    /// The event at which HAProxy sends the messages by itself. Default: on-frontend-http-request, unless there is a group.
    pub(super) event: Option<Event>,
    /// Name of the group in which an `http-request` rule sends the messages, instead of an event. Default: none.
    #[schemars(title = SECTION_NAME_TITLE, extend("pattern" = SECTION_NAME_PATTERN))]
    pub(super) group: Option<String>,
    /// Args of each message, as in SPOE's `args`: name=sample,converter. Default: ip, method, path and token of a request, as far as they are
    /// known by then.
    #[schemars(length(max = limits::MAX_ARGS), inner(length(min = 1)))]
    pub(super) args: Option<Vec<String>>,
    /// For which requests: ACLs in braces, as behind `if`. Default: for all.
    #[schemars(title = "ACLs in braces, as behind `if`", length(min = 1))]
    pub(super) condition: Option<String>,
    /// Variables (scope.name) that the service sets.
    #[schemars(transform = Items("pattern", variable::PATTERN), extend("default" = DEFAULT_VARIABLES))]
    pub(super) variables: Option<Vec<String>>,
    /// The one of them that is true if the request may pass; or none, if nothing is denied.
    #[schemars(extend("default" = DEFAULT_VERDICT))]
    pub(super) verdict: Option<String>,
    /// HTTP status of requests that may not pass.
    #[schemars(transform = limits::DENY_STATUS.clone())]
    pub(super) deny_status: Option<usize>,
    /// What becomes of requests without a verdict: deny (fails closed) or allow (fails open).
    #[schemars(extend("default" = NoVerdict::Deny.as_str()))]
    pub(super) no_verdict: Option<NoVerdict>,
    /// HTTP status of requests without a verdict, if they are denied.
    #[schemars(transform = limits::NO_VERDICT_STATUS.clone())]
    pub(super) no_verdict_status: Option<usize>,
}

/// Actions by cause. A cause that is not there has those of `default`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OnFailure {
    /// For every cause that is not listed beside it.
    pub(super) default: Option<FailureActions>,
    /// The deadline passed, or the service answered DEADLINE_EXCEEDED.
    pub(super) timeout: Option<FailureActions>,
    /// No connection to the service, or it answered UNAVAILABLE.
    pub(super) unavailable: Option<FailureActions>,
    /// The bridge shed the call, or the service answered RESOURCE_EXHAUSTED.
    pub(super) overloaded: Option<FailureActions>,
    /// The service answered any other gRPC status but OK.
    pub(super) rejected: Option<FailureActions>,
    /// The service's answer cannot be sent to HAProxy: a bad name or value, or too long for a frame.
    pub(super) invalid_response: Option<FailureActions>,
    /// No route wants the message. Only at the top level.
    pub(super) unrouted: Option<FailureActions>,
    /// A bug of the bridge, or a decision that was still in flight when `drain.grace_period` was over.
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
    /// Variables to set, and their values. Default: none.
    #[schemars(extend("propertyNames" = { "pattern": variable::PATTERN }))]
    pub(super) set: Option<BTreeMap<String, Constant>>,
    /// Variables to remove. Default: none.
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
                "ipv4": { "type": "string", "title": "an IPv4 address", "format": "ipv4", "description": "`{ ipv4: 192.0.2.1 }`" },
                "ipv6": { "type": "string", "title": "an IPv6 address", "format": "ipv6", "description": "`{ ipv6: \"2001:db8::1\" }`" },
                "bytes": { "type": "string", "title": "base64", "description": "Binary data: `{ bytes: AP8= }`", "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$" },
            },
        })
    }
}

/// How to stop.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// From the signal until connections are no longer accepted; health checks fail in the meantime. Time for HAProxy and
    /// balancers to notice: at least `inter` × `fall` of HAProxy's `check`, and one `inter` more to be safe: 3s for `inter 1s
    /// fall 2`, 8s for HAProxy's own defaults (`inter 2s fall 3`). Together with `grace_period` it stays below the time that the
    /// supervisor gives (30 s in Kubernetes).
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
    /// Log every decision that ended in a fallback.
    #[schemars(extend("default" = true))]
    pub(super) failures: Option<bool>,
    /// Log one of so many decisions, drawn at random, whatever became of them. 1: all; 0: none.
    #[schemars(transform = limits::LOG_ONE_IN.clone())]
    pub(super) one_in: Option<usize>,
    /// Lines a second at most. More are left out, and counted in `spop_bridge_telemetry_dropped_total{signal="decision_log"}`.
    #[schemars(transform = limits::LOG_PER_SECOND.clone())]
    pub(super) max_per_second: Option<usize>,
    /// Log the values of args.
    #[schemars(extend("default" = true))]
    pub(super) args: Option<bool>,
    /// Args whose values are `(redacted)`: names or globs with `*` and `?`, in whatever case. The list replaces the default. Args
    /// without a name never show their value. A URL may have secrets in its query: name its arg here, or pass HAProxy's `path`
    /// instead.
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
    /// Where to listen. Whoever reaches it can read everything there, so it belongs on loopback or behind a network policy;
    /// secrets are not there, and changing the log level takes a peer on loopback or a Unix socket. If nobody has said it and the
    /// address is taken, the bridge warns and goes on without; otherwise that is an error.
    #[schemars(title = ADMIN_BIND_TITLE, extend("default" = DEFAULT_ADMIN_BIND))]
    pub(super) bind: Option<String>,
    /// Permissions and owner of the socket file. Only with a `unix:` bind.
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
pub(super) const DEFAULT_ENGINE: &str = "bridge";
pub(super) const DEFAULT_HAPROXY_BACKEND: &str = "spop-bridge";
/// What the examples of decision services set.
pub(super) const DEFAULT_VARIABLES: [&str; 3] = ["txn.allow", "txn.reason", "txn.score"];
pub(super) const DEFAULT_VERDICT: &str = "txn.allow";
pub(super) const NO_VERDICT_VARIABLE: &str = "none";
pub(super) const SECTION_NAME_TITLE: &str = "a name of letters, digits, _, ., : and -";
const SECTION_NAME_PATTERN: &str = "^[A-Za-z0-9_.:-]{1,128}$";
const FILE_TITLE: &str = "the path of a PEM file";
const VERSION_TITLE: &str = r#""1.2" or "1.3", in quotes"#;
const BACKEND_NAME_PATTERN: &str = "^[A-Za-z0-9_.-]{1,128}$";
const METADATA_KEY_PATTERN: &str = "^[a-z0-9_.-]+$";
pub(super) const PREFIX_TITLE: &str = "letters, digits, _ and ., at most 57 bytes";
const PREFIX_PATTERN: &str = "^[A-Za-z0-9_.]{1,57}$";
