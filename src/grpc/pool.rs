//! A worker's way to one backend: what may go there, to which endpoint, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;
use tonic::Code;

use super::adaptive::Adaptive;
use super::admission::{Admitted, Engine, Full};
use super::backend::Backend;
use super::backoff::jittered;
use super::budget::Budget;
use super::channel::Carrier;
use super::choice::Picked;
use super::context::Context;
use super::endpoint::Endpoint;
use super::endpoints::Endpoints;
use super::error::{CallError, Failure, Limited, Pushback};
use super::latency::Latency;
use super::request::Request;
use super::trail::Trail;
use super::unary::{self, Unanswered};
use crate::config::HedgingDelay;
use crate::deadline::Deadline;
use crate::telemetry::metrics::{BackendMetrics, Reason};
use crate::telemetry::trace::SpanContext;

/// How often a request is sent that nobody has seen. Connections rarely end twice in a row; a peer that refuses all streams must not
/// make us spin until the deadline.
const MAX_UNSEEN: usize = 2;
/// Before a decision goes to an endpoint where it has failed, since there is no other: doubled from time to time.
const RETRY_BACKOFF: Duration = Duration::from_millis(5);

/// A worker's connections to one backend. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) backend: Arc<Backend>,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) budget: Budget,
    /// With this worker's own decisions in flight.
    pub(super) adaptive: Option<(Adaptive, AtomicUsize)>,
    pub(super) latency: Option<Latency>,
    retryable: Vec<Code>,
}

/// Where a decision has been.
pub(super) type Tried = SmallVec<[Arc<Endpoint>; 2]>;

impl Pool {
    /// Starts connecting to all endpoints of `backend` on the current runtime. `speaks` is whether this worker tells the log.
    pub(super) fn start(backend: &Arc<Backend>, speaks: bool) -> Self {
        let (now, config) = (Instant::now(), &backend.config);
        let adaptive = config.adaptive_limit.map(|limit| (Adaptive::new(limit, config.max_in_flight, now), AtomicUsize::new(0)));
        let by_latency = config.hedging.filter(|hedging| hedging.delay == HedgingDelay::P95);
        let retryable = config.retry.retryable_status_codes.iter().map(|code| Code::from_bytes(code.number().as_bytes()));
        Self {
            endpoints: Endpoints::start(Context::new(backend, speaks)),
            budget: Budget::new(&config.retry_budget, now),
            latency: by_latency.and_then(|_| Latency::new(now)),
            retryable: retryable.collect(),
            adaptive,
            backend: Arc::clone(backend),
        }
    }

    /// The engine with this id, among which the backend's room is shared. To be kept as long as a connection of it.
    pub(crate) fn engine(&self, id: &Bytes) -> Arc<Engine> {
        self.backend.admission.engine(id)
    }

    /// Waits until the first attempt to connect to each endpoint has ended, well or not.
    pub(crate) async fn settled(&self) {
        self.endpoints.settled().await;
    }

    /// Takes leave of the services. No decision may be under way any more.
    pub(crate) async fn shut_down(&self) {
        self.endpoints.context.shut_down().await;
    }

