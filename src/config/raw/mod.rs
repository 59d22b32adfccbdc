//! The shape of a configuration file, and nothing but its shape.
//!
//! The JSON Schema is made from these types, and the [walk along the schema](super::shape) makes a tree fit them. So
//! what a comment here says is what an editor shows, and what is accepted is what the schema describes. A `title` is
//! what a problem says was expected.
//!
//! Texts stay texts: [`check`](super::check) reads the units, addresses, names and patterns in them.

mod backend;
mod listener;
mod route;

use std::collections::BTreeMap;

use schemars::transform::Transform;
use schemars::{JsonSchema, Schema};
use serde::Deserialize;

use super::log::{LogFormat, LogLevel};
use super::model::{DecisionLogConfig, TraceArgs};
use super::{limits, variable};

pub(super) use self::backend::{
    AdaptiveLimit, Backend, BackendTls, Dns, Health, OutlierDetection, Retry, RetryBudget, SuccessRate,
};
pub(super) use self::listener::{Listener, ListenerTls, UnixSocket};
pub(super) use self::route::{Constant, FailureActions, OnFailure, Route, RouteHaproxy};

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
    /// Time that HAProxy gives a client for the body, or as much of it as fits into a buffer, before a message that has something
    /// of the body. A client that needs longer gets 408; only requests whose bodies are asked about are held to it.
    #[schemars(transform = limits::BODY_TIMEOUT.clone())]
    pub(super) body_timeout: Option<String>,
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
    /// Bytes a second at most, or one line if that is longer. More is left out and counted as those lines are.
    #[schemars(transform = limits::LOG_BYTES_PER_SECOND.clone())]
    pub(super) max_bytes_per_second: Option<String>,
    /// Log the values of args, but for those of `redact`. Without, the line has the names of the messages and no args: what HAProxy sends of
    /// a request may be secret, whatever it is called.
    #[schemars(extend("default" = false))]
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
    /// Names, besides `localhost`, addresses and that of `bind`, by which it may be asked for more than `/live`, `/ready` and `/metrics`: a
    /// page of somebody else's can have its own name lead here (DNS rebinding). Without ports. Default: none.
    #[schemars(inner(length(min = 1)), transform = Items("title", HOST_TITLE))]
    pub(super) allowed_hosts: Option<Vec<String>>,
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

pub(super) const DEFAULT_BIND: &str = "127.0.0.1:9000";
pub(super) const DEFAULT_ADMIN_BIND: &str = "127.0.0.1:9902";
pub(super) const ADMIN_BIND_TITLE: &str = "host:port, unix:/path or off";
pub(super) const HOST_TITLE: &str = "the name of a host, without a port";
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
