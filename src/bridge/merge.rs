//! The actions of several branches as one list.
//!
//! All answers and fallbacks fit into the frame together, or the longest answers are refused until they do: what a service repeats of a
//! client's request must not cost another one its verdict. Of those that name the same variable one counts: an answer before any
//! fallback, and the one whose message comes first before the others.

use std::collections::HashMap;
use std::fmt;

use super::error::NotifyError;
use crate::config::{Cause, OnFailure, Variable};
use crate::spop::{Action, Actions, VarScope};
use crate::telemetry::event::LeftOutReason;

/// What a branch has for the list.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Becomes an error if the answer is refused here.
    pub(super) decision: Result<Actions, NotifyError>,
    pub(super) left_out: LeftOut,
    on_failure: &'a OnFailure,
    has_room: bool,
}

impl<'a> Part<'a> {
    pub(super) fn new(decision: Result<Actions, NotifyError>, on_failure: &'a OnFailure) -> Self {
        Self { decision, left_out: LeftOut::default(), on_failure, has_room: true }
    }

    /// The answer, or the fallback.
    fn actions(&self) -> &Actions {
        match &self.decision {
            Ok(actions) => actions,
            Err(error) => self.on_failure.actions(error.cause()),
        }
    }

    fn len_bytes(&self) -> usize {
        self.actions().len_bytes()
    }
}

/// Puts the actions of `parts`, which are in the order of their messages, into `room` bytes beside a status of `status` bytes.
pub(super) fn merge(parts: &mut [Part<'_>], room: usize, status: usize) -> Actions {
    refuse_the_longest(parts, room, status);
    let mut merged = Actions::new();
    let mut left_out = Vec::new();
    let counting = counting(parts);
    for (position, part) in parts.iter().enumerate() {
        let mut left = LeftOut::default();
        merged.append_if(part.actions(), |action| {
            let counts = counting.get(&action.variable()).copied();
            if part.has_room && counts == Some(position) {
                return true;
            }
            let answered = counts.and_then(|counts| parts.get(counts)).is_some_and(|counts| counts.decision.is_ok());
            left.add(
                action,
                match part.has_room {
                    false => LeftOutReason::NoRoom,
                    true if answered && part.decision.is_err() => LeftOutReason::Answered,
                    true => LeftOutReason::Conflict,
                },
            );
            false
        });
        left_out.push(left);
    }
    parts.iter_mut().zip(left_out).for_each(|(part, left_out)| part.left_out = left_out);
    merged
}

/// Turns answers into failures until everything fits. If not even the fallbacks do, the last ones are left out.
fn refuse_the_longest(parts: &mut [Part<'_>], room: usize, status: usize) {
    loop {
        let status = if parts.iter().any(|part| part.decision.is_err()) { status } else { 0 };
        let length = parts.iter().map(Part::len_bytes).sum::<usize>() + status;
        if length <= room {
            return;
        }
        // Of equals the last.
        let longest = parts.iter_mut().filter(|part| part.decision.is_ok()).max_by_key(|part| part.len_bytes());
        let Some(longest) = longest else { break };
        longest.decision = Err(NotifyError::NoRoom { length, room });
    }
    let mut left = room.saturating_sub(status);
    for part in parts {
        match left.checked_sub(part.len_bytes()) {
            Some(rest) => left = rest,
            None => part.has_room = false,
        }
    }
}

/// For each variable the part whose actions count.
fn counting<'a>(parts: &'a [Part<'_>]) -> HashMap<(VarScope, &'a [u8]), usize> {
    let mut counting = HashMap::new();
    for answered in [true, false] {
        let parts = parts.iter().enumerate().filter(|(_, part)| part.has_room && part.decision.is_ok() == answered);
        for (position, part) in parts {
            part.actions().iter().for_each(|action| _ = counting.entry(action.variable()).or_insert(position));
        }
    }
    counting
}

/// What of a branch's actions is not in the ACK.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    actions: usize,
    /// The first of them.
    variables: Vec<(Variable, LeftOutReason)>,
}

impl LeftOut {
    /// Nothing goes, where all of this should have gone.
    pub(super) fn without_room(&mut self, fallback: &Actions) -> Actions {
        fallback.iter().for_each(|action| self.add(&action, LeftOutReason::NoRoom));
        Actions::new()
    }

    fn add(&mut self, action: &Action<'_>, reason: LeftOutReason) {
        reason.count();
        self.actions += 1;
        if self.variables.len() < MOST_VARIABLES {
            let (scope, name) = action.variable();
            self.variables.push((Variable { scope, name: String::from_utf8_lossy(name).into_owned() }, reason));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.actions == 0
    }

    /// Whether it is the whole fallback of `cause`.
    pub(super) fn is_all_of(&self, on_failure: &OnFailure, cause: Cause) -> bool {
        !self.is_empty() && self.actions == on_failure.actions(cause).count()
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        self.variables.iter().map(|(variable, reason)| format!("{variable}: {}", reason.as_str()))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variables().collect::<Vec<_>>().join(", "))?;
        if self.actions > self.variables.len() { f.write_str(", ...") } else { Ok(()) }
    }
}

/// Names that are kept for people.
const MOST_VARIABLES: usize = 16;
