//! The instant at which a NOTIFY must be answered, fixed once and carried along.

use std::time::{Duration, Instant};

/// When the answer must be ready: an instant, so that queueing, calls and the `grpc-timeout` header all count the same time.
///
/// SPOP carries no deadline (SPOE.txt knows only HAProxy's own `timeout processing`), so it comes from the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// The deadline of something that arrived at `arrival` and may take `timeout`, less `margin` to bring the answer out.
    ///
    /// A margin larger than the timeout leaves no time at all: the deadline is then the arrival itself.
    #[must_use]
    pub(crate) fn new(arrival: Instant, timeout: Duration, margin: Duration) -> Self {
        Self(arrival + timeout.saturating_sub(margin))
    }

    /// The instant itself.
    #[must_use]
    pub(crate) const fn instant(self) -> Instant {
        self.0
    }

    /// What is left at `now`; zero once it has passed.
    #[must_use]
    pub(crate) fn budget(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_shrinks_to_zero_and_margin_never_underflows() {
        let arrival = Instant::now();
        let deadline = Deadline::new(arrival, Duration::from_millis(50), Duration::from_millis(1));
        assert_eq!(deadline.budget(arrival), Duration::from_millis(49));
        assert_eq!(deadline.budget(arrival + Duration::from_millis(20)), Duration::from_millis(29));
        assert_eq!(deadline.budget(arrival + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(Deadline::new(arrival, Duration::from_millis(1), Duration::from_secs(1)).instant(), arrival);
    }
}
