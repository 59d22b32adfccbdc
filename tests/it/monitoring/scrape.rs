//! A real Prometheus scrapes a bridge to which everything happens that the alerts are about: every query of the dashboard and of
//! the rules then has something to show, and every name of the documentation is really there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::scene::Scene;
use super::{admin, repository};
use crate::support::figure;
use crate::support::http::get;
use crate::support::prometheus::{Prometheus, find_or_skip, promtool};

/// Alerts whose condition cannot be made here; their unit tests are all there is.
const NOT_TO_BE_HAD: [(&str, &str); 2] =
    [("SpopBridgePanic", "takes a bug of the bridge"), ("SpopBridgeAbsent", "takes a Prometheus that knows no bridge")];

#[test]
fn everything_has_something_to_show() {
    let name = "monitoring::scrape";
    let (Some(binary), Some(tool)) = (find_or_skip(name, "prometheus"), find_or_skip(name, "promtool")) else { return };
    let mut scene = Scene::start();
    let prometheus = Prometheus::start(&binary, &scene.jobs(), &repository("deploy/prometheus/rules.yaml"));
    scene.play(&prometheus);

    let failures = [alerts(&prometheus), dashboard(&prometheus), names(&prometheus), exemplars(&prometheus), lint(&scene, &tool)];
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}\n{:?}", failures.join("\n"), scene.bridge().log());
}

/// Of each rule: it can be evaluated, and gives series. Those of the recorded ones are used by the others.
fn alerts(prometheus: &Prometheus) -> Vec<String> {
    let (mut failures, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(40));
    let rules = prometheus.rules();
    for rule in &rules {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        if rule["health"] == "err" {
            failures.push(format!("rule {name}: {}", rule["lastError"]));
        }
        let excused = NOT_TO_BE_HAD.iter().find(|(excused, _)| *excused == name);
        let patience = if excused.is_some() { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
        match (excused, prometheus.wait_for(query, patience)) {
            (Some((_, reason)), None) => figure("not made to happen", format!("{name}: {reason}")),
            (Some(_), Some(series)) => failures.push(format!("{name} is set off: {series:?}")),
            (None, Some(_)) => {}
            (None, None) => failures.push(format!("rule {name} gives nothing: {query}")),
        }
    }
    let kind = |kind: &str| rules.iter().filter(|rule| rule["type"] == kind).count();
    figure("rules", format!("{} alerts, {} recorded", kind("alerting"), kind("recording")));
    failures
}

/// Of each query of a panel, a variable, an annotation: it can be evaluated, and gives series with numbers.
fn dashboard(prometheus: &Prometheus) -> Vec<String> {
    let dashboard = std::fs::read_to_string(repository("deploy/grafana/spop-bridge.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut queries = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "ids of panels are unique");
        let is_row = panel["type"] == "row";
        assert!(is_row || panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{} is described", panel["title"]);
        assert!(is_row || panel["fieldConfig"]["defaults"]["unit"].is_string(), "{} has a unit", panel["title"]);
        assert!(is_row || panel["datasource"]["uid"] == "${datasource}", "{}", panel["title"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            queries.push((panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(selector) = variable["definition"].as_str().and_then(|query| query.strip_prefix("label_values(")) {
            let (selector, label) = selector.trim_end_matches(')').rsplit_once(", ").unwrap();
            queries.push(("variables", format!("count by ({label}) ({selector})")));
        }
    }
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    queries.extend(annotations.iter().map(|annotation| ("annotations", annotation["expr"].as_str().unwrap().to_owned())));
    figure("queries of the dashboard", queries.len());
    queries.iter().filter_map(|(title, query)| shows_nothing(prometheus, title, query)).collect()
}

fn shows_nothing(prometheus: &Prometheus, title: &str, query: &str) -> Option<String> {
    let filled =
        ["$job", "$instance", "$route", "$backend"].iter().fold(query.to_owned(), |query, name| query.replace(name, ".*"));
    let filled = filled.replace("$__rate_interval", "2m");
    assert!(!filled.contains('$'), "{title}: an unknown variable in {query}");
    match prometheus.query(&filled) {
        Err(error) => Some(format!("{title}: {query}: {error}")),
        Ok(series) if series.iter().any(|series| series["value"][1] != "NaN") => None,
        Ok(series) => Some(format!("{title}: {query}: nothing to show, {} series", series.len())),
    }
}

/// What docs/metrics.md lists, and what Prometheus has of ours, are the same.
fn names(prometheus: &Prometheus) -> Vec<String> {
    let documentation = std::fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let rows = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").nth(1)?.strip_prefix('`')?.strip_suffix('`'));
    let documented: BTreeSet<String> = rows.map(str::to_owned).collect();
    let names = prometheus.names();
    let ours = names
        .iter()
        .filter(|name| !name.contains(':') && ["spop_", "grpc_", "process_"].iter().any(|start| name.starts_with(start)));
    let base =
        |name: &str| ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned();
    let scraped: BTreeSet<String> = ours.map(|name| base(name)).collect();
    figure("metrics", scraped.len());
    let missing = documented.difference(&scraped).map(|name| format!("documented, but not scraped: {name}"));
    let unknown = scraped.difference(&documented).map(|name| format!("scraped, but not documented: {name}"));
    missing.chain(unknown).collect()
}

/// The traces behind the dots of the dashboard.
fn exemplars(prometheus: &Prometheus) -> Vec<String> {
    let mut failures = Vec::new();
    for histogram in
        ["spop_bridge_decision_duration_seconds", "grpc_client_call_duration_seconds", "grpc_client_attempt_duration_seconds"]
    {
        let found = prometheus.exemplars(&format!("{histogram}_bucket"));
        let all: Vec<&Value> = found.iter().flat_map(|series| series["exemplars"].as_array().unwrap()).collect();
        let is_hex = |value: &Value, length| {
            value.as_str().is_some_and(|id| id.len() == length && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let whole =
            |exemplar: &&&Value| is_hex(&exemplar["labels"]["trace_id"], 32) && is_hex(&exemplar["labels"]["span_id"], 16);
        if all.is_empty() || all.iter().filter(whole).count() != all.len() {
            failures.push(format!("exemplars of {histogram}: {all:?}"));
        }
        figure(&format!("exemplars of {histogram}"), all.len());
    }
    failures
}

/// The classic text, as promtool would have it.
fn lint(scene: &Scene, tool: &Path) -> Vec<String> {
    let text = get("/metrics").send(admin(scene.bridge()));
    assert!(text.header("content-type").starts_with("text/plain"), "{}", text.header("content-type"));
    let (well, words) = promtool(tool, &["check", "metrics"], &text.body);
    if well && words.trim().is_empty() { Vec::new() } else { vec![format!("promtool check metrics: {words}")] }
}
