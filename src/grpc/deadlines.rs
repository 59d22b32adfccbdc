//! The deadlines of many decisions, without a timer for each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Ids by deadline. Most decisions end long before theirs: their entries are not looked up to be removed, they stay until their time
/// has come or until they are the majority.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
}

/// Entries below which a clean-up is not worth it.
const FEW: usize = 64;

impl Deadlines {
    /// Adds an id. `is_live` says of those that are there, `live` in number, whether they still matter.
    pub(super) fn push(&mut self, at: Instant, id: u64, live: usize, is_live: impl Fn(u64) -> bool) {
        if self.heap.len() >= FEW + 2 * live {
            self.heap.retain(|Reverse((_, id))| is_live(*id));
        }
        self.heap.push(Reverse((at, id)));
    }

    /// The earliest, of a decision that may have ended.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an id whose deadline has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<u64> {
        let due = self.next().is_some_and(|at| at <= now);
        due.then(|| self.heap.pop())?.map(|Reverse((_, id))| id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_come_in_the_order_of_their_deadlines() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut deadlines = Deadlines::default();
        for (millis, id) in [(30, 1), (10, 2), (20, 3)] {
            deadlines.push(at(millis), id, 3, |_| true);
        }
        assert_eq!((deadlines.next(), deadlines.pop(at(9))), (Some(at(10)), None));
        assert_eq!([deadlines.pop(at(20)), deadlines.pop(at(20)), deadlines.pop(at(20))], [Some(2), Some(3), None]);
        assert_eq!(deadlines.next(), Some(at(30)));
    }

    #[test]
    fn what_has_ended_does_not_pile_up() {
        let far = Instant::now() + Duration::from_secs(60);
        let mut deadlines = Deadlines::default();
        for id in 0..10_000 {
            deadlines.push(far, id, 1, |other| other + 1 == id);
        }
        assert!(deadlines.heap.len() <= FEW + 2, "{} entries for one decision", deadlines.heap.len());
    }
}
