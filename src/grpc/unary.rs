//! One decision, one call.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use tonic::Code;

use super::connect::Sender;
use super::error::{CallError, Failure, was_refused};
use super::framing::Messages;
use super::request::{Request, grpc_timeout, head, insert_trace};
use super::response::{Ended, check_head, ended};
use super::silence::Silence;
use super::target::Target;
use crate::deadline::Deadline;

/// Calls `Decide`. At the deadline, or when the returned future is dropped, the call is cancelled.
pub(super) async fn call(
    target: &Target,
    sender: Sender,
    unanswered: Unanswered<'_>,
    request: Request,
    deadline: Deadline,
) -> Result<Bytes, Box<Failure>> {
    let attempt = attempt(target, sender, unanswered, request, deadline);
    match tokio::time::timeout_at(deadline.instant().into(), attempt).await {
        Ok(result) => result,
        Err(_) => Err(CallError::Timeout.into()),
    }
}

async fn attempt(
    target: &Target,
    sender: Sender,
    mut unanswered: Unanswered<'_>,
    request: Request,
    deadline: Deadline,
) -> Result<Bytes, Box<Failure>> {
    let name = &target.name;
    let (framed, trace) = request.into_parts();
    let framed = Bytes::from(framed);
    let again = || Request::from_parts(framed.clone().into(), trace.clone());
    let unseen = |error: &h2::Error| Failure::unseen(again(), CallError::broken(name, error));
    let failed = |error: h2::Error| {
        if was_refused(&error) { unseen(&error) } else { Failure::seen(Some(again()), CallError::broken(name, &error)) }
    };
    let mut head = head(&target.decide, &target.headers);
    // gRPC's own deadline: the service can give up when nobody waits any more.
    head.headers_mut().insert("grpc-timeout", grpc_timeout(deadline.budget(Instant::now())));
    if let Some(trace) = &trace {
        insert_trace(head.headers_mut(), trace);
    }
    let mut sender = sender.ready().await.map_err(|error| unseen(&error))?;
    let (response, mut body) = sender.send_request(head, false).map_err(|error| unseen(&error))?;
    // The handle would be one more reason to keep the connection.
    drop(sender);
    body.send_data(framed.clone(), true).map_err(failed)?;
    let response = response.await.map_err(failed)?;
    unanswered.answered();
    let answer = match check_head(&response) {
        Ok(()) => read(name, response.into_body()).await,
        Err(ended) => Err(rejected(name, &ended)),
    };
    answer.map_err(|failure| Box::new(Failure { request: Some(again()), ..*failure }))
}

/// A call among those of its connection. Dropped, it adds to the connection's silence, unless it was answered.
pub(super) struct Unanswered<'a> {
    silence: &'a Silence,
    answered: bool,
    length: usize,
}

impl<'a> Unanswered<'a> {
    pub(super) fn new(silence: &'a Silence, request: &Request) -> Self {
        silence.begin();
        Self { silence, answered: false, length: request.message().len() }
    }

    fn answered(&mut self) {
        self.answered = true;
        self.silence.answered();
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.silence.end();
        if !self.answered {
            self.silence.unanswered_call(self.length);
        }
    }
}

/// The only message of an answer, and its status.
async fn read(endpoint: &Arc<str>, mut body: RecvStream) -> Result<Bytes, Box<Failure>> {
    let invalid = |problem: String| CallError::InvalidAnswer { endpoint: Arc::clone(endpoint), problem };
    let mut messages = Messages::default();
    let mut answer = None;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| CallError::broken(endpoint, &error))?;
        let _ = body.flow_control().release_capacity(chunk.len());
        messages.push(chunk);
        while let Some(message) = messages.next().map_err(|error| invalid(error.to_string()))? {
            // gRPC: not one of them may count, since it cannot be said which.
            if answer.replace(message).is_some() {
                return Err(invalid(MORE_MESSAGES.to_owned()).into());
            }
        }
    }
    let trailers = body.trailers().await.map_err(|error| CallError::broken(endpoint, &error))?;
    let ended = ended(trailers.as_ref());
    match (ended.status.code(), messages.finish(), answer) {
        (Code::Ok, Ok(()), Some(answer)) => Ok(answer),
        (Code::Ok, Ok(()), None) => Err(invalid(NO_MESSAGE.to_owned()).into()),
        (Code::Ok, Err(error), _) => Err(invalid(error.to_string()).into()),
        _ => Err(rejected(endpoint, &ended)),
    }
}

const NO_MESSAGE: &str = "OK without a message";
const MORE_MESSAGES: &str = "more than one message in the answer to a call";

fn rejected(endpoint: &Arc<str>, ended: &Ended) -> Box<Failure> {
    let error = match ended.status.code() {
        Code::Ok => CallError::InvalidAnswer { endpoint: Arc::clone(endpoint), problem: NO_MESSAGE.to_owned() },
        code => CallError::from_status(endpoint, code, ended.status.message()),
    };
    Box::new(Failure { error, request: None, unseen: false, pushback: ended.pushback })
}
