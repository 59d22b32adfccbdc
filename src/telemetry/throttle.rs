//! At most one log line a second for a happening that others can cause at any rate.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lets one line a second through and counts the others.
#[derive(Debug)]
pub(super) struct Throttle {
    // Second of the last line since the process's first one, plus one; zero before any.
    last: AtomicU64,
    suppressed: AtomicU64,
}

impl Throttle {
    pub(super) const fn new() -> Self {
        Self { last: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether to log now; if so, how many like it were left out since the last line.
    pub(super) fn admit(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        self.admit_at(START.get_or_init(Instant::now).elapsed().as_secs())
    }

    fn admit_at(&self, second: u64) -> Option<u64> {
        let now = second.saturating_add(1);
        let last = self.last.load(Ordering::Relaxed);
        // Threads that race for the same second: one wins, the others count as suppressed.
        if now > last && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_the_rest_is_counted() {
        let throttle = Throttle::new();
        assert_eq!(throttle.admit_at(0), Some(0));
        assert_eq!(throttle.admit_at(0), None);
        assert_eq!(throttle.admit_at(0), None);
        assert_eq!(throttle.admit_at(1), Some(2));
        assert_eq!(throttle.admit_at(7), Some(0));
    }
}
