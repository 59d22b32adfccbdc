//! What waits to be exported: bounded, and nobody ever waits to put something in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A queue that is closed until there is somebody who takes what is in it.
pub(crate) struct Queue<T> {
    items: Mutex<Vec<T>>,
    /// 0: closed.
    limit: AtomicUsize,
    batch: AtomicUsize,
    /// Told when a batch is full.
    full: tokio::sync::Notify,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            items: Mutex::new(Vec::new()),
            limit: AtomicUsize::new(0),
            batch: AtomicUsize::new(usize::MAX),
            full: tokio::sync::Notify::const_new(),
        }
    }

    /// From now on up to `limit` wait, and [`batch_is_full`](Self::batch_is_full) speaks up when there are `batch` of them.
    pub(crate) fn open(&self, limit: usize, batch: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.batch.store(batch, Ordering::Relaxed);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.limit.load(Ordering::Relaxed) > 0
    }

    /// `false` if there is no room, and `item` is lost.
    pub(crate) fn push(&self, item: T) -> bool {
        let mut items = self.items();
        if items.len() >= self.limit.load(Ordering::Relaxed) {
            return false;
        }
        items.push(item);
        if items.len() == self.batch.load(Ordering::Relaxed) {
            self.full.notify_one();
        }
        true
    }

    /// Waits until there is a whole batch.
    pub(crate) async fn batch_is_full(&self) {
        self.full.notified().await;
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.items().len()
    }

    /// The oldest, at most `count`.
    pub(crate) fn take(&self, count: usize) -> Vec<T> {
        let mut items = self.items();
        let count = count.min(items.len());
        items.drain(..count).collect()
    }

    fn items(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn closed_it_takes_nothing_and_open_as_much_as_it_may() {
        let queue = Queue::new();
        assert!(!queue.push(0));
        queue.open(3, 2);
        assert_eq!([1, 2, 3, 4].map(|item| queue.push(item)), [true, true, true, false]);
        assert_eq!(queue.take(2), [1, 2]);
        assert_eq!((queue.take(2), queue.len()), (vec![3], 0));
    }

    #[test]
    fn a_full_batch_is_told() {
        let queue = Queue::new();
        queue.open(3, 2);
        queue.push(1);
        assert!(queue.batch_is_full().now_or_never().is_none());
        queue.push(2);
        assert!(queue.batch_is_full().now_or_never().is_some());
    }
}
