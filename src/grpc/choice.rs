//! Which endpoint a decision goes to: the less loaded of two that are drawn (power of two choices), among those in the best standing.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::Code;

use super::attempt::Attempt;
use super::channel::Carrier;
use super::endpoint::{Endpoint, Offer};
use super::endpoints::{Endpoints, Set};
use super::error::{CallError, Failure};
use super::members::Health;
use super::outlier::Standing;
use super::request::Request;
use super::trail::Trail;
use crate::deadline::Deadline;
use crate::telemetry::metrics::{BackendMetrics, Reason};

/// Why an endpoint is not the first choice. Better is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It was ejected and its time is over: one decision finds out.
    Due,
    Good,
    /// Its connection is going away, or it has not said yet that it is healthy.
    Doubtful,
    /// Better than none.
    Ejected,
    /// This decision has been there.
    Tried,
}

impl Endpoints {
    /// Waits while some endpoint is connecting and none is connected. Endpoints that were `tried` come last.
    pub(super) async fn pick(&self, deadline: Deadline, tried: &[Arc<Endpoint>]) -> Result<Picked<'_>, CallError> {
        let picked = async {
            loop {
                let changed = self.context.changed.notified();
                let mut changed = std::pin::pin!(changed);
                // Registered before looking, so that no change is missed in between.
                changed.as_mut().enable();
                if let Some(picked) = self.pick_now(Instant::now(), tried)? {
                    return Ok(picked);
                }
                changed.await;
            }
        };
        tokio::time::timeout_at(deadline.instant().into(), picked).await.unwrap_or(Err(CallError::Timeout))
    }

    /// The endpoint for a decision; `None` while there may be one in a moment.
    pub(super) fn pick_now(&self, now: Instant, tried: &[Arc<Endpoint>]) -> Result<Option<Picked<'_>>, CallError> {
        let set = self.set.load();
        if let Some((endpoint, carrier)) = self.draw(&set, now, tried) {
            return Ok(Some(self.begin(now, endpoint, carrier)));
        }
        let mut best: Option<(Rank, f64, &Arc<Endpoint>, Carrier)> = None;
        let mut problem = None;
        let mut connecting = set.resolving;
        let start = self.next_turn() % set.list.len().max(1);
        let (before, after) = set.list.split_at(start);
        for endpoint in after.iter().chain(before) {
            match self.candidate(endpoint, now, tried) {
                Candidate::Ready(rank, carrier) => {
                    let measure = endpoint.load.measure(now);
                    let order =
                        |(best, least, ..): &(Rank, f64, &Arc<Endpoint>, Carrier)| rank.cmp(best).then(measure.total_cmp(least));
                    if best.as_ref().is_none_or(|best| order(best) == Ordering::Less) {
                        best = Some((rank, measure, endpoint, carrier));
                    }
                }
                Candidate::Connecting => connecting = true,
                Candidate::Failed(reason) => {
                    problem.get_or_insert_with(|| (Arc::clone(&endpoint.target.name), reason));
                }
            }
        }
        if let Some((.., endpoint, carrier)) = best {
            return Ok(Some(self.begin(now, endpoint, carrier)));
        }
        let unresolved = || set.unresolved.as_ref().map(|name| (Arc::clone(&name.endpoint), Arc::clone(&name.reason)));
        match problem.or_else(unresolved) {
            Some((endpoint, reason)) if !connecting => Err(CallError::NotConnected { endpoint, reason }),
            _ => Ok(None),
        }
    }

    /// The better of two that are drawn, if both are good. Otherwise all must be looked at; two at most are looked at anyway.
    fn draw<'a>(&self, set: &'a Set, now: Instant, tried: &[Arc<Endpoint>]) -> Option<(&'a Arc<Endpoint>, Carrier)> {
        let count = set.list.len();
        if count < 3 || !tried.is_empty() {
            return None;
        }
        let first = fastrand::usize(..count);
        let second = (first + fastrand::usize(1..count)) % count;
        let good = |index: usize| {
            let endpoint = set.list.get(index)?;
            match self.candidate(endpoint, now, tried) {
                Candidate::Ready(Rank::Good, carrier) => Some((endpoint, carrier, endpoint.load.measure(now))),
                _ => None,
            }
        };
        let (first, second) = (good(first)?, good(second)?);
        let (endpoint, carrier, _) = if second.2 < first.2 { second } else { first };
        Some((endpoint, carrier))
    }

    fn candidate(&self, endpoint: &Arc<Endpoint>, now: Instant, tried: &[Arc<Endpoint>]) -> Candidate {
        let health = match &*endpoint.health() {
            Health::NotServing(reason) => return Candidate::Failed(Arc::clone(reason)),
            Health::Unknown => Rank::Doubtful,
            Health::Serving => Rank::Good,
        };
        let (carrier, connection) = match endpoint.offer(&self.context) {
            Offer::Ready(carrier) => (carrier, Rank::Good),
            Offer::Draining(carrier) => (carrier, Rank::Doubtful),
            Offer::Connecting => return Candidate::Connecting,
            Offer::Failed(reason) => return Candidate::Failed(reason),
        };
        let rank = match endpoint.outlier.standing(now) {
            _ if tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint)) => Rank::Tried,
            Standing::In => health.max(connection),
            Standing::Due => Rank::Due,
            Standing::Out => Rank::Ejected,
        };
        Candidate::Ready(rank, carrier)
    }

    fn begin(&self, now: Instant, endpoint: &Arc<Endpoint>, carrier: Carrier) -> Picked<'_> {
        endpoint.load.begin(now);
        let probe = endpoint.outlier.begin(now);
        let (endpoint, reason) = (Arc::clone(endpoint), Reason::First);
        Picked { endpoints: self, endpoint, carrier, begun: now, reason, attempt: None, probe, ended: false }
    }
}

