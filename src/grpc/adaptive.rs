//! A limit of decisions in flight that finds itself: as long as latency stays what it usually is there may be more, when it rises there is a queue somewhere
//! and there must be less (the gradient of Netflix's concurrency-limits). Each worker has its own, for what it sends itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::AdaptiveLimitConfig;

/// Decisions and time after which latency is looked at: enough for a mean, and not for a single stall to count.
const WINDOW: (u32, Duration) = (10, Duration::from_millis(100));
/// How many windows what is usual looks back on.
const USUAL_OVER: f64 = 600.0;
/// What of a new limit counts at once.
const SMOOTHING: f64 = 0.2;
/// What a service's word that it is overloaded leaves of the limit.
const BACKOFF: f64 = 0.9;

#[derive(Debug)]
pub(super) struct Adaptive {
    min: f64,
    max: f64,
    tolerance: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    /// In seconds; `None` before the first window.
    usual: Option<f64>,
    window: Window,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    /// Decisions, and those among them that were answered, with the time that they took.
    count: u32,
    answered: u32,
    sum: Duration,
    most_in_flight: usize,
    overloaded: bool,
}

impl Window {
    fn new(since: Instant) -> Self {
        Self { since, count: 0, answered: 0, sum: Duration::ZERO, most_in_flight: 0, overloaded: false }
    }
}

impl Adaptive {
    /// Never above `max`.
    pub(super) fn new(config: AdaptiveLimitConfig, max: usize, now: Instant) -> Self {
        let (min, max) = (config.min.min(max) as f64, max as f64);
        let state = State { limit: min, usual: None, window: Window::new(now) };
        Self { min, max, tolerance: f64::from(config.tolerance) / 100.0, state: Mutex::new(state) }
    }

    /// How many may be in flight.
    pub(super) fn limit(&self) -> usize {
        self.lock().limit as usize
    }

    /// A decision took `latency` while `in_flight` were on their way, or the service said that it is `overloaded`.
    pub(super) fn observe(&self, now: Instant, latency: Duration, in_flight: usize, overloaded: bool) {
        let mut state = self.lock();
        let window = &mut state.window;
        window.count += 1;
        window.sum += if overloaded { Duration::ZERO } else { latency };
        window.answered += u32::from(!overloaded);
        window.most_in_flight = window.most_in_flight.max(in_flight);
        window.overloaded |= overloaded;
        if window.count >= WINDOW.0 && now.saturating_duration_since(window.since) >= WINDOW.1 {
            let window = std::mem::replace(window, Window::new(now));
            self.end(&mut state, &window);
        }
    }

    fn end(&self, state: &mut State, window: &Window) {
        let limit = state.limit;
        if window.overloaded || window.answered == 0 {
            // What comes back so quickly, or not at all, is not what is usual.
            state.limit = (limit * BACKOFF).clamp(self.min, self.max);
            return;
        }
        let latency = window.sum.as_secs_f64() / f64::from(window.answered);
        let before = state.usual.unwrap_or(latency);
        let mut usual = before + (latency - before) / USUAL_OVER;
        // After a slow time what was usual then must not stay so.
        if usual > 2.0 * latency {
            usual *= 0.95;
        }
        state.usual = Some(usual);
        if (window.most_in_flight as f64) < limit / 2.0 {
            // Nobody has tried whether there is room.
            return;
        }
        let gradient = (self.tolerance * usual / latency.max(f64::MIN_POSITIVE)).clamp(0.5, 1.0);
        // A few may wait.
        let target = limit * gradient + limit.sqrt();
        let wanted = limit + (target - limit) * SMOOTHING;
        state.limit = wanted.clamp(self.min, self.max);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that works at `parallel` decisions of 10 ms at a time and lets the others wait, asked for as many as the limit allows.
    fn settle(adaptive: &Adaptive, now: &mut Instant, parallel: usize, windows: usize) -> usize {
        for _ in 0..windows {
            *now += Duration::from_millis(100);
            let limit = adaptive.limit();
            let latency = Duration::from_millis(10).mul_f64((limit as f64 / parallel as f64).max(1.0));
            for _ in 0..WINDOW.0 {
                adaptive.observe(*now, latency, limit, false);
            }
        }
        adaptive.limit()
    }

    const CONFIG: AdaptiveLimitConfig = AdaptiveLimitConfig { min: 20, tolerance: 150 };

    #[test]
    fn it_finds_what_a_service_can_do_at_a_time() {
        let mut now = Instant::now();
        let adaptive = Adaptive::new(CONFIG, 10_000, now);
        assert_eq!(adaptive.limit(), 20);
        let found = settle(&adaptive, &mut now, 200, 300);
        assert!((200..=500).contains(&found), "{found} for 200");
        let found = settle(&adaptive, &mut now, 50, 300);
        assert!((20..=200).contains(&found), "{found} for 50");
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut now = Instant::now();
        let adaptive = Adaptive::new(CONFIG, 100, now);
        assert_eq!(settle(&adaptive, &mut now, 1_000_000, 1_000), 100);
        for _ in 0..1_000 {
            now += Duration::from_millis(10);
            adaptive.observe(now, Duration::from_millis(10), 100, true);
        }
        assert_eq!(adaptive.limit(), 20, "what the service says counts");
    }

    #[test]
    fn without_need_it_does_not_grow() {
        let mut now = Instant::now();
        let adaptive = Adaptive::new(CONFIG, 10_000, now);
        for _ in 0..1_000 {
            now += Duration::from_millis(10);
            adaptive.observe(now, Duration::from_millis(1), 1, false);
        }
        assert_eq!(adaptive.limit(), 20);
    }

    #[test]
    fn what_fails_quickly_is_not_what_is_usual() {
        let mut now = Instant::now();
        let adaptive = Adaptive::new(CONFIG, 10_000, now);
        let found = settle(&adaptive, &mut now, 200, 300);
        for _ in 0..700 {
            now += Duration::from_millis(10);
            adaptive.observe(now, Duration::from_micros(100), found, true);
        }
        assert_eq!(adaptive.limit(), 20, "while it says so");
        let again = settle(&adaptive, &mut now, 200, 300);
        assert!(again >= 200, "{again} after {found}");
    }
}
