//! The families of the code against what operators read and use: docs/metrics.md, the alerts, the dashboard.

use std::collections::BTreeSet;

use super::families::ALL;
use super::{Family, Kind};

const METRICS: &str = include_str!("../../../docs/metrics.md");
const RUNBOOKS: &str = include_str!("../../../docs/runbooks.md");
const RULES: &str = include_str!("../../../deploy/prometheus/rules.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/spop-bridge.json");

/// By the rules of OpenTelemetry for Prometheus, written down here once more.
fn prometheus_name(family: &Family) -> String {
    let mut name = family.name.replace('.', "_");
    // `_count` is a part of a histogram.
    if let Some(one) = name.strip_suffix("_count") {
        name = format!("{one}s");
    }
    name.push_str(match family.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    });
    if family.kind == Kind::Counter {
        name.push_str("_total");
    }
    name
}

/// The row that docs/metrics.md must have, up to its last cell.
fn row(family: &Family) -> String {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::UpDown => "up-down",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let unit = if family.unit.is_empty() { String::new() } else { format!(", `{}`", family.unit) };
    let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
    format!("| `{}` | `{}` | {kind}{unit} | {labels} |", family.name, prometheus_name(family))
}

/// The words of a text that are made of such characters as names are.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')))
}

#[test]
fn every_family_is_documented_and_nothing_else() {
    let rows: BTreeSet<String> = ALL.iter().map(|family| row(family)).collect();
    assert_eq!(rows.len(), ALL.len(), "names are unique");
    let metrics = METRICS.split("\n## Labels").next().unwrap_or_default();
    let documented = metrics.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let (head, _) = line.trim_end_matches(" |").rsplit_once(" | ").expect("a row of five cells");
        format!("{head} |")
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), rows);
}

#[test]
fn every_label_is_documented_and_nothing_else() {
    let labels: BTreeSet<&str> = ALL.iter().flat_map(|family| family.labels).copied().collect();
    let (_, table) = METRICS.split_once("\n## Labels").expect("a section");
    let documented = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(documented.collect::<BTreeSet<_>>(), labels);
}

#[test]
fn alerts_dashboard_and_runbooks_name_what_there_is() {
    let labels = ALL.iter().flat_map(|family| family.labels).map(|label| label.replace('.', "_"));
    let mut known: BTreeSet<String> = labels.collect();
    for family in ALL {
        let name = prometheus_name(family);
        if family.kind == Kind::Histogram {
            known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        }
        known.insert(name);
    }
    for (text, what) in
        [(RULES, "rules.yaml"), (DASHBOARD, "spop-bridge.json"), (RUNBOOKS, "runbooks.md"), (METRICS, "metrics.md")]
    {
        let ours = |word: &&str| ["spop_", "grpc_", "process_"].iter().any(|prefix| word.starts_with(prefix));
        for name in words(text).filter(ours) {
            // `txn.br.spop_…` and the like do not occur; a word alone is the start of several names.
            assert!(known.contains(name) || name == "spop_bridge", "{what} speaks of {name}, which is no metric and no label");
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let shown: BTreeSet<&str> = words(DASHBOARD).collect();
    for family in ALL {
        let name = prometheus_name(family);
        let parts = ["", "_bucket", "_count"].map(|part| format!("{name}{part}"));
        assert!(parts.iter().any(|name| shown.contains(&**name)), "{name}");
    }
}

#[test]
fn every_alert_has_its_runbook_and_its_test() {
    let alerts: Vec<&str> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let tests = include_str!("../../../deploy/prometheus/rules_test.yaml");
    for alert in &alerts {
        assert!(RUNBOOKS.contains(&format!("\n## {alert}\n")), "docs/runbooks.md has no section {alert}");
        let link = format!("runbook_url: docs/runbooks.md#{}\n", alert.to_lowercase());
        assert_eq!(RULES.matches(&link).count(), 1, "{alert} has its link");
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has a test in which it fires");
    }
    let sections = RUNBOOKS.lines().filter_map(|line| line.strip_prefix("## SpopBridge"));
    assert_eq!(sections.count(), alerts.len(), "a section for each alert, and none without");
}
