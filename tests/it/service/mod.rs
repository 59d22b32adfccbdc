//! The `service` module over real sockets: a service built with it, asked by the generated client.

mod answers;
mod bounds;
mod ends;
mod time;

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream;
use spop_bridge::pb::v1::decide_stream_request::Item;
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use spop_bridge::pb::v1::decision_service_client::DecisionServiceClient;
use spop_bridge::pb::v1::{
    Arg, Cancel, DecideRequest, DecideResponse, DecideStreamRequest, DecideStreamResponse, Decision, Message, Value, action,
};
use spop_bridge::service::{Context, Decider, Decisions, set_var};
use spop_bridge::shutdown::{Phase, Shutdown};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status, Streaming};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the handler of these tests is doing.
#[derive(Clone, Default)]
struct Desk {
    /// Decisions under way: a dropped one is no longer.
    open: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
    release: Arc<tokio::sync::Notify>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Decider for Desk {
    /// Does what the arg `do` says, and sets `echo` to it.
    async fn decide(&self, request: DecideRequest, context: Context) -> Result<DecideResponse, Status> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(Arc::clone(&self.open));
        let what = request.arg("do").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut actions = vec![set_var("echo", &what[..])];
        match what.split_once(' ').unwrap_or((&what, "")) {
            ("wait", millis) => tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await,
            ("hold", _) => self.release.notified().await,
            ("never", _) => pending().await,
            ("panic", _) => panic!("as the test wants it"),
            ("fail", code) => return Err(Status::new(Code::from_bytes(code.as_bytes()), "as the test wants it")),
            ("fill", size) => actions.push(set_var("filling", "x".repeat(size.parse().unwrap()))),
            ("context", _) => {
                let metadata = context.metadata().get("x-tenant").map(|value| value.to_str().unwrap());
                actions.push(set_var("tenant", metadata.unwrap_or("none")));
                actions.push(set_var("traceparent", context.traceparent().unwrap_or("none")));
                let remaining = context.remaining().map_or(-1, |remaining| remaining.as_millis().try_into().unwrap());
                actions.push(set_var("remaining_ms", remaining));
            }
            _ => {}
        }
        Ok(DecideResponse { actions })
    }
}

impl Desk {
    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

/// A running service, on tonic's own transport, and a client of it.
struct Running {
    address: SocketAddr,
    client: DecisionServiceClient<Channel>,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Running {
    /// With tonic's graceful shutdown from [`Phase::NotReady`] on.
    async fn start<D: Decider>(decisions: Decisions<D>) -> Running {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
        let address = incoming.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let decisions = decisions.shutdown(&shutdown).into_server();
        let mut drain = shutdown.watch();
        let stop = async move { _ = drain.reached(Phase::NotReady).await };
        let server = tokio::spawn(Server::builder().add_service(decisions).serve_with_incoming_shutdown(incoming, stop));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Running { address, client: DecisionServiceClient::new(channel), shutdown, server }
    }

    async fn stream(&self) -> Conversation {
        self.stream_with(tonic::Request::new).await
    }

    async fn stream_with(&self, request: impl FnOnce(Requests) -> tonic::Request<Requests>) -> Conversation {
        // One item ahead at most, so that a service that does not read is felt.
        let (requests, mut receiver) = mpsc::channel(1);
        let receiver: Requests = Box::pin(stream::poll_fn(move |cx| receiver.poll_recv(cx)));
        let answers = self.client.clone().decide_stream(request(receiver)).await.unwrap().into_inner();
        Conversation { requests: Some(requests), answers }
    }
}

type Requests = std::pin::Pin<Box<dyn stream::Stream<Item = DecideStreamRequest> + Send>>;

/// One stream, from the bridge's side.
struct Conversation {
    /// `None` once the bridge's side is closed.
    requests: Option<mpsc::Sender<DecideStreamRequest>>,
    answers: Streaming<DecideStreamResponse>,
}

impl Conversation {
    async fn send(&self, item: impl Into<Option<Item>>) {
        let sent = self.requests.as_ref().unwrap().send(DecideStreamRequest { item: item.into() });
        tokio::time::timeout(PATIENCE, sent).await.unwrap().unwrap();
    }

    async fn ask(&self, id: u64, what: &str) {
        self.send(decision(id, what)).await;
    }

    async fn cancel(&self, id: u64) {
        self.send(Item::Cancel(Cancel { id })).await;
    }

    /// Closes the bridge's side.
    fn close(&mut self) {
        self.requests = None;
    }

    /// `None` when the service has ended the stream with OK.
    async fn next(&mut self) -> Result<Option<DecideStreamResponse>, Status> {
        tokio::time::timeout(PATIENCE, self.answers.message()).await.expect("an answer, or the end")
    }

    /// The id of the next answer and what it echoes.
    async fn answer(&mut self) -> (u64, String) {
        let answer = self.next().await.unwrap().expect("an answer");
        match answer.result {
            Some(Outcome::Response(response)) => (answer.id, echo(&response)),
            other => panic!("{}: {other:?}", answer.id),
        }
    }

    /// The id of the next answer and the error it holds.
    async fn error(&mut self) -> (u64, Code, String) {
        let answer = self.next().await.unwrap().expect("an answer");
        match answer.result {
            Some(Outcome::Error(error)) => (answer.id, error.code.into(), error.message),
            other => panic!("{}: {other:?}", answer.id),
        }
    }
}

fn decision(id: u64, what: &str) -> Item {
    Item::Decision(Decision { id, remaining_us: 60_000_000, request: Some(request(what)), ..Decision::default() })
}

fn request(what: &str) -> DecideRequest {
    let args = vec![Arg { name: "do".into(), value: Some(what.into()) }];
    DecideRequest { messages: vec![Message { name: "check".into(), args }], ..DecideRequest::default() }
}

fn variables(response: &DecideResponse) -> HashMap<&str, &Value> {
    let variables = response.actions.iter().filter_map(|action| match &action.action {
        Some(action::Action::SetVar(variable)) => Some((&variable.name[..], variable.value.as_ref()?)),
        _ => None,
    });
    variables.collect()
}

fn echo(response: &DecideResponse) -> String {
    variables(response)["echo"].as_str().unwrap().to_owned()
}

/// Waits for something that the other side does in its own time.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The next poll of something that must not be ready yet.
async fn not_yet<T>(future: impl Future<Output = T>) -> bool {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
