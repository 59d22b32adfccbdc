//! One phase of a bench, warm-up or measured: what is due when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::expect::Expect;
use super::tally::Tally;
use super::template::Template;

/// What holds for every round and connection.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) template: Template,
    pub(super) expect: Expect,
    pub(super) connections: u64,
    /// Decisions a second of all connections; without it each sends as soon as its window allows.
    pub(super) rate: Option<u64>,
    pub(super) timeout: Duration,
    /// Set when the user wants no more.
    pub(super) stop: AtomicBool,
}

/// How long a round is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    Time(Duration),
    Requests(u64),
}

/// A round that has begun. Times are nanoseconds since then.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) plan: Arc<Plan>,
    start: Instant,
    /// When the last NOTIFY is due at the latest, if that is known.
    end: Option<u64>,
    /// NOTIFYs of all connections.
    total: u64,
    /// Closed loop: those not yet sent.
    left: AtomicU64,
    tally: Mutex<Tally>,
}

/// One connection's part of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Which connection.
    pub(super) index: u64,
    /// NOTIFYs taken.
    pub(super) taken: u64,
}

/// Whether there is another NOTIFY to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// One that was due then.
    Now {
        due: u64,
    },
    /// One that is due then.
    At(u64),
    Never,
}

impl Round {
    pub(super) fn start(plan: &Arc<Plan>, length: Length) -> Self {
        let (total, end) = match (length, plan.rate) {
            (Length::Time(time), None) => (u64::MAX, Some(nanos(time))),
            (Length::Requests(count), None) => (count, None),
            (Length::Time(time), Some(rate)) => (due_within(time, rate), Some(nanos(time))),
            (Length::Requests(count), Some(rate)) => (count, Some(mul_div(count, SECOND, rate))),
        };
        Self {
            plan: Arc::clone(plan),
            start: Instant::now(),
            end,
            total,
            left: AtomicU64::new(total),
            tally: Mutex::new(Tally::new()),
        }
    }

    pub(super) fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }

    /// When it was to end, if that is known.
    pub(super) fn end(&self) -> Option<u64> {
        self.end
    }

    /// Never waited for: all connections run on one thread, and none holds it while it waits.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next NOTIFY of a connection that has room for it.
    #[inline]
    pub(super) fn next(&self, share: &mut Share, now: u64) -> Next {
        if self.plan.stop.load(Ordering::Relaxed) {
            return Next::Never;
        }
        match self.plan.rate {
            None => self.closed(now),
            Some(rate) => self.open(share, rate, now),
        }
    }

    /// As soon as there is room: due now.
    fn closed(&self, now: u64) -> Next {
        let over = self.end.is_some_and(|end| now >= end);
        // One thread: nobody comes in between.
        match self.left.load(Ordering::Relaxed).checked_sub(1).filter(|_| !over) {
            Some(left) => {
                self.left.store(left, Ordering::Relaxed);
                Next::Now { due: now }
            }
            None => Next::Never,
        }
    }

    /// By the schedule, however long the answers take.
    fn open(&self, share: &mut Share, rate: u64, now: u64) -> Next {
        let connections = self.plan.connections;
        let own = self.total.saturating_sub(share.index).div_ceil(connections);
        if share.taken >= own {
            return Next::Never;
        }
        let due = due(share.taken, share.index, connections, rate);
        if due > now {
            return Next::At(due);
        }
        if now > self.end.unwrap_or(u64::MAX).saturating_add(nanos(self.plan.timeout)) {
            let late = usize::try_from(own - share.taken).unwrap_or(usize::MAX);
            share.taken = own;
            self.tally().lost(late, || "the agent is slower than --rate: not even sent in time".to_owned());
            return Next::Never;
        }
        share.taken += 1;
        Next::Now { due }
    }
}

/// When NOTIFY number `nth` of connection `index` is due.
///
/// Evenly spaced and in turn by connection. Above a thousand a second on a connection, those of a millisecond are due together
/// at its begin, the connections' milliseconds being shifted against each other: a wake-up for each would cost more than the
/// NOTIFY itself.
#[inline]
fn due(nth: u64, index: u64, connections: u64, rate: u64) -> u64 {
    if rate > connections * SECOND / BURST {
        mul_div(nth * connections, SECOND / BURST, rate) * BURST + index * BURST / connections
    } else {
        mul_div(nth * connections + index, SECOND, rate)
    }
}

/// NOTIFYs that are due before `time` has passed.
fn due_within(time: Duration, rate: u64) -> u64 {
    let count = (u128::from(nanos(time)) * u128::from(rate)).div_ceil(u128::from(SECOND));
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[inline]
fn mul_div(value: u64, times: u64, by: u64) -> u64 {
    match value.checked_mul(times) {
        Some(product) => product / by,
        None => u64::try_from(u128::from(value) * u128::from(times) / u128::from(by)).unwrap_or(u64::MAX),
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// In nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Nanoseconds whose NOTIFYs are due together when there are many.
const BURST: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(connections: u64, rate: u64, count: u64) -> Vec<u64> {
        let mut all: Vec<u64> = (0..count).map(|nth| due(nth / connections, nth % connections, connections, rate)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn low_rates_are_evenly_spaced() {
        assert_eq!(schedule(4, 1_000, 6), [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
        assert_eq!(schedule(1, 3, 4), [0, 333_333_333, 666_666_666, 1_000_000_000]);
    }

    #[test]
    fn high_rates_come_in_bursts_of_a_millisecond() {
        assert_eq!(schedule(2, 4_000, 8), [0, 0, 500_000, 500_000, 1_000_000, 1_000_000, 1_500_000, 1_500_000]);
        let second: Vec<u64> = schedule(3, 100_000, 200_000).into_iter().filter(|due| *due < SECOND).collect();
        // The share of each connection is not whole.
        assert!((99_990..=100_010).contains(&second.len()), "{}", second.len());
    }

    #[test]
    fn the_first_is_due_at_once() {
        let within = |time, rate| due_within(Duration::from_millis(time), rate);
        assert_eq!([within(0, 5), within(1, 5), within(200, 5), within(201, 5), within(1_000, 5)], [0, 1, 1, 2, 5]);
    }

    #[test]
    fn long_runs_do_not_overflow() {
        assert_eq!(due(36_000_000_000, 0, 1, 1_000_000), 36_000 * SECOND);
        assert_eq!(mul_div(u64::MAX, SECOND, SECOND), u64::MAX);
    }
}
