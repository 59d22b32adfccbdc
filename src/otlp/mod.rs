//! Telemetry on its way out, by OTLP: spans, metrics and log records, to receivers that OpenTelemetry's environment variables name.
//!
//! Lives on the control thread and knows nothing of decisions: what is to be exported waits in bounded queues that nobody waits to fill,
//! and is left out and counted where a receiver is away, slow or talks nonsense. Each signal has a task, a connection and a message under way.

mod client;
mod encode;
mod env;
mod export;
mod tasks;

use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) use env::Settings;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::telemetry::event::NotFlushed;
use crate::telemetry::metrics::Signal;
use crate::telemetry::records::RECORDS;
use crate::telemetry::trace::{self, SPANS};

/// How long the end of the telemetry may take when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// Exports until it is shut down.
#[derive(Debug)]
pub(crate) struct Exporter {
    stop: watch::Sender<bool>,
    flush: Duration,
    tasks: JoinSet<Signal>,
    signals: BTreeSet<&'static str>,
}

/// Begins to export. Must be called within the control thread's runtime, before the first decision.
pub(crate) fn start(settings: Settings) -> Exporter {
    for warning in &settings.warnings {
        tracing::warn!(%warning, "OpenTelemetry's environment variables");
    }
    trace::propagate(settings.propagated);
    let (stop, stopped) = watch::channel(false);
    let mut exporter = Exporter { stop, flush: FLUSH, tasks: JoinSet::new(), signals: BTreeSet::new() };
    let resource = encode::resource(&settings.resource);
    if let Some(traces) = settings.traces {
        trace::start(settings.sampler);
        exporter.flush = exporter.flush.min(traces.timeout);
        let (resource, limits) = (resource.clone(), settings.span_limits);
        let encode = move |spans: &[_]| encode::traces(&resource, spans, limits);
        exporter.spawn(Signal::Traces, tasks::batches(Signal::Traces, &SPANS, traces, stopped.clone(), encode));
    }
    if let Some(logs) = settings.logs {
        let (resource, limits) = (resource.clone(), settings.record_limits);
        let encode = move |records: &[_]| encode::logs(&resource, records, limits);
        exporter.spawn(Signal::Logs, tasks::batches(Signal::Logs, &RECORDS, logs, stopped.clone(), encode));
    }
    if let Some(metrics) = settings.metrics {
        exporter.spawn(Signal::Metrics, tasks::metrics(metrics, resource, settings.exemplars, stopped));
    }
    exporter
}

impl Exporter {
    fn spawn(&mut self, signal: Signal, task: impl Future<Output = ()> + Send + 'static) {
        self.signals.insert(signal.as_str());
        self.tasks.spawn(async move {
            task.await;
            signal
        });
    }

    /// Sends what is left, for as long as that may take.
    pub(crate) async fn shut_down(mut self) {
        self.stop.send_replace(true);
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.iter().for_each(|signal| _ = self.signals.remove(signal.as_str()));
            }
        };
        if tokio::time::timeout(self.flush, all).await.is_err() {
            NotFlushed { signals: self.signals.into_iter().collect::<Vec<_>>().join(", ") }.record();
        }
    }
}
