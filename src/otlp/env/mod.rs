//! What OpenTelemetry's environment variables say, read once at the start.
//!
//! By `configuration/sdk-environment-variables.md` and `protocol/exporter.md` of its specification, with one deviation: a signal is exported
//! only if an endpoint is set, or its exporter asked for by name. A sidecar does not talk to whatever may listen on localhost:4318.

mod receiver;
mod resource;
mod variables;

use std::time::Duration;

pub(super) use receiver::{Protocol, Receiver};
use variables::Variables;

use crate::telemetry::metrics::Signal;
use crate::telemetry::trace::{Attribute, Propagated, Root, Sampler};

/// Everything that the variables say.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(super) traces: Option<Batched>,
    pub(super) metrics: Option<Periodic>,
    pub(super) logs: Option<Batched>,
    pub(super) sampler: Sampler,
    pub(super) propagated: Propagated,
    pub(super) exemplars: bool,
    /// `service.name` among them.
    pub(super) resource: Vec<(String, Attribute)>,
    /// Of attributes of spans.
    pub(super) span_limits: Limits,
    /// Of attributes of log records.
    pub(super) record_limits: Limits,
    /// What cannot be honoured, for the log.
    pub(crate) warnings: Vec<String>,
}

/// How spans and log records are exported.
#[derive(Clone, Debug)]
pub(super) struct Batched {
    pub(super) receiver: Receiver,
    pub(super) delay: Duration,
    /// For all attempts at one batch.
    pub(super) timeout: Duration,
    pub(super) queue: usize,
    pub(super) batch: usize,
}

/// How metrics are exported.
#[derive(Clone, Debug)]
pub(super) struct Periodic {
    pub(super) receiver: Receiver,
    pub(super) interval: Duration,
    /// For all attempts at one export.
    pub(super) timeout: Duration,
}

/// What attributes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) count: usize,
    /// Characters of a text.
    pub(super) length: usize,
}

/// Items that may wait. The limit is there so that memory has one.
const MAX_QUEUE: u64 = 1 << 18;
/// Items of a batch: its encoding is one turn of the control thread.
const MAX_BATCH: u64 = 1 << 13;

impl Settings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::read(std::env::vars_os().map(|(name, value)| (text(name), text(value))))
    }

    fn read(all: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut variables = Variables::new(all);
        let v = &mut variables;
        let disabled = v.flag("OTEL_SDK_DISABLED");
        let [traces, metrics, logs] = Signal::ALL.map(|signal| receiver(v, signal).filter(|_| !disabled));
        // Kept whatever they say: spans have neither events nor links.
        for what in ["SPAN_EVENT_COUNT", "SPAN_LINK_COUNT", "EVENT_ATTRIBUTE_COUNT", "LINK_ATTRIBUTE_COUNT"] {
            v.text(&format!("OTEL_{what}_LIMIT"));
        }
        let settings = Self {
            traces: batched(v, "BSP", Duration::from_secs(5), traces),
            metrics: periodic(v, metrics),
            logs: batched(v, "BLRP", Duration::from_secs(1), logs),
            sampler: sampler(v),
            propagated: propagated(v),
            exemplars: exemplars(v),
            resource: resource::read(v),
            span_limits: limits(v, "SPAN"),
            record_limits: limits(v, "LOGRECORD"),
            warnings: Vec::new(),
        };
        Self { warnings: variables.into_warnings(), ..settings }
    }
}

/// Where a signal goes, if it is exported.
fn receiver(v: &mut Variables, signal: Signal) -> Option<Receiver> {
    let receiver = Receiver::read(v, signal);
    let name = format!("OTEL_{}_EXPORTER", signal.as_str().to_ascii_uppercase());
    let Some(exporters) = v.words(&name) else { return receiver.and_then(|(receiver, is_said)| is_said.then_some(receiver)) };
    let mut is_wanted = false;
    for exporter in exporters {
        match (&*exporter, signal) {
            ("otlp", _) => is_wanted = true,
            // Of metrics, `/metrics` is always there.
            ("none", _) | ("prometheus", Signal::Metrics) => {}
            (other, _) => v.warn(&name, format_args!("{other} is not known here, only otlp and none; left out")),
        }
    }
    receiver.filter(|_| is_wanted).map(|(receiver, _)| receiver)
}

