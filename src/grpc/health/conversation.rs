//! The questions and answers on one connection.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use prost::Message;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Code, Status};

use super::Check;
use super::messages::{HealthCheckRequest, HealthCheckResponse};
use super::verdict::{Verdict, not_serving};
use crate::grpc::connect::Sender;
use crate::grpc::error::{chain, describe};
use crate::grpc::framing::Messages;
use crate::grpc::members::Health;
use crate::grpc::request::{Request, grpc_timeout, head};
use crate::grpc::response::{Ended, check_head, ended};
use crate::telemetry::event::HealthUnimplemented;

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Least time between two changes of a server's mind that count: one that flaps must not make the log and all workers flap as fast.
const SETTLE: Duration = Duration::from_millis(250);
/// Bytes that may come without completing an answer, which has a handful.
const MAX_PARTIAL: usize = 16 << 10;

pub(super) struct Conversation<'a> {
    pub(super) check: &'a Check,
    pub(super) verdict: &'a Verdict,
    pub(super) sender: Sender,
}

/// Why a call brings no more answers.
enum End {
    Unimplemented,
    Status(Status),
    /// It makes no sense to ask again on this connection.
    Broken(String),
}

impl End {
    fn describe(self) -> String {
        match self {
            Self::Unimplemented => "UNIMPLEMENTED".to_owned(),
            Self::Status(status) => describe(&status),
            Self::Broken(reason) => reason,
        }
    }
}

impl From<h2::Error> for End {
    fn from(error: h2::Error) -> Self {
        Self::Broken(chain(&error))
    }
}

impl From<Ended> for End {
    fn from(Ended { status, .. }: Ended) -> Self {
        match status.code() {
            Code::Unimplemented => Self::Unimplemented,
            _ => Self::Status(status),
        }
    }
}

impl Conversation<'_> {
    /// Returns why it is over.
    pub(super) async fn hold(self) -> String {
        match self.watch().await {
            End::Unimplemented => self.check_again_and_again().await,
            end => end.describe(),
        }
    }

    async fn watch(&self) -> End {
        let answers = async {
            let mut answers = self.call(WATCH, None).await?;
            let first = answers.next().await?;
            Ok((answers, first))
        };
        let (mut answers, first) = match timeout(self.check.config.timeout, answers).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(end)) => return end,
            Err(_) => return End::Broken(self.verdict.no_answer()),
        };
        let (mut newest, mut settled) = (Some(first), Instant::now());
        loop {
            tokio::select! {
                biased;
                next = answers.next() => match next {
                    Ok(next) => newest = Some(next),
                    // Its last word still counts.
                    Err(end) => {
                        if let Some(newest) = newest {
                            self.verdict.answer(newest);
                        }
                        // It has the method.
                        return End::Broken(format!("Watch ended: {}", end.describe()));
                    }
                },
                () = sleep_until(settled), if newest.is_some() => {
                    if newest.take().is_some_and(|newest| self.verdict.answer(newest)) {
                        settled = Instant::now() + SETTLE;
                    }
                }
            }
        }
    }

    async fn check_again_and_again(&self) -> String {
        loop {
            let asked = Instant::now();
            self.verdict.ask();
            match timeout(self.check.config.timeout, self.check_once()).await {
                Ok(Ok(health)) => _ = self.verdict.answer(health),
                Ok(Err(End::Unimplemented)) => {
                    self.log_missing();
                    self.verdict.answer(Health::Serving);
                    // Until the connection ends: then it may be another version of the service.
                    return std::future::pending().await;
                }
                // What `Watch` calls SERVICE_UNKNOWN.
                Ok(Err(End::Status(status))) if status.code() == Code::NotFound => {
                    self.verdict.answer(not_serving(&describe(&status)));
                }
                Ok(Err(End::Status(status))) => self.verdict.fail(describe(&status)),
                Ok(Err(End::Broken(reason))) => return reason,
                Err(_) => return self.verdict.no_answer(),
            }
            sleep_until(asked + self.check.config.interval).await;
        }
    }

    async fn check_once(&self) -> Result<Health, End> {
        let mut answers = self.call(CHECK, Some(self.check.config.timeout)).await?;
        answers.next().await
    }

    async fn call(&self, method: &'static str, deadline: Option<Duration>) -> Result<Answers, End> {
        let Self { check, verdict, sender } = self;
        let question = HealthCheckRequest { service: check.config.service.clone() };
        let (question, _) = Request::new(question.encoded_len(), |mut out| {
            out.extend_from_slice(&question.encode_to_vec());
            out
        })
        .into_parts();
        let mut head = head(&check.connector.method(&verdict.address, method), &check.headers);
        if let Some(deadline) = deadline {
            head.headers_mut().insert("grpc-timeout", grpc_timeout(deadline));
        }
        let mut ready = sender.clone().ready().await?;
        let (response, mut body) = ready.send_request(head, false)?;
        body.send_data(question.into(), true)?;
        let response = response.await?;
        check_head(&response)?;
        Ok(Answers { body: response.into_body(), messages: Messages::default(), partial: 0, end: None })
    }

    fn log_missing(&self) {
        if !self.check.said_missing.swap(true, Ordering::Relaxed) {
            HealthUnimplemented { backend: &self.check.backend, endpoint: &self.verdict.endpoint }.record();
        }
    }
}

/// The answers to one call.
struct Answers {
    body: RecvStream,
    messages: Messages,
    /// Bytes since the last whole message.
    partial: usize,
    /// Why there are no more, if answers came before that.
    end: Option<End>,
}

impl Answers {
    /// The newest answer of those that have arrived, once there is one.
    async fn next(&mut self) -> Result<Health, End> {
        std::future::poll_fn(|cx| self.poll_newest(cx)).await
    }

    fn poll_newest(&mut self, cx: &mut Context<'_>) -> Poll<Result<Health, End>> {
        let mut newest = None;
        while self.end.is_none()
            && let Poll::Ready(read) = self.poll_read(cx)
        {
            match read {
                Ok(answer) => newest = answer.or(newest),
                Err(end) => self.end = Some(end),
            }
        }
        match newest {
            Some(newest) => Poll::Ready(Ok(newest)),
            None => self.end.take().map_or(Poll::Pending, |end| Poll::Ready(Err(end))),
        }
    }

    /// Reads what comes next; its last message, if it completes one.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Health>, End>> {
        let Some(chunk) = std::task::ready!(self.body.poll_data(cx)) else {
            let trailers = std::task::ready!(self.body.poll_trailers(cx));
            return Poll::Ready(Err(trailers.map_or_else(End::from, |trailers| ended(trailers.as_ref()).into())));
        };
        Poll::Ready(chunk.map_err(End::from).and_then(|chunk| self.take(chunk)))
    }

    fn take(&mut self, chunk: Bytes) -> Result<Option<Health>, End> {
        let _ = self.body.flow_control().release_capacity(chunk.len());
        self.partial += chunk.len();
        self.messages.push(chunk);
        let mut newest = None;
        while let Some(message) = self.messages.next().map_err(|error| End::Broken(error.to_string()))? {
            self.partial = 0;
            let answer = HealthCheckResponse::decode(message).map_err(|error| End::Broken(format!("not an answer: {error}")))?;
            newest = Some(answer.into());
        }
        if self.partial > MAX_PARTIAL {
            return Err(End::Broken(format!("an answer of more than {MAX_PARTIAL} bytes")));
        }
        Ok(newest)
    }
}
