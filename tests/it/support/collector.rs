//! A real OpenTelemetry Collector, and what it has received.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;
use super::{eventually, free_address, skipped};

/// A Collector that writes what it receives to a file. It may be stopped and started again at the same address.
pub(crate) struct Collector {
    binary: PathBuf,
    process: Process,
    grpc: SocketAddr,
    http: SocketAddr,
    directory: TempDir,
}

/// A span, as far as tests ask.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    pub(crate) name: String,
    /// OTLP's number: 2 is SERVER, 3 is CLIENT.
    pub(crate) kind: u64,
    pub(crate) attributes: HashMap<String, Value>,
}

impl Collector {
    /// As `start`, where the setup script has built one; reported as skipped otherwise.
    pub(crate) fn start_or_skip(test: &str) -> Option<Collector> {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/go/collector");
        if !binary.exists() {
            skipped(test, "the OpenTelemetry Collector (tests/tools/get-collector.sh)");
            return None;
        }
        let (directory, grpc, http) = (tempfile::tempdir().unwrap(), free_address(), free_address());
        let config = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: \"{grpc}\" }}, http: {{ endpoint: \"{http}\" }} }} }} }}\n\
             exporters: {{ file: {{ path: {}/received }} }}\n\
             service:\n  telemetry: {{ metrics: {{ level: none }} }}\n  pipelines:\n    \
             traces: {{ receivers: [otlp], exporters: [file] }}\n    \
             metrics: {{ receivers: [otlp], exporters: [file] }}\n    \
             logs: {{ receivers: [otlp], exporters: [file] }}\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("config.yaml"), config).unwrap();
        let process = run(&binary, directory.path());
        Some(Collector { binary, process, grpc, http, directory })
    }

    /// For OTEL_EXPORTER_OTLP_ENDPOINT, with OTEL_EXPORTER_OTLP_PROTOCOL=grpc.
    pub(crate) fn grpc(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// For OTEL_EXPORTER_OTLP_ENDPOINT, with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf.
    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(Duration::from_secs(10));
    }

    pub(crate) fn restart(&mut self) {
        self.process = run(&self.binary, self.directory.path());
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let received = std::fs::read_to_string(self.directory.path().join("received")).unwrap_or_default();
        // The last line may be half written.
        let batches = received.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        batches.flat_map(|batch| spans(&batch)).collect()
    }

    /// How many spans there are so far.
    pub(crate) fn count(&self) -> usize {
        let received = std::fs::read_to_string(self.directory.path().join("received")).unwrap_or_default();
        received.matches("\"spanId\":").count()
    }

    /// The spans of a trace, once there are so many.
    pub(crate) fn wait_for_trace(&self, trace_id: &str, count: usize) -> Vec<Span> {
        let of_trace = || self.spans().into_iter().filter(|span| span.trace_id == trace_id).collect::<Vec<_>>();
        let complete = || Some(of_trace()).filter(|spans| spans.len() >= count);
        let found = eventually(Duration::from_secs(20), complete);
        found.unwrap_or_else(|| panic!("trace {trace_id}: expected {count} spans, got {:#?}", of_trace()))
    }
}

fn run(binary: &Path, directory: &Path) -> Process {
    let process = Process::start("collector", Command::new(binary).arg("--config").arg(directory.join("config.yaml")));
    let ready = |lines: &[String]| lines.iter().any(|line| line.contains("Everything is ready")).then_some(());
    process.output.wait_for(Duration::from_secs(30), ready).unwrap_or_else(|| panic!("collector: {:?}", process.output.all()));
    process
}

fn spans(batch: &Value) -> Vec<Span> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for resource in list(&batch["resourceSpans"]) {
        let service = attributes(&resource["resource"]["attributes"]).remove("service.name").unwrap_or_default();
        let scopes = list(&resource["scopeSpans"]);
        for span in scopes.iter().flat_map(|scope| list(&scope["spans"])) {
            all.push(Span {
                service: text(&service),
                trace_id: text(&span["traceId"]),
                span_id: text(&span["spanId"]),
                parent: text(&span["parentSpanId"]),
                name: text(&span["name"]),
                kind: span["kind"].as_u64().unwrap_or_default(),
                attributes: attributes(&span["attributes"]),
            });
        }
    }
    all
}

/// By key: what is inside of `stringValue` and the like.
fn attributes(value: &Value) -> HashMap<String, Value> {
    let plain = |value: &Value| value.as_object().and_then(|kinds| kinds.values().next()).cloned().unwrap_or_default();
    list(value).iter().map(|pair| (pair["key"].as_str().unwrap().to_owned(), plain(&pair["value"]))).collect()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
