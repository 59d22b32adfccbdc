//! Fallbacks that let requests pass for a failure that a client can bring about by what it sends.
//!
//! `default` is for failures that the operator has not thought of. An operator who lets requests pass while the service is down hardly means
//! those by which a client would choose to pass, so these have to be named. What lets pass is told by the verdict of the route's
//! `haproxy`; without one by names and values, and then what is not plainly a denial counts as letting pass.

use std::collections::BTreeSet;

use super::Findings;
use super::actions::{Said, Source, source};
use crate::config::cause::Cause;
use crate::config::error::Warning;
use crate::config::haproxy::{NoVerdict, RouteHaproxy, Verdict};
use crate::config::path::Path;
use crate::spop::{Action, Actions, TypedData, VarScope};

/// What is known of the top level's `default` once all routes have been looked at.
#[derive(Debug, Default)]
pub(super) struct Passing {
    unsaid: BTreeSet<Cause>,
    example: Option<String>,
}

impl Passing {
    /// Looks at what a route at `path` says, and at what the top level says for it.
    pub(super) fn look_at(
        &mut self,
        said: &Said,
        top: &Said,
        haproxy: Option<&RouteHaproxy>,
        path: &Path,
        findings: &mut Findings,
    ) {
        let verdict = haproxy.and_then(|haproxy| haproxy.verdict.as_ref());
        let (mut own, mut nothing) = (Passing::default(), BTreeSet::new());
        for cause in Cause::OF_CLIENTS {
            let (level, actions) = match source([said, top], cause) {
                Source::Default { level, actions } => (level, actions),
                Source::Nothing if verdict.is_some_and(|verdict| verdict.no_verdict == NoVerdict::Allow) => {
                    nothing.insert(cause);
                    continue;
                }
                Source::Named(_) | Source::Nothing => continue,
            };
            if let Some(example) = what_passes(actions, verdict) {
                let passing = if level == 0 { &mut own } else { &mut *self };
                passing.unsaid.insert(cause);
                passing.example.get_or_insert(example);
            }
        }
        own.warn(&path.key("on_failure").key("default"), findings);
        if let Some(verdict) = verdict.filter(|_| !nothing.is_empty()) {
            let example = Some(format!("{{ set: {{ {}: false }} }}", verdict.variable));
            Passing { unsaid: nothing, example }.warn(&path.key("haproxy").key("no_verdict"), findings);
        }
    }

    /// Warns of the `default` at `path`, if there is reason to.
    pub(super) fn warn(self, path: &Path, findings: &mut Findings) {
        let Some(first) = self.unsaid.first() else { return };
        let causes: Vec<_> = self.unsaid.iter().map(|cause| cause.as_str()).collect();
        let (last, others) = causes.split_last().unwrap_or((&"", &[]));
        let list = if others.is_empty() { (*last).to_owned() } else { format!("{} and {last}", others.join(", ")) };
        let example = self.example.map_or_else(String::new, |example| format!(", such as {first}: {example}"));
        let message = format!(
            "may let requests pass for {list} too, which a client can bring about by what it sends: say in on_failure what \
             HAProxy gets for {}{example}",
            if others.is_empty() { "this cause" } else { "each of these causes" },
        );
        findings.warnings.push(Warning { path: path.clone(), message });
    }
}

/// What a variable of a fallback means for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Passes,
    Denies,
    /// Says no more than that there was a failure.
    Tells,
    Unknown,
}

/// Whether requests may pass with this action.
pub(super) fn may_pass(action: &Action<'_>) -> bool {
    matches!(meaning(action), Meaning::Passes | Meaning::Unknown)
}

