//! Peers that say nothing, too much, or come in too great a number.

use super::*;

#[tokio::test(start_paused = true)]
async fn peers_that_say_nothing_or_half_a_frame_are_told_timeout() {
    let server = serve(|builder| builder.handshake_timeout(Duration::from_secs(5)), instant());
    let mut silent = server.connect().await;
    assert_eq!(silent.disconnected().await.status, StatusCode::TIMEOUT);
    let mut half = server.established().await;
    half.stream.write_all(&[0, 0, 0, 100, 3]).await.unwrap();
    assert_eq!(half.disconnected().await.status, StatusCode::TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end_without_fault_when_asked_to() {
    let server = serve(|builder| builder.idle_timeout(Some(Duration::from_secs(10))), instant());
    let mut engine = server.established().await;
    engine.notify([1]).await;
    engine.ack().await;
    assert_eq!(engine.disconnected().await.status, StatusCode::NORMAL);
}

/// HAProxy keeps the connections that it has used for as long as it likes, and opens none without using it.
#[tokio::test(start_paused = true)]
async fn without_an_idle_timeout_only_connections_end_that_were_never_used() {
    let server = serve(|builder| builder, instant());
    let mut unused = server.established().await;
    let mut used = server.established().await;
    used.notify([1]).await;
    used.ack().await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(unused.disconnected().await.status, StatusCode::NORMAL);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    used.notify([2]).await;
    used.ack().await;
}

/// On a thread of its own: what this guards against is a loop that no timeout of the test's runtime would interrupt.
#[test]
fn a_refused_peer_that_never_stops_sending_is_left() {
    struct Flood;
    impl AsyncRead for Flood {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            buffer.put_slice(&[b'x'; 1024]);
            Poll::Ready(Ok(()))
        }
    }
    impl AsyncWrite for Flood {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let agent = Agent::builder(instant()).build().unwrap();
        runtime.block_on(agent.serve_connection(Flood, "flood", Shutdown::new().watch()));
        ended.send(()).unwrap();
    });
    end.recv_timeout(Duration::from_secs(20)).expect("the connection ends");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let server = serve(|builder| builder.max_connections(1), instant());
    let first = server.established().await;
    let mut second = server.connect().await;
    assert!(second.frame().await.is_none());
    drop(first);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    server.established().await;
}

/// Whoever only says HELLO gives way to HAProxy; connections that were used do not.
#[tokio::test(start_paused = true)]
async fn with_all_places_taken_the_oldest_that_was_never_used_has_to_go() {
    let server = serve(|builder| builder.max_connections(3), instant());
    let mut used = server.established().await;
    used.notify([1]).await;
    used.ack().await;
    let mut oldest = server.established().await;
    let mut next = server.established().await;
    let mut early = server.connect().await;
    assert!(early.frame().await.is_none(), "what was opened just now may be about to be used");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut newcomer = server.established().await;
    newcomer.notify([1]).await;
    newcomer.ack().await;
    assert_eq!(oldest.disconnected().await.status, StatusCode::NORMAL);
    next.notify([1]).await;
    next.ack().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut late = server.connect().await;
    assert!(late.frame().await.is_none(), "all others are in use");
    used.notify([2]).await;
    used.ack().await;
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |build: fn(AgentBuilder<Boxed>) -> AgentBuilder<Boxed>| match build(Agent::builder(instant())).build() {
        Err(BuildError::OutOfRange { setting, .. }) => setting,
        Ok(_) => "nothing",
    };
    assert_eq!(refused(|builder| builder.max_frame_size(255)), "max_frame_size");
    assert_eq!(refused(|builder| builder.max_frame_size(MAX_FRAME_SIZE + 1)), "max_frame_size");
    assert_eq!(refused(|builder| builder.max_in_flight(0)), "max_in_flight");
    assert_eq!(refused(|builder| builder.max_connections(0)), "max_connections");
    assert_eq!(refused(|builder| builder.read_timeout(Duration::ZERO)), "read_timeout");
    assert_eq!(refused(|builder| builder.fallback(Actions::new())), "fallback");
    assert_eq!(refused(|builder| builder.placeholder(actions("big", TypedData::Binary(&[0; 256])))), "placeholder");
    assert_eq!(refused(|builder| builder), "nothing");
}

/// What arrives for a neighbour while a connection is flooded is looked at before the flood goes on: after the frames of one turn, counted
/// here, however much of the flood is waiting.
#[tokio::test]
async fn a_flood_lets_others_in_after_each_turn() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    let pair = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ours, tokio::net::UnixStream::from_std(theirs).unwrap())
    };
    let (mut flood, flooded) = pair();
    let (mut neighbour, beside) = pair();
    let mut hello = BytesMut::new();
    let (supported_versions, capabilities) = (vec![Version::V2_0], Capabilities::PIPELINING);
    HaproxyHello { supported_versions, max_frame_size: 16_380, capabilities, healthcheck: false, engine_id: None }
        .encode(&mut hello);
    flood.write_all(&hello).unwrap();
    neighbour.write_all(&hello).unwrap();
    let neighbour = Arc::new(neighbour);
    let (seen, (answer, mut answered)) = (Arc::new(AtomicUsize::new(0)), mpsc::unbounded_channel());
    let counter = Arc::clone(&seen);
    let processor = tower::service_fn(move |notify: Notify| {
        let count = counter.fetch_add(1, Ordering::Relaxed);
        // In the middle of the flood the neighbour asks.
        if count == 1000 {
            let mut out = BytesMut::new();
            NotifyEncoder::new(u64::MAX, 1).encode(&mut out).unwrap();
            (&*neighbour).write_all(&out).unwrap();
        } else if notify.stream_id == u64::MAX {
            answer.send(count - 1000).unwrap();
        }
        std::future::ready(Ok(actions("done", TypedData::Bool(true))))
    });
    let agent = Agent::builder(Boxed::new(processor)).build().unwrap();
    let shutdown = Shutdown::new();
    let mut frames = BytesMut::new();
    (1..=5_000).for_each(|id| NotifyEncoder::new(id, 1).encode(&mut frames).unwrap());
    for stream in [flooded, beside] {
        let (agent, drain) = (agent.clone(), shutdown.watch());
        tokio::spawn(async move { agent.serve_connection(stream, "peer", drain).await });
    }
    flood.write_all(&frames).unwrap();
    let between = timeout(Duration::from_secs(30), answered.recv()).await.unwrap().unwrap();
    assert!(between <= 64, "{between} of the flood came first");
}
