//! How loaded an endpoint is, as the choice between two sees it: what a decision takes there, times the decisions under way.
//!
//! The first is a peak EWMA: it jumps to the slowest answer at once and comes down slowly, so that an endpoint that begins to stall loses its
//! share with the first slow answer. A failure counts as a slow answer, since nothing is quicker than failing (load-biaser of linkerd2-proxy).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The time in which an observation loses two thirds of its weight. Long enough to remember a stall between two decisions of a quiet backend, short enough
/// to have forgotten it after some seconds.
const DECAY: Duration = Duration::from_secs(5);
/// What an endpoint is taken for that has answered nothing yet, when there is no other to compare it with.
pub(super) const UNKNOWN: Duration = Duration::from_millis(1);
/// How much slower than usual a failure counts, and at most: one costs an endpoint most of its share for some seconds, several in a row all of it.
const PENALTY: u32 = 10;
const MAX_PENALTY: Duration = Duration::from_secs(1);

/// An endpoint's load, written by its worker's thread only.
#[derive(Debug)]
pub(super) struct Load {
    in_flight: AtomicUsize,
    /// Nanoseconds, as the bits of an `f64`.
    latency: AtomicU64,
    /// When that was updated, in nanoseconds since `start`.
    updated: AtomicU64,
    start: Instant,
}

impl Load {
    /// Of an endpoint that is expected to answer within `latency`.
    pub(super) fn new(now: Instant, latency: Duration) -> Self {
        let latency = AtomicU64::new(nanos(latency).to_bits());
        Self { in_flight: AtomicUsize::new(0), latency, updated: AtomicU64::new(0), start: now }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// The measure to compare endpoints by.
    pub(super) fn measure(&self, now: Instant) -> f64 {
        // Long idle ones must still differ by what is in flight.
        let latency = self.latency(now).max(1_000.0);
        latency * (self.in_flight.load(Ordering::Relaxed) as f64 + 1.0)
    }

    /// What a decision takes. Without news it sinks, so that an endpoint that was slow is tried again.
    pub(super) fn expected(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.latency(now) as u64)
    }

    /// A decision took `latency`.
    pub(super) fn observe(&self, now: Instant, latency: Duration) {
        let latency = nanos(latency);
        let before = f64::from_bits(self.latency.load(Ordering::Relaxed));
        let weight = self.weight(now);
        let after = if latency > before { latency } else { latency * (1.0 - weight) + before * weight };
        self.latency.store(after.to_bits(), Ordering::Relaxed);
        self.updated.store(self.since_start(now), Ordering::Relaxed);
    }

    /// A decision failed after `latency`; the service may have said for how long it wants to be left alone.
    pub(super) fn penalize(&self, now: Instant, latency: Duration, pushback: Option<Duration>) {
        let penalty = (self.expected(now) * PENALTY).min(MAX_PENALTY);
        self.observe(now, latency.max(penalty).max(pushback.unwrap_or_default().min(MAX_PENALTY)));
    }

    fn latency(&self, now: Instant) -> f64 {
        f64::from_bits(self.latency.load(Ordering::Relaxed)) * self.weight(now)
    }

    /// What the last update still counts.
    fn weight(&self, now: Instant) -> f64 {
        let elapsed = self.since_start(now).saturating_sub(self.updated.load(Ordering::Relaxed));
        (-(elapsed as f64) / nanos(DECAY)).exp()
    }

    fn since_start(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_jumps_to_a_slow_answer_and_comes_down_slowly() {
        let start = Instant::now();
        let load = Load::new(start, MS);
        load.observe(start, 50 * MS);
        assert_eq!(load.expected(start), 50 * MS);
        let later = start + DECAY;
        load.observe(later, MS);
        // A third of 50 ms and two thirds of 1 ms.
        let expected = load.expected(later);
        assert!(expected > 18 * MS && expected < 20 * MS, "{expected:?}");
        assert!(load.expected(later + 10 * DECAY) < MS, "without news it is forgotten");
    }

    #[test]
    fn what_is_in_flight_multiplies_it() {
        let start = Instant::now();
        let load = Load::new(start, MS);
        let idle = load.measure(start);
        load.begin();
        load.begin();
        assert_eq!(load.measure(start), idle * 3.0);
        load.end();
        load.end();
        assert_eq!(load.measure(start), idle);
    }

    #[test]
    fn a_quick_failure_counts_as_a_slow_answer() {
        let start = Instant::now();
        let load = Load::new(start, MS);
        load.penalize(start, MS / 10, None);
        assert_eq!(load.expected(start), 10 * MS);
        for _ in 0..5 {
            load.penalize(start, MS / 10, None);
        }
        assert_eq!(load.expected(start), MAX_PENALTY, "a decision after a storm of failures still gets somewhere");
        let load = Load::new(start, MS);
        load.penalize(start, MS / 10, Some(300 * MS));
        assert_eq!(load.expected(start), 300 * MS);
    }
}
