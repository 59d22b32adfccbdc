//! What was asked on a connection, and whether the service answers any of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// Bytes of calls that ended unanswered, one behind the other, before their connection is left. HTTP/2 keeps each until the socket takes it,
/// cancelled or not, so that a service that does not read would cost memory for as long as it does not.
const LIMIT: usize = 16 << 20;
/// What HTTP/2 keeps for a call besides its request.
const CALL: usize = 2 * 1024;

/// Of one connection. Only its worker's thread writes.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// Of calls that ended unanswered since one was answered.
    bytes: AtomicUsize,
    /// Calls that have begun and not ended.
    calls: AtomicUsize,
    /// A decision that the service was sent has ended without its answer.
    unanswered: AtomicBool,
    /// A decision was answered since [`watch_for_answers`](Self::watch_for_answers).
    answered: AtomicBool,
    /// One was before.
    answered_before: AtomicBool,
    /// Of the link's task.
    link: AtomicWaker,
}

impl Silence {
    pub(super) fn begin(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The service has answered a decision.
    pub(super) fn answered(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }

    /// A decision that was sent ended without an answer.
    pub(super) fn unanswered(&self) {
        if !self.unanswered.swap(true, Ordering::Relaxed) {
            self.link.wake();
        }
    }

    /// So did a call with a request of this length, which HTTP/2 may still hold.
    pub(super) fn unanswered_call(&self, length: usize) {
        let before = self.bytes.fetch_add(length.saturating_add(CALL), Ordering::Relaxed);
        if before <= LIMIT && self.is_too_long() {
            self.link.wake();
        }
        self.unanswered();
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > LIMIT
    }

    /// Whether a decision has ended unanswered since this was asked last.
    pub(super) fn take_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) && self.unanswered.swap(false, Ordering::Relaxed)
    }

    /// From now on [`is_answered`](Self::is_answered) is about what comes.
    pub(super) fn watch_for_answers(&self) {
        self.answered_before.store(self.has_ever_answered(), Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn has_ever_answered(&self) -> bool {
        self.is_answered() || self.answered_before.load(Ordering::Relaxed)
    }

    /// Has `waker` woken when it has become too long, or when a decision has ended unanswered.
    pub(super) fn watch(&self, waker: &Waker) {
        self.link.register(waker);
    }
}
