//! The calls of a connection, and whether the service answers any.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// Bytes of calls that ended unanswered, one behind the other, before their connection is left. HTTP/2 keeps each until the socket takes it,
/// cancelled or not, so that a service that does not read would cost memory for as long as it does not.
const LIMIT: usize = 16 << 20;
/// What HTTP/2 keeps for a call besides its request.
const CALL: usize = 2 * 1024;

/// What was sent on a connection since it was last answered on.
#[derive(Debug, Default)]
pub(super) struct Silence {
    bytes: AtomicUsize,
    /// Calls that have begun and not ended.
    calls: AtomicUsize,
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

    /// The service has answered a call.
    pub(super) fn broken(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// A call with a request of this length ended without an answer.
    pub(super) fn lasts(&self, length: usize) {
        let before = self.bytes.fetch_add(length.saturating_add(CALL), Ordering::Relaxed);
        if before <= LIMIT && self.is_too_long() {
            self.link.wake();
        }
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > LIMIT
    }

    /// Has `waker` woken when it has become too long.
    pub(super) fn watch(&self, waker: &Waker) {
        self.link.register(waker);
    }
}
