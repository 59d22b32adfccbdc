//! The translation of a decision, step by step, for the benchmarks, the fuzz targets and a test of this package.
//!
//! No part of the API: it may change or go away in any release.

use std::time::Duration;

use bytes::Bytes;

use crate::bridge::request::{self, Origin, Tracing};
use crate::bridge::response::{self, Limits};
use crate::config::{RESERVED_PREFIX, TraceArgs};
use crate::grpc::Request;
use crate::grpc::item::{Answer, AnswerResult, Items};
use crate::spop::{Actions, Notify, Peer};
use crate::telemetry::TraceContext;

/// What translates the NOTIFYs of one connection to a stream of requests.
#[derive(Debug)]
pub struct Translator {
    origin: Origin,
    args: TraceArgs,
    items: Items,
}

impl Translator {
    /// For the NOTIFYs of `peer`.
    pub fn new(peer: &Peer) -> Self {
        Self { origin: Origin::of(peer), args: TraceArgs::default(), items: Items::default() }
    }

    /// All messages of `notify` as a `DecideRequest`.
    pub fn request(&self, notify: &Notify) -> Encoded {
        let mut trace = Tracing { args: &self.args, context: TraceContext::default() };
        let mut request = request::encode(notify, &self.origin, |_| true, &mut trace);
        if !trace.context.is_empty() {
            request.set_trace(Box::new(trace.context));
        }
        Encoded(request)
    }

    /// Appends the `Decision` of a request.
    pub fn item(&mut self, id: u64, remaining: Duration, request: &Encoded) {
        self.items.decision(id, remaining, &request.0);
    }

    /// What was appended: each a `DecideStreamRequest` behind gRPC's prefix.
    pub fn take_items(&mut self) -> Bytes {
        self.items.take()
    }
}

/// An encoded `DecideRequest`.
#[derive(Debug)]
pub struct Encoded(Request);

impl Encoded {
    /// Its bytes, without gRPC's prefix.
    pub fn message(&self) -> &[u8] {
        self.0.message()
    }
}

/// The bytes of a `DecideResponse`, or the code and the message of an error; the code is 0 for what the contract rules out.
pub type Outcome = Result<Bytes, (i32, String)>;

/// A `DecideStreamResponse`: its id and what it says.
///
/// # Errors
/// If it cannot be said whose answer it is: why.
pub fn answer(item: &Bytes) -> Result<(u64, Outcome), String> {
    let Answer { id, result } = Answer::decode(item).map_err(|error| error.to_string())?;
    let outcome = match result {
        AnswerResult::Response(response) => Ok(response),
        AnswerResult::Error(code, message, _) => Err((code.into(), message)),
        AnswerResult::Invalid(problem) => Err((0, problem.to_owned())),
    };
    Ok((id, outcome))
}

/// The actions of a `DecideResponse`, for a HAProxy whose variable prefix is not known and whose frames have room for all of them.
///
/// # Errors
/// If the response cannot be carried out: why.
pub fn response(response: &[u8]) -> Result<Actions, String> {
    let limits = Limits { prefix_length: RESERVED_PREFIX, room: usize::MAX, own: &[], allowed: None };
    response::decode(response, limits).map_err(|error| error.to_string())
}
