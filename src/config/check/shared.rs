//! Variables that more than one route of a NOTIFY sets.
//!
//! Two services that answer by the same variable stand in for each other: when one fails, its fallback gives way to what the other has
//! answered, and when both answer only one of them counts.

use std::collections::BTreeMap;

use super::Findings;
use super::passing::may_pass;
use crate::config::cause::Cause;
use crate::config::error::Warning;
use crate::config::model::RouteConfig;
use crate::config::on_failure::OnFailure;
use crate::config::path::Path;
use crate::config::pattern::Pattern;
use crate::config::variable::VariablePattern;
use crate::spop::{Action, Actions};

/// A route's say about variables: the key by which it has it, and the route's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    route: usize,
    key: &'static str,
}

type Claims = BTreeMap<String, (VariablePattern, Vec<Claim>)>;

/// Warns of each variable that two routes claim that can be in one NOTIFY, and of what messages without a route get.
pub(super) fn warn(routes: &[RouteConfig], top: &OnFailure, findings: &mut Findings) {
    let claims = claims(routes);
    let mut shared: BTreeMap<(Claim, Claim), Vec<&str>> = BTreeMap::new();
    let globs: Vec<_> = claims.iter().filter(|(_, (pattern, _))| !pattern.name.is_exact()).take(MOST).collect();
    for (name, (pattern, of)) in &claims {
        // Globs may have variables in common with other globs, of which each pair is looked at once, and with names.
        let mut others = globs.iter().filter(|(other, _)| pattern.name.is_exact() || *other > name);
        let mut meets = |(_, (glob, claims)): &(&String, &(VariablePattern, Vec<Claim>))| {
            glob.meets(pattern).then(|| first_pair(of, claims, routes)).flatten()
        };
        let pair = first_pair(of, of, routes).or_else(|| others.find_map(&mut meets));
        pair.into_iter().for_each(|pair| shared.entry(pair).or_default().push(name));
    }
    for ((first, second), names) in shared {
        let path = Path::root().key("routes");
        let message = format!(
            "sets {}, as {} does, and one NOTIFY can have messages for both: when one fails the answer of the other stands in for it; \
             give each a variable of its own",
            names.join(", "),
            path.index(first.route).key(first.key),
        );
        findings.warnings.push(Warning { path: path.index(second.route).key(second.key), message });
    }
    warn_of_unrouted(routes, &claims, top, findings);
}

/// What an unrouted message, one with a typo say, gets must not be what lets pass in place of a route's.
fn warn_of_unrouted(routes: &[RouteConfig], claims: &Claims, top: &OnFailure, findings: &mut Findings) {
    let all = |route: &RouteConfig| route.messages.iter().any(Pattern::is_any) && route.engines.is_empty();
    if routes.iter().any(|route| all(route) && route.listeners.is_empty()) {
        return;
    }
    let actions = top.actions(Cause::Unrouted);
    for action in actions.iter().filter(may_pass) {
        let variable = pattern_of(&action);
        let differs = |claim: &&Claim| {
            let Some(route) = routes.get(claim.route) else { return false };
            claim.key == VARIABLES
                || Cause::OF_ROUTES.iter().any(|cause| says_otherwise(route.on_failure.actions(*cause), &action))
        };
        let mut claims = claims.values().filter(|(pattern, _)| pattern.meets(&variable)).flat_map(|(_, claims)| claims);
        if let Some(claim) = claims.find(differs) {
            let path = Path::root().key("on_failure");
            let message = format!(
                "may let requests pass by {variable} for a message without a route, which {} sets too: say in on_failure \
                 what HAProxy gets for unrouted",
                Path::root().key("routes").index(claim.route).key(claim.key),
            );
            findings.warnings.push(Warning { path, message });
            return;
        }
    }
}

/// Whether `actions` do something else to the variable of `action`.
fn says_otherwise(actions: &Actions, action: &Action<'_>) -> bool {
    let variable = pattern_of(action);
    actions.iter().any(|other| pattern_of(&other) == variable && other != *action)
}

fn claims(routes: &[RouteConfig]) -> Claims {
    let mut claims = Claims::new();
    for (route, config) in routes.iter().enumerate() {
        let fallbacks = Cause::OF_ROUTES.iter().flat_map(|cause| config.on_failure.actions(*cause).iter());
        let set = fallbacks.map(|action| (pattern_of(&action), Claim { route, key: ON_FAILURE }));
        let answered = config.variables.iter().flatten().map(|pattern| (pattern.clone(), Claim { route, key: VARIABLES }));
        for (pattern, claim) in answered.chain(set) {
            let (_, claims) = claims.entry(pattern.to_string()).or_insert_with(|| (pattern, Vec::new()));
            // Once for each route.
            if claims.last().is_none_or(|last| last.route != claim.route) {
                claims.push(claim);
            }
        }
    }
    claims
}

fn pattern_of(action: &Action<'_>) -> VariablePattern {
    let (Action::SetVar { scope, name, .. } | Action::UnsetVar { scope, name }) = action;
    VariablePattern { scope: *scope, name: Pattern::new(&String::from_utf8_lossy(name)) }
}

/// The first of these and those that can be in one NOTIFY. Of very many the last ones are not compared.
fn first_pair(these: &[Claim], those: &[Claim], routes: &[RouteConfig]) -> Option<(Claim, Claim)> {
    let mut pairs = these.iter().take(MOST).flat_map(|this| those.iter().take(MOST).map(move |that| (*this, *that)));
    let meet = pairs.find(|(this, that)| {
        let (this, that) = (this.route, that.route);
        this != that && routes.get(this).zip(routes.get(that)).is_some_and(|(this, that)| can_meet(this, that))
    });
    meet.map(|(this, that)| if this.route < that.route { (this, that) } else { (that, this) })
}

/// Whether a NOTIFY can have messages for both routes, as far as the configuration tells.
fn can_meet(one: &RouteConfig, other: &RouteConfig) -> bool {
    let listeners = one.listeners.is_empty() || other.listeners.is_empty();
    let engines = one.engines.is_empty() || other.engines.is_empty();
    (listeners || one.listeners.iter().any(|listener| other.listeners.contains(listener)))
        && (engines || one.engines.iter().any(|engine| other.engines.iter().any(|other| engine.meets(other))))
        && one.haproxy.as_ref().zip(other.haproxy.as_ref()).is_none_or(|(one, other)| one.can_meet(other))
}

const VARIABLES: &str = "variables";
const ON_FAILURE: &str = "on_failure";

/// Routes and patterns that are compared with each other: files have a few.
const MOST: usize = 256;
