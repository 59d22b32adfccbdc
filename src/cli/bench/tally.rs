//! What came back in one round.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Counts and latencies of all connections.
#[derive(Debug)]
pub(super) struct Tally {
    /// In nanoseconds, one entry an ACK.
    pub(super) latency: Histogram<u64>,
    /// When the last ACK came, in nanoseconds since the round began.
    pub(super) last_ack: u64,
    pub(super) errors: Errors,
    pub(super) samples: Samples,
}

/// Everything but an ACK as expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Errors {
    /// NOTIFYs without ACK in time, or ever.
    pub(super) lost: u64,
    /// ACKs that do not hold what was expected.
    pub(super) mismatched: u64,
    /// ACKs that answer nothing that is in flight.
    pub(super) unknown: u64,
    /// Connections that ended early.
    pub(super) disconnected: u64,
}

/// The first of each kind, in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pub(super) lost: Option<String>,
    pub(super) mismatched: Option<String>,
    pub(super) unknown: Option<String>,
    pub(super) disconnected: Option<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        // The bounds are constants that `new_with_bounds` accepts.
        #[allow(clippy::expect_used, reason = "constant arguments")]
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY, SIGNIFICANT_DIGITS).expect("bounds of a histogram");
        Self { latency, last_ack: 0, errors: Errors::default(), samples: Samples::default() }
    }

    /// NOTIFYs that were answered, as expected or not.
    pub(super) fn decisions(&self) -> u64 {
        self.latency.len()
    }

    #[inline]
    pub(super) fn ack(&mut self, due: u64, now: u64) {
        self.latency.saturating_record(now.saturating_sub(due));
        self.last_ack = now;
    }

    pub(super) fn mismatch(&mut self, sample: impl FnOnce() -> String) {
        self.errors.mismatched += 1;
        self.samples.mismatched.get_or_insert_with(sample);
    }

    pub(super) fn unknown(&mut self, stream_id: u64, frame_id: u64) {
        self.errors.unknown += 1;
        self.samples.unknown.get_or_insert_with(|| format!("stream id {stream_id}, frame id {frame_id}"));
    }

    pub(super) fn lost(&mut self, count: usize, why: impl FnOnce() -> String) {
        if count > 0 {
            self.errors.lost += count as u64;
            self.samples.lost.get_or_insert_with(why);
        }
    }

    pub(super) fn disconnected(&mut self, why: impl fmt::Display) {
        self.errors.disconnected += 1;
        self.samples.disconnected.get_or_insert_with(|| why.to_string());
    }

    /// A connection that ended in the warm-up is missing in the measured round.
    pub(super) fn inherit(&mut self, warm_up: &Self) {
        self.errors.disconnected += warm_up.errors.disconnected;
        self.samples.disconnected = warm_up.samples.disconnected.clone().or(self.samples.disconnected.take());
    }
}

/// As the report has them: `none`, or those that there are.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, mismatched, unknown, disconnected } = *self;
        let kinds = [(lost, "lost"), (mismatched, "mismatched"), (unknown, "unknown"), (disconnected, "disconnected")];
        let some: Vec<_> = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
        f.write_str(if some.is_empty() { "none" } else { "" })?;
        f.write_str(&some.join(", "))
    }
}

/// Ten minutes in nanoseconds: a rate far above what the agent can do leads there. Anything above is counted as this.
const MAX_LATENCY: u64 = 600_000_000_000;

/// Latencies are kept to a thousandth of themselves.
const SIGNIFICANT_DIGITS: u8 = 3;