/// If requests pass with `actions`: what to set instead.
fn what_passes(actions: &Actions, verdict: Option<&Verdict>) -> Option<String> {
    if let Some(verdict) = verdict {
        let value = actions.iter().filter(|action| names(action, verdict)).last().and_then(value_of);
        let passes = value.map_or(verdict.no_verdict == NoVerdict::Allow, is_true);
        return passes.then(|| format!("{{ set: {{ {}: false }} }}", verdict.variable));
    }
    let meanings: Vec<_> = actions.iter().map(|action| (meaning(&action), action)).collect();
    let is = |wanted: Meaning| meanings.iter().find(|(meaning, _)| *meaning == wanted);
    let unknown = is(Meaning::Unknown).filter(|_| is(Meaning::Denies).is_none());
    let (_, action) = is(Meaning::Passes).or(unknown)?;
    Some(opposite(action))
}

fn names(action: &Action<'_>, verdict: &Verdict) -> bool {
    let (scope, name) = variable_of(action);
    (scope, name) == (verdict.variable.scope, verdict.variable.name.as_bytes())
}

fn variable_of<'a>(action: &Action<'a>) -> (VarScope, &'a [u8]) {
    match action {
        Action::SetVar { scope, name, .. } | Action::UnsetVar { scope, name } => (*scope, name),
    }
}

