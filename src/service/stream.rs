//! One `DecideStream`: reads items, has them decided, and sends each answer when it is ready.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::task::coop;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::Context;
use super::decisions::error;
use super::in_flight::InFlight;
use crate::pb::v1::decide_stream_request::Item;
use crate::pb::v1::decide_stream_response::Result as Outcome;
use crate::pb::v1::{DecideRequest, DecideStreamRequest, DecideStreamResponse, Decision};
use crate::shutdown::{Phase, Shutdown};

/// The answers of one stream, from its requests.
///
/// All of it happens when the server polls for the next answer: answers that are ready in one turn leave together, and a bridge
/// that does not read is not read from either. Dropped with the stream, it takes all its decisions along.
pub(super) struct Answers<R, C, F> {
    /// `None` once the bridge has closed its side.
    requests: Option<R>,
    metadata: Arc<MetadataMap>,
    decide: C,
    in_flight: InFlight<F>,
    max_in_flight: usize,
    phases: Phases,
}

/// Why no request can be read now.
enum Unread {
    /// The bridge has sent none, or will send no more.
    NothingThere,
    /// There may be some: the stream has had its turn, or has reached its bound.
    Later,
}

impl<R, C, F> Answers<R, C, F>
where
    R: Stream<Item = Result<DecideStreamRequest, Status>> + Unpin,
    C: Fn(u64, DecideRequest, Context) -> F + Unpin,
    F: Future<Output = DecideStreamResponse>,
{
    pub(super) fn new(requests: R, metadata: MetadataMap, decide: C, max_in_flight: usize, shutdown: &Shutdown) -> Self {
        let (metadata, phases) = (Arc::new(metadata), Phases::new(shutdown));
        Self { requests: Some(requests), metadata, decide, in_flight: InFlight::new(), max_in_flight, phases }
    }

    /// Reads until there is an answer, or the end of the stream by an error.
    fn read(&mut self, cx: &mut Task<'_>) -> Result<Result<DecideStreamResponse, Status>, Unread> {
        while self.in_flight.len() < self.max_in_flight {
            let Some(requests) = &mut self.requests else { return Err(Unread::NothingThere) };
            // A bridge that sends without a pause must not keep a thread of the runtime to itself.
            let Poll::Ready(turn) = coop::poll_proceed(cx) else { return Err(Unread::Later) };
            match requests.poll_next_unpin(cx) {
                Poll::Pending => return Err(Unread::NothingThere),
                Poll::Ready(None) => self.requests = None,
                Poll::Ready(Some(Err(status))) => return Ok(Err(status)),
                Poll::Ready(Some(Ok(request))) => {
                    turn.made_progress();
                    if let Some(answer) = self.handle_item(request.item, cx) {
                        return Ok(Ok(answer));
                    }
                }
            }
        }
        Err(Unread::Later)
    }

    /// The answer, if there is one at once.
    fn handle_item(&mut self, item: Option<Item>, cx: &mut Task<'_>) -> Option<DecideStreamResponse> {
        match item {
            Some(Item::Decision(decision)) => self.handle_decision(decision, cx),
            Some(Item::Cancel(cancel)) => {
                self.in_flight.cancel(cancel.id);
                None
            }
            // From a later version of the contract.
            None => None,
        }
    }

    fn handle_decision(&mut self, mut decision: Decision, cx: &mut Task<'_>) -> Option<DecideStreamResponse> {
        let id = decision.id;
        // No bridge repeats an id. One answer is what it gets.
        if self.in_flight.holds(id) {
            return None;
        }
        let context = Context::of_item(&mut decision, Arc::clone(&self.metadata), Instant::now());
        let Some(request) = decision.request else {
            let status = Status::invalid_argument("the decision came without a request");
            return Some(DecideStreamResponse { id, result: Some(Outcome::Error(error(&status))) });
        };
        let deadline = context.deadline();
        let decided = (self.decide)(id, request, context);
        self.in_flight.start(id, deadline, decided, cx)
    }

    /// Whether the stream has come to its end, and how.
    fn poll_end(&mut self, unread: &Unread, cx: &mut Task<'_>) -> Poll<Option<Status>> {
        let quiet = matches!(unread, Unread::NothingThere) && self.in_flight.len() == 0;
        match self.phases.poll(cx) {
            Phase::Closing => Poll::Ready(Some(Status::unavailable("the service stops"))),
            Phase::Draining if quiet => Poll::Ready(None),
            _ if quiet && self.requests.is_none() => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }
}

impl<R, C, F> Stream for Answers<R, C, F>
where
    R: Stream<Item = Result<DecideStreamRequest, Status>> + Unpin,
    C: Fn(u64, DecideRequest, Context) -> F + Unpin,
    F: Future<Output = DecideStreamResponse>,
{
    type Item = Result<DecideStreamResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            // Older ones first: under a flood of requests they must still get their turn.
            if let Poll::Ready(answer) = this.in_flight.poll_answer(cx) {
                return Poll::Ready(Some(Ok(answer)));
            }
            let unread = match this.read(cx) {
                Ok(read) => return Poll::Ready(Some(read)),
                Err(unread) => unread,
            };
            this.in_flight.poll_deadlines(cx);
            if this.in_flight.unpolled() {
                continue;
            }
            return Poll::Ready(ready!(this.poll_end(&unread, cx)).map(Err));
        }
    }
}

