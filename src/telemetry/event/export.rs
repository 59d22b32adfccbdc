//! Happenings with the receiver of telemetry. Lines from here go to the log only, and are never exported themselves: each failure to
//! export a line would make another.

use tracing::{info, warn};

use crate::telemetry::throttle::Throttle;

/// Where lines from here come from, as `tracing` knows it.
pub(in crate::telemetry) const TARGET: &str = module_path!();

/// An attempt to export failed, after one that did not.
pub(crate) struct ExportFailed<'a> {
    pub(crate) signal: &'static str,
    pub(crate) endpoint: &'a str,
    pub(crate) error: &'a str,
    /// What to do about it.
    pub(crate) advice: &'a str,
}

impl ExportFailed<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Self { signal, endpoint, error, advice } = *self;
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(signal, endpoint, error, advice, suppressed, "telemetry not exported, trying on; decisions are not affected");
        }
    }
}

/// Exporting goes well again.
pub(crate) struct ExportRecovered<'a> {
    pub(crate) signal: &'static str,
    pub(crate) endpoint: &'a str,
    /// Spans, points or records that were lost meanwhile.
    pub(crate) dropped: u64,
}

impl ExportRecovered<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Self { signal, endpoint, dropped } = *self;
        if let Some(suppressed) = THROTTLE.admit() {
            info!(signal, endpoint, dropped, suppressed, "telemetry exported again");
        }
    }
}

/// The process ends before everything is exported.
pub(crate) struct NotFlushed {
    /// The signals, in words.
    pub(crate) signals: String,
}

impl NotFlushed {
    pub(crate) fn record(&self) {
        warn!(signals = self.signals, "the end of the telemetry was not exported, the receiver is too slow or away");
    }
}

/// A receiver took telemetry, but not all of it, or has something to say about it.
pub(crate) struct ExportRejected<'a> {
    pub(crate) signal: &'static str,
    pub(crate) endpoint: &'a str,
    pub(crate) rejected: u64,
    pub(crate) message: &'a str,
}

impl ExportRejected<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::of_many();
        let Self { signal, endpoint, rejected, message } = *self;
        if let Some(suppressed) = THROTTLE.admit() {
            warn!(signal, endpoint, rejected, said = message, suppressed, "the receiver of telemetry did not want all of it");
        }
    }
}
