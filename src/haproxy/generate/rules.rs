//! What a frontend does with the answers, and without them.

use std::fmt::Write as _;

use super::plan::{Ask, Plan};
use super::text::quoted;
use crate::config::{Condition, Event, Moment, NoVerdict, Variable, format_duration};
use crate::spop::VarScope;

/// Of all rules, for somebody's own configuration.
pub(super) fn write(plan: &Plan<'_>) -> String {
    let mut text = String::from("# For the frontend whose requests are decided about, above its own `http-request` rules.\n");
    if plan.config.haproxy.bufsize != DEFAULT_BUFSIZE {
        let _ = writeln!(text, "# And for `global`: tune.bufsize {}", plan.config.haproxy.bufsize);
    }
    text.push_str(&frontend(plan));
    let _ = write!(
        text,
        "\n    # For the log: why there is no verdict, how long it took, and what the service said. Add to your `log-format`:\n    #   {}\n",
        log_fields(plan)
    );
    let backend = backend(plan);
    if !backend.is_empty() {
        let _ = write!(text, "\n# For the backends that serve those requests.\n{backend}");
    }
    text
}

/// Of a frontend.
pub(super) fn frontend(plan: &Plan<'_>) -> String {
    let mut text = format!("    filter spoe engine {} config {}\n", plan.config.haproxy.engine, quoted(&plan.options.spoe_file));
    if plan.at(&[Event::OnFrontendHttpRequest, Event::OnBackendHttpRequest]).any(Ask::needs_body) {
        let _ = write!(
            text,
            "    # An event comes before all rules, and so must the body that it looks at: of every request here. A client that takes\n    \
             # longer than this for headers and body gets 408 (haproxy.body_timeout).\n    \
             option http-buffer-request\n    timeout http-request {}\n",
            format_duration(plan.config.haproxy.body_timeout)
        );
    }
    let stale = plan.asks.iter().filter_map(|ask| ask.stale_verdict());
    for variable in stale {
        let _ = write!(
            text,
            "    # It outlives its request, and must not stand in for the verdict on the next one.\n    \
             tcp-request content unset-var({})\n",
            plan.var(variable)
        );
    }
    // HAProxy runs tcp-request rules first, and warns where they stand below others.
    for ask in plan.at(&[Event::OnClientSession, Event::OnFrontendTcpRequest]) {
        text.push_str(&enforced(plan, ask, Kind::TcpRequest));
    }
    for ask in plan.at(&[Event::OnFrontendHttpRequest]) {
        text.push_str(&enforced(plan, ask, Kind::HttpRequest));
    }
    for (name, asks) in plan.groups() {
        text.push_str(&send(plan, name, &asks));
        asks.iter().for_each(|ask| text.push_str(&enforced(plan, *ask, Kind::HttpRequest)));
    }
    for ask in plan.at(&[Event::OnHttpResponse]) {
        text.push_str(&enforced(plan, ask, Kind::HttpResponse));
    }
    text
}

/// Of backends; empty, if there is nothing for them to do.
pub(super) fn backend(plan: &Plan<'_>) -> String {
    let kinds = [
        (&[Event::OnBackendTcpRequest][..], Kind::TcpRequest),
        (&[Event::OnServerSession, Event::OnTcpResponse], Kind::TcpResponse),
        (&[Event::OnBackendHttpRequest], Kind::HttpRequest),
    ];
    kinds.into_iter().flat_map(|(events, kind)| plan.at(events).map(move |ask| enforced(plan, ask, kind))).collect()
}

/// The rules that deny by an answer.
#[derive(Clone, Copy)]
enum Kind {
    TcpRequest,
    HttpRequest,
    TcpResponse,
    HttpResponse,
}

impl Kind {
    fn deny(self, status: u16) -> String {
        match self {
            Self::TcpRequest => "tcp-request content reject".to_owned(),
            Self::HttpRequest => format!("http-request deny deny_status {status}"),
            Self::TcpResponse => "tcp-response content reject".to_owned(),
            Self::HttpResponse => format!("http-response deny deny_status {status}"),
        }
    }
}

/// Sends a group.
fn send(plan: &Plan<'_>, group: &str, asks: &[Ask<'_>]) -> String {
    let condition = asks.first().and_then(|ask| ask.haproxy.condition.as_ref());
    let mut text = String::new();
    if asks.iter().any(|ask| ask.needs_body()) {
        // All of a group have one condition. What looks at the body itself must not decide whether it is waited for.
        let known = asks.first().and_then(|ask| ask.waits_for());
        let _ = write!(
            text,
            "\n    # The body, or as much of it as fits into a buffer, must be there when it is looked at. A client that takes longer for it\n    \
             # gets 408 (haproxy.body_timeout); requests without a body do not wait.\n    \
             http-request wait-for-body time {}{}\n",
            format_duration(plan.config.haproxy.body_timeout),
            only_if(known.as_ref())
        );
    } else {
        text.push('\n');
    }
    let engine = &plan.config.haproxy.engine;
    let _ = writeln!(text, "    http-request send-spoe-group {engine} {group}{}", only_if(condition));
    text
}