/// Follows the phases of a [`Shutdown`].
struct Phases {
    reached: Phase,
    next: Pin<Box<dyn Future<Output = Phase> + Send>>,
    shutdown: Shutdown,
}

impl Phases {
    fn new(shutdown: &Shutdown) -> Self {
        Self { reached: Phase::Running, next: reach(shutdown, Phase::Draining), shutdown: shutdown.clone() }
    }

    fn poll(&mut self, cx: &mut Task<'_>) -> Phase {
        while self.reached < Phase::Closing
            && let Poll::Ready(phase) = self.next.poll_unpin(cx)
        {
            self.reached = phase;
            self.next = reach(&self.shutdown, Phase::Closing);
        }
        self.reached
    }
}

fn reach(shutdown: &Shutdown, phase: Phase) -> Pin<Box<dyn Future<Output = Phase> + Send>> {
    let mut drain = shutdown.watch();
    Box::pin(coop::unconstrained(async move { drain.reached(phase).await }))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use futures_util::stream;

    use super::*;
    use crate::pb::v1::{Cancel, DecideResponse};

    fn decision(id: u64, remaining_us: u64) -> DecideStreamRequest {
        let request = Some(DecideRequest::default());
        DecideStreamRequest { item: Some(Item::Decision(Decision { id, remaining_us, request, ..Decision::default() })) }
    }

    /// Odd ids are decided at once, even ones never.
    async fn decide(id: u64, _: DecideRequest, _: Context) -> DecideStreamResponse {
        if id.is_multiple_of(2) {
            pending().await
        }
        DecideStreamResponse { id, result: Some(Outcome::Response(DecideResponse::default())) }
    }

    #[tokio::test]
    async fn what_is_ready_at_once_comes_without_waiting_in_between() {
        let requests = stream::iter((1..=9).map(|id| decision(id, 1_000_000))).chain(stream::pending());
        let mut answers = Answers::new(requests.map(Ok), MetadataMap::new(), decide, 100, &Shutdown::new());
        for expected in [1, 3, 5, 7, 9] {
            let answer = answers.next().now_or_never().expect("ready in the same turn");
            assert_eq!(answer.unwrap().unwrap().id, expected);
        }
        assert!(answers.next().now_or_never().is_none());
    }

    /// A stream that always has a next item: without an end to its turn nothing else would be looked at.
    fn flood() -> impl Stream<Item = DecideStreamRequest> + Unpin {
        let cancel = DecideStreamRequest { item: Some(Item::Cancel(Cancel { id: 99 })) };
        stream::iter([decision(2, 20_000)]).chain(stream::repeat(cancel))
    }

    #[tokio::test]
    async fn a_flood_leaves_deadlines_and_the_end_of_the_service_their_turn() {
        let shutdown = Shutdown::new();
        let mut answers = Answers::new(flood().map(Ok), MetadataMap::new(), decide, 100, &shutdown);
        let close = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            shutdown.advance(Phase::Closing);
        };
        let (end, ()) = tokio::join!(answers.next(), close);
        assert_eq!(end.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
        assert_eq!(answers.in_flight.len(), 0, "past its deadline");
    }

    #[tokio::test]
    async fn a_broken_stream_ends_with_its_error() {
        let requests = stream::iter([Ok(decision(2, 1_000_000)), Err(Status::internal("not protobuf"))]);
        let mut answers = Answers::new(requests, MetadataMap::new(), decide, 100, &Shutdown::new());
        assert_eq!(answers.next().await.unwrap().unwrap_err().message(), "not protobuf");
    }
}
