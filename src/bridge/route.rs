//! Which messages of a NOTIFY go where.

use smallvec::SmallVec;

use crate::config::{Config, Pattern, RouteConfig};
use crate::spop::{Notify, Peer};

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
    pub(super) fn of(notify: &Notify, config: &'a Config) -> Self {
        let mut all = Self { messages: SmallVec::new(), branches: SmallVec::new() };
        for (position, message) in notify.messages().enumerate() {
            let wants = |route: &RouteConfig| matches(config, route, message.name, &notify.peer);
            let route = config.routes.iter().position(wants).unwrap_or(config.routes.len());
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
