//! `routes`: references, timeouts, and routes that can never match.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Findings;
use super::actions::{Fallback, Said, resolve};
use super::listeners::longest_prefix;
use super::own::Own;
use super::passing::Passing;
use super::{Names, haproxy, together};
use crate::config::error::Warning;
use crate::config::limits::{ROUTE_TIMEOUT, TIMEOUT_ARG_MIN};
use crate::config::model::{BackendConfig, ListenerConfig, RouteConfig};
use crate::config::path::Path;
use crate::config::pattern::Pattern;
use crate::config::raw;
use crate::config::route_index::RouteIndex;
use crate::config::units::format_duration;

/// What routes refer to.
pub(super) struct Context<'a> {
    pub(super) listeners: &'a [ListenerConfig],
    pub(super) listener_names: Names<'a>,
    pub(super) backends: &'a [BackendConfig],
    pub(super) backend_names: Names<'a>,
    pub(super) ack_margin: Duration,
    pub(super) own: &'a Own,
    pub(super) fallback: &'a Fallback<'a>,
    /// What the top level says.
    pub(super) on_failure: &'a Said,
}

impl Context<'_> {
    /// The routes of the file, or the one that goes without saying.
    pub(super) fn check(&self, raw: Option<&[raw::Route]>, path: &Path, findings: &mut Findings) -> Vec<RouteConfig> {
        let assumed =
            self.backends.first().map(|only| raw::Route { backend: Some(only.name.to_string()), ..raw::Route::default() });
        if raw.is_none() && self.backends.len() > 1 {
            findings.problems.add(path, "nothing", format_args!("routes to choose between the {} backends", self.backends.len()));
        }
        let raw = raw.unwrap_or(assumed.as_slice());
        let names = names(raw, path, findings);
        let mut passing = Passing::default();
        let one = |(index, (raw, name)): (usize, (&raw::Route, Arc<str>))| {
            self.route(raw, name, &path.index(index), &mut passing, findings)
        };
        let routes: Vec<_> = raw.iter().zip(names).enumerate().map(one).collect();
        passing.warn(&Path::root().key("on_failure").key("default"), findings);
        check_reachable(&routes, path, findings);
        together::check(&routes, path, findings);
        self.warn_of_unused_backends(&routes, findings);
        routes
    }

    fn route(
        &self,
        raw: &raw::Route,
        name: Arc<str>,
        path: &Path,
        passing: &mut Passing,
        findings: &mut Findings,
    ) -> RouteConfig {
        let listeners = self.listener_positions(raw.listeners.as_deref().unwrap_or_default(), &path.key("listeners"), findings);
        let from = self.listeners.iter().enumerate().filter(|(index, _)| listeners.is_empty() || listeners.contains(index));
        let from = from.map(|(_, listener)| listener);
        let said = self.fallback.check(raw.on_failure.as_ref(), from.clone(), &path.key("on_failure"), findings);
        let prefix_len = longest_prefix(from);
        let variables = raw.variables.as_deref();
        let variables = variables.map(|texts| findings.variables(&path.key("variables"), texts, prefix_len, self.own));
        let haproxy = haproxy::route(raw, variables.as_deref(), self.own, prefix_len, path, findings);
        let timeout = self.timeout(raw.timeout.as_deref(), &path.key("timeout"), findings);
        let min = findings.quantity(&path.key("timeout_arg_min"), raw.timeout_arg_min.as_deref(), &TIMEOUT_ARG_MIN);
        passing.look_at(&said, self.on_failure, haproxy.as_ref(), path, findings);
        RouteConfig {
            name,
            messages: raw.messages.as_deref().map_or_else(|| vec![Pattern::new("*")], patterns),
            engines: raw.engines.as_deref().map_or_else(Vec::new, patterns),
            backend: self.backend_position(raw.backend.as_deref(), &path.key("backend"), findings),
            timeout,
            timeout_arg: raw.timeout_arg.clone(),
            timeout_arg_min: min.max(self.ack_margin + Duration::from_millis(1)).min(timeout),
            variables,
            on_failure: resolve(&[&said, self.on_failure]),
            haproxy,
            listeners,
        }
    }

    fn listener_positions(&self, names: &[String], path: &Path, findings: &mut Findings) -> Vec<usize> {
        let one = |(index, name): (usize, &String)| findings.reference(&path.index(index), name, &self.listener_names);
        names.iter().enumerate().filter_map(one).collect()
    }

    fn backend_position(&self, name: Option<&str>, path: &Path, findings: &mut Findings) -> usize {
        name.and_then(|name| findings.reference(path, name, &self.backend_names)).unwrap_or_default()
    }

    fn timeout(&self, text: Option<&str>, path: &Path, findings: &mut Findings) -> Duration {
        let timeout = findings.quantity(path, text, &ROUTE_TIMEOUT);
        if timeout > self.ack_margin {
            return timeout;
        }
        let at = Path::root().key("ack_margin");
        let (found, margin) = (format_duration(timeout), findings.problems.shown(&at, format_duration(self.ack_margin)));
        if text.is_some() {
            findings.problems.add(path, found, format_args!("more than ack_margin ({margin})"));
        } else {
            findings.problems.add(&at, margin, format_args!("less than the routes' default timeout ({found})"));
        }
        timeout
    }

    fn warn_of_unused_backends(&self, routes: &[RouteConfig], findings: &mut Findings) {
        let used: HashSet<_> = routes.iter().map(|route| route.backend).collect();
        for (index, backend) in self.backends.iter().enumerate() {
            if !used.contains(&index) {
                let path = Path::root().key("backends").key(&backend.name);
                findings.warnings.push(Warning { path, message: "no route uses it".to_owned() });
            }
        }
    }
}

