//! The phases of stopping, said by one and watched by many.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How far a stop has come. Phases only go forward.
///
/// ```text
/// Running ──▶ NotReady ──▶ Draining ──▶ Closing
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything is served.
    #[default]
    Running,
    /// Everything is served, but health checks are told that the agent is not ready, so that HAProxy moves on.
    NotReady,
    /// Nothing new is accepted. Each connection is served until it is quiet, then ends with AGENT-DISCONNECT.
    Draining,
    /// The grace period is over: what is still in flight gets the fallback and connections close.
    Closing,
}

/// The side that says when to stop. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<Phase>>);

impl Shutdown {
    /// A new stop signal, in phase [`Phase::Running`].
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }

    /// Moves on to `phase`; a phase that has already been passed is kept.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }

    /// Goes through all phases: [`Phase::NotReady`] for `delay`, then [`Phase::Draining`] for `grace_period`, then
    /// [`Phase::Closing`].
    pub async fn drain(&self, delay: Duration, grace_period: Duration) {
        self.advance(Phase::NotReady);
        tokio::time::sleep(delay).await;
        self.advance(Phase::Draining);
        tokio::time::sleep(grace_period).await;
        self.advance(Phase::Closing);
    }

    /// A view for one who obeys.
    #[must_use]
    pub fn watch(&self) -> Drain {
        Drain { receiver: self.0.subscribe(), _sender: Arc::clone(&self.0) }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// The side that obeys a [`Shutdown`].
#[derive(Clone, Debug)]
pub struct Drain {
    receiver: watch::Receiver<Phase>,
    // Keeps the channel open: a dropped `Shutdown` must not look like a stop.
    _sender: Arc<watch::Sender<Phase>>,
}

impl Drain {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.receiver.borrow()
    }

    /// Waits until `phase` or a later one is reached, and says which it is.
    pub async fn reached(&mut self, phase: Phase) -> Phase {
        // An error would mean that no sender is left, and `_sender` is one.
        let reached = self.receiver.wait_for(|current| *current >= phase).await.map(|current| *current);
        reached.unwrap_or(Phase::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_go_forward() {
        let shutdown = Shutdown::new();
        let mut drain = shutdown.watch();
        assert_eq!(drain.phase(), Phase::Running);
        shutdown.advance(Phase::Draining);
        shutdown.advance(Phase::NotReady);
        assert_eq!(drain.reached(Phase::NotReady).await, Phase::Draining);
        drop(shutdown);
        assert_eq!(drain.phase(), Phase::Draining);
    }
}
