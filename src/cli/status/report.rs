//! What can be said from what was seen: now, and since it was seen before.
#![allow(clippy::indexing_slicing, reason = "of JSON, where what is not there is null")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Seen;
use super::samples::quantile;
use super::screen;
use crate::telemetry::metrics::families as f;

/// A bridge, as a person wants to see it.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) seen: &'a Seen,
    pub(super) uptime: f64,
    /// Seconds that rates, shares and percentiles are over.
    pub(super) over: f64,
    /// That is since the bridge started.
    pub(super) since_start: bool,
    pub(super) routes: Vec<Route<'a>>,
    /// Lost telemetry, by signal and reason, since the start.
    pub(super) dropped: Vec<(String, f64)>,
}

/// The decisions of one route.
#[derive(Debug, Default)]
pub(super) struct Route<'a> {
    /// Empty: messages without a route.
    pub(super) name: &'a str,
    pub(super) decisions: f64,
    pub(super) fallbacks: f64,
    /// Those that there are.
    pub(super) causes: BTreeMap<&'a str, f64>,
    /// Seconds.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) timeout: Option<f64>,
}

impl<'a> Report<'a> {
    pub(super) fn new(seen: &'a Seen, before: Option<&Seen>) -> Self {
        let uptime = seen.samples.one(&f::UPTIME).unwrap_or_default();
        // Another process counts from zero.
        let then = |before: &&Seen| before.samples.one(&f::UPTIME).filter(|then| *then < uptime);
        let before = before.and_then(|before| Some((before, then(&before)?)));
        let over = before.map_or(uptime, |(_, then)| uptime - then);
        let dropped = seen.samples.of(&f::TELEMETRY_DROPPED).filter(|(_, count)| *count > 0.0);
        Self {
            seen,
            uptime,
            over,
            since_start: before.is_none(),
            routes: routes(seen, before.map(|(before, _)| before)),
            dropped: dropped.map(|(labels, count)| (labels.join(" "), count)).collect(),
        }
    }

    /// As text, or as JSON on one line.
    pub(super) fn show(&self, json: bool) -> String {
        if json { self.json().to_string() } else { screen::draw(self) }
    }

    fn json(&self) -> Value {
        let route = |route: &Route<'_>| {
            json!({
                "route": route.name,
                "decisions": route.decisions,
                "per_second": route.decisions / self.over.max(f64::MIN_POSITIVE),
                "fallbacks": route.fallbacks,
                "causes": route.causes,
                "p50_s": route.p50,
                "p99_s": route.p99,
                "timeout_s": route.timeout,
            })
        };
        json!({
            "ready": self.seen.obstacles.is_empty(),
            "obstacles": self.seen.obstacles,
            "uptime_s": self.uptime,
            "over_s": self.over,
            "routes": self.routes.iter().map(route).collect::<Vec<_>>(),
            "telemetry_dropped": self.dropped.iter().cloned().collect::<BTreeMap<_, _>>(),
            "config": self.seen.config,
            "backends": self.seen.backends["backends"],
            "listeners": self.seen.connections["listeners"],
            "connections": self.seen.connections["connections"],
        })
    }
}

/// The routes of the configuration, then what else has had decisions.
fn routes<'a>(seen: &'a Seen, before: Option<&Seen>) -> Vec<Route<'a>> {
    let configured = seen.config["config"]["routes"].as_array().into_iter().flatten();
    let configured = configured.filter_map(|route| route["name"].as_str());
    let mut routes: Vec<Route<'_>> = configured.map(|name| Route { name, ..Route::default() }).collect();
    for (labels, count) in seen.samples.of(&f::DECISIONS) {
        let [name, outcome] = *labels.as_slice() else { continue };
        let earlier = before.and_then(|before| before.samples.of(&f::DECISIONS).find(|(known, _)| *known == labels));
        let count = count - earlier.map_or(0.0, |(_, count)| count);
        if count <= 0.0 {
            continue;
        }
        let position = routes.iter().position(|route| route.name == name).unwrap_or_else(|| {
            routes.push(Route { name, ..Route::default() });
            routes.len() - 1
        });
        let Some(route) = routes.get_mut(position) else { continue };
        route.decisions += count;
        if outcome != "ok" {
            route.fallbacks += count;
            route.causes.insert(outcome, count);
        }
    }
    for route in &mut routes {
        let mut buckets = seen.samples.buckets(&f::DECISION_DURATION, route.name);
        let earlier = before.map(|before| before.samples.buckets(&f::DECISION_DURATION, route.name)).unwrap_or_default();
        buckets.iter_mut().zip(earlier).for_each(|((_, count), (_, earlier))| *count -= earlier);
        (route.p50, route.p99) = (quantile(&buckets, 0.5), quantile(&buckets, 0.99));
        let mut timeouts = seen.samples.of(&f::ROUTE_TIMEOUT);
        route.timeout = timeouts.find(|(labels, _)| labels.first() == Some(&route.name)).map(|(_, timeout)| timeout);
    }
    routes
}
