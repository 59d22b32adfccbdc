//! What a backend may be sent beyond what HAProxy asks: retries and hedges together. In an outage every decision would be sent several times
//! otherwise, and a service that comes back would be overrun (gRFC A6 has the same as "retry throttling").

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::BudgetConfig;

/// Retries that may come at once: all decisions that are in flight at a server when it dies.
const BURST: f64 = 1_000.0;

/// Tokens, one for a retry or a hedge. A worker's own, as all that a decision touches.
#[derive(Debug)]
pub(super) struct Budget {
    /// Earned by a decision.
    share: f64,
    per_second: f64,
    tokens: Mutex<Tokens>,
}

#[derive(Debug)]
struct Tokens {
    left: f64,
    updated: Instant,
}

impl Budget {
    pub(super) fn new(config: &BudgetConfig, now: Instant) -> Self {
        Self {
            share: f64::from(config.percent) / 100.0,
            per_second: f64::from(config.min_per_second),
            tokens: Mutex::new(Tokens { left: BURST, updated: now }),
        }
    }

    /// A decision was asked for.
    pub(super) fn deposit(&self) {
        let mut tokens = self.lock();
        tokens.left = (tokens.left + self.share).min(BURST);
    }

    /// Tokens that there are.
    pub(super) fn left(&self, now: Instant) -> f64 {
        self.earned(&self.lock(), now)
    }

    /// What is left, and what has come since.
    fn earned(&self, tokens: &Tokens, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(tokens.updated).min(Duration::from_secs(3600));
        (tokens.left + elapsed.as_secs_f64() * self.per_second).min(BURST)
    }

    /// Takes a token, if there is one.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let mut tokens = self.lock();
        tokens.left = self.earned(&tokens, now);
        tokens.updated = now;
        let granted = tokens.left >= 1.0;
        if granted {
            tokens.left -= 1.0;
        }
        granted
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawn(budget: &Budget, now: Instant) -> usize {
        (0..100_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn a_share_of_the_decisions_and_some_a_second() {
        let start = Instant::now();
        let budget = Budget::new(&BudgetConfig { percent: 25, min_per_second: 10 }, start);
        assert_eq!(withdrawn(&budget, start), 1_000, "a burst, from the first moment");
        (0..400).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget, start), 100, "a quarter of the decisions");
        assert_eq!(withdrawn(&budget, start + Duration::from_millis(500)), 5);
        assert_eq!(withdrawn(&budget, start + Duration::from_secs(86_400)), 1_000, "saved up, but not without end");
        (0..100_000).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget, start + Duration::from_secs(86_400)), 1_000);
    }

    #[test]
    fn none_at_all_when_nothing_is_earned() {
        let start = Instant::now();
        let budget = Budget::new(&BudgetConfig { percent: 0, min_per_second: 0 }, start);
        withdrawn(&budget, start);
        (0..100).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget, start + Duration::from_secs(60)), 0);
    }
}
