//! Processors that are replaced, shared, and not ready.

use super::*;

#[tokio::test]
async fn the_processor_is_replaced_without_touching_connections() {
    let release = Arc::new(Signal::new());
    let server = serve(|builder| builder, held(&release));
    let mut engine = server.established().await;
    engine.notify([1]).await;
    tokio::task::yield_now().await;
    server.processor.replace(Boxed::new(tower::service_fn(|_| async { Ok(actions("new", TypedData::Bool(true))) })));
    engine.notify([3]).await;
    let ack = engine.ack().await;
    assert_eq!((ack.stream_id, name_of(&ack).as_str()), (3, "new"));
    release.notify_waiters();
    let ack = engine.ack().await;
    assert_eq!((ack.stream_id, name_of(&ack).as_str()), (1, "done"));
}

/// Three times: each replacement wakes the connection anew.
#[tokio::test]
async fn an_idle_connection_lets_go_of_a_processor_that_is_replaced() {
    let processor = |held: &Arc<()>| {
        let held = Arc::clone(held);
        Boxed::new(tower::service_fn(move |_| {
            let held = Arc::clone(&held);
            async move {
                drop(held);
                Ok(actions("done", TypedData::Bool(true)))
            }
        }))
    };
    let mut held = Arc::new(());
    let server = serve(|builder| builder, processor(&held));
    let mut engine = server.established().await;
    for stream in 1..4 {
        let next = Arc::new(());
        server.processor.replace(processor(&next));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&held), 1, "nobody has the one before it");
        held = next;
        if stream == 2 {
            engine.notify([stream]).await;
            assert_eq!(name_of(&engine.ack().await), "done");
        }
    }
}

#[tokio::test]
async fn agents_share_a_processor() {
    let processor = Processor::new(instant());
    let agents = ["one", "two"].map(|name| Agent::builder_with(processor.clone()).listener_name(name).build().unwrap());
    processor.replace(Boxed::new(tower::service_fn(|_| async { Ok(actions("new", TypedData::Bool(true))) })));
    for agent in agents {
        let (ours, theirs) = duplex(1 << 20);
        tokio::spawn(async move { agent.serve_connection(theirs, "memory", Shutdown::new().watch()).await });
        let mut engine = Engine { stream: ours, input: BytesMut::new(), decoder: Decoder::new(1 << 20), reads: 0 };
        engine.hello(false).await;
        engine.frame().await.unwrap();
        engine.notify([1]).await;
        assert_eq!(name_of(&engine.ack().await), "new");
    }
}

#[tokio::test]
async fn health_checks_are_told_what_the_readiness_says() {
    let readiness = Readiness::new();
    let server = serve(|builder| builder.readiness(readiness.clone()), instant());
    for ready in [true, false, true] {
        readiness.set(ready);
        let mut engine = server.connect().await;
        engine.hello(true).await;
        let expected = if ready { FrameType::AGENT_HELLO } else { FrameType::AGENT_DISCONNECT };
        assert_eq!(engine.frame().await.unwrap().metadata.frame_type, expected);
    }
    // A drain is no less of a drain for that.
    server.shutdown.advance(Phase::NotReady);
    let mut engine = server.connect().await;
    engine.hello(true).await;
    assert_eq!(engine.frame().await.unwrap().metadata.frame_type, FrameType::AGENT_DISCONNECT);
}

#[tokio::test]
async fn a_processor_that_is_not_ready_holds_frames_back() {
    #[derive(Clone)]
    struct Gate(Arc<AtomicUsize>);
    impl tower::Service<Notify> for Gate {
        type Response = Actions;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Actions, Infallible>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            if self.0.load(Ordering::Relaxed) == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Notify) -> Self::Future {
            self.0.fetch_sub(1, Ordering::Relaxed);
            std::future::ready(Ok(actions("done", TypedData::Bool(true))))
        }
    }
    let places = Arc::new(AtomicUsize::new(1));
    let (connections, receiver) = mpsc::channel(16);
    let agent = Agent::builder(Gate(Arc::clone(&places))).build().unwrap();
    tokio::spawn(async move { agent.serve(Memory(receiver), &Shutdown::new()).await });
    let (stream, theirs) = duplex(1 << 20);
    connections.send(theirs).await.unwrap();
    let mut engine = Engine { stream, input: BytesMut::new(), decoder: Decoder::new(1 << 20), reads: 0 };
    engine.hello(false).await;
    engine.frame().await.unwrap();
    engine.notify([1, 3]).await;
    assert_eq!(engine.ack().await.stream_id, 1);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let more = poll_fn(|cx| {
        let mut buffer = [0; 1];
        let mut buffer = ReadBuf::new(&mut buffer);
        Poll::Ready(Pin::new(&mut engine.stream).poll_read(cx, &mut buffer).is_ready())
    });
    assert!(!more.await, "the second NOTIFY waits");
    places.store(1, Ordering::Relaxed);
    assert_eq!(engine.ack().await.stream_id, 3);
}
