//! What is different between two configurations, in a line for operators.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::SystemTime;

use crate::config::{Config, RouteConfig};
use crate::telemetry::few;

/// The first names of what was added, removed and changed, and keys of the top level with another value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes(Vec<String>);

impl Changes {
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        changes.list("listeners", &old.listeners, &new.listeners, |one| &one.name, |a, b| a == b);
        changes.list("backends", &old.backends, &new.backends, |one| &one.name, |a, b| a == b);
        let same = |a: &RouteConfig, b: &RouteConfig| same_route((old, a), (new, b));
        changes.list("routes", &old.routes, &new.routes, |one| &one.name, same);
        let order = |config: &Config| config.routes.iter().map(|route| route.name.clone()).collect::<Vec<_>>();
        let top_level = [
            ("the order of routes", same_names(old, new) && order(old) != order(new)),
            ("on_failure", old.on_failure != new.on_failure),
            ("status_variable", old.status_variable != new.status_variable),
            ("decision_variables", old.decision_variables != new.decision_variables),
            ("trace_context", old.trace_context != new.trace_context),
            ("ack_margin", old.ack_margin != new.ack_margin),
            ("drain", old.drain != new.drain),
            ("log", old.log != new.log),
            ("decision_log", old.decision_log != new.decision_log),
            ("admin", (&old.admin.bind, &old.admin.hosts) != (&new.admin.bind, &new.admin.hosts)),
        ];
        changes.0.extend(top_level.iter().filter(|(_, changed)| *changed).map(|(key, _)| format!("{key} changed")));
        changes
    }

    /// Adds the certificates that have another end than before, by their keys of the configuration. A renewed certificate has, under the
    /// same file name.
    pub(super) fn certificates(&mut self, old: &[(String, SystemTime)], new: &[(String, SystemTime)]) {
        let before: HashMap<_, _> = old.iter().map(|(key, end)| (key, end)).collect();
        let is_changed = |(key, end): &&(String, SystemTime)| before.get(key).is_some_and(|before| *before != end);
        let changed: Vec<_> = new.iter().filter(is_changed).map(|(key, _)| key.as_str()).collect();
        if !changed.is_empty() {
            self.0.push(format!("certificates changed: {}", few(changed)));
        }
    }

    fn list<T>(&mut self, what: &str, old: &[T], new: &[T], name: impl Fn(&T) -> &str, same: impl Fn(&T, &T) -> bool) {
        let before: HashMap<_, _> = old.iter().map(|one| (name(one), one)).collect();
        let after: HashSet<_> = new.iter().map(&name).collect();
        let is_changed = |one: &&T| before.get(name(one)).is_some_and(|before| !same(before, one));
        let added: Vec<_> = new.iter().map(&name).filter(|name| !before.contains_key(name)).collect();
        let removed: Vec<_> = old.iter().map(&name).filter(|name| !after.contains(name)).collect();
        let changed: Vec<_> = new.iter().filter(is_changed).map(&name).collect();
        for (how, names) in [("added", added), ("removed", removed), ("changed", changed)] {
            if !names.is_empty() {
                self.0.push(format!("{what} {how}: {}", few(names)));
            }
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.0.join("; "))
    }
}

fn same_names(old: &Config, new: &Config) -> bool {
    let sorted = |config: &Config| {
        let mut names: Vec<_> = config.routes.iter().map(|route| route.name.clone()).collect();
        names.sort();
        names
    };
    sorted(old) == sorted(new)
}

/// Routes refer to listeners and backends by positions, which may be others for the same names. What is said for HAProxy is nothing to us.
fn same_route((old_config, old): (&Config, &RouteConfig), (new_config, new): (&Config, &RouteConfig)) -> bool {
    let by_name = |config: &Config, route: &RouteConfig| {
        let listeners = route.listeners.iter().map(|index| config.listeners.get(*index).map(|listener| listener.name.clone()));
        (listeners.collect::<Vec<_>>(), config.backends.get(route.backend).map(|backend| backend.name.clone()))
    };
    let bare = |route: &RouteConfig| RouteConfig { listeners: Vec::new(), backend: 0, haproxy: None, ..route.clone() };
    by_name(old_config, old) == by_name(new_config, new) && bare(old) == bare(new)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(text: &str) -> Config {
        Config::from_yaml(text, "test.yaml", &|_| None).unwrap_or_else(|error| panic!("{error}")).0
    }

    fn changes(old: &str, new: &str) -> String {
        Changes::between(&config(old), &config(new)).to_string()
    }

    const OLD: &str = "backends: {a: {endpoints: ['http://a:1']}, b: {endpoints: ['http://b:1']}}\n\
                       listeners: [{name: main, bind: 'h:1'}, {name: side, bind: 'h:2'}]\n\
                       routes: [{messages: [x], backend: a}, {messages: [y], backend: b, listeners: [side]}]\n";

    #[test]
    fn nothing() {
        assert_eq!(changes(OLD, OLD), "none");
    }

    #[test]
    fn certificates_by_their_ends() {
        let ends = |of_a: u64| {
            let end = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            [("listeners[0].tls.certificate".to_owned(), end(of_a)), ("backends.a.tls.ca".to_owned(), end(7))]
        };
        let mut changes = Changes::default();
        changes.certificates(&ends(1), &ends(1));
        assert_eq!(changes.to_string(), "none");
        changes.certificates(&ends(1), &ends(2));
        assert_eq!(changes.to_string(), "certificates changed: listeners[0].tls.certificate");
    }

    #[test]
    fn by_name() {
        let new = "backends: {b: {endpoints: ['http://b:2']}, c: {endpoints: ['http://a:1']}}\n\
                   listeners: [{name: side, bind: 'h:2'}, {name: other, bind: 'h:3'}]\n\
                   routes: [{messages: [x], backend: c}, {messages: [y], backend: b, listeners: [side]}, {messages: [z], backend: b}]\n\
                   status_variable: txn.other\ndrain: {delay: 1s}\n";
        assert_eq!(
            changes(OLD, new),
            "listeners added: other; listeners removed: main; backends added: c; backends removed: a; backends changed: b; \
             routes added: z; routes changed: x; status_variable changed; drain changed"
        );
    }

    #[test]
    fn many_are_not_all_named() {
        let routes = |timeout: &str| {
            let routes = (0..1_000).map(|n| format!("{{messages: [m{n}], backend: a, timeout: {timeout}}}"));
            let routes = routes.collect::<Vec<_>>().join(", ");
            format!("backends: {{a: {{endpoints: ['http://a:1']}}}}\nroutes: [{routes}]\n")
        };
        let changes = changes(&routes("20ms"), &routes("30ms"));
        assert_eq!(changes, "routes changed: m0, m1, m2, m3, m4, m5, m6, m7, and 992 more");
    }

    #[test]
    fn another_order_of_routes() {
        let new = OLD.replace(
            "{messages: [x], backend: a}, {messages: [y], backend: b, listeners: [side]}",
            "{messages: [y], backend: b, listeners: [side]}, {messages: [x], backend: a}",
        );
        assert_eq!(changes(OLD, &new), "the order of routes changed");
    }
}
