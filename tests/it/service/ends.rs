//! How streams end: the bridge leaves, or the service.

use spop_bridge::service::Decisions;
use spop_bridge::shutdown::Phase;
use tonic::Code;

use super::{Desk, PATIENCE, Running, not_yet, until};

#[tokio::test]
async fn when_the_bridge_closes_its_side_the_rest_is_answered() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone())).await;
    let mut stream = service.stream().await;
    stream.ask(1, "wait 100").await;
    stream.ask(2, "now").await;
    stream.close();
    assert_eq!((stream.answer().await.0, stream.answer().await.0), (2, 1));
    assert_eq!(stream.next().await.unwrap(), None, "the end with OK");
}

#[tokio::test]
async fn a_service_that_leaves_answers_what_it_has_and_ends_quiet_streams() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone())).await;
    let (mut quiet, mut busy) = (service.stream().await, service.stream().await);
    busy.ask(1, "hold").await;
    until("one is under way", || desk.open() == 1).await;

    // GOAWAY, which these streams outlive.
    service.shutdown.advance(Phase::NotReady);
    quiet.ask(1, "now").await;
    assert_eq!(quiet.answer().await.0, 1);
    assert!(not_yet(quiet.answers.message()).await);

    service.shutdown.advance(Phase::Draining);
    assert_eq!(quiet.next().await.unwrap(), None, "the end with OK");
    busy.ask(2, "now").await;
    assert_eq!(busy.answer().await.0, 2, "a busy stream still decides");
    desk.release.notify_waiters();
    assert_eq!(busy.answer().await.0, 1);
    assert_eq!(busy.next().await.unwrap(), None, "the end with OK");

    let stopped = tokio::time::timeout(PATIENCE, service.server).await;
    stopped.expect("the server stops once its streams have ended").unwrap().unwrap();
    assert!(std::net::TcpStream::connect(service.address).is_err());
}

#[tokio::test]
async fn the_end_of_the_grace_period_ends_streams_that_are_busy() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone())).await;
    let mut stream = service.stream().await;
    stream.ask(1, "never").await;
    until("it is under way", || desk.open() == 1).await;
    service.shutdown.advance(Phase::Draining);
    assert!(not_yet(stream.answers.message()).await);
    service.shutdown.advance(Phase::Closing);
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
    until("it is dropped", || desk.open() == 0).await;
    tokio::time::timeout(PATIENCE, service.server).await.expect("the server stops").unwrap().unwrap();
}