/// The value that it leaves; NULL unsets.
fn value_of(action: Action<'_>) -> Option<TypedData<'_>> {
    match action {
        Action::SetVar { value: TypedData::Null, .. } | Action::UnsetVar { .. } => None,
        Action::SetVar { value, .. } => Some(value),
    }
}

/// The same variable with a value that denies, as an operator would write it.
fn opposite(action: &Action<'_>) -> String {
    let (scope, name) = variable_of(action);
    let name = format!("{scope}.{}", String::from_utf8_lossy(name));
    match value_of(*action) {
        Some(TypedData::Bool(value)) => format!("{{ set: {{ {name}: {} }} }}", !value),
        None => format!("{{ set: {{ {name}: true }} }}"),
        Some(_) => format!("{{ set: {{ {name}: ... }} }}"),
    }
}

fn meaning(action: &Action<'_>) -> Meaning {
    let (_, name) = variable_of(action);
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let words: Vec<_> = name.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let has = |beginnings: &[&str]| words.iter().any(|word| beginnings.iter().any(|beginning| word.starts_with(beginning)));
    let negated = words.iter().any(|word| NOT.contains(word));
    let (allows, denies) = match (has(ALLOWING), has(DENYING)) {
        (true, _) => (!negated, negated),
        (false, true) => (negated, !negated),
        (false, false) => (false, false),
    };
    let Some(value) = value_of(*action) else {
        // A verdict that is taken away is none, which HAProxy's rules decide about; a denial that is taken away is none either.
        return if denies { Meaning::Passes } else { Meaning::Tells };
    };
    match (is_true(value), is_denial(value)) {
        (_, true) if !denies => Meaning::Denies,
        (true, _) if allows => Meaning::Passes,
        (false, _) if allows => Meaning::Denies,
        (true, _) if denies => Meaning::Denies,
        (false, _) if denies => Meaning::Passes,
        _ if has(TELLING) => Meaning::Tells,
        _ => Meaning::Unknown,
    }
}

/// As HAProxy's `-m bool` takes it, and as people write it.
fn is_true(value: TypedData<'_>) -> bool {
    match value {
        TypedData::Null => false,
        TypedData::Bool(value) => value,
        TypedData::Int32(value) => value != 0,
        TypedData::Uint32(value) => value != 0,
        TypedData::Int64(value) => value != 0,
        TypedData::Uint64(value) => value != 0,
        TypedData::String(text) => {
            !["", "0", "false", "no", "off", "none"].iter().any(|no| text.eq_ignore_ascii_case(no.as_bytes()))
        }
        TypedData::Ipv4(_) | TypedData::Ipv6(_) | TypedData::Binary(_) => true,
    }
}

/// A text that says it, such as `deny`.
fn is_denial(value: TypedData<'_>) -> bool {
    let TypedData::String(text) = value else { return false };
    let text = text.to_ascii_lowercase();
    ["deny", "denied", "block", "reject", "refus", "forbid", "drop", "ban"].iter().any(|word| text.starts_with(word.as_bytes()))
}

/// Beginnings of words in the names of variables with which requests pass when they are true.
const ALLOWING: &[&str] = &[
    "allow",
    "pass",
    "permit",
    "accept",
    "grant",
    "ok",
    "good",
    "valid",
    "auth",
    "trust",
    "safe",
    "clean",
    "legit",
    "human",
    "admin",
    "verified",
    "verdict",
    "decision",
    "bypass",
    "skip",
    "exempt",
    "whitelist",
    "enabled",
    "open",
];

/// Those with which they are denied.
const DENYING: &[&str] = &[
    "deny",
    "denied",
    "disallow",
    "block",
    "reject",
    "refus",
    "forbid",
    "forbidden",
    "drop",
    "ban",
    "bad",
    "bot",
    "spam",
    "attack",
    "malicious",
    "threat",
    "abus",
    "suspicious",
    "challenge",
    "captcha",
    "limited",
    "throttle",
    "tarpit",
    "quarantine",
    "exceeded",
    "unauth",
    "untrust",
    "invalid",
    "unsafe",
    "blacklist",
    "closed",
];

/// Those that tell of the failure alone.
const TELLING: &[&str] = &[
    "fail", "err", "reason", "status", "cause", "late", "message", "detail", "why", "degraded", "missing", "timeout", "fallback",
];

const NOT: &[&str] = &["not", "no", "non"];

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning_of(name: &str, value: TypedData<'_>) -> Meaning {
        let mut actions = Actions::new();
        actions.set_var(VarScope::Transaction, name, value).unwrap();
        meaning(&actions.iter().next().unwrap())
    }

    #[test]
    fn names_and_values_tell_what_passes() {
        use Meaning::{Denies, Passes, Tells, Unknown};
        let text = |text: &'static str| TypedData::String(text.as_bytes());
        let (yes, no) = (TypedData::Bool(true), TypedData::Bool(false));
        for (name, value, expected) in [
            ("allow", yes, Passes),
            ("allow", no, Denies),
            ("Allow", yes, Passes),
            ("allow", TypedData::Int64(1), Passes),
            ("allow", TypedData::Int64(0), Denies),
            ("waf.allow", yes, Passes),
            ("body_allow", text("true"), Passes),
            ("body_allow", text("no"), Denies),
            ("verdict", text("continue"), Passes),
            ("verdict", text("deny"), Denies),
            ("block", no, Passes),
            ("block", yes, Denies),
            ("blocked", TypedData::Int64(0), Passes),
            ("not_allowed", yes, Denies),
            ("not_allowed", no, Passes),
            ("is_bot", no, Passes),
            ("bot_allowed", yes, Passes),
            ("unauthorized", yes, Denies),
            ("deny", TypedData::Null, Passes),
            ("allow", TypedData::Null, Tells),
            ("reason", text("late"), Tells),
            ("shadow_failed", yes, Tells),
            ("fail_open", yes, Passes),
            ("score", TypedData::Int64(0), Unknown),
            ("backend", text("blue"), Unknown),
            ("premium", no, Unknown),
        ] {
            assert_eq!(meaning_of(name, value), expected, "{name} {value:?}");
        }
    }

    #[test]
    fn a_plain_denial_outweighs_what_nobody_knows_but_not_what_passes() {
        let with = |list: &[(&str, TypedData<'static>)]| {
            let mut actions = Actions::new();
            for (name, value) in list {
                actions.set_var(VarScope::Transaction, name, *value).unwrap();
            }
            what_passes(&actions, None)
        };
        let (yes, no, zero) = (TypedData::Bool(true), TypedData::Bool(false), TypedData::Int64(0));
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("allow", no), ("score", zero)]), None);
        assert_eq!(with(&[("reason", yes)]), None);
        assert_eq!(with(&[("score", zero)]).as_deref(), Some("{ set: { txn.score: ... } }"));
        assert_eq!(with(&[("allow", no), ("body_allow", yes)]).as_deref(), Some("{ set: { txn.body_allow: false } }"));
        assert_eq!(with(&[("block", no)]).as_deref(), Some("{ set: { txn.block: true } }"));
    }
}
