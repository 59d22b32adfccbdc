//! The SPOE file.

use std::fmt::Write as _;

use super::plan::{Ask, HEAD_START, Plan};
use super::text::wrapped;
use crate::config::{Event, Moment, NoVerdict, format_duration};

pub(super) fn write(plan: &Plan<'_>) -> String {
    let engine = &plan.config.haproxy.engine;
    let mut text = format!(
        "# The SPOE file for HAProxy {}, written by `spop-bridge haproxy generate`.\n[{engine}]\n\nspoe-agent {engine}\n",
        plan.options.version
    );
    text.push_str(&sent(plan));
    text.push_str(&variables(plan));
    text.push_str(&limits(plan));
    let _ = write!(text, "\n    use-backend {}\n    log global\n    option dontlog-normal\n", plan.config.haproxy.backend);
    plan.asks.iter().for_each(|ask| text.push_str(&messages(*ask, plan)));
    for (name, asks) in plan.groups() {
        let messages = asks.iter().flat_map(|ask| ask.messages());
        let _ = write!(text, "\nspoe-group {name}\n{}", wrapped("messages", messages));
    }
    text
}

/// `messages` and `groups`.
fn sent(plan: &Plan<'_>) -> String {
    let events: Vec<_> = plan.at(Event::ALL).flat_map(Ask::messages).collect();
    let groups: Vec<_> = plan.groups().into_iter().map(|(name, _)| name).collect();
    let mut text = String::new();
    if !events.is_empty() {
        text.push_str("    # Sent by themselves, each at its event.\n");
        text.push_str(&wrapped("messages", events));
    }
    if !groups.is_empty() {
        text.push_str("    # Sent where a rule says `send-spoe-group`.\n");
        text.push_str(&wrapped("groups", groups));
    }
    text
}

fn variables(plan: &Plan<'_>) -> String {
    let prefix = plan.prefix;
    format!(
        "\n    # Variables have it behind their scope: txn.{prefix}.NAME. The bridge's listeners know it as var_prefix.\n    \
         option var-prefix {prefix}\n    \
         # HAProxy drops variables that its configuration does not name. On failure the bridge sets some itself.\n{}    \
         # txn.{prefix}.error: why HAProxy has no answer of the bridge. A boolean that holds a number: test it with `-m found`\n    \
         # or `-m int`. 1: timeout, {}, 3: too big for a frame, 256+N: SPOP status N.\n    \
         option set-on-error error\n    \
         option set-process-time process_ms\n    \
         # Otherwise one error would switch SPOE off for the rest of the request, and groups would be skipped in silence.\n    \
         option continue-on-error\n",
        wrapped("register-var-names", plan.names()),
        if plan.options.version.has_mux() { "257: no server" } else { "2: no server" },
    )
}

fn limits(plan: &Plan<'_>) -> String {
    let (slowest, head_start) = (format_duration(plan.slowest()), format_duration(HEAD_START));
    let mut text = String::from("\n    # Many requests at once on a connection.\n    option pipelining\n");
    if !plan.options.version.has_mux() {
        text.push_str(
            "    # The bridge needs neither; with the second what is too big for a frame would wait for the timeout.\n",
        );
        text.push_str("    no option async\n    no option send-frag-payload\n");
    }
    if plan.has_small_frames() {
        text.push_str("    # What the bridge's listeners agree to. Their max_frame_size could be larger.\n");
        text.push_str("    # spop-bridge: ignore frame-size (guards and cuts reckon with it)\n");
        let _ = writeln!(text, "    max-frame-size {}", plan.frame);
    }
    let _ = writeln!(
        text,
        "    # Above the longest timeout of the bridge's routes ({slowest}), so that a late service gets the bridge's fallback and not\n    \
         # error 1. The clock starts before connecting and HELLO: {head_start} for those.\n    \
         timeout processing {}ms",
        plan.processing().as_millis()
    );
    if !plan.options.version.has_mux() {
        text.push_str("    # Up to 3.0 a connection without them would be kept for ever.\n");
        text.push_str("    timeout hello 500ms\n    timeout idle 2m\n");
    }
    text
}

fn messages(ask: Ask<'_>, plan: &Plan<'_>) -> String {
    let mut text = String::new();
    for message in ask.messages() {
        let cut = plan.cut(ask);
        let _ = write!(text, "\nspoe-message {message}\n");
        if let Some(bytes) = cut {
            let frame = plan.frame;
            let _ = writeln!(
                text,
                "    # A message too big for a frame ({frame} bytes) would not be sent at all: {bytes} bytes of the body leave room for\n    \
                 # the other args."
            );
        }
        let args = wrapped("args", ask.args(cut));
        for line in args.split_inclusive('\n') {
            text.push_str(&ignored(ask, plan));
            text.push_str(line);
        }
        if let Moment::Event(event) = ask.haproxy.moment {
            let condition = ask.haproxy.condition.as_ref().map(|condition| format!(" if {condition}")).unwrap_or_default();
            let _ = writeln!(text, "    event {event}{condition}");
        }
    }
    text
}

/// Comments for the doctor, whose findings about a line of args do not hold beside the rules that are written.
fn ignored(ask: Ask<'_>, plan: &Plan<'_>) -> String {
    let mut text = String::new();
    if ask.sends_body() {
        let why = match (ask.refuses_unseen(), plan.cut(ask)) {
            (false, _) => "nothing is denied by this message",
            (true, Some(_)) => "a rule refuses longer ones",
            (true, None) => "args say how much of it is sent",
        };
        let _ = writeln!(text, "    # spop-bridge: ignore body-size ({why})");
    }
    if plan.may_be_too_big(ask) {
        let why = match (&ask.haproxy.verdict, ask.is_http_request()) {
            (None, _) => "nothing is denied by this message; the log has error 3",
            (Some(_), true) => "a rule refuses those requests",
            (Some(verdict), false) if verdict.no_verdict == NoVerdict::Deny => "a rule refuses what has no verdict",
            (Some(_), false) => "fails open: no_verdict: allow",
        };
        let _ = writeln!(text, "    # spop-bridge: ignore too-big ({why})");
    }
    text
}
