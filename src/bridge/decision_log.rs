//! A NOTIFY and what became of it as a line of JSON, for whoever asks why there was this verdict.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::answer::Asked;
use super::report::{Part, Report};
use crate::config::{Cause, Config, DecisionLogConfig, Pattern};
use crate::printable::printable_json;
use crate::spop::{Message, TypedData};
use crate::telemetry::decision_log;
use crate::telemetry::trace::hex;

/// Bytes of a text that are shown, and of all args of a line together.
const MOST_BYTES: usize = 256;
const MOST_OF_ALL: usize = 8 * 1024;
/// Messages and decisions that are shown.
const MOST: usize = 16;

/// Whether this decision is logged.
fn is_wanted(log: &DecisionLogConfig, failed: bool) -> bool {
    let sampled = log.one_in > 0 && fastrand::u32(..log.one_in) == 0;
    (log.failures && failed || sampled) && decision_log::admit(log.max_per_second)
}

/// Writes a line, if this decision is one of those.
pub(super) fn record<E>(config: &Config, asked: &Asked<'_, '_, E>, report: &Report<'_>) {
    let Some(log) = &config.decision_log else { return };
    if !is_wanted(log, report.failed().is_some()) {
        return;
    }
    let (notify, peer) = (asked.notify, &asked.sender.peer);
    let mut room = MOST_OF_ALL;
    let messages: Vec<_> = notify.messages().take(MOST).map(|message| self::message(log, &message, &mut room)).collect();
    let decisions: Vec<_> = report.parts().iter().take(MOST).map(|part| decision(config, part)).collect();
    let line = json!({
        "time": now(),
        "trace_id": asked.trace_id.map(|id| hex(&id)),
        "listener": &*peer.listener,
        "engine_id": text(&peer.engine_id),
        "peer": &*peer.address,
        "stream_id": notify.stream_id,
        "frame_id": notify.frame_id,
        "latency_us": micros(report.latency()),
        "outcome": outcome(report.failed()),
        "messages": messages,
        "decisions": decisions,
    });
    decision_log::write(format!("{}\n", printable_json(&line.to_string())).as_bytes(), log.max_bytes_per_second);
}

fn decision(config: &Config, part: &Part<'_>) -> Value {
    let backend = part.route.and_then(|route| config.backends.get(route.backend));
    json!({
        "route": part.route.map(|route| &*route.name),
        "backend": backend.map(|backend| &*backend.name),
        "outcome": outcome(part.error.as_ref().map(super::error::NotifyError::cause)),
        "problem": part.error.as_ref().map(|error| text(error.to_string().as_bytes())),
        "endpoint": part.endpoint.as_ref().map(Arc::as_ref),
        "attempts": part.attempts,
        "latency_us": micros(part.latency),
        "left_out": part.left_out.variables().collect::<Vec<_>>(),
    })
}

fn message(log: &DecisionLogConfig, message: &Message<'_>, room: &mut usize) -> Value {
    if !log.args {
        return json!({ "name": text(message.name) });
    }
    let mut args = Vec::new();
    for (name, value) in message.args() {
        let arg = json!({ "name": text(name), "value": arg(log, name, value) });
        // As it is written: control characters take six bytes each.
        let Some(left) = room.checked_sub(arg.to_string().len()) else {
            args.push("…".into());
            break;
        };
        *room = left;
        args.push(arg);
    }
    json!({ "name": text(message.name), "args": args })
}

fn arg(log: &DecisionLogConfig, name: &[u8], value: TypedData<'_>) -> Value {
    let name = name.to_ascii_lowercase();
    // What has no name, or one too long for patterns, cannot be told from a secret.
    if name.is_empty() || name.len() > Pattern::LONGEST || log.redact.iter().any(|pattern| pattern.matches(&name)) {
        return "(redacted)".into();
    }
    match value {
        TypedData::Null => Value::Null,
        TypedData::Bool(value) => value.into(),
        TypedData::Int32(value) => value.into(),
        TypedData::Uint32(value) => value.into(),
        TypedData::Int64(value) => value.into(),
        TypedData::Uint64(value) => value.into(),
        TypedData::Ipv4(value) => value.to_string().into(),
        TypedData::Ipv6(value) => value.to_string().into(),
        TypedData::String(value) => text(value).into(),
        TypedData::Binary(value) => format!("({} bytes)", value.len()).into(),
    }
}

/// The beginning of a text of a peer's.
fn text(bytes: &[u8]) -> String {
    match bytes.get(..MOST_BYTES) {
        Some(beginning) if bytes.len() > MOST_BYTES => format!("{}…", String::from_utf8_lossy(beginning)),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn outcome(failed: Option<Cause>) -> &'static str {
    failed.map_or("ok", Cause::as_str)
}

fn micros(latency: std::time::Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)
}

/// As in the log.
fn now() -> String {
    let mut time = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}
