//! How much a connection does before others get their turn, and the rest that it takes in between.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// Frames handled in a turn. HAProxy from 3.1 on has at most 20 NOTIFYs in flight on a connection.
const FRAMES: usize = 64;
/// Args that take about as long as the rest of a frame, and messages that do.
const ARGS: usize = 32;
const MESSAGES: usize = 8;
/// Bytes read in a turn: one full read, so that large frames count for what they are.
const BYTES: usize = super::input::READ_SIZE;
/// Decisions collected in a turn: all that are ready, as a rule, and not all that have reached their deadline together.
const DECISIONS: usize = 256;

/// What is left of a turn.
#[derive(Debug)]
pub(super) struct Turn {
    frames: usize,
    bytes: usize,
    decisions: usize,
}

impl Turn {
    pub(super) const fn new() -> Self {
        Self { frames: FRAMES, bytes: BYTES, decisions: DECISIONS }
    }

    /// Whether no more is to be read.
    pub(super) const fn is_over(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }

    pub(super) const fn count_frame(&mut self) {
        self.frames = self.frames.saturating_sub(1);
    }

    /// Counts what makes a NOTIFY take longer than others.
    pub(super) const fn count_parts(&mut self, messages: usize, args: usize) {
        self.frames = self.frames.saturating_sub(messages / MESSAGES + args / ARGS);
    }

    pub(super) const fn count_read(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) const fn has_decisions(&self) -> bool {
        self.decisions > 0
    }

    pub(super) const fn count_decision(&mut self) {
        self.decisions = self.decisions.saturating_sub(1);
    }

    /// Something was dear enough for a whole turn.
    pub(super) const fn end(&mut self) {
        self.frames = 0;
    }
}

/// A connection that has used up its turn reads nothing more until the runtime has looked for what has arrived for others.
///
/// To wake one's own task is not enough: tokio runs up to 61 tasks, the same one again and again if no other is ready, before it asks
/// the kernel for news. Nor is it to wait for the next wake-up, which may come from a decision of this very connection.
#[derive(Debug, Default)]
pub(super) struct Rest(Option<Arc<Over>>);

#[derive(Debug)]
struct Over {
    is_over: AtomicBool,
    task: Waker,
}

impl Wake for Over {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

impl Rest {
    /// Begins a rest, at the end of which the task is woken. Without a tokio scheduler that is at once.
    pub(super) fn begin(&mut self, cx: &Context<'_>) {
        let over = Arc::new(Over { is_over: AtomicBool::new(false), task: cx.waker().clone() });
        self.0 = Some(Arc::clone(&over));
        // tokio wakes who yields after it has polled for events, and those whom they concern come first.
        let _pending = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&Waker::from(over)));
    }

    /// Whether the connection rests now.
    pub(super) fn is_on(&mut self) -> bool {
        self.0.take_if(|over| over.is_over.load(Ordering::Relaxed));
        self.0.is_some()
    }
}
