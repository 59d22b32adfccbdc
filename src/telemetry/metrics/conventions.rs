//! Names, kinds and units of ours, held against those who have agreed on them.

use std::collections::BTreeSet;

use opentelemetry_semantic_conventions::attribute as attributes;
use opentelemetry_semantic_conventions::metric as metrics;

use super::families::{ALL, Family, Kind};

/// The semantic conventions for processes (`docs/system/process-metrics.md`, schema 1.42.0). The crate has no units but in its comments.
const PROCESS: [(&str, Kind, &str, &[&str]); 5] = [
    (metrics::PROCESS_CPU_TIME, Kind::Counter, "s", &[attributes::CPU_MODE]),
    (metrics::PROCESS_MEMORY_USAGE, Kind::UpDown, "By", &[]),
    (metrics::PROCESS_THREAD_COUNT, Kind::UpDown, "{thread}", &[]),
    (metrics::PROCESS_UNIX_FILE_DESCRIPTOR_COUNT, Kind::UpDown, "{file_descriptor}", &[]),
    (metrics::PROCESS_UPTIME, Kind::Gauge, "s", &[]),
];

/// gRFC A66 (grpc/proposal, `A66-otel-stats.md`), "Client Per-Attempt Instruments" and "Client Per-Call Instruments". Ours have the
/// backend as well; the method of a call is that of its last attempt.
const GRPC: [(&str, Kind, &str, &[&str]); 3] = [
    ("grpc.client.attempt.started", Kind::Counter, "{attempt}", &["grpc.method", "grpc.target"]),
    ("grpc.client.attempt.duration", Kind::Histogram, "s", &["grpc.method", "grpc.target", "grpc.status"]),
    ("grpc.client.call.duration", Kind::Histogram, "s", &["grpc.method", "grpc.target", "grpc.status"]),
];

/// Attributes of ours that others have named.
const ATTRIBUTES: [&str; 2] = [attributes::CPU_MODE, attributes::NETWORK_IO_DIRECTION];

/// Prefixes of names that are not ours to give.
const OTHERS: [&str; 8] = ["process.", "rpc.", "grpc.", "network.", "server.", "client.", "cpu.", "error."];

fn is_others(name: &str) -> bool {
    OTHERS.iter().any(|prefix| name.starts_with(prefix))
}

#[test]
fn families_with_a_name_that_others_have_given_are_as_they_said() {
    let agreed: Vec<_> = PROCESS.iter().chain(&GRPC).collect();
    for Family { name, kind, unit, labels, .. } in ALL.iter().copied().filter(|family| is_others(family.name)) {
        let (_, its_kind, its_unit, its_labels) =
            agreed.iter().find(|(agreed, ..)| agreed == name).unwrap_or_else(|| panic!("{name} is not theirs"));
        assert_eq!((kind, unit), (its_kind, its_unit), "{name}");
        let own = |label: &&&str| **label == "spop_bridge.backend";
        let labels: Vec<&str> = labels.iter().filter(|label| !own(label)).copied().collect();
        assert_eq!(&labels[..], *its_labels, "{name}");
    }
}

#[test]
fn attributes_with_a_name_that_others_have_given_are_theirs() {
    let grpc = GRPC.iter().flat_map(|(.., labels)| *labels);
    let agreed: BTreeSet<&str> = ATTRIBUTES.iter().chain(grpc).copied().collect();
    for label in ALL.iter().flat_map(|family| family.labels).filter(|label| is_others(label)) {
        assert!(agreed.contains(label), "{label} is not theirs");
    }
}

/// The units of OpenTelemetry's "General Metric Semantic Conventions": UCUM, and what is counted in braces.
#[test]
fn units_and_names_are_well_formed() {
    let mut names = BTreeSet::new();
    for family in ALL {
        let Family { name, unit, help, .. } = family;
        assert!(names.insert(name), "{name} is there twice");
        assert!(["s", "By", "1", ""].contains(unit) || unit.starts_with('{') && unit.ends_with('}'), "{name}: {unit}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte)), "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
        assert!(family.kind != Kind::Histogram || *unit == "s", "{name}: histograms are of times");
    }
}
