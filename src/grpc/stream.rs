//! Many decisions on one stream: those that wait for their answer, and those that wait to be sent.
//!
//! ```text
//! Queued ──the link's task has room──▶ Sent ──answer──▶ Done ──the decision's task takes it──▶ gone
//!    └──────── deadline, stream ended ──────┴──────────────▲
//! ```
//!
//! The task of the [link](super::link) is the only one that touches the socket. What is ready when it gets its turn leaves together,
//! and all the answers that one read brings are given out in one go.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tonic::{Code, Status};

use super::deadlines::Deadlines;
use super::error::{CallError, Failure};
use super::framing::{FramingError, Messages};
use super::item::{Answer, AnswerResult, Items};
use super::request::Request;
use super::silence::Silence;
use crate::deadline::Deadline;
use crate::telemetry::event::{LateAnswer, UnknownAnswer};

/// Bytes of requests that may wait to be sent, for each endpoint and worker: 512 requests of a full frame, or about 10,000 without
/// bodies. Above it the service does not keep up, and more of them would only wait for their deadline.
const QUEUE_LIMIT: usize = 8 << 20;

/// One stream's decisions.
#[derive(Debug)]
pub(super) struct Decisions {
    endpoint: Arc<str>,
    /// Requests are kept until they are answered, to be sent elsewhere if need be.
    keep: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last_id: u64,
    waiting: FxHashMap<u64, Waiting>,
    /// Ids in the order in which they came; some may have ended.
    queue: VecDeque<u64>,
    /// Decisions that are queued, and the bytes of their requests.
    queued: usize,
    queued_bytes: usize,
    cancels: Vec<u64>,
    /// The service has taken the stream.
    taken: bool,
    deadlines: Deadlines,
    phase: Phase,
    /// Of the stream's connection.
    silence: Arc<Silence>,
    /// Of the link's task, until it is woken.
    link: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Takes no more decisions; what is here is still sent and answered.
    Closing,
    Ended,
}

#[derive(Debug)]
struct Waiting {
    state: State,
    task: Option<Waker>,
}

#[derive(Debug)]
enum State {
    Queued {
        request: Request,
        deadline: Instant,
    },
    /// The request is kept while the service may still say that it does not have the method, or for another attempt.
    Sent {
        request: Option<Request>,
    },
    Done(Result<Bytes, Box<Failure>>),
}

/// How far a decision had come that ends without an answer.
#[derive(Debug)]
enum Left {
    Queued(Request),
    Sent(Option<Request>),
}

impl Left {
    fn into_request(self) -> Option<Request> {
        match self {
            Self::Queued(request) => Some(request),
            Self::Sent(request) => request,
        }
    }
}

impl Decisions {
    pub(super) fn new(endpoint: &Arc<str>, keep: bool, silence: &Arc<Silence>) -> Self {
        let inner = Inner { silence: Arc::clone(silence), ..Inner::default() };
        Self { endpoint: Arc::clone(endpoint), keep, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes decisions.
    pub(super) fn is_open(&self) -> bool {
        self.lock().phase == Phase::Open
    }

    /// Queues a decision. Dropping the returned future cancels it.
    pub(super) fn decide(self: &Arc<Self>, request: Request, deadline: Deadline) -> Result<Decided, Box<Failure>> {
        let mut inner = self.lock();
        if inner.phase != Phase::Open {
            let error = CallError::ConnectionLost { endpoint: Arc::clone(&self.endpoint), reason: "the stream has ended".into() };
            return Err(Failure::unseen(request, error));
        }
        let length = request.message().len();
        if inner.queued_bytes > 0 && inner.queued_bytes + length > QUEUE_LIMIT {
            let error = CallError::Overloaded { endpoint: Arc::clone(&self.endpoint), waiting: inner.queued_bytes };
            return Err(Failure::unseen(request, error));
        }
        let id = inner.push(request, deadline.instant());
        Ok(Decided { decisions: Arc::clone(self), id, done: false })
    }

    /// As if one had ended unanswered.
    pub(super) fn doubt(&self) {
        self.lock().silence.unanswered();
    }

    /// How many decisions it was given so far.
    pub(super) fn given(&self) -> u64 {
        self.lock().last_id
    }

    /// Takes no more decisions; when all are sent, the link's task says so to the service, which then ends the stream.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Open {
            inner.phase = Phase::Closing;
        }
        inner.wake_link();
    }