fn batched(v: &mut Variables, processor: &str, delay: Duration, receiver: Option<Receiver>) -> Option<Batched> {
    let name = |what| format!("OTEL_{processor}_{what}");
    let delay = v.duration(&name("SCHEDULE_DELAY")).unwrap_or(delay);
    let timeout = v.duration(&name("EXPORT_TIMEOUT")).unwrap_or(EXPORT_TIMEOUT);
    let queue = v.number(&name("MAX_QUEUE_SIZE"), 1..=MAX_QUEUE).unwrap_or(2048);
    let asked = v.number(&name("MAX_EXPORT_BATCH_SIZE"), 1..=MAX_BATCH);
    if asked.is_some_and(|batch| batch > queue) {
        v.warn(&name("MAX_EXPORT_BATCH_SIZE"), format_args!("larger than the queue; taken as {queue}"));
    }
    let batch = asked.unwrap_or(512).min(queue);
    let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    receiver.map(|receiver| Batched { receiver, delay, timeout, queue: size(queue), batch: size(batch) })
}

fn periodic(v: &mut Variables, receiver: Option<Receiver>) -> Option<Periodic> {
    let interval = v.duration("OTEL_METRIC_EXPORT_INTERVAL").unwrap_or(Duration::from_secs(60));
    let timeout = v.duration("OTEL_METRIC_EXPORT_TIMEOUT").unwrap_or(EXPORT_TIMEOUT);
    for (name, only) in [
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
    ] {
        if let Some(other) = v.word(name).filter(|word| word != only) {
            v.warn(name, format_args!("{other} is not supported; taken as {only}"));
        }
    }
    receiver.map(|receiver| Periodic { receiver, interval, timeout })
}

fn sampler(v: &mut Variables) -> Sampler {
    let (name, arg) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
    let word = v.word(name).unwrap_or_else(|| "parentbased_always_on".to_owned());
    let text = v.text(arg);
    let (parent_based, root) = match word.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, &*word),
    };
    let root = match root {
        "always_on" => Root::AlwaysOn,
        "always_off" => Root::AlwaysOff,
        "traceidratio" => Root::Ratio(ratio(v, arg, text)),
        _ => {
            v.warn(name, format_args!("{word} is not known here; taken as parentbased_always_on"));
            return Sampler { parent_based: true, root: Root::AlwaysOn };
        }
    };
    Sampler { parent_based, root }
}

fn ratio(v: &mut Variables, name: &str, text: Option<String>) -> f64 {
    let Some(text) = text else { return 1.0 };
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.unwrap_or_else(|| {
        v.warn(name, format_args!("found {text}, expected a number from 0 to 1; taken as 1"));
        1.0
    })
}

fn propagated(v: &mut Variables) -> Propagated {
    let name = "OTEL_PROPAGATORS";
    let Some(words) = v.words(name) else { return Propagated { trace_context: true, baggage: true } };
    let mut propagated = Propagated { trace_context: false, baggage: false };
    for word in words {
        match &*word {
            "tracecontext" => propagated.trace_context = true,
            "baggage" => propagated.baggage = true,
            "none" => {}
            other => v.warn(name, format_args!("{other} is not known here, only tracecontext, baggage and none; left out")),
        }
    }
    propagated
}

/// Whether measurements of sampled traces go along.
fn exemplars(v: &mut Variables) -> bool {
    let name = "OTEL_METRICS_EXEMPLAR_FILTER";
    match v.word(name).as_deref() {
        None | Some("trace_based") => true,
        Some("always_off") => false,
        Some(other) => {
            v.warn(name, format_args!("{other} is not supported; taken as trace_based"));
            true
        }
    }
}

fn limits(v: &mut Variables, of: &str) -> Limits {
    let mut limit = |what: &str, default: u64| {
        let names = [format!("OTEL_{of}_{what}"), format!("OTEL_{what}")];
        let limit = names.map(|name| v.number(&name, 0..=u64::MAX)).into_iter().flatten().next();
        usize::try_from(limit.unwrap_or(default)).unwrap_or(usize::MAX)
    };
    Limits { count: limit("ATTRIBUTE_COUNT_LIMIT", 128), length: limit("ATTRIBUTE_VALUE_LENGTH_LIMIT", u64::MAX) }
}

/// For all attempts at one export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
