//! NOTIFYs of one connection that wait for their ACK. Memory is that of the window, however many are sent.

use std::collections::{HashSet, VecDeque};

/// A window of slots. A stream id names its slot, so an ACK finds its NOTIFY without a search.
#[derive(Debug)]
pub(super) struct InFlight {
    /// A power of two, so that the slot of an id is its low bits.
    slots: Vec<Slot>,
    /// The longest free first: ids are then 1, 3, 5, … while ACKs come in order, as from HAProxy 3.1 on.
    free: VecDeque<usize>,
    window: usize,
    waiting: usize,
    /// Ids given up, whose ACK may still come.
    lost: HashSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    waiting: bool,
    /// Id of the NOTIFY that waits here, or will next.
    stream_id: u64,
    due: u64,
    sent: u64,
}

/// What an ACK answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// A NOTIFY that was due then.
    Waiting { due: u64 },
    /// A NOTIFY that was given up.
    Lost,
    /// No NOTIFY that was sent, or one that was answered before.
    Unknown,
}

impl InFlight {
    pub(super) fn new(window: usize) -> Self {
        let slots = (0_u64..).take(window.next_power_of_two());
        let slots: Vec<_> = slots.map(|at| Slot { waiting: false, stream_id: 2 * at + 1, due: 0, sent: 0 }).collect();
        Self { free: (0..slots.len()).collect(), slots, window, waiting: 0, lost: HashSet::new() }
    }

    pub(super) fn window(&self) -> usize {
        self.window
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting == self.window
    }

    /// A NOTIFY that was due and is sent at these times, in nanoseconds; its stream id, or `None` when the window is full.
    #[inline]
    pub(super) fn insert(&mut self, due: u64, sent: u64) -> Option<u64> {
        let at = if self.is_full() { None } else { self.free.pop_front() };
        let slot = &mut self.slots[at?];
        *slot = Slot { waiting: true, due, sent, ..*slot };
        self.waiting += 1;
        Some(slot.stream_id)
    }

    /// Takes out the NOTIFY of that id.
    #[inline]
    pub(super) fn remove(&mut self, stream_id: u64) -> Answered {
        let at = slot_of(stream_id, self.slots.len());
        let slot = &self.slots[at];
        if slot.waiting && slot.stream_id == stream_id {
            let due = slot.due;
            self.release(at);
            return Answered::Waiting { due };
        }
        if self.lost.remove(&stream_id) { Answered::Lost } else { Answered::Unknown }
    }

    /// Gives up every NOTIFY sent before `sent`; returns how many.
    pub(super) fn expire(&mut self, sent: u64) -> usize {
        let before = self.waiting;
        for at in 0..self.slots.len() {
            if self.slots[at].waiting && self.slots[at].sent < sent {
                self.lost.insert(self.slots[at].stream_id);
                self.release(at);
            }
        }
        before - self.waiting
    }

    fn release(&mut self, at: usize) {
        let stride = 2 * self.slots.len() as u64;
        let slot = &mut self.slots[at];
        slot.waiting = false;
        slot.stream_id = slot.stream_id.wrapping_add(stride);
        self.waiting -= 1;
        self.free.push_back(at);
    }
}

/// Ids are odd; what is not simply finds another id in the slot.
fn slot_of(stream_id: u64, slots: usize) -> usize {
    // Truncation keeps the low bits, which are all that count.
    (stream_id >> 1) as usize & (slots - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_in_odd_numbers() {
        let mut in_flight = InFlight::new(3);
        for stream_id in (1..100).step_by(2) {
            assert_eq!(in_flight.insert(stream_id, 0), Some(stream_id));
            assert_eq!(in_flight.remove(stream_id), Answered::Waiting { due: stream_id });
        }
    }

    #[test]
    fn the_window_is_kept() {
        let mut in_flight = InFlight::new(3);
        assert_eq!([(); 4].map(|()| in_flight.insert(0, 0)), [Some(1), Some(3), Some(5), None]);
        assert_eq!(in_flight.remove(3), Answered::Waiting { due: 0 });
        assert_eq!([(); 2].map(|()| in_flight.insert(0, 0)), [Some(7), None]);
        assert_eq!(in_flight.len(), 3);
    }

    #[test]
    fn an_ack_answers_once() {
        let mut in_flight = InFlight::new(2);
        assert_eq!(in_flight.remove(1), Answered::Unknown, "not sent yet");
        in_flight.insert(0, 0);
        for stranger in [0, 2, 3, 5, u64::MAX] {
            assert_eq!(in_flight.remove(stranger), Answered::Unknown);
        }
        assert_eq!(in_flight.remove(1), Answered::Waiting { due: 0 });
        assert_eq!(in_flight.remove(1), Answered::Unknown, "twice");
    }

    #[test]
    fn what_was_given_up_may_still_be_answered() {
        let mut in_flight = InFlight::new(2);
        in_flight.insert(0, 10);
        in_flight.insert(0, 20);
        assert_eq!((in_flight.expire(20), in_flight.len()), (1, 1));
        assert_eq!(in_flight.remove(1), Answered::Lost);
        assert_eq!(in_flight.remove(1), Answered::Unknown);
        assert_eq!(in_flight.remove(3), Answered::Waiting { due: 0 });
        assert!(in_flight.is_empty());
    }

    /// Whatever the order of answers, no id is used twice.
    #[test]
    fn ids_are_fresh() {
        let (mut in_flight, mut seen, mut waiting) = (InFlight::new(5), HashSet::new(), Vec::new());
        for turn in 0..1_000_usize {
            while let Some(stream_id) = in_flight.insert(0, 0) {
                assert!(seen.insert(stream_id) && stream_id % 2 == 1);
                waiting.push(stream_id);
            }
            let stream_id = waiting.swap_remove(turn * 7 % waiting.len());
            assert_eq!(in_flight.remove(stream_id), Answered::Waiting { due: 0 });
        }
    }
}
