//! Whether health checks are told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::shutdown::Phase;

/// A handle by which agents learn whether they can do their work. Cloning it is cheap; clones share the state.
///
/// HAProxy's `option spop-check` is refused while it says no, so that HAProxy takes other agents. Connections that there are go
/// on, and so do those that HAProxy opens until it has noticed.
///
/// ```
/// # use spop_bridge::agent::Readiness;
/// let readiness = Readiness::new(); // for AgentBuilder::readiness
/// readiness.set(false); // the database is gone
/// assert!(!readiness.is_ready());
/// ```
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Ready, until something else is said.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Says whether the agents are ready from now on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// What was said last.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// What a health check is told: an agent that is on its way out is never ready.
    pub(super) fn answer(&self, phase: Phase) -> bool {
        phase == Phase::Running && self.is_ready()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}
