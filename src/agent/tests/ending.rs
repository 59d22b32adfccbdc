//! The end: of an agent, and of a NOTIFY that HAProxy gives up.

use super::*;

#[tokio::test]
async fn draining_refuses_checks_finishes_what_is_in_flight_and_says_good_bye() {
    let release = Arc::new(Signal::new());
    let server = serve(|builder| builder, held(&release));
    let mut busy = server.established().await;
    busy.notify([1]).await;
    let mut check = server.connect().await;
    tokio::task::yield_now().await;
    server.shutdown.advance(Phase::NotReady);
    check.hello(true).await;
    let frame = check.frame().await.unwrap();
    assert_eq!(frame.metadata.frame_type, FrameType::AGENT_DISCONNECT, "not ready");
    busy.notify([3]).await;
    tokio::task::yield_now().await;
    server.shutdown.advance(Phase::Draining);
    tokio::task::yield_now().await;
    // HAProxy up to 3.0 goes on using a connection that it has.
    busy.notify([5]).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    release.notify_waiters();
    for id in [1, 3, 5] {
        assert_eq!(busy.ack().await.stream_id, id);
    }
    assert_eq!(busy.disconnected().await.status, StatusCode::NORMAL);
    drop((busy, check));
    timeout(Duration::from_secs(5), server.served).await.expect("all connections are gone").unwrap();
}

#[tokio::test]
async fn the_end_of_the_grace_period_answers_what_is_left_with_the_fallback() {
    let server = serve(|builder| builder, held(&Arc::new(Signal::new())));
    let mut engine = server.established().await;
    engine.notify([1, 3]).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    server.shutdown.advance(Phase::Draining);
    server.shutdown.advance(Phase::Closing);
    assert_eq!(engine.ack().await.stream_id + engine.ack().await.stream_id, 4);
    assert_eq!(engine.disconnected().await.status, StatusCode::NORMAL);
}

#[tokio::test]
async fn an_aborted_notify_is_dropped_and_gets_no_ack() {
    struct Canary(Arc<AtomicUsize>);
    impl Drop for Canary {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let canaries = Arc::clone(&dropped);
    let processor = Boxed::new(tower::service_fn(move |notify: Notify| {
        let canary = Canary(Arc::clone(&canaries));
        async move {
            let _canary = canary;
            if notify.stream_id == 1 {
                std::future::pending::<()>().await;
            }
            Ok(actions("done", TypedData::Bool(true)))
        }
    }));
    let server = serve(|builder| builder, processor);
    let mut engine = server.established().await;
    engine.notify([1]).await;
    let mut abort = BytesMut::new();
    let flags = Flags(Flags::FIN.0 | Flags::ABORT.0);
    crate::spop::writer::Writer::frame(&mut abort, FrameType::NOTIFY, flags, 1, 1).finish();
    engine.stream.write_all(&abort).await.unwrap();
    engine.notify([3]).await;
    assert_eq!(engine.ack().await.stream_id, 3);
    assert_eq!(dropped.load(Ordering::Relaxed), 2, "the work is not only ignored, it is ended");
    let mut bye = BytesMut::new();
    Disconnect::new(StatusCode::NORMAL, "").encode(FrameType::HAPROXY_DISCONNECT, &mut bye);
    engine.stream.write_all(&bye).await.unwrap();
    assert_eq!(engine.disconnected().await.status, StatusCode::NORMAL, "nothing of it is left in flight");
}
