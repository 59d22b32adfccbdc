//! Both methods of the contract from one [`Decider`].

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{FutureExt, Stream};
use tonic::{Request, Response, Status, Streaming};

use super::stream::Answers;
use super::{Context, Decider};
use crate::pb::google::rpc;
use crate::pb::v1::decide_stream_response::Result as Outcome;
use crate::pb::v1::decision_service_server::{DecisionService, DecisionServiceServer};
use crate::pb::v1::{DecideRequest, DecideResponse, DecideStreamRequest, DecideStreamResponse};
use crate::shutdown::Shutdown;

/// Serves `Decide` and `DecideStream` from one handler.
#[derive(Debug)]
pub struct Decisions<D> {
    decider: Arc<D>,
    max_in_flight: usize,
    shutdown: Shutdown,
}

/// Above what a bridge has in flight on one stream in practice. With requests at HAProxy's frame size of 16 KiB, 256 MiB a stream.
const MAX_IN_FLIGHT: usize = 16_384;

impl<D: Decider> Decisions<D> {
    /// Decisions made by `decider`, an `async fn` for example.
    pub fn new(decider: D) -> Self {
        Self { decider: Arc::new(decider), max_in_flight: MAX_IN_FLIGHT, shutdown: Shutdown::new() }
    }

    /// How many decisions of one stream may be under way, 16,384 by default and at least one. At the bound the stream is not
    /// read, and the bridge notices. Decisions that are ready at once don't count.
    #[must_use]
    pub fn max_in_flight(mut self, decisions: usize) -> Self {
        self.max_in_flight = decisions.max(1);
        self
    }

    /// Ends streams when the service wants to go away: a stream has no end of its own, and tonic's and hyper's graceful
    /// shutdown wait for all streams.
    ///
    /// In [`Phase::Draining`](crate::shutdown::Phase::Draining) a stream ends with OK as soon as no decision on it is unanswered;
    /// in [`Phase::Closing`](crate::shutdown::Phase::Closing) it ends with UNAVAILABLE, whatever is unanswered. Before both, let
    /// the server send GOAWAY (which is what graceful shutdown does first): bridges then open streams elsewhere and close this
    /// one, and nothing is lost on the way.
    #[must_use]
    pub fn shutdown(mut self, shutdown: &Shutdown) -> Self {
        self.shutdown = shutdown.clone();
        self
    }

    /// The service as tonic's and hyper's servers take it.
    pub fn into_server(self) -> DecisionServiceServer<Self> {
        DecisionServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl<D: Decider> DecisionService for Decisions<D> {
    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let context = Context::of_call(metadata, Instant::now());
        let deadline = context.deadline();
        let decided = decide(&*self.decider, request, context);
        let response = match deadline {
            // tonic's transport does the same; hyper alone does not.
            Some(deadline) => tokio::time::timeout_at(deadline.into(), decided)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("not decided within grpc-timeout")))?,
            None => decided.await?,
        };
        Ok(Response::new(response))
    }

    type DecideStreamStream = Pin<Box<dyn Stream<Item = Result<DecideStreamResponse, Status>> + Send>>;

    async fn decide_stream(
        &self,
        request: Request<Streaming<DecideStreamRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let decider = Arc::clone(&self.decider);
        let decide = move |id, request, context| answer(Arc::clone(&decider), id, request, context);
        let answers = Answers::new(requests, metadata, decide, self.max_in_flight, &self.shutdown);
        Ok(Response::new(Box::pin(answers)))
    }
}

async fn answer<D: Decider>(decider: Arc<D>, id: u64, request: DecideRequest, context: Context) -> DecideStreamResponse {
    let result = match decide(&*decider, request, context).await {
        Ok(response) => Outcome::Response(response),
        Err(status) => Outcome::Error(error(&status)),
    };
    DecideStreamResponse { id, result: Some(result) }
}

/// A panic costs one decision: the panic hook has reported it, and the stream and its other decisions go on.
async fn decide<D: Decider>(decider: &D, request: DecideRequest, context: Context) -> Result<DecideResponse, Status> {
    // Inside an async block, so that a closure's panic before its future is caught as well.
    let decided = AssertUnwindSafe(async { decider.decide(request, context).await }).catch_unwind().await;
    decided.unwrap_or_else(|_| Err(Status::internal("the service panicked on this decision")))
}

/// Without details, which the bridge would ignore.
pub(super) fn error(status: &Status) -> rpc::Status {
    rpc::Status { code: status.code().into(), message: status.message().to_owned(), details: Vec::new() }
}