fn patterns(texts: &[String]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::new(text)).collect()
}

/// A name for each route: its own, its first message, or its place. Only its own can clash.
fn names(raw: &[raw::Route], path: &Path, findings: &mut Findings) -> Vec<Arc<str>> {
    let mut taken = HashSet::new();
    for (index, name) in raw.iter().enumerate().filter_map(|(index, route)| Some((index, route.name.as_deref()?))) {
        if !taken.insert(name) {
            findings.problems.add(&path.index(index).key("name"), name, "a name that no other route has");
        }
    }
    let mut names = Vec::with_capacity(raw.len());
    for (index, route) in raw.iter().enumerate() {
        let first_message = route.messages.as_ref().map_or(Some("*"), |messages| messages.first().map(String::as_str));
        names.push(match (&route.name, first_message) {
            (Some(name), _) => name.as_str().into(),
            (None, Some(message)) if taken.insert(message) => message.into(),
            _ => path.index(index).to_string().into(),
        });
    }
    names
}

/// Finds routes of which nothing is left after one single route before them. That several together leave nothing is not noticed.
fn check_reachable(routes: &[RouteConfig], path: &Path, findings: &mut Findings) {
    let mut before = RouteIndex::default();
    for (index, route) in routes.iter().enumerate() {
        let takes = |position: usize| routes.get(position).is_some_and(|before| takes_all(before, route));
        if let Some(before) = before.first_before(route, takes) {
            let found = format!("a route that comes after {} and gets nothing", path.index(before));
            findings.problems.add(&path.index(index), found, format_args!("it before {}", path.index(before)));
        }
        before.add(index, route);
    }
}

fn takes_all(before: &RouteConfig, route: &RouteConfig) -> bool {
    let all = |these: &[Pattern], those: &[Pattern]| those.iter().all(|that| these.iter().any(|this| this.covers(that)));
    let any_engine = before.engines.is_empty() || before.engines.iter().any(Pattern::is_any);
    let engines = any_engine || (!route.engines.is_empty() && all(&before.engines, &route.engines));
    let listeners = before.listeners.is_empty()
        || (!route.listeners.is_empty() && route.listeners.iter().all(|listener| before.listeners.contains(listener)));
    engines && listeners && all(&before.messages, &route.messages)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    /// Routes of these messages and engines.
    fn routes(said: &[(Vec<String>, Vec<String>)]) -> Vec<RouteConfig> {
        let route = Config::quick(&[], &["http://a:1".to_owned()], None).unwrap().routes.remove(0);
        let route = |(messages, engines): &(Vec<String>, Vec<String>)| RouteConfig {
            messages: patterns(messages),
            engines: patterns(engines),
            ..route.clone()
        };
        said.iter().map(route).collect()
    }

    proptest! {
        /// As if each were held against each.
        #[test]
        fn what_gets_nothing_is_found(
            said in vec((vec("[ab*?]{1,2}", 1..3), vec("[ab*]{1,2}", 0..3)), 1..10),
        ) {
            let routes = routes(&said);
            let mut before = RouteIndex::default();
            for (index, route) in routes.iter().enumerate() {
                let found = before.first_before(route, |position| takes_all(&routes[position], route));
                prop_assert_eq!(found, routes[..index].iter().position(|before| takes_all(before, route)));
                before.add(index, route);
            }
        }
    }

    #[test]
    fn no_route_is_held_against_all_before_it() {
        let (message, engine) = ("same".to_owned(), |n: usize| vec![format!("e{n}")]);
        let shapes: [Vec<_>; 3] = [
            (0..1_000).map(|n| (vec![format!("m{n}"), format!("n{n}")], engine(n))).collect(),
            (0..1_000).map(|n| (vec![message.clone()], engine(n))).collect(),
            (0..1_000).map(|n| (vec![format!("m{n}-*")], vec![])).collect(),
        ];
        for said in shapes {
            let (routes, mut before, held) = (routes(&said), RouteIndex::default(), std::cell::Cell::new(0));
            for (index, route) in routes.iter().enumerate() {
                let takes = |position: usize| {
                    held.set(held.get() + 1);
                    takes_all(&routes[position], route)
                };
                assert_eq!(before.first_before(route, takes), None, "{index}");
                before.add(index, route);
            }
            assert_eq!(held.get(), 0, "nothing that they have in common");
        }
    }
}
