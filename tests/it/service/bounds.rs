//! Floods, and bridges that do not read.

use std::collections::BTreeSet;
use std::time::Duration;

use spop_bridge::service::Decisions;

use super::{Desk, Running, decision, until};
use spop_bridge::pb::v1::DecideStreamRequest;

#[tokio::test]
async fn beyond_its_bound_a_stream_is_not_read() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone()).max_in_flight(8)).await;
    let mut stream = service.stream().await;
    let requests = stream.requests.clone().unwrap();
    // 4 MB: more than all windows and buffers between the two hold.
    let filling = "x".repeat(2000);
    tokio::spawn(async move {
        for id in 1..=2000 {
            let item = decision(id, &format!("hold {filling}"));
            requests.send(DecideStreamRequest { item: Some(item) }).await.unwrap();
        }
    });
    until("the bound is reached", || desk.open() == 8).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((desk.open(), desk.begun()), (8, 8));
    stream.close();
    let mut answered = BTreeSet::new();
    while answered.len() < 2000 {
        desk.release.notify_waiters();
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(5), stream.answer()).await {
            assert!(answered.insert(answer.0));
        }
        assert!(desk.open() <= 8);
    }
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_bridge_that_does_not_read_is_not_read_from() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone())).await;
    let mut stream = service.stream().await;
    let requests = stream.requests.clone().unwrap();
    // 20 MB of answers that are ready at once, from 20 kB of requests.
    tokio::spawn(async move {
        for id in 1..=1000 {
            requests.send(DecideStreamRequest { item: Some(decision(id, "fill 20000")) }).await.unwrap();
        }
    });
    let mut begun = 0;
    until("the windows are full", || desk.begun() > 0).await;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if std::mem::replace(&mut begun, desk.begun()) == desk.begun() {
            break;
        }
    }
    assert!(begun < 1000, "all {begun} were decided while nobody read");
    stream.close();
    for id in 1..=1000 {
        assert_eq!(stream.answer().await.0, id);
    }
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_are_all_answered() {
    let desk = Desk::default();
    let service = Running::start(Decisions::new(desk.clone())).await;
    let mut stream = service.stream().await;
    let requests = stream.requests.clone().unwrap();
    tokio::spawn(async move {
        for id in 1..=10_000 {
            requests.send(DecideStreamRequest { item: Some(decision(id, "hold")) }).await.unwrap();
        }
    });
    until("all are under way", || desk.open() == 10_000).await;
    stream.close();
    desk.release.notify_waiters();
    let mut answered = BTreeSet::new();
    while let Some(answer) = stream.next().await.unwrap() {
        answered.insert(answer.id);
    }
    assert_eq!(answered, (1..=10_000).collect());
}