    /// Whether the service has answered on this stream: it has the method, and sees what it is sent.
    pub(super) fn is_taken(&self) -> bool {
        self.lock().taken
    }

    /// The stream is no more: ends what is left as `failure` says.
    fn end(&self, failure: impl Fn(Left) -> Box<Failure>) {
        let mut inner = self.lock();
        inner.phase = Phase::Ended;
        for waiting in inner.waiting.values_mut() {
            waiting.finish_with(|left| Err(failure(left)));
        }
        inner.queue.clear();
        (inner.queued, inner.queued_bytes) = (0, 0);
    }

    /// The connection is no more: what was not sent, or is `unseen` all the same, can be tried elsewhere.
    pub(super) fn lose(&self, reason: &str, unseen: bool) {
        let error = CallError::ConnectionLost { endpoint: Arc::clone(&self.endpoint), reason: reason.into() };
        self.end(|left| match left {
            Left::Queued(request) => Failure::unseen(request, error.clone()),
            Left::Sent(Some(request)) if unseen => Failure::unseen(request, error.clone()),
            Left::Sent(request) => Failure::seen(request, error.clone()),
        });
    }

    /// The service refused to open the stream, and with that what was to go on it. A service without the method has seen nothing.
    pub(super) fn refuse(&self, status: &Status) {
        let error = CallError::from_status(&self.endpoint, status.code(), status.message());
        self.end(|left| match left {
            Left::Queued(request) => Failure::unseen(request, error.clone()),
            Left::Sent(Some(request)) if status.code() == Code::Unimplemented => Failure::unseen(request, error.clone()),
            Left::Sent(request) => Failure::seen(request, error.clone()),
        });
    }

    /// Moves items to `out` until those are `room` bytes or nothing is left; `waker` is kept for when more comes.
    pub(super) fn fill(&self, out: &mut Items, room: usize, now: Instant, waker: &Waker) -> Filled {
        let mut inner = self.lock();
        inner.write_to(out, room, now, self.keep);
        // Also if there is more: a decision that comes may have an earlier deadline than all that wait.
        if !inner.link.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            inner.link = Some(waker.clone());
        }
        match inner.phase {
            _ if inner.queued > 0 || !inner.cancels.is_empty() => Filled::More,
            Phase::Open => Filled::All,
            Phase::Closing | Phase::Ended => Filled::AllAndClosing,
        }
    }

    /// Gives out the answers among `messages`.
    pub(super) fn answer(&self, messages: &mut Messages) -> Result<(), FramingError> {
        let mut inner = self.lock();
        while let Some(item) = messages.next()? {
            match Answer::decode(&item) {
                Ok(answer) => inner.answer(&self.endpoint, answer, self.keep),
                Err(error) => UnknownAnswer { endpoint: &self.endpoint, problem: &error }.record(),
            }
        }
        Ok(())
    }

    /// When [`expire`](Self::expire) may have something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lock().deadlines.next()
    }

    /// Ends the decisions whose deadline has come; the service is told of those that it has.
    pub(super) fn expire(&self, now: Instant) {
        let mut inner = self.lock();
        while let Some(id) = inner.deadlines.pop(now) {
            inner.give_up(id, |waiting| waiting.finish_with(|_| Err(CallError::Timeout.into())));
        }
    }
}

/// What [`Decisions::fill`] left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    More,
    All,
    AllAndClosing,
}

