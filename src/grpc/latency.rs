//! How long decisions take at a backend, for hedging: the 95th percentile of the last seconds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// How far it looks back: between one and two of these.
const INTERVAL: Duration = Duration::from_secs(5);
/// Decisions before there is a percentile worth its name.
const ENOUGH: u64 = 20;
/// Decisions after which it is computed anew.
const RENEW: u64 = 100;

#[derive(Debug)]
pub(super) struct Latency(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Microseconds.
    current: Histogram<u32>,
    previous: Histogram<u32>,
    since: Instant,
    p95: Option<Duration>,
}

impl Latency {
    /// Of up to a minute, to two digits. The library takes these bounds.
    pub(super) fn new(now: Instant) -> Option<Self> {
        let current = Histogram::new_with_bounds(1, 60_000_000, 2).ok()?;
        Some(Self(Mutex::new(State { previous: current.clone(), current, since: now, p95: None })))
    }

    pub(super) fn observe(&self, now: Instant, latency: Duration) {
        let mut state = self.lock();
        if now.saturating_duration_since(state.since) >= INTERVAL {
            let state = &mut *state;
            std::mem::swap(&mut state.current, &mut state.previous);
            state.current.reset();
            state.since = now;
            // Of too few, no percentile; of those before, the one that counts until there are more.
            state.p95 = None;
            if state.previous.len() >= ENOUGH {
                state.renew();
            }
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        state.current.saturating_record(micros);
        let count = state.current.len();
        if count.is_multiple_of(RENEW) || (state.p95.is_none() && count >= ENOUGH) {
            state.renew();
        }
    }

    /// `None` while too little is known.
    pub(super) fn p95(&self) -> Option<Duration> {
        self.lock().p95
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn renew(&mut self) {
        // The interval before has the more decisions while this one is young.
        let best = if self.previous.len() > self.current.len() { &self.previous } else { &self.current };
        self.p95 = Some(Duration::from_micros(best.value_at_quantile(0.95).max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_95th_percentile_of_lately() {
        let start = Instant::now();
        let latency = Latency::new(start).unwrap();
        let observe = |now, range: std::ops::Range<u64>| {
            range.for_each(|millis| latency.observe(now, Duration::from_millis(millis)));
        };
        observe(start, 1..20);
        assert_eq!(latency.p95(), None, "too few");
        observe(start, 20..101);
        let p95 = latency.p95().unwrap();
        assert!(p95 >= Duration::from_millis(94) && p95 <= Duration::from_millis(97), "{p95:?}");
        for second in 1..=3 {
            let now = start + second * INTERVAL;
            (0..200).for_each(|_| latency.observe(now, Duration::from_millis(2)));
        }
        assert!(latency.p95().unwrap() < Duration::from_millis(3), "what was long ago is forgotten");
    }
}
