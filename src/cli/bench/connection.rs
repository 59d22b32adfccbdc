//! One connection to the agent: many NOTIFYs in a write, many ACKs in a read.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior};

use super::answers::Answers;
use super::round::{Next, Round, Share, nanos};
use super::timer::Timer;
use crate::cli::engine::{Engine, EngineError};

/// A connection that is through HELLO.
#[derive(Debug)]
pub(super) struct Connection {
    index: u64,
    engine: Engine,
    answers: Answers,
    input: Input,
    output: Output,
    timer: Timer,
    /// What the timer is set to.
    timer_at: Option<u64>,
    /// Looks for what is lost.
    sweep: Interval,
}

/// Bytes read and not yet handled: `bytes[..len]`.
#[derive(Debug)]
struct Input {
    bytes: Box<[u8]>,
    len: usize,
}

/// Bytes to write: those from `written` on.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Connection {
    /// A window of one when the agent cannot pipeline, as HAProxy 3.1+ keeps it then.
    pub(super) fn new(index: u64, mut engine: Engine, in_flight: usize, timeout: Duration) -> std::io::Result<Self> {
        let hello = *engine.hello();
        let window = if hello.capabilities.pipelining { in_flight } else { 1 };
        let mut bytes = vec![0; INPUT_SIZE.max(2 * hello.max_frame_size as usize)].into_boxed_slice();
        let early = engine.take_input();
        bytes[..early.len()].copy_from_slice(&early);
        let mut sweep = tokio::time::interval((timeout / 4).clamp(MIN_SWEEP, MAX_SWEEP));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            index,
            engine,
            answers: Answers::new(window, hello.max_frame_size),
            input: Input { bytes, len: early.len() },
            output: Output::default(),
            timer: Timer::new()?,
            timer_at: None,
            sweep,
        })
    }

    /// NOTIFYs that may be in flight.
    pub(super) fn window(&self) -> usize {
        self.answers.in_flight.window()
    }

    /// Its share of a round, until the last NOTIFY is answered or lost. Returns the connection unless it broke.
    pub(super) async fn run(mut self, round: Arc<Round>) -> Option<Self> {
        let mut share = Share { index: self.index, taken: 0 };
        self.timer_at = None;
        let ended = poll_fn(|cx| self.turn(cx, &round, &mut share)).await;
        let Err(error) = ended else { return Some(self) };
        let mut tally = round.tally();
        tally.lost(self.answers.in_flight.len(), || "their connection ended".to_owned());
        tally.disconnected(error);
        None
    }

    /// Says good-bye. How the agent takes it changes nothing.
    pub(super) async fn close(self) {
        let _ = tokio::time::timeout(GOOD_BYE, self.engine.disconnect()).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>, round: &Round, share: &mut Share) -> Poll<Result<(), EngineError>> {
        loop {
            let next = self.fill(round, share);
            let written = self.write(cx)?.is_ready();
            if next == Next::Never && written && self.answers.in_flight.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if self.read(cx, round)?.is_pending() && self.wait(cx, round, next)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Encodes what is due, as far as the window allows, and returns what is next.
    fn fill(&mut self, round: &Round, share: &mut Share) -> Next {
        let now = round.now();
        // With a full window it is an ACK that wakes us.
        while !self.answers.in_flight.is_full() {
            let next = round.next(share, now);
            let Next::Now { due } = next else { return next };
            let Some(stream_id) = self.answers.in_flight.insert(due, now) else { break };
            round.plan.template.append(stream_id, &mut self.output.bytes);
        }
        Next::Now { due: now }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        let Output { bytes, written } = &mut self.output;
        while *written < bytes.len() {
            *written += ready!(Pin::new(self.engine.socket()).poll_write(cx, &bytes[*written..]))?;
        }
        bytes.clear();
        *written = 0;
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, cx: &mut Context<'_>, round: &Round) -> Poll<Result<(), EngineError>> {
        let Input { bytes, len } = &mut self.input;
        let mut free = ReadBuf::new(&mut bytes[*len..]);
        ready!(Pin::new(self.engine.socket()).poll_read(cx, &mut free))?;
        let read = free.filled().len();
        if read == 0 {
            return Poll::Ready(Err(EngineError::Closed));
        }
        *len += read;
        let handled = self.answers.handle(&bytes[..*len], round.now(), &round.plan, &mut round.tally())?;
        bytes.copy_within(handled..*len, 0);
        *len -= handled;
        Poll::Ready(Ok(()))
    }

    /// Ready when something is due or lost.
    fn wait(&mut self, cx: &mut Context<'_>, round: &Round, next: Next) -> Poll<Result<(), EngineError>> {
        if self.sweep.poll_tick(cx).is_ready() {
            let timeout = round.plan.timeout;
            let lost = self.answers.in_flight.expire(round.now().saturating_sub(nanos(timeout)));
            round.tally().lost(lost, || format!("no ACK within {timeout:?}"));
            return Poll::Ready(Ok(()));
        }
        let Next::At(due) = next else { return Poll::Pending };
        if self.timer_at != Some(due) {
            self.timer.set(Duration::from_nanos(due.saturating_sub(round.now())))?;
            self.timer_at = Some(due);
        }
        Ok(ready!(self.timer.poll(cx))?).into()
    }
}

/// Room for what comes in one read.
const INPUT_SIZE: usize = 64 * 1024;

/// How often to look for what is lost; also how long Ctrl-C may go unnoticed.
const MIN_SWEEP: Duration = Duration::from_millis(1);
const MAX_SWEEP: Duration = Duration::from_millis(100);

/// How long the agent may take for its part of the good-bye.
const GOOD_BYE: Duration = Duration::from_secs(1);
