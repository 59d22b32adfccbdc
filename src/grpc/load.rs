//! How loaded an endpoint is, as the choice between two sees it: what a decision takes there, times the decisions under way.
//!
//! The first is a peak EWMA: it jumps to the slowest answer at once and comes down slowly, so that an endpoint that begins to stall loses its
//! share with the first slow answer. One that answers nothing at all while it has something to answer counts as that slow already. A failure counts as a slow answer, since nothing is quicker than failing (load-biaser of linkerd2-proxy).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The time in which an observation loses two thirds of its weight. A server that was a hundred times slower than the others for a moment has its share
/// back after five of these; with the ten seconds of others a set of three would do with two for most of a minute.
const DECAY: Duration = Duration::from_secs(1);
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
    /// Since when it has answered nothing, though it has something to answer; in the same.
    silent: AtomicU64,
    start: Instant,
}

impl Load {
    /// Of an endpoint that is expected to answer within `latency`.
    pub(super) fn new(now: Instant, latency: Duration) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            latency: AtomicU64::new(nanos(latency).to_bits()),
            updated: AtomicU64::new(0),
            silent: AtomicU64::new(0),
            start: now,
        }
    }

    /// A decision is sent there.
    pub(super) fn begin(&self, now: Instant) {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            self.silent.store(self.since_start(now), Ordering::Relaxed);
        }
    }

    /// A decision is over, answered or not.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many decisions are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether anything is known but what it was expected to take.
    pub(super) fn is_known(&self) -> bool {
        self.updated.load(Ordering::Relaxed) > 0
    }

    /// The measure to compare endpoints by.
    pub(super) fn measure(&self, now: Instant) -> f64 {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let silent = self.since_start(now).saturating_sub(self.silent.load(Ordering::Relaxed));
        let silent = if in_flight > 0 { silent as f64 } else { 0.0 };
        // Long idle ones must still differ by what is in flight.
        self.latency(now).max(silent).max(1_000.0) * (in_flight as f64 + 1.0)
    }

    /// What a decision takes. Without news it sinks, so that an endpoint that was slow is tried again.
    pub(super) fn expected(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.latency(now) as u64)
    }

    /// An answer came, after `latency`.
    pub(super) fn observe(&self, now: Instant, latency: Duration) {
        self.silent.store(self.since_start(now), Ordering::Relaxed);
        self.raise(now, latency);
    }

    /// A decision has waited for `latency` in vain.
    pub(super) fn raise(&self, now: Instant, latency: Duration) {
        let latency = nanos(latency);
        let before = f64::from_bits(self.latency.load(Ordering::Relaxed));
        let weight = self.weight(now);
        let after = if latency > before { latency } else { latency * (1.0 - weight) + before * weight };
        self.latency.store(after.to_bits(), Ordering::Relaxed);
        self.updated.store(self.since_start(now), Ordering::Relaxed);
    }

    /// A decision failed after `latency`, with or without an answer; the service may have said for how long it wants to be left alone.
    pub(super) fn penalize(&self, now: Instant, latency: Duration, pushback: Option<Duration>) {
        let penalty = (self.expected(now) * PENALTY).min(MAX_PENALTY);
        self.raise(now, latency.max(penalty).max(pushback.unwrap_or_default().min(MAX_PENALTY)));
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
        load.begin(start);
        load.begin(start);
        assert_eq!(load.measure(start), idle * 3.0);
        load.end();
        load.end();
        assert_eq!(load.measure(start), idle);
    }

    #[test]
    fn silence_counts_before_anything_is_known() {
        let start = Instant::now();
        let load = Load::new(start, MS);
        load.begin(start + DECAY);
        let later = start + DECAY + 30 * MS;
        assert_eq!(load.measure(later), nanos(30 * MS) * 2.0, "since it has something to answer");
        load.observe(later, MS);
        assert!(load.measure(later) < nanos(3 * MS), "until it answers something");
        load.end();
        assert!(load.measure(later + 30 * MS) < nanos(MS), "and not without anything to answer");
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

    /// Decisions of servers that answer each after its own time, ten at a time, for ten seconds; each goes to the less loaded of two that are drawn.
    /// Returns the share of each.
    fn shares(servers: &[fn(Duration) -> Duration]) -> Vec<f64> {
        let start = Instant::now();
        let loads: Vec<_> = servers.iter().map(|_| Load::new(start, UNKNOWN)).collect();
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = vec![0_u32; servers.len()];
        let mut answers = std::collections::BinaryHeap::new();
        let mut draw = |now: Instant, answers: &mut std::collections::BinaryHeap<_>| {
            let first = random.usize(..loads.len());
            let second = (first + random.usize(1..loads.len())) % loads.len();
            let chosen = if loads[second].measure(now) < loads[first].measure(now) { second } else { first };
            loads[chosen].begin(now);
            counts[chosen] += 1;
            answers.push(std::cmp::Reverse((now + servers[chosen](now - start), chosen, now)));
        };
        (0..10).for_each(|_| draw(start, &mut answers));
        while let Some(std::cmp::Reverse((now, server, begun))) = answers.pop()
            && now < start + Duration::from_secs(10)
        {
            loads[server].observe(now, now - begun);
            loads[server].end();
            draw(now, &mut answers);
        }
        let all: u32 = counts.iter().sum();
        counts.iter().map(|count| f64::from(*count) / f64::from(all)).collect()
    }

    #[test]
    fn equals_share_alike() {
        let about_a_millisecond: fn(Duration) -> Duration =
            |at| MS + Duration::from_nanos(u64::from(at.subsec_nanos() % 7_919) * 50);
        let shares = shares(&[about_a_millisecond; 3]);
        assert!(shares.iter().all(|share| (0.25..0.42).contains(share)), "{shares:?}");
    }

    #[test]
    fn the_slow_one_gets_little_and_the_stalled_one_next_to_nothing() {
        let shares = shares(&[|_| MS, |_| MS, |_| 50 * MS]);
        assert!(shares[2] < 0.02, "{shares:?}");
        // From the second second on it answers after ten.
        let stalls = |at: Duration| if at < Duration::from_secs(1) { MS } else { Duration::from_secs(10) };
        let shares = self::shares(&[|_| MS, |_| MS, stalls]);
        assert!((0.02..0.06).contains(&shares[2]), "a third of a tenth of the time: {shares:?}");
    }

    #[test]
    fn one_that_has_been_slow_gets_its_share_again() {
        let recovers = |at: Duration| if at < Duration::from_secs(1) { 100 * MS } else { MS };
        let shares = shares(&[|_| MS, |_| MS, recovers]);
        assert!(shares[2] > 0.1, "{shares:?}");
    }
}