    /// Brings the bytes of a request to an endpoint, and returns those of the response. At the deadline, or when the returned future is
    /// dropped, the decision is cancelled.
    pub(crate) async fn decide(
        &self,
        engine: &Engine,
        request: Request,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, CallError> {
        let start = Instant::now();
        let mut called = Called { metrics: &self.backend.metrics, trail, start, span: request.span(), code: Code::Cancelled };
        let result = self.decide_from(start, engine, request, deadline, trail).await;
        called.code = result.as_ref().err().map_or(Code::Ok, CallError::code);
        result
    }

    async fn decide_from(
        &self,
        now: Instant,
        engine: &Engine,
        request: Request,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, CallError> {
        let _admitted = self.admit(engine, &request)?;
        let _entered = self.enter()?;
        self.budget.deposit();
        match &self.backend.config.hedging {
            None => self.attempts(now, request, deadline, trail).await,
            Some(hedging) => Box::pin(self.hedged(*hedging, request, deadline, trail)).await,
        }
    }

    fn admit<'a>(&'a self, engine: &'a Engine, request: &Request) -> Result<Admitted<'a>, CallError> {
        self.backend.admission.admit(engine, request.message().len()).map_err(|full| match full {
            Full::Decisions(limit) => self.full(Limited::Decisions(limit), "the most that max_in_flight allows this engine"),
            Full::Bytes(limit) => self.full(Limited::Bytes(limit), "the most that a backend may hold"),
        })
    }

    fn enter(&self) -> Result<Option<Entered<'_>>, CallError> {
        let Some((adaptive, in_flight)) = &self.adaptive else { return Ok(None) };
        let entered = Entered(in_flight);
        let limit = adaptive.limit();
        if in_flight.fetch_add(1, Ordering::Relaxed) < limit {
            return Ok(Some(entered));
        }
        Err(self.full(Limited::Decisions(limit), "the adaptive limit of this worker"))
    }

    fn full(&self, limit: Limited, advice: &'static str) -> CallError {
        CallError::Full { backend: Arc::clone(&self.backend.config.name), limit, advice }
    }

    /// One attempt after the other, until there is an answer or no sense in another one.
    async fn attempts(&self, now: Instant, request: Request, deadline: Deadline, trail: &Trail) -> Result<Bytes, CallError> {
        let mut picked = match self.endpoints.pick_now(now, &[])? {
            Some(picked) => picked,
            // Rare, and large: boxed, so that every other decision need not carry room for it.
            None => Box::pin(self.endpoints.pick(deadline, &[])).await?,
        };
        match self.send(&mut picked, request, deadline, trail).await {
            Ok(response) => Ok(response),
            Err(failure) => {
                let tried = Tried::from_iter([Arc::clone(&picked.endpoint)]);
                drop(picked);
                Box::pin(self.again(tried, failure, deadline, trail)).await
            }
        }
    }

    /// Retries (gRFC A6) what has failed at the endpoints that were `tried`.
    pub(super) async fn again(
        &self,
        mut tried: Tried,
        mut failure: Box<Failure>,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, CallError> {
        for attempt in 1..self.backend.config.retry.max_attempts {
            let Some(request) = failure.request.take().filter(|_| self.may_retry(&failure)) else { break };
            // Why it failed tells more than that there is no time, or nobody left.
            if !pause(failure.delay().unwrap_or_default(), deadline).await {
                break;
            }
            let Ok(mut picked) = self.endpoints.pick(deadline, &tried).await else { break };
            if picked.is_among(&tried) && failure.pushback.is_none() {
                // Nowhere else to go, and it needs a moment.
                drop(picked);
                if !pause(jittered(RETRY_BACKOFF.saturating_mul(1 << attempt.min(8))), deadline).await {
                    break;
                }
                let Ok(next) = self.endpoints.pick(deadline, &tried).await else { break };
                picked = next;
            }
            picked.reason = Reason::Retry;
            match self.send(&mut picked, request, deadline, trail).await {
                Ok(response) => return Ok(response),
                Err(next) => failure = next,
            }
            tried.push(Arc::clone(&picked.endpoint));
        }
        Err(failure.error)
    }

    /// Sends `request` until a service has seen it: to the endpoint that was picked, or to those that are put in its place.
    pub(super) async fn send<'a>(
        &'a self,
        picked: &mut Picked<'a>,
        request: Request,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, Box<Failure>> {
        match self.attempt(picked, request, deadline, trail).await {
            Err(failure) if failure.unseen => Box::pin(self.resend(picked, failure, deadline, trail)).await,
            result => result,
        }
    }

    /// What no service has seen does not count as an attempt; gRPC calls it a transparent retry.
    async fn resend<'a>(
        &'a self,
        picked: &mut Picked<'a>,
        mut failure: Box<Failure>,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, Box<Failure>> {
        let mut full = Tried::new();
        for _ in 0..MAX_UNSEEN {
            if matches!(failure.error, CallError::Overloaded { .. }) {
                full.push(Arc::clone(&picked.endpoint));
            }
            let Some(request) = failure.request.take() else { break };
            let Ok(next) = self.endpoints.pick(deadline, &full).await else { break };
            *picked = next;
            if picked.is_among(&full) {
                break;
            }
            picked.reason = Reason::Transparent;
            match self.attempt(picked, request, deadline, trail).await {
                Err(next) if next.unseen => failure = next,
                result => return result,
            }
        }
        Err(failure)
    }

    /// Whether a request that a service may have seen is sent again. Takes from the budget.
    fn may_retry(&self, failure: &Failure) -> bool {
        self.is_retryable(failure) && self.budget.withdraw(Instant::now())
    }

    pub(super) fn is_retryable(&self, failure: &Failure) -> bool {
        let code = match &failure.error {
            // A call that was reset may be answered elsewhere, as one whose connection broke.
            CallError::ConnectionLost { .. } | CallError::Reset { .. } => Code::Unavailable,
            CallError::Status { code, .. } => *code,
            _ => return false,
        };
        failure.pushback != Some(Pushback::Never) && self.retryable.contains(&code)
    }

    /// Sends `request` to the endpoint that was picked, and keeps the books.
    async fn attempt(
        &self,
        picked: &mut Picked<'_>,
        mut request: Request,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, Box<Failure>> {
        picked.start(&mut request, trail);
        let result = match &picked.carrier {
            Carrier::Stream(decisions) => match decisions.decide(request, deadline) {
                Ok(decided) => decided.await,
                Err(failure) => Err(failure),
            },
            Carrier::Calls(sender, calls) => {
                let answered = Unanswered::new(calls, &request);
                Box::pin(unary::call(&picked.endpoint.target, sender.clone(), answered, request, deadline)).await
            }
        };
        let (now, latency) = picked.end(result.as_ref().err().map(|failure| &**failure), deadline);
        self.observe(now, latency, &result);
        trail.end(now, &picked.endpoint.target.name, result.is_ok());
        result
    }

    fn observe(&self, now: Instant, latency: Duration, result: &Result<Bytes, Box<Failure>>) {
        if let (Some(known), Ok(_)) = (&self.latency, result) {
            known.observe(now, latency);
        }
        if let Some((adaptive, in_flight)) = &self.adaptive {
            let overloaded = match result {
                Ok(_) => false,
                // It says nothing about the time that an answer takes.
                Err(failure) if failure.unseen => return,
                Err(failure) => {
                    matches!(failure.error, CallError::Timeout | CallError::Status { code: Code::ResourceExhausted, .. })
                }
            };
            adaptive.observe(now, latency, in_flight.load(Ordering::Relaxed), overloaded);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.endpoints.context.abort();
    }
}

/// Waits, unless there is no time left afterwards.
async fn pause(delay: Duration, deadline: Deadline) -> bool {
    let enough = delay < deadline.budget(Instant::now());
    if enough && !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    enough
}

/// A call by gRFC A66, which counts when it ends: cancelled, unless something else is known by then.
struct Called<'a> {
    metrics: &'a BackendMetrics,
    trail: &'a Trail,
    start: Instant,
    span: Option<SpanContext>,
    code: Code,
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        let duration = self.trail.ended().saturating_duration_since(self.start);
        self.metrics.called(self.trail.method(), self.code, duration, self.span);
    }
}

/// A decision among those of the worker, until dropped.
struct Entered<'a>(&'a AtomicUsize);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
