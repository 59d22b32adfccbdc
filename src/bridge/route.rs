//! Which messages of a NOTIFY go where.

use smallvec::SmallVec;

use crate::config::{Config, Pattern, RouteConfig, RouteIndex};
use crate::spop::{Notify, Peer};
use crate::telemetry::metrics::RouteMetrics;

/// What the bridges of all workers need of a configuration's routes. Made once and not by a worker: it takes as long as there are routes.
#[derive(Debug)]
pub(crate) struct Routes {
    /// None if there are few, which are gone through in less time than it takes to look one up.
    index: Option<RouteIndex>,
    /// Of each route, and behind them of messages without one.
    pub(super) metrics: Vec<RouteMetrics>,
}

/// Routes that are not worth an index.
const FEW: usize = 8;

impl Routes {
    /// Those of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        let names = config.routes.iter().map(|route| &*route.name).chain([""]);
        Self { index: (config.routes.len() > FEW).then(|| index(config)), metrics: names.map(RouteMetrics::of).collect() }
    }

    /// The position of the first route that matches; the one behind the last if none does.
    fn find(&self, config: &Config, message: &[u8], peer: &Peer) -> usize {
        let routes = &config.routes;
        let found = match &self.index {
            None => routes.iter().position(|route| matches(config, route, message, peer)),
            Some(index) => index.first(message, &peer.engine_id, |position| {
                routes.get(position).is_some_and(|route| matches(config, route, message, peer))
            }),
        };
        found.unwrap_or(routes.len())
    }
}

fn index(config: &Config) -> RouteIndex {
    let mut index = RouteIndex::default();
    config.routes.iter().enumerate().for_each(|(position, route)| index.add(position, route));
    index
}

/// The messages of one NOTIFY that go to one route together, or that have none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch<'a> {
    pub(super) route: Option<&'a RouteConfig>,
    /// The route's position in the configuration; the one after the last for none.
    pub(super) position: usize,
    /// Position of its first message.
    pub(super) first: usize,
}

/// A NOTIFY's messages spread over routes.
#[derive(Debug)]
pub(super) struct Branches<'a> {
    /// For each message its branch, as a position in `branches`.
    messages: SmallVec<[usize; 4]>,
    /// In the order of their first messages.
    pub(super) branches: SmallVec<[Branch<'a>; 2]>,
}

impl<'a> Branches<'a> {
    /// Finds the first matching route for each message.
    pub(super) fn of(notify: &Notify, config: &'a Config, routes: &Routes) -> Self {
        let mut all = Self { messages: SmallVec::new(), branches: SmallVec::new() };
        for (position, message) in notify.messages().enumerate() {
            let route = routes.find(config, message.name, &notify.peer);
            let known = all.branches.iter().position(|branch| branch.position == route);
            all.messages.push(known.unwrap_or(all.branches.len()));
            if known.is_none() {
                all.branches.push(Branch { route: config.routes.get(route), position: route, first: position });
            }
        }
        all
    }

    /// Whether the message at `position` belongs to the branch at `branch`.
    pub(super) fn contains(&self, branch: usize, position: usize) -> bool {
        self.messages.get(position) == Some(&branch)
    }
}

fn matches(config: &Config, route: &RouteConfig, message: &[u8], peer: &Peer) -> bool {
    let any = |patterns: &[Pattern], name: &[u8]| patterns.iter().any(|pattern| pattern.matches(name));
    let is_peers = |listener: &usize| config.listeners.get(*listener).is_some_and(|one| one.name == peer.listener);
    any(&route.messages, message)
        && (route.engines.is_empty() || any(&route.engines, &peer.engine_id))
        && (route.listeners.is_empty() || route.listeners.iter().any(is_peers))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Messages, engines and listeners.
    type Said = (Vec<String>, Vec<String>, Vec<usize>);

    fn config(routes: &[Said]) -> Config {
        let text = "listeners: [{name: a, bind: 'h:1'}, {name: b, bind: 'h:2'}]\nbackends: {b: {endpoints: ['http://h:3']}}\n";
        let (config, _) = Config::from_yaml(text, "test.yaml", &|_| None).unwrap();
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
        let routes = routes.iter().map(|(messages, engines, listeners)| RouteConfig {
            messages: patterns(messages),
            engines: patterns(engines),
            listeners: listeners.clone(),
            ..config.routes[0].clone()
        });
        Config { routes: routes.collect(), ..config.clone() }
    }

    fn indexed(config: &Config) -> Routes {
        Routes { index: Some(index(config)), metrics: Vec::new() }
    }

    fn peer(engine: &str, listener: &str) -> Peer {
        Peer { engine_id: engine.to_owned().into(), listener: listener.into(), address: "unix".into() }
    }

    fn routes() -> impl Strategy<Value = Vec<Said>> {
        let text = || prop_oneof!["[ab]{1,2}", "[ab*?]{1,3}"];
        vec((vec(text(), 1..3), vec(text(), 0..3), vec(0_usize..2, 0..2)), 1..12)
    }

    proptest! {
        /// The first that matches in the order of the file, whatever the index has to say.
        #[test]
        fn the_index_finds_what_going_through_all_finds(
            routes in routes(), name in "[ab*]{0,3}", engine in "[ab*]{0,3}", listener in "[ab]",
        ) {
            let config = config(&routes);
            let peer = peer(&engine, &listener);
            let expected = config.routes.iter().position(|route| matches(&config, route, name.as_bytes(), &peer));
            let found = indexed(&config).find(&config, name.as_bytes(), &peer);
            prop_assert_eq!(found, expected.unwrap_or(routes.len()));
        }
    }

    /// How many routes are looked at to find that of `message` from `engine`.
    fn looked_at(config: &Config, message: &str, engine: &str) -> usize {
        let looks = Cell::new(0);
        let peer = peer(engine, "a");
        let found = index(config).first(message.as_bytes(), engine.as_bytes(), |position| {
            looks.set(looks.get() + 1);
            matches(config, &config.routes[position], message.as_bytes(), &peer)
        });
        assert!(found.is_some(), "{message} of {engine}");
        looks.get()
    }

    #[test]
    fn ten_thousand_exact_routes_are_not_gone_through() {
        let last = || (vec!["*".to_owned()], vec![], vec![]);
        let by_message: Vec<Said> = (0..10_000).map(|n| (vec![format!("m{n}"), format!("n{n}")], vec![], vec![])).collect();
        let by_engine: Vec<Said> = (0..10_000).map(|n| (vec!["m".to_owned()], vec![format!("e{n}")], vec![])).collect();
        let by_both: Vec<Said> = (0..10_000).map(|n| (vec![format!("m{}", n % 100)], vec![format!("e{n}")], vec![])).collect();
        for (mut routes, message, engine) in [(by_message, "n9999", "e"), (by_engine, "m", "e9999"), (by_both, "m99", "e9999")] {
            routes.push(last());
            let config = config(&routes);
            assert_eq!(looked_at(&config, message, engine), 1);
            assert_eq!(looked_at(&config, "none of them", engine), 1, "the one for all");
        }
    }
}
