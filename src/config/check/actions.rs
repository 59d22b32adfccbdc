//! `on_failure`: actions by cause, encoded once.

use std::collections::HashSet;

use super::listeners::longest_prefix;
use super::own::Own;
use super::{Findings, base64};
use crate::config::cause::Cause;
use crate::config::error::Warning;
use crate::config::limits::MAX_FALLBACK;
use crate::config::model::ListenerConfig;
use crate::config::on_failure::OnFailure;
use crate::config::path::Path;
use crate::config::raw;
use crate::config::variable::Variable;
use crate::spop::frame::ack::ack_len;
use crate::spop::{Actions, TypedData};

/// What all fallback actions have in common.
pub(super) struct Fallback<'a> {
    own: &'a Own,
    /// Most bytes that the actions of one cause may take, so that they surely fit into an ACK with the status variable.
    room: usize,
}

/// What one `on_failure` of the file says, encoded.
#[derive(Debug, Default)]
pub(super) struct Said {
    default: Option<Actions>,
    causes: [Option<Actions>; Cause::ALL.len()],
}

/// Where the actions for a cause come from.
pub(super) enum Source<'a> {
    /// From an entry for this cause.
    Named(&'a Actions),
    /// From a `default`, at this position of those that had their say.
    Default {
        level: usize,
        actions: &'a Actions,
    },
    Nothing,
}

/// What counts for `cause` when several places of the file have their say, the first one first.
pub(super) fn source<'a>(said: impl IntoIterator<Item = &'a Said>, cause: Cause) -> Source<'a> {
    for (level, said) in said.into_iter().enumerate() {
        if let Some(actions) = said.causes.get(cause.index()).and_then(Option::as_ref) {
            return Source::Named(actions);
        }
        if let Some(actions) = &said.default {
            return Source::Default { level, actions };
        }
    }
    Source::Nothing
}

/// The actions of all causes.
pub(super) fn resolve(said: &[&Said]) -> OnFailure {
    OnFailure::new(|cause| match source(said.iter().copied(), cause) {
        Source::Named(actions) | Source::Default { actions, .. } => actions.clone(),
        Source::Nothing => Actions::new(),
    })
}

impl<'a> Fallback<'a> {
    pub(super) fn new(own: &'a Own, listeners: &[ListenerConfig]) -> Self {
        let frame = listeners.iter().map(|listener| listener.max_frame_size as usize).min().unwrap_or_default();
        let fallback = Self { own, room: MAX_FALLBACK };
        Self { room: fallback.room_in(frame).min(MAX_FALLBACK), ..fallback }
    }

    /// Bytes that a frame has for fallbacks beside the status variable.
    pub(super) fn room_in(&self, frame: usize) -> usize {
        let mut longest_status = Actions::new();
        let longest_cause = TypedData::String(Cause::InvalidResponse.as_str().as_bytes());
        let _ = longest_status.set_var(self.own.status.scope, &self.own.status.name, longest_cause);
        frame.saturating_sub(ack_len(u64::MAX, u64::MAX, longest_status.len_bytes()))
    }

    /// Encodes an `on_failure` that counts for NOTIFYs from `listeners`.
    pub(super) fn check<'l>(
        &self,
        raw: Option<&raw::OnFailure>,
        listeners: impl IntoIterator<Item = &'l ListenerConfig>,
        path: &Path,
        findings: &mut Findings,
    ) -> Said {
        let Some(raw) = raw else { return Said::default() };
        let mut check = CheckActions { prefix_len: longest_prefix(listeners), fallback: self, findings };
        Said {
            default: raw.default.as_ref().map(|raw| check.actions(raw, &path.key("default"))),
            causes: Cause::ALL.map(|cause| raw.cause(cause).map(|raw| check.actions(raw, &path.key(cause.as_str())))),
        }
    }
}

struct CheckActions<'f> {
    prefix_len: usize,
    fallback: &'f Fallback<'f>,
    findings: &'f mut Findings,
}

impl CheckActions<'_> {
    fn actions(&mut self, raw: &raw::FailureActions, path: &Path) -> Actions {
        let mut actions = Actions::new();
        let mut seen = HashSet::new();
        for (name, constant) in raw.set.iter().flatten() {
            seen.insert(name);
            self.set(&mut actions, name, constant, &path.key("set").key(name));
        }
        for (index, name) in raw.unset.iter().flatten().enumerate() {
            let at = path.key("unset").index(index);
            if !seen.insert(name) {
                self.findings.problems.add(&at, name, "each variable once in set and unset");
            }
            if let Some(variable) = self.variable(name, &at) {
                let _ = actions.unset_var(variable.scope, &variable.name);
            }
        }
        let (length, room) = (actions.len_bytes(), self.fallback.room);
        if length > room {
            let expected = format!("at most {room} bytes, which fit into one frame");
            self.findings.problems.add(path, format_args!("actions of {length} bytes"), expected);
        }
        actions
    }

    fn variable(&mut self, name: &str, path: &Path) -> Option<Variable> {
        let variable = self.findings.variable(path, name, self.prefix_len)?;
        self.fallback.own.refuse(&variable, path, self.findings);
        Some(variable)
    }

    fn set(&mut self, actions: &mut Actions, name: &str, constant: &raw::Constant, path: &Path) {
        let Some(variable) = self.variable(name, path) else { return };
        let mut buffer = Vec::new();
        let Some(value) = self.value(&constant.0, &mut buffer, path) else { return };
        if let TypedData::String(text) = value
            && OFTEN_MEANT_AS_BOOLEANS.contains(&text)
        {
            let message = "a text, not a boolean: write true or false if one is meant".to_owned();
            self.findings.warnings.push(Warning { path: path.clone(), message });
        }
        // The name is checked.
        let _ = actions.set_var(variable.scope, &variable.name, value);
    }

    /// The value that HAProxy gets. The shape is known to be right: a scalar, or exactly one of the three keys.
    fn value<'v>(&mut self, constant: &'v serde_json::Value, buffer: &'v mut Vec<u8>, path: &Path) -> Option<TypedData<'v>> {
        use serde_json::Value;
        match constant {
            Value::Bool(value) => Some((*value).into()),
            Value::Number(number) => number.as_i64().map(TypedData::Int64),
            Value::String(text) => Some(text.as_str().into()),
            Value::Object(map) => {
                let (kind, text) = map.iter().next()?;
                let text = text.as_str()?;
                let (value, expected) = match kind.as_str() {
                    "ipv4" => (text.parse().ok().map(TypedData::Ipv4), "an IPv4 address"),
                    "ipv6" => (text.parse().ok().map(TypedData::Ipv6), "an IPv6 address"),
                    _ => (base64::decode(text).map(|bytes| keep(buffer, bytes)), "base64"),
                };
                if value.is_none() {
                    self.findings.problems.add(&path.key(kind), text, expected);
                }
                value
            }
            Value::Null | Value::Array(_) => Some(TypedData::Null),
        }
    }
}

fn keep(buffer: &mut Vec<u8>, bytes: Vec<u8>) -> TypedData<'_> {
    *buffer = bytes;
    TypedData::Binary(buffer)
}

/// Booleans in YAML 1.1, texts in YAML 1.2.
const OFTEN_MEANT_AS_BOOLEANS: [&[u8]; 8] = [b"yes", b"no", b"on", b"off", b"Yes", b"No", b"On", b"Off"];