enum Candidate {
    Ready(Rank, Carrier),
    Connecting,
    Failed(Arc<str>),
}

/// An endpoint chosen for one attempt at a decision, which counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Picked<'a> {
    endpoints: &'a Endpoints,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) carrier: Carrier,
    pub(super) begun: Instant,
    pub(super) reason: Reason,
    /// Between its begin and its end.
    attempt: Option<Attempt>,
    /// It is the one by which an ejected endpoint may come back.
    probe: bool,
    ended: bool,
}

impl Picked<'_> {
    /// Whether the decision has been there before.
    pub(super) fn is_among(&self, tried: &[Arc<Endpoint>]) -> bool {
        tried.iter().any(|tried| Arc::ptr_eq(tried, &self.endpoint))
    }

    /// `request` is about to be sent. The service sees the span of this attempt in it.
    pub(super) fn start(&mut self, request: &mut Request, trail: &Trail) {
        self.attempt = Some(Attempt::begin(&self.carrier, self.metrics(), self.reason, request, trail));
    }

    /// The attempt has ended. Says how long it took.
    pub(super) fn end(&mut self, failure: Option<&Failure>, deadline: Deadline) -> (Instant, Duration) {
        self.ended = true;
        let now = Instant::now();
        let latency = now.saturating_duration_since(self.begun);
        let Self { endpoint, .. } = self;
        let answered = match failure {
            None => {
                endpoint.load.observe(now, latency);
                Some(true)
            }
            Some(failure) => match failure.blame(deadline.budget(self.begun)) {
                Blame::Nobody => None,
                Blame::Request => {
                    endpoint.load.observe(now, latency);
                    Some(true)
                }
                Blame::Load => {
                    endpoint.load.penalize(now, latency, failure.delay());
                    None
                }
                Blame::Endpoint => {
                    endpoint.load.penalize(now, latency, failure.delay());
                    Some(false)
                }
            },
        };
        self.endpoints.record(now, endpoint, self.probe, answered);
        let code = failure.map_or(Code::Ok, |failure| failure.error.code());
        self.tell(latency, code, failure.map(|failure| &failure.error as _));
        (now, latency)
    }
}

impl Picked<'_> {
    fn metrics(&self) -> &BackendMetrics {
        &self.endpoints.context.backend.metrics
    }

    fn tell(&mut self, latency: Duration, code: Code, problem: Option<&dyn std::fmt::Display>) {
        if let Some(attempt) = self.attempt.take() {
            attempt.end(&self.endpoint, self.metrics(), self.begun, latency, code, problem);
        }
    }
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        self.endpoint.load.end();
        if !self.ended {
            // Given up: HAProxy does not wait any more, or another endpoint was quicker. That it took so long is known nevertheless.
            let now = Instant::now();
            let waited = now.saturating_duration_since(self.begun);
            if waited > self.endpoint.load.expected(now) {
                self.endpoint.load.raise(now, waited);
            }
            self.endpoints.record(now, &self.endpoint, self.probe, None);
            self.tell(waited, Code::Cancelled, Some(&"nobody waits any more"));
        }
    }
}

/// What a failure says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nothing: it has not seen the request, or had no time for it.
    Nobody,
    /// It works: it did not like what it was asked.
    Request,
    /// It has too much to do.
    Load,
    Endpoint,
}
