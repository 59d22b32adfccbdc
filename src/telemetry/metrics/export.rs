//! What became of telemetry that is exported, for each signal.

use std::sync::OnceLock;

use super::families as f;
use super::{Counter, counter};

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// The instruments of one signal, which count spans, points and records.
#[derive(Debug)]
pub(crate) struct Exported {
    /// The receiver took them.
    pub(crate) taken: Counter,
    pub(crate) queue_full: Counter,
    /// They could not be sent.
    pub(crate) failed: Counter,
    /// The receiver did not want them.
    pub(crate) rejected: Counter,
}

impl Exported {
    pub(crate) fn of(signal: Signal) -> &'static Self {
        static TRACES: OnceLock<Exported> = OnceLock::new();
        static METRICS: OnceLock<Exported> = OnceLock::new();
        static LOGS: OnceLock<Exported> = OnceLock::new();
        let exported = match signal {
            Signal::Traces => &TRACES,
            Signal::Metrics => &METRICS,
            Signal::Logs => &LOGS,
        };
        exported.get_or_init(|| {
            let signal = signal.as_str();
            let dropped = |reason| counter(&f::TELEMETRY_DROPPED, &[signal, reason]);
            Self {
                taken: counter(&f::TELEMETRY_EXPORTED, &[signal]),
                queue_full: dropped("queue_full"),
                failed: dropped("failed"),
                rejected: dropped("rejected"),
            }
        })
    }
}
