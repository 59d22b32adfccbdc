//! Both methods of a scripted [`Service`](super::service::Service), played from the same script.
//!
//! Not the library's own helper for services: a slip in that must not hide one in the bridge.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spop_bridge::pb::google::rpc;
use spop_bridge::pb::v1::decide_stream_request::Item;
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use spop_bridge::pb::v1::decision_service_server::DecisionService;
use spop_bridge::pb::v1::{Action, DecideRequest, DecideResponse, DecideStreamRequest, DecideStreamResponse, Decision};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::service::{Answer, Call, Methods, Script};

/// What a service has seen.
#[derive(Default)]
pub(super) struct Record {
    pub(super) calls: Mutex<Vec<Call>>,
    /// What the bridge may not send.
    pub(super) faults: Mutex<Vec<String>>,
    /// How often a stream was asked for.
    pub(super) streams: AtomicUsize,
    /// Streams that have not ended.
    pub(super) open_streams: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) most_in_flight: AtomicUsize,
    pub(super) cancelled: AtomicUsize,
}

impl Record {
    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }
}

pub(super) struct Decider {
    methods: Methods,
    player: Player,
}

impl Decider {
    pub(super) fn new(methods: Methods, script: Script, record: Arc<Record>) -> Decider {
        Decider { methods, player: Player { script, record } }
    }
}

#[tonic::async_trait]
impl DecisionService for Decider {
    type DecideStreamStream = BoxStream<DecideStreamResponse>;

    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        let metadata = as_text(request.metadata());
        let actions = self
            .player
            .play(Call { request: request.into_inner(), metadata, remaining: None, traced: Default::default() })
            .await?;
        Ok(Response::new(DecideResponse { actions }))
    }

    async fn decide_stream(
        &self,
        requests: Request<Streaming<DecideStreamRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        self.player.record.streams.fetch_add(1, Ordering::SeqCst);
        if self.methods == Methods::Unary {
            return Err(Status::unimplemented("unary only"));
        }
        let (answers, mut answered) = unbounded_channel();
        let metadata = as_text(requests.metadata());
        let stream = Stream {
            metadata,
            player: self.player.clone(),
            answers,
            newest: 0,
            decisions: HashMap::new(),
            tasks: JoinSet::new(),
        };
        let record = Arc::clone(&self.player.record);
        tokio::spawn(async move {
            record.open_streams.fetch_add(1, Ordering::SeqCst);
            stream.serve(requests.into_inner()).await;
            record.open_streams.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(Response::new(Box::pin(futures_util::stream::poll_fn(move |context| answered.poll_recv(context)))))
    }
}

/// Plays the script for one request after the other, or for many at a time.
#[derive(Clone)]
struct Player {
    script: Script,
    record: Arc<Record>,
}

impl Player {
    /// Dropped before it is through, the call was cancelled.
    async fn play(&self, call: Call) -> Result<Vec<Action>, Status> {
        let mut presence = Presence::enter(&self.record);
        let mut answer = (self.script)(&call.request);
        self.record.calls.lock().unwrap().push(call);
        loop {
            match answer {
                Answer::After(delay, next) => {
                    tokio::time::sleep(delay).await;
                    answer = *next;
                }
                Answer::Never => std::future::pending().await,
                Answer::Status(status) => {
                    presence.answered = true;
                    return Err(status);
                }
                Answer::Actions(actions) => {
                    presence.answered = true;
                    return Ok(actions);
                }
            }
        }
    }
}

/// One `DecideStream`.
struct Stream {
    metadata: Arc<HashMap<String, String>>,
    player: Player,
    answers: UnboundedSender<Result<DecideStreamResponse, Status>>,
    /// The id of the last decision.
    newest: u64,
    /// Every decision so far, answered or not.
    decisions: HashMap<u64, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Stream {
    /// Until the bridge has closed its side and all is answered, or the stream breaks, which cancels the rest.
    async fn serve(mut self, mut requests: Streaming<DecideStreamRequest>) {
        let answers = self.answers.clone();
        loop {
            let message = tokio::select! {
                message = requests.message() => message,
                () = answers.closed() => return,
            };
            match message {
                Ok(Some(DecideStreamRequest { item: Some(Item::Decision(decision)) })) => self.begin(decision),
                Ok(Some(DecideStreamRequest { item: Some(Item::Cancel(cancel)) })) => self.cancel(cancel.id),
                Ok(Some(DecideStreamRequest { item: None })) => self.player.record.fault("an item with nothing set".into()),
                Ok(None) => break,
                Err(_) => return,
            }
            while self.tasks.try_join_next().is_some() {}
        }
        let answered = async { while self.tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = answered => {}
            () = answers.closed() => {}
        }
    }

    fn begin(&mut self, decision: Decision) {
        let Decision { id, remaining_us, request, traceparent, tracestate, baggage } = decision;
        let newest = std::mem::replace(&mut self.newest, id);
        if id <= newest || remaining_us == 0 || request.is_none() {
            let has_request = request.is_some();
            self.player.record.fault(format!("decision {id} after {newest}, {remaining_us} us left, request: {has_request}"));
        }
        let remaining = Some(Duration::from_micros(remaining_us));
        let (request, metadata) = (request.unwrap_or_default(), Arc::clone(&self.metadata));
        let call = Call { request, metadata, remaining, traced: [traceparent, tracestate, baggage] };
        let (player, answers) = (self.player.clone(), self.answers.clone());
        let task = self.tasks.spawn(async move {
            let result = match player.play(call).await {
                Ok(actions) => Outcome::Response(DecideResponse { actions }),
                Err(status) => Outcome::Error(error(&status)),
            };
            let _bridge_is_gone = answers.send(Ok(DecideStreamResponse { id, result: Some(result) }));
        });
        self.decisions.insert(id, task);
    }

    fn cancel(&self, id: u64) {
        match self.decisions.get(&id) {
            Some(decision) => decision.abort(),
            None => self.player.record.fault(format!("cancel of {id}, which was never sent")),
        }
    }
}

fn error(status: &Status) -> rpc::Status {
    rpc::Status { code: status.code().into(), message: status.message().into(), details: Vec::new() }
}

fn as_text(metadata: &MetadataMap) -> Arc<HashMap<String, String>> {
    let headers = metadata.clone().into_headers();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Arc::new(headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

/// A call being served; dropped unanswered it was cancelled.
struct Presence {
    record: Arc<Record>,
    answered: bool,
}

impl Presence {
    fn enter(record: &Arc<Record>) -> Presence {
        let now = record.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        record.most_in_flight.fetch_max(now, Ordering::SeqCst);
        Presence { record: Arc::clone(record), answered: false }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.record.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.answered {
            self.record.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}
