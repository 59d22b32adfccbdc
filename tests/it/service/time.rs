//! Decisions that nobody waits for: cancelled, past their deadline, or their stream gone.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use spop_bridge::pb::v1::Decision;
use spop_bridge::pb::v1::decide_stream_request::Item;
use spop_bridge::pb::v1::decision_service_client::DecisionServiceClient;
use spop_bridge::service::{Decider, Decisions, Spawned};
use tonic::{Code, Request};

use super::{Desk, PATIENCE, Running, request, until};

#[tokio::test]
async fn a_cancelled_decision_is_dropped_and_not_answered() {
    let desk = Desk::default();
    cancels(&desk, Decisions::new(desk.clone())).await;
    let desk = Desk::default();
    cancels(&desk, Decisions::new(Spawned::new(desk.clone()))).await;
}

async fn cancels<D: Decider>(desk: &Desk, decisions: Decisions<D>) {
    let service = Running::start(decisions).await;
    let mut stream = service.stream().await;
    stream.ask(1, "never").await;
    stream.ask(2, "hold").await;
    until("both are under way", || desk.open() == 2).await;
    stream.cancel(1).await;
    until("the cancelled one is dropped", || desk.open() == 1).await;
    // In one turn with its decision.
    stream.ask(3, "never").await;
    stream.cancel(3).await;
    until("the one cancelled at once is dropped", || desk.begun() == 3 && desk.open() == 1).await;
    desk.release.notify_waiters();
    assert_eq!(stream.answer().await.0, 2);
    stream.close();
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_decision_is_dropped_at_its_deadline_and_not_answered() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone())).await;
    let mut stream = service.stream().await;
    // Not in the order of their deadlines: a later one must not hide an earlier.
    for (id, millis) in [(1, 300), (2, 100), (3, 60_000), (4, 200)] {
        let decision = Decision { id, remaining_us: millis * 1000, request: Some(request("hold")), ..Decision::default() };
        stream.send(Item::Decision(decision)).await;
    }
    until("all are under way", || desk.begun() == 4).await;
    until("one is past its deadline", || desk.open() <= 3).await;
    until("three are past their deadlines", || desk.open() == 1).await;
    desk.release.notify_waiters();
    assert_eq!(stream.answer().await.0, 3);
    stream.close();
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_breaks_takes_its_decisions_along() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone())).await;
    let stream = service.stream().await;
    for id in 1..=50 {
        stream.ask(id, "never").await;
    }
    until("all are under way", || desk.open() == 50).await;
    drop(stream); // RST_STREAM
    until("all are dropped", || desk.open() == 0).await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_also_without_tonic_s_transport() {
    let desk = Desk::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let decisions = Decisions::new(desk.clone()).into_server();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(decisions);
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await
    });
    // Nor tonic's channel, which would end the call on the client's side.
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let send = tower::service_fn(move |call: http::Request<tonic::body::Body>| sender.clone().send_request(call));
    let mut client = DecisionServiceClient::with_origin(send, format!("http://{address}").parse().unwrap());
    let mut call = Request::new(request("never"));
    call.set_timeout(Duration::from_millis(50));
    let status = tokio::time::timeout(PATIENCE, client.decide(call)).await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "not decided within grpc-timeout"));
    until("the decision is dropped", || desk.open() == 0).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), client.decide(request("never"))).await.is_err());
    until("the cancelled call is dropped", || desk.begun() == 2 && desk.open() == 0).await;
}
