//! Which message goes where, and what happens if that fails.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{DEFAULT_VARIABLES, DEFAULT_VERDICT, Items, SECTION_NAME_PATTERN, SECTION_NAME_TITLE};
use crate::config::cause::Cause;
use crate::config::haproxy::{Event, NoVerdict};
use crate::config::pattern::Pattern;
use crate::config::{limits, variable};

/// Which messages go to which backend, and what happens if that fails.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// Name for logs and metrics. Unique. Default: the first of `messages`, or `routes[2]` if another route has that name.
    #[schemars(length(min = 1, max = limits::MAX_NAME))]
    pub(in crate::config) name: Option<String>,
    /// Names of messages (`spoe-message` in HAProxy), exact or with `*` (anything) and `?` (one byte). A name of
    /// more than 256 bytes matches nothing. Default: every message.
    #[schemars(length(min = 1), inner(length(min = 1, max = Pattern::LONGEST)))]
    pub(in crate::config) messages: Option<Vec<String>>,
    /// Engine ids from HAProxy's HELLO, exact or with `*` and `?`. HAProxy makes them up, one UUID per process and engine; to
    /// tell engines apart give each its own listener. Default: any.
    #[schemars(length(min = 1), inner(length(min = 1, max = Pattern::LONGEST)))]
    pub(in crate::config) engines: Option<Vec<String>>,
    /// Names of listeners that the message came in on. Default: any.
    #[schemars(length(min = 1))]
    pub(in crate::config) listeners: Option<Vec<String>>,
    /// Name of the backend that decides.
    #[schemars(required, title = "the name of a backend")]
    pub(in crate::config) backend: Option<String>,
    /// For a decision, from reading the NOTIFY to writing the ACK. Above `ack_margin`, and 20 ms or more below HAProxy's `timeout
    /// processing`, whose clock starts earlier: it counts queueing, connecting and HELLO.
    #[schemars(transform = limits::ROUTE_TIMEOUT.clone())]
    pub(in crate::config) timeout: Option<String>,
    /// Name of an arg with an integer, in milliseconds, that shortens the timeout for the messages it comes with. It never makes
    /// it longer. Default: none.
    #[schemars(length(min = 1))]
    pub(in crate::config) timeout_arg: Option<String>,
    /// The shortest timeout that `timeout_arg` can make: below it, as at zero and less, this counts, so that the service is asked
    /// whatever the arg says. Never above `timeout`, and always 1 ms or more above `ack_margin`.
    #[schemars(transform = limits::TIMEOUT_ARG_MIN.clone())]
    pub(in crate::config) timeout_arg_min: Option<String>,
    /// Variables (scope.name) that the service may set and unset; in the name `*` stands for anything and `?` for one byte, as in
    /// `txn.waf_*`. An answer with any other is refused whole, with the cause `invalid_response`. Default: all but the bridge's own.
    #[schemars(transform = Items("pattern", variable::GLOB_PATTERN))]
    pub(in crate::config) variables: Option<Vec<String>>,
    /// What HAProxy gets when this route has no decision; goes before the `on_failure` at the top level.
    #[schemars(transform = without_unrouted)]
    pub(in crate::config) on_failure: Option<OnFailure>,
    /// When HAProxy sends these messages, with what, and what it does with the answer, for `spop-bridge haproxy generate`. `{}` for the
    /// defaults. Default: nothing is written for this route.
    pub(in crate::config) haproxy: Option<RouteHaproxy>,
}

/// When HAProxy sends the messages of a route, with what, and what it does with the answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RouteHaproxy {
    /// The event at which HAProxy sends the messages by itself. Default: on-frontend-http-request, unless there is a group.
    pub(in crate::config) event: Option<Event>,
    /// Name of the group in which an `http-request` rule sends the messages, instead of an event. Default: none.
    #[schemars(title = SECTION_NAME_TITLE, extend("pattern" = SECTION_NAME_PATTERN))]
    pub(in crate::config) group: Option<String>,
    /// Args of each message, as in SPOE's `args`: name=sample,converter. Default: ip, method, path and token of a request, as far as they are
    /// known by then.
    #[schemars(length(max = limits::MAX_ARGS), inner(length(min = 1)))]
    pub(in crate::config) args: Option<Vec<String>>,
    /// For which requests: ACLs in braces, as behind `if`. Default: for all.
    #[schemars(title = "ACLs in braces, as behind `if`", length(min = 1))]
    pub(in crate::config) condition: Option<String>,
    /// Variables (scope.name) that the service sets.
    #[schemars(transform = Items("pattern", variable::PATTERN), extend("default" = DEFAULT_VARIABLES))]
    pub(in crate::config) variables: Option<Vec<String>>,
    /// The one of them that is true if the request may pass; or none, if nothing is denied.
    #[schemars(extend("default" = DEFAULT_VERDICT))]
    pub(in crate::config) verdict: Option<String>,
    /// HTTP status of requests that may not pass.
    #[schemars(transform = limits::DENY_STATUS.clone())]
    pub(in crate::config) deny_status: Option<usize>,
    /// What becomes of requests without a verdict: deny (fails closed) or allow (fails open).
    #[schemars(extend("default" = NoVerdict::Deny.as_str()))]
    pub(in crate::config) no_verdict: Option<NoVerdict>,
    /// HTTP status of requests without a verdict, if they are denied.
    #[schemars(transform = limits::NO_VERDICT_STATUS.clone())]
    pub(in crate::config) no_verdict_status: Option<usize>,
}

/// Actions by cause. A cause that is not there has those of `default`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct OnFailure {
    /// For every cause that is not listed beside it.
    pub(in crate::config) default: Option<FailureActions>,
    /// The deadline passed, or the service answered DEADLINE_EXCEEDED.
    pub(in crate::config) timeout: Option<FailureActions>,
    /// No connection to the service, or it answered UNAVAILABLE.
    pub(in crate::config) unavailable: Option<FailureActions>,
    /// The bridge shed the call, or the service answered RESOURCE_EXHAUSTED.
    pub(in crate::config) overloaded: Option<FailureActions>,
    /// The service answered any other gRPC status but OK.
    pub(in crate::config) rejected: Option<FailureActions>,
    /// The service's answer cannot be sent to HAProxy: a bad name or value, or too long for a frame.
    pub(in crate::config) invalid_response: Option<FailureActions>,
    /// No route wants the message. Only at the top level.
    pub(in crate::config) unrouted: Option<FailureActions>,
    /// A bug of the bridge, or a decision that was still in flight when `drain.grace_period` was over.
    pub(in crate::config) internal: Option<FailureActions>,
}

impl OnFailure {
    /// What is said for exactly this cause.
    pub(in crate::config) fn cause(&self, cause: Cause) -> Option<&FailureActions> {
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
pub(in crate::config) struct FailureActions {
    /// Variables to set, and their values. Default: none.
    #[schemars(extend("propertyNames" = { "pattern": variable::PATTERN }))]
    pub(in crate::config) set: Option<BTreeMap<String, Constant>>,
    /// Variables to remove. Default: none.
    #[schemars(transform = Items("pattern", variable::PATTERN))]
    pub(in crate::config) unset: Option<Vec<String>>,
}

/// A value for a variable, as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Constant(pub(in crate::config) serde_json::Value);

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

/// A message on a route is routed.
fn without_unrouted(schema: &mut Schema) {
    if let Some(properties) = schema.get_mut("properties").and_then(|properties| properties.as_object_mut()) {
        properties.remove(Cause::Unrouted.as_str());
    }
}