fn only_if(condition: Option<&Condition>) -> String {
    condition.map(|condition| format!(" if {condition}")).unwrap_or_default()
}

/// What follows from the answer to `ask`.
fn enforced(plan: &Plan<'_>, ask: Ask<'_>, kind: Kind) -> String {
    let messages = ask.messages().join(", ");
    let when = match &ask.haproxy.moment {
        Moment::Event(event) => format!("sent at {event}"),
        Moment::Group(group) => format!("in the group {group}"),
    };
    let Some(verdict) = &ask.haproxy.verdict else {
        return format!("\n    # {messages}, {when}: nothing is denied by it.\n");
    };
    let variable = plan.var(&verdict.variable);
    let (found, status) = (format!("{{ var({variable}) -m found }}"), verdict.deny_status);
    let mut text = format!("\n    # {messages}, {when}: denied, if the service says so.\n");
    if verdict.no_verdict == NoVerdict::Allow {
        let (prefix, status) = (plan.prefix, plan.var(&plan.config.status_variable));
        let _ = write!(
            text,
            "    # No verdict: fails open, which only the log tells, by txn.{prefix}.error and {status}.\n    \
             # spop-bridge: ignore fails-open (no_verdict: allow)\n"
        );
    }
    let _ = writeln!(text, "    {} if {found} !{{ var({variable}) -m bool }}", kind.deny(status));
    text.push_str(&unseen(plan, ask, &found, kind));
    if verdict.no_verdict == NoVerdict::Deny {
        text.push_str(
            "    # No verdict, neither of the service nor of the bridge's on_failure: fails closed (no_verdict: deny). Without this\n    \
             # it would pass in silence.\n",
        );
        text.push_str(&denied(ask, kind, verdict.no_verdict_status, &format!("!{found}")));
    }
    text
}

/// Denies what a client can keep from the service by its size, whether or not the route fails open.
fn unseen(plan: &Plan<'_>, ask: Ask<'_>, found: &str, kind: Kind) -> String {
    let mut text = String::new();
    if let Some(bytes) = plan.cut(ask).filter(|_| ask.refuses_unseen()) {
        let _ = write!(
            text,
            "    # The service sees {bytes} bytes of a body. Longer ones are refused; to let it judge by their beginning, write\n    \
             # bytes(0,{bytes}) into `args` yourself.\n"
        );
        text.push_str(&denied(ask, kind, TOO_LARGE, &format!("{{ req.body_size gt {bytes} }}")));
    }
    if ask.is_http_request() && (ask.sends_body() || plan.may_be_too_big(ask)) {
        text.push_str("    # Too big for a frame: HAProxy has not asked.\n");
        text.push_str(&denied(ask, kind, TOO_LARGE, &format!("!{found} {{ var(txn.{}.error) -m int {TOO_BIG} }}", plan.prefix)));
    }
    text
}

fn denied(ask: Ask<'_>, kind: Kind, status: u16, terms: &str) -> String {
    format!("    {} if {}\n", kind.deny(status), with_terms(ask.haproxy.condition.as_ref(), terms))
}

/// `terms` besides the condition: HAProxy's `||` binds less than what stands side by side.
fn with_terms(condition: Option<&Condition>, terms: &str) -> String {
    let Some(condition) = condition else { return terms.to_owned() };
    let alternatives: Vec<_> = condition.alternatives().map(|alternative| format!("{alternative} {terms}")).collect();
    alternatives.join(" || ")
}

/// What a log line should have of decisions.
pub(super) fn log_fields(plan: &Plan<'_>) -> String {
    let prefix = plan.prefix;
    let mut fields = format!(
        "spoe_error=%[var(txn.{prefix}.error)] spoe_ms=%[var(txn.{prefix}.process_ms)] {}",
        plan.bridges_own()
            .map(|variable| format!("{}=%[var({})]", variable.name, plan.var(variable)))
            .collect::<Vec<_>>()
            .join(" ")
    );
    let mut seen: Vec<&Variable> = Vec::new();
    for variable in plan.asks.iter().flat_map(|ask| &ask.haproxy.variables) {
        // Those of a request or a response have gone when the line is written.
        let lasts = !matches!(variable.scope, VarScope::Request | VarScope::Response);
        if lasts && !seen.contains(&variable) {
            let _ = write!(fields, " {}=%{{+Q,+E}}[var({})]", variable.name, plan.var(variable));
            seen.push(variable);
        }
    }
    fields
}

pub(super) const DEFAULT_BUFSIZE: u32 = 16 << 10;

/// HAProxy's error for a message that fits into no frame.
const TOO_BIG: u16 = 3;

const TOO_LARGE: u16 = 413;
