//! The stream of a connection that is going away: it is used until there is another, or for as long as it is polite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stream::Decisions;

/// How long it is used while no other can be had. A service that is stopping waits for it to end.
const LEAVE: Duration = Duration::from_secs(5);
/// The same when nobody uses it, as when there are other endpoints.
const UNUSED: Duration = Duration::from_secs(1);

/// See above; or none.
#[derive(Default)]
pub(super) struct Draining(Option<Left>);

struct Left {
    decisions: Arc<Decisions>,
    since: Instant,
    /// How many decisions it had been given, and since when no more.
    given: u64,
    unused: Instant,
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.end();
    }
}

impl Draining {
    pub(super) fn begin(&mut self, decisions: Arc<Decisions>) {
        let now = Instant::now();
        self.0 = Some(Left { given: decisions.given(), decisions, since: now, unused: now });
    }

    pub(super) fn is_of_use(&mut self) -> bool {
        let Some(left) = &mut self.0 else { return false };
        let given = left.decisions.given();
        if std::mem::replace(&mut left.given, given) != given {
            left.unused = Instant::now();
        }
        left.decisions.is_open() && left.since.elapsed() < LEAVE && left.unused.elapsed() < UNUSED
    }

    pub(super) fn end(&mut self) {
        if let Some(left) = self.0.take() {
            left.decisions.close();
        }
    }
}
