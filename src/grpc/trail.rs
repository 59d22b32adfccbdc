//! What became of one decision on its way, for whoever asks why.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::telemetry::metrics::Method;

/// The way of one decision. Several attempts may be under way at a time.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    attempts: AtomicU32,
    /// The last attempt was an item on a stream.
    streamed: AtomicBool,
    last: Mutex<Option<Last>>,
}

/// The last word.
#[derive(Debug)]
struct Last {
    endpoint: Arc<str>,
    /// It was an answer, which came then.
    answered: Option<Instant>,
}

impl Trail {
    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The endpoint that has answered, or failed last.
    pub(crate) fn endpoint(&self) -> Option<Arc<str>> {
        self.lock().as_ref().map(|last| Arc::clone(&last.endpoint))
    }

    /// When there was an answer, or now if there was none: the clock is not read twice for it.
    pub(crate) fn ended(&self) -> Instant {
        self.lock().as_ref().and_then(|last| last.answered).unwrap_or_else(Instant::now)
    }

    /// How the last attempt was made.
    pub(super) fn method(&self) -> Method {
        if self.streamed.load(Ordering::Relaxed) { Method::DecideStream } else { Method::Decide }
    }

    /// One more; returns its number, from 1.
    pub(super) fn begin(&self, method: Method) -> u32 {
        self.streamed.store(method == Method::DecideStream, Ordering::Relaxed);
        self.attempts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// An attempt at `endpoint` has ended; what is said after an answer does not count.
    pub(super) fn end(&self, at: Instant, endpoint: &Arc<str>, answered: bool) {
        let mut last = self.lock();
        if last.as_ref().is_none_or(|last| last.answered.is_none()) {
            *last = Some(Last { endpoint: Arc::clone(endpoint), answered: answered.then_some(at) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