impl Inner {
    fn push(&mut self, request: Request, deadline: Instant) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        if self.queue.len() >= 64 + 2 * self.queued {
            self.queue.retain(|id| matches!(self.waiting.get(id), Some(Waiting { state: State::Queued { .. }, .. })));
        }
        self.queue.push_back(id);
        self.queued += 1;
        self.queued_bytes += request.message().len();
        self.deadlines.push(deadline, id, self.waiting.len(), |id| self.waiting.contains_key(&id));
        self.waiting.insert(id, Waiting { state: State::Queued { request, deadline }, task: None });
        self.wake_link();
        id
    }

    fn write_to(&mut self, out: &mut Items, room: usize, now: Instant, keep: bool) {
        while out.len() < room
            && let Some(id) = self.cancels.pop()
        {
            out.cancel(id);
        }
        while out.len() < room
            && let Some(id) = self.queue.pop_front()
        {
            let Some(waiting) = self.waiting.get_mut(&id) else { continue };
            let state = std::mem::replace(&mut waiting.state, State::Sent { request: None });
            let State::Queued { request, deadline } = state else {
                waiting.state = state;
                continue;
            };
            out.decision(id, deadline.saturating_duration_since(now), &request);
            self.queued -= 1;
            self.queued_bytes -= request.message().len();
            if keep || !self.taken {
                waiting.state = State::Sent { request: Some(request) };
            }
        }
    }

    /// From now on requests need not be kept in case that the service does not have the method.
    fn take(&mut self, keep: bool) {
        if std::mem::replace(&mut self.taken, true) || keep {
            return;
        }
        for waiting in self.waiting.values_mut() {
            if let State::Sent { request } = &mut waiting.state {
                *request = None;
            }
        }
    }

    fn answer(&mut self, endpoint: &Arc<str>, Answer { id, result }: Answer, keep: bool) {
        if !(1..=self.last_id).contains(&id) {
            return UnknownAnswer { endpoint, problem: &format_args!("the id {id} was never used") }.record();
        }
        self.take(keep);
        self.silence.answered();
        let Some(waiting @ Waiting { state: State::Sent { .. }, .. }) = self.waiting.get_mut(&id) else {
            return LateAnswer.record();
        };
        waiting.finish_with(|left| match result {
            AnswerResult::Response(response) => Ok(response),
            AnswerResult::Error(code, message, pushback) => Err(Box::new(Failure {
                error: CallError::from_status(endpoint, code, &message),
                request: left.into_request(),
                unseen: false,
                pushback,
            })),
            AnswerResult::Invalid(problem) => {
                Err(CallError::InvalidAnswer { endpoint: Arc::clone(endpoint), problem: problem.to_owned() }.into())
            }
        });
    }

    /// Lets `end` do away with a decision that may still be on its way, and keeps the books.
    fn give_up(&mut self, id: u64, end: impl FnOnce(&mut Waiting)) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        match &waiting.state {
            State::Queued { request, .. } => {
                self.queued -= 1;
                self.queued_bytes -= request.message().len();
            }
            State::Sent { .. } if self.phase != Phase::Ended => {
                self.cancels.push(id);
                self.silence.unanswered();
            }
            State::Sent { .. } | State::Done(_) => {}
        }
        end(waiting);
        if !self.cancels.is_empty() {
            self.wake_link();
        }
    }

    fn wake_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.wake();
        }
    }
}

impl Waiting {
    /// Ends it, unless it has ended.
    fn finish_with(&mut self, result: impl FnOnce(Left) -> Result<Bytes, Box<Failure>>) {
        let left = match std::mem::replace(&mut self.state, State::Sent { request: None }) {
            State::Queued { request, .. } => Left::Queued(request),
            State::Sent { request } => Left::Sent(request),
            done @ State::Done(_) => {
                self.state = done;
                return;
            }
        };
        self.state = State::Done(result(left));
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// A decision on the stream: its answer, or why there is none.
#[derive(Debug)]
pub(super) struct Decided {
    decisions: Arc<Decisions>,
    id: u64,
    done: bool,
}

impl Future for Decided {
    type Output = Result<Bytes, Box<Failure>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut inner = this.decisions.lock();
        let Some(waiting) = inner.waiting.get_mut(&this.id) else { return Poll::Pending };
        if !matches!(waiting.state, State::Done(_)) {
            if !waiting.task.as_ref().is_some_and(|kept| kept.will_wake(cx.waker())) {
                waiting.task = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        this.done = true;
        match inner.waiting.remove(&this.id) {
            Some(Waiting { state: State::Done(result), .. }) => Poll::Ready(result),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Decided {
    fn drop(&mut self) {
        if !self.done {
            let mut inner = self.decisions.lock();
            inner.give_up(self.id, |_| {});
            inner.waiting.remove(&self.id);
        }
    }
}
