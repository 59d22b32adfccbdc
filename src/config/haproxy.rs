//! HAProxy's side of a bridge, as far as an operator has said what it is to be.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::condition::Condition;
use super::names::names;
use super::variable::Variable;

/// What holds for all of HAProxy's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaproxyConfig {
    /// Name of the engine and of its agent.
    pub engine: String,
    /// Name of HAProxy's backend section whose servers are this bridge.
    pub backend: String,
    /// `tune.bufsize`, in bytes.
    pub bufsize: u32,
    /// Time for a body that is part of a question.
    pub body_timeout: Duration,
}

/// When HAProxy sends the messages of a route, with what, and what follows from the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteHaproxy {
    /// When they are sent.
    pub moment: Moment,
    /// The args of each message, as in SPOE's `args`.
    pub args: Vec<String>,
    /// For which requests; `None`: all.
    pub condition: Option<Condition>,
    /// What the service sets, the verdict among them.
    pub variables: Vec<Variable>,
    /// How requests are denied; `None`: none are.
    pub verdict: Option<Verdict>,
}

impl RouteHaproxy {
    /// Whether a request can have messages of both in one NOTIFY. Two conditions at one moment are taken to exclude each other.
    pub(super) fn can_meet(&self, other: &Self) -> bool {
        let exclusive = self.condition.is_some() && other.condition.is_some() && self.condition != other.condition;
        self.moment == other.moment && !exclusive
    }
}

/// When messages are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// By itself.
    Event(Event),
    /// Where a rule sends the group of this name.
    Group(String),
}

/// How HAProxy denies requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True if the request may pass.
    pub variable: Variable,
    /// The HTTP status of requests that may not.
    pub deny_status: u16,
    /// What becomes of requests without a verdict.
    pub no_verdict: NoVerdict,
    /// The HTTP status of those, if they are denied.
    pub no_verdict_status: u16,
}

/// An event at which HAProxy sends messages (SPOE §2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Event {
    /// A client's session begins.
    OnClientSession,
    /// Before the `tcp-request content` rules of a frontend.
    OnFrontendTcpRequest,
    /// Before the `http-request` rules of a frontend.
    #[default]
    OnFrontendHttpRequest,
    /// Before the `tcp-request content` rules of a backend.
    OnBackendTcpRequest,
    /// Before the `http-request` rules of a backend.
    OnBackendHttpRequest,
    /// A server's session begins.
    OnServerSession,
    /// Before the `tcp-response content` rules.
    OnTcpResponse,
    /// Before the `http-response` rules.
    OnHttpResponse,
}

names!(Event {
    OnClientSession = "on-client-session",
    OnFrontendTcpRequest = "on-frontend-tcp-request",
    OnFrontendHttpRequest = "on-frontend-http-request",
    OnBackendTcpRequest = "on-backend-tcp-request",
    OnBackendHttpRequest = "on-backend-http-request",
    OnServerSession = "on-server-session",
    OnTcpResponse = "on-tcp-response",
    OnHttpResponse = "on-http-response",
});

/// What becomes of requests without a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum NoVerdict {
    /// They are denied: fails closed.
    #[default]
    Deny,
    /// They pass: fails open.
    Allow,
}

names!(NoVerdict { Deny = "deny", Allow = "allow" });

impl Moment {
    /// The args of messages that name none: what the examples of decision services look at, as far as it is known by then.
    pub(super) fn default_args(&self) -> &'static [&'static str] {
        match self {
            Self::Group(_) | Self::Event(Event::OnFrontendHttpRequest | Event::OnBackendHttpRequest) => {
                &["ip=src", "method=method", "path=path,url_dec", "token=req.hdr(x-token)"]
            }
            Self::Event(Event::OnHttpResponse) => &["ip=src", "status=status"],
            Self::Event(_) => &["ip=src"],
        }
    }
}
