//! The alerts alone: promtool reads them, and runs their tests.

use super::repository;
use crate::support::prometheus::{find_or_skip, promtool};

const NAME: &str = "monitoring::rules";

#[test]
fn promtool_reads_the_rules() {
    let Some(tool) = find_or_skip(NAME, "promtool") else { return };
    let rules = repository("deploy/prometheus/rules.yaml");
    let (well, words) = promtool(&tool, &["check", "rules", rules.to_str().unwrap()], b"");
    assert!(well, "{words}");
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let Some(tool) = find_or_skip(NAME, "promtool") else { return };
    let tests = repository("deploy/prometheus/rules_test.yaml");
    let (well, words) = promtool(&tool, &["test", "rules", tests.to_str().unwrap()], b"");
    assert!(well, "{words}");
}
