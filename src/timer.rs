//! One lazy timer for all of a connection's timeouts.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

/// Far enough away to mean never: tokio's timer wheel spans about two years.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Fires at or before the earliest instant that it was asked for, so that what moves a timeout into the future (every NOTIFY
/// does, for the idle timeout) costs nothing: the owner looks again when it fires.
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(crate) fn new(now: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until((now + NEVER).into())) }
    }

    /// Whether `at` has been reached. If not, the task is woken then or earlier.
    pub(crate) fn poll_reached(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        loop {
            if self.sleep.is_elapsed() || at < self.sleep.deadline().into_std() {
                self.sleep.as_mut().reset(at.into());
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if at <= self.sleep.deadline().into_std() {
                return Poll::Ready(());
            }
        }
    }
}
