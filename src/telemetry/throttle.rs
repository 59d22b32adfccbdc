//! A bound of log lines for each happening that others can cause at any rate.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lets a line through now and then, and counts the others.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Milliseconds between two lines in the long run.
    pause: u64,
    /// Lines that may come at once after a while without any.
    at_once: u64,
    /// When the lines that were let through are paid for, in milliseconds since the process's first one.
    paid: AtomicU64,
    suppressed: AtomicU64,
}

impl Throttle {
    /// One line a second.
    pub(super) const fn new() -> Self {
        Self::with(1_000, 1)
    }

    /// One line a second in the long run, for what may well happen to a whole backend's endpoints together.
    #[cfg(feature = "bridge")]
    pub(super) const fn of_many() -> Self {
        Self::with(1_000, 32)
    }

    /// A hundred lines a second, for what is only told at debug, where a person wants to see each.
    pub(super) const fn of_details() -> Self {
        Self::with(10, 100)
    }

    const fn with(pause: u64, at_once: u64) -> Self {
        Self { pause, at_once, paid: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether to log now; if so, how many like it were left out since the last line.
    pub(super) fn admit(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        let now = START.get_or_init(Instant::now).elapsed().as_millis();
        self.admit_at(u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn admit_at(&self, now: u64) -> Option<u64> {
        // As a virtual queue that is worked off at the rate, and has so much room (GCRA).
        let credit = self.pause.saturating_mul(self.at_once.saturating_sub(1));
        let next = |paid: u64| (paid <= now.saturating_add(credit)).then(|| paid.max(now).saturating_add(self.pause));
        if self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
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
        assert_eq!(throttle.admit_at(10), None);
        assert_eq!(throttle.admit_at(999), None);
        assert_eq!(throttle.admit_at(1_000), Some(2));
        assert_eq!(throttle.admit_at(7_000), Some(0));
    }

    /// However long it was quiet, and however many come.
    #[test]
    fn many_at_once_and_then_one_a_second() {
        let throttle = Throttle::with(1_000, 32);
        let admitted = |from: u64, to: u64| (from..to).filter(|now| throttle.admit_at(*now).is_some()).count();
        assert_eq!(admitted(0, 500), 32);
        assert_eq!(admitted(500, 100_500), 100);
        assert_eq!(admitted(10_000_000, 10_000_500), 32);
    }
}
