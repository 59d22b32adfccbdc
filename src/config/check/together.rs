//! `routes.*.haproxy`, held against each other: a message is described once, a group is sent at once, and no verdict hides another.
//!
//! Each route is held against all before it by what they have in common, and not one by one: there may be thousands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Findings;
use crate::config::condition::Condition;
use crate::config::haproxy::{Moment, RouteHaproxy, Verdict};
use crate::config::model::RouteConfig;
use crate::config::path::Path;
use crate::config::variable::Variable;

/// Checks what the routes at `path` say for HAProxy.
pub(super) fn check(routes: &[RouteConfig], path: &Path, findings: &mut Findings) {
    let mut before = Before::default();
    for (index, route) in routes.iter().enumerate() {
        let Some(haproxy) = &route.haproxy else { continue };
        before.check(route, haproxy, &path.index(index), |there| path.index(there), findings);
        before.add(index, route, haproxy);
    }
}

/// The routes before one, by what it may have in common with them. Each is at its position.
#[derive(Default)]
struct Before<'a> {
    messages: HashMap<&'a str, usize>,
    groups: HashMap<&'a str, Conditions<'a>>,
    verdicts: HashMap<&'a Variable, Verdicts<'a>>,
}

/// The first route of a group, and the first whose condition is not that one's.
struct Conditions<'a> {
    first: (Option<&'a Condition>, usize),
    other: Option<usize>,
}

/// The routes whose verdict is the same variable.
struct Verdicts<'a> {
    first: (&'a Moment, usize),
    /// The first at another moment.
    other: Option<usize>,
    same: HashMap<(&'a Moment, Option<&'a Condition>), usize>,
}

impl<'a> Before<'a> {
    fn check(
        &self,
        route: &RouteConfig,
        haproxy: &RouteHaproxy,
        here: &Path,
        path: impl Fn(usize) -> Path,
        findings: &mut Findings,
    ) {
        for (index, message) in route.messages.iter().enumerate() {
            if let Some(there) = self.messages.get(message.as_str()) {
                let expected = format_args!("a message that {} does not describe for HAProxy", path(*there));
                findings.problems.add(&here.key("messages").index(index), message, expected);
            }
        }
        let (here, condition) = (here.key("haproxy"), haproxy.condition.as_ref());
        if let Some(there) = self.other_condition(&haproxy.moment, condition) {
            let found = condition.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let expected = format_args!("that of {}, which is in the same group", path(there));
            findings.problems.add(&here.key("condition"), found, expected);
        }
        let Some(Verdict { variable, .. }) = &haproxy.verdict else { return };
        if let Some(there) = self.verdicts.get(variable).and_then(|verdicts| verdicts.not_exclusive(&haproxy.moment, condition)) {
            let expected = format_args!(
                "a variable of its own, since that of {} would pass for it; or the same event and two conditions that exclude each other",
                path(there)
            );
            findings.problems.add(&here.key("verdict"), variable, expected);
        }
    }

    /// The first route of the same group with another condition.
    fn other_condition(&self, moment: &Moment, condition: Option<&Condition>) -> Option<usize> {
        let Moment::Group(group) = moment else { return None };
        let Conditions { first, other } = self.groups.get(group.as_str())?;
        if first.0 == condition { *other } else { Some(first.1) }
    }

    fn add(&mut self, index: usize, route: &'a RouteConfig, haproxy: &'a RouteHaproxy) {
        for message in &route.messages {
            self.messages.entry(message.as_str()).or_insert(index);
        }
        let (moment, condition) = (&haproxy.moment, haproxy.condition.as_ref());
        if let Moment::Group(group) = moment {
            let new = Conditions { first: (condition, index), other: None };
            let known = self.groups.entry(group).or_insert(new);
            if known.first.0 != condition {
                known.other.get_or_insert(index);
            }
        }
        let Some(Verdict { variable, .. }) = &haproxy.verdict else { return };
        let known = match self.verdicts.entry(variable) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(Verdicts { first: (moment, index), other: None, same: HashMap::new() }),
        };
        if known.first.0 != moment {
            known.other.get_or_insert(index);
        }
        known.same.entry((moment, condition)).or_insert(index);
    }
}

impl<'a> Verdicts<'a> {
    /// The first route that may have its say for the same request.
    fn not_exclusive(&self, moment: &'a Moment, condition: Option<&'a Condition>) -> Option<usize> {
        if condition.is_none() {
            return Some(self.first.1);
        }
        let at_another_moment = if self.first.0 == moment { self.other } else { Some(self.first.1) };
        let same = [None, condition].map(|condition| self.same.get(&(moment, condition)).copied());
        same.into_iter().chain([at_another_moment]).flatten().min()
    }
}
