//! Decisions of one stream that were not ready at once.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::future::{AbortHandle, Abortable, OptionFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::coop::unconstrained;
use tokio::time::Sleep;

use crate::pb::v1::DecideStreamResponse;

/// A decision's future in a place of its own, which can be used again.
type Slot<F> = Pin<Box<OptionFuture<F>>>;

/// Polls decisions, and drops those that nobody waits for.
///
/// A decision that is ready at once never gets in: it costs no allocation and no timer.
pub(super) struct InFlight<F> {
    /// Where a decision is tried first.
    spare: Slot<F>,
    futures: FuturesUnordered<Abortable<Slot<F>>>,
    /// By id. A decision that nobody waits for is no longer here, but in `futures` until those are polled.
    waited_for: HashMap<u64, Waited>,
    alarm: Alarm,
    /// Whether `futures` holds something that it has not been asked about.
    unpolled: bool,
}

struct Waited {
    abort: AbortHandle,
    deadline: Option<Instant>,
}

impl<F: Future<Output = DecideStreamResponse>> InFlight<F> {
    pub(super) fn new() -> Self {
        Self {
            spare: Box::pin(None.into()),
            futures: FuturesUnordered::new(),
            waited_for: HashMap::new(),
            alarm: Alarm::default(),
            unpolled: false,
        }
    }

    /// Starts a decision, whose answer is returned if it is ready at once.
    pub(super) fn start(
        &mut self,
        id: u64,
        deadline: Option<Instant>,
        decision: F,
        cx: &mut Context<'_>,
    ) -> Option<DecideStreamResponse> {
        self.spare.set(Some(decision).into());
        if let Poll::Ready(answer) = self.spare.as_mut().poll(cx) {
            self.spare.set(None.into());
            return answer;
        }
        let slot = std::mem::replace(&mut self.spare, Box::pin(None.into()));
        let (abort, registration) = AbortHandle::new_pair();
        self.futures.push(Abortable::new(slot, registration));
        self.waited_for.insert(id, Waited { abort, deadline });
        self.alarm.by(deadline);
        self.unpolled = true;
        None
    }

    /// Whether an answer of that id is still to come.
    pub(super) fn holds(&self, id: u64) -> bool {
        !self.waited_for.is_empty() && self.waited_for.contains_key(&id)
    }

    /// Nobody waits for this id any more.
    pub(super) fn cancel(&mut self, id: u64) {
        if let Some(waited) = self.waited_for.remove(&id) {
            waited.abort.abort();
            self.unpolled = true;
        }
    }

    /// The next answer that is ready.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<DecideStreamResponse> {
        self.unpolled = false;
        while !self.futures.is_empty() {
            // A decision that nobody waits for ends here without an answer.
            if let Some(Ok(Some(answer))) = ready!(self.futures.poll_next_unpin(cx)) {
                self.waited_for.remove(&answer.id);
                return Poll::Ready(answer);
            }
        }
        Poll::Pending
    }

    /// Gives up what is past its deadline, and has `cx` woken for the next.
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>) {
        while self.alarm.poll(cx).is_ready() {
            let now = Instant::now();
            self.waited_for.retain(|_, waited| {
                let in_time = waited.deadline.is_none_or(|deadline| deadline > now);
                if !in_time {
                    waited.abort.abort();
                    self.unpolled = true;
                }
                in_time
            });
            self.alarm.by(self.waited_for.values().filter_map(|waited| waited.deadline).min());
        }
    }

    /// Whether [`InFlight::poll_answer`] has something to do without being woken.
    pub(super) fn unpolled(&self) -> bool {
        self.unpolled
    }

    pub(super) fn len(&self) -> usize {
        self.futures.len()
    }
}

/// One timer for all deadlines of a stream, set to the earliest.
///
/// Decisions that finish leave it as it is: it rings once too often at most every time that it rings, and then looks for the
/// next. A timer for each decision would cost more than most decisions do.
#[derive(Default)]
struct Alarm {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Rings at `deadline`, or earlier if it would have.
    fn by(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline.filter(|deadline| self.at.is_none_or(|at| *deadline < at)) else { return };
        self.at = Some(deadline);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline.into()),
            none => *none = Some(Box::pin(tokio::time::sleep_until(deadline.into()))),
        }
    }

    /// Ready once for each time that it rings.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(_), Some(sleep)) = (self.at, &mut self.sleep) else { return Poll::Pending };
        // Also when the stream has used up its turn: deadlines hold under a flood too.
        ready!(Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx));
        self.at = None;
        Poll::Ready(())
    }
}
