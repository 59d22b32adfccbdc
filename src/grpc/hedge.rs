//! Hedging (gRFC A6): when an endpoint is slow to answer, a second one is asked as well, and the first answer counts. What comes too late is cancelled.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::choice::Picked;
use super::error::{CallError, Failure, Pushback};
use super::pool::{Pool, Tried};
use super::request::Request;
use super::trail::Trail;
use crate::config::{HedgingConfig, HedgingDelay};
use crate::deadline::Deadline;
use crate::telemetry::metrics::Reason;

impl Pool {
    /// Asks endpoint after endpoint until one has answered.
    pub(super) async fn hedged(
        &self,
        hedging: HedgingConfig,
        request: Request,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, CallError> {
        let first = self.endpoints.pick(deadline, &[]).await?;
        let mut tried = Tried::from_iter([Arc::clone(&first.endpoint)]);
        let mut running = FuturesUnordered::new();
        running.push(self.hedge(first, request.clone(), deadline, trail));
        let delay = match hedging.delay {
            HedgingDelay::Fixed(delay) => Some(delay),
            HedgingDelay::P95 => self.latency.as_ref().and_then(super::latency::Latency::p95),
        };
        // Without a delay there is only another attempt when one has failed.
        let timer = tokio::time::sleep(delay.unwrap_or_default());
        let mut timer = std::pin::pin!(timer);
        let mut left = hedging.max_attempts - 1;
        let mut is_timed = delay.is_some();
        let mut reason = None;
        loop {
            tokio::select! {
                biased;
                // Never empty: what runs ends at the deadline at the latest.
                Some(result) = running.next() => {
                    let mut failure = match result {
                        Ok(response) => return Ok(response),
                        Err(failure) => failure,
                    };
                    let retryable = failure.unseen || self.is_retryable(&failure);
                    if running.is_empty() && retryable {
                        failure.request = Some(request);
                        return self.again(tried, failure, deadline, trail).await;
                    }
                    // The service's own word, or the end of time for all of them. What cannot be read may be readable from another.
                    if running.is_empty() || !retryable && matches!(failure.error, CallError::Status { .. }) {
                        return Err(reason.unwrap_or(failure.error));
                    }
                    match failure.pushback {
                        Some(Pushback::Never) => left = 0,
                        Some(Pushback::After(delay)) if delay < deadline.budget(Instant::now()) => {
                            timer.as_mut().reset(tokio::time::Instant::now() + delay);
                            is_timed = true;
                        }
                        Some(Pushback::After(_)) => left = 0,
                        None if retryable => {
                            timer.as_mut().reset(tokio::time::Instant::now());
                            is_timed = true;
                        }
                        None => {}
                    }
                    reason.get_or_insert(failure.error);
                }
                () = &mut timer, if is_timed && left > 0 => {
                    left -= 1;
                    match delay {
                        Some(delay) => timer.as_mut().reset(tokio::time::Instant::now() + delay),
                        None => is_timed = false,
                    }
                    match self.another(&tried) {
                        Some(next) => {
                            tried.push(Arc::clone(&next.endpoint));
                            running.push(self.hedge(next, request.clone(), deadline, trail));
                        }
                        None => left = 0,
                    }
                }
            }
        }
    }

    /// An endpoint that has not been asked, if there is one to be had at once and the budget allows it.
    fn another(&self, tried: &Tried) -> Option<Picked<'_>> {
        let now = Instant::now();
        let picked = self.endpoints.pick_now(now, tried).ok().flatten().filter(|picked| !picked.is_among(tried))?;
        self.budget.withdraw(now).then(|| {
            let mut picked = picked;
            picked.reason = Reason::Hedge;
            picked
        })
    }

    async fn hedge<'a>(
        &'a self,
        mut picked: Picked<'a>,
        request: Request,
        deadline: Deadline,
        trail: &Trail,
    ) -> Result<Bytes, Box<Failure>> {
        self.send(&mut picked, request, deadline, trail).await
    }
}
