//! Routes by the names that they want: to find one costs the same however many there are of them.

use rustc_hash::FxHashMap;

use super::model::RouteConfig;
use super::pattern::Pattern;

/// Positions of routes by what their patterns say. It finds candidates, in order, and leaves it to the caller to look closer.
///
/// Routes that name a message and an engine exactly are found by both, those that name a message exactly by that. Only routes with
/// `*` or `?` in the name of a message are gone through one by one.
#[derive(Debug, Default)]
pub(crate) struct RouteIndex {
    /// By the text of a pattern, be it a glob or not: a name that is written like a glob finds a candidate more.
    named: FxHashMap<Box<[u8]>, Named>,
    /// Routes with a glob among their messages.
    globs: Vec<usize>,
    /// Those of them that take every message.
    any: Vec<usize>,
}

/// Routes with a pattern in common. Lists of positions are in order.
#[derive(Debug, Default)]
struct Named {
    /// Those with exact names of engines.
    engines: FxHashMap<Box<[u8]>, Vec<usize>>,
    others: Vec<usize>,
}

impl RouteIndex {
    /// Adds a route behind those that are there.
    pub(crate) fn add(&mut self, position: usize, route: &RouteConfig) {
        let names_engines = !route.engines.is_empty() && route.engines.iter().all(Pattern::is_exact);
        for message in &route.messages {
            let named = self.named.entry(key(message)).or_default();
            if names_engines {
                route.engines.iter().for_each(|engine| push(named.engines.entry(key(engine)).or_default(), position));
            } else {
                push(&mut named.others, position);
            }
        }
        if !route.messages.iter().all(Pattern::is_exact) {
            self.globs.push(position);
        }
        if route.messages.iter().any(Pattern::is_any) {
            self.any.push(position);
        }
    }

    /// The first route that may take the message of this name from this engine, and of which `takes` says that it does.
    pub(crate) fn first(&self, message: &[u8], engine: &[u8], takes: impl Fn(usize) -> bool) -> Option<usize> {
        self.first_of(message, Some(engine), &self.globs, takes)
    }

    /// The first route that may take whatever `route` takes, and of which `takes` says that it does.
    pub(super) fn first_before(&self, route: &RouteConfig, takes: impl Fn(usize) -> bool) -> Option<usize> {
        let message = route.messages.first()?;
        let engine = route.engines.first().map(|engine| engine.as_str().as_bytes());
        // All that a glob takes is taken by the same one and by those that take all; more is not looked for.
        let globs = if message.is_exact() { &self.globs } else { &self.any };
        self.first_of(message.as_str().as_bytes(), engine, globs, takes)
    }

    fn first_of(&self, message: &[u8], engine: Option<&[u8]>, globs: &[usize], takes: impl Fn(usize) -> bool) -> Option<usize> {
        let named = self.named.get(message);
        let by_engine = named.zip(engine).and_then(|(named, engine)| named.engines.get(engine));
        let by_name = named.map(|named| named.others.as_slice());
        let lists = [by_engine.map_or(&[][..], Vec::as_slice), by_name.unwrap_or_default(), globs];
        lists.into_iter().fold(None, |first, list| {
            let earlier = list.iter().copied().take_while(|position| first.is_none_or(|first| *position < first));
            earlier.into_iter().find(|position| takes(*position)).or(first)
        })
    }
}

fn key(pattern: &Pattern) -> Box<[u8]> {
    pattern.as_str().as_bytes().into()
}

/// A route may say the same twice.
fn push(positions: &mut Vec<usize>, position: usize) {
    if positions.last() != Some(&position) {
        positions.push(position);
    }
}
