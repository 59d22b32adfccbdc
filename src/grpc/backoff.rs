//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double from one bound to the other.
#[derive(Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, next: least.min(most) }
    }

    /// The pause that is due now, jittered.
    pub(super) fn next(&mut self) -> Duration {
        let pause = jittered(self.next);
        self.next = (self.next * 2).min(self.most);
        pause
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.next = self.least.min(self.most);
    }
}

/// Half to all of `backoff`, so that many workers and bridges do not come at once.
pub(super) fn jittered(backoff: Duration) -> Duration {
    backoff.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_jittered() {
        let [least, most] = [1, 30].map(Duration::from_secs);
        let mut backoff = Backoff::new(least, most);
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            let (pause, expected) = (backoff.next(), Duration::from_secs(expected));
            assert!((expected / 2..=expected).contains(&pause), "{pause:?} of {expected:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= least);
        assert!(Backoff::new(most, least).next() <= least);
    }
}
