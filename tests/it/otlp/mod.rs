//! Telemetry by OTLP: what receivers get, and that decisions go on whatever receivers do.

mod signals;
mod spans;
mod trouble;

use serde_json::Value;

use crate::discovery::Load;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::service::Service;
use crate::support::{eventually, figure};

/// A bridge that exports to `endpoint` soon after something has happened, by these variables besides.
fn exporting(service: &Service, endpoint: &str, variables: &[(&str, &str)]) -> Bridge {
    let mut all = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
    ];
    all.extend(variables);
    let config = format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\nroutes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
        service.uri()
    );
    Bridge::start_with(&config, &all)
}

const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");

/// The first line of the log with that message, and about that signal.
#[track_caller]
fn logged(bridge: &Bridge, message: &str, signal: &str) -> Value {
    let is_it = |line: &Value| line["message"] == message && line["signal"] == signal;
    let line = eventually(PATIENCE, || bridge.log().into_iter().find(is_it));
    line.unwrap_or_else(|| panic!("no {message:?} about {signal} in {:#?}", bridge.log()))
}

/// Decisions for a while, none of which may fail.
#[track_caller]
fn assert_decides(bridge: &Bridge, what: &str) {
    let load = Load::start(bridge.address());
    std::thread::sleep(std::time::Duration::from_millis(700));
    let (asked, failed) = load.end();
    figure(what, format_args!("{asked} decisions in 0.7 s, {failed} failed"));
    assert!(asked > 0 && failed == 0, "{failed} of {asked} failed");
}
