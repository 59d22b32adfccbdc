//! The agent as its users see it: a listener of their own, a processor, and a scripted engine on the other end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::{Notify as Signal, mpsc};
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;

use super::*;
use crate::shutdown::Phase;
use crate::spop::{
    Ack, Action, Capabilities, Decoder, Disconnect, Flags, Frame, FrameType, HaproxyHello, Notify, NotifyEncoder, StatusCode,
    Version,
};

type Boxed = BoxCloneSyncService<Notify, Actions, Infallible>;

/// A user's own listener: connections made in memory.
struct Memory(mpsc::Receiver<DuplexStream>);

impl Listener for Memory {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, String)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, "memory".to_owned())),
            None => std::future::pending().await,
        }
    }
}

struct Server {
    connections: mpsc::Sender<DuplexStream>,
    shutdown: Shutdown,
    served: tokio::task::JoinHandle<()>,
    processor: Processor<Boxed>,
}

fn serve(build: impl FnOnce(AgentBuilder<Boxed>) -> AgentBuilder<Boxed>, processor: Boxed) -> Server {
    let (connections, receiver) = mpsc::channel(16);
    let agent = build(Agent::builder(processor)).build().unwrap();
    let (shutdown, processor) = (Shutdown::new(), agent.processor());
    let stop = shutdown.clone();
    let served = tokio::spawn(async move { agent.serve(Memory(receiver), &stop).await });
    Server { connections, shutdown, served, processor }
}

impl Server {
    async fn connect(&self) -> Engine {
        let (ours, theirs) = duplex(1 << 20);
        self.connections.send(theirs).await.unwrap();
        Engine { stream: ours, input: BytesMut::new(), decoder: Decoder::new(1 << 20), reads: 0 }
    }

    async fn established(&self) -> Engine {
        let mut engine = self.connect().await;
        engine.hello(false).await;
        assert_eq!(engine.frame().await.unwrap().metadata.frame_type, FrameType::AGENT_HELLO);
        engine
    }
}

struct Engine {
    stream: DuplexStream,
    input: BytesMut,
    decoder: Decoder,
    /// Reads that brought bytes.
    reads: usize,
}

impl Engine {
    async fn hello(&mut self, healthcheck: bool) {
        let mut out = BytesMut::new();
        let (max_frame_size, capabilities) = (16_380, Capabilities::PIPELINING);
        HaproxyHello { supported_versions: vec![Version::V2_0], max_frame_size, capabilities, healthcheck, engine_id: None }
            .encode(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    async fn notify(&mut self, ids: impl IntoIterator<Item = u64>) {
        let mut out = BytesMut::new();
        for id in ids {
            NotifyEncoder::new(id, 1).message("check", &[("id", TypedData::Uint64(id))]).encode(&mut out).unwrap();
        }
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.input).unwrap() {
                return Some(frame);
            }
            self.input.reserve(1 << 16);
            let read = timeout(Duration::from_secs(30), self.stream.read_buf(&mut self.input)).await;
            if read.expect("the agent is silent").unwrap() == 0 {
                return None;
            }
            self.reads += 1;
        }
    }

    async fn ack(&mut self) -> Ack {
        Ack::decode(self.frame().await.expect("an ACK")).unwrap()
    }

    async fn disconnected(&mut self) -> Disconnect {
        let frame = self.frame().await.expect("AGENT-DISCONNECT");
        assert_eq!(frame.metadata.frame_type, FrameType::AGENT_DISCONNECT);
        let disconnect = Disconnect::decode(&frame.payload).unwrap();
        assert!(self.frame().await.is_none(), "nothing comes after it");
        disconnect
    }
}

fn actions(name: &str, value: TypedData<'_>) -> Actions {
    let mut actions = Actions::new();
    actions.set_var(VarScope::Transaction, name, value).unwrap();
    actions
}

fn name_of(ack: &Ack) -> String {
    match ack.actions.iter().next() {
        Some(Action::SetVar { name, .. }) => String::from_utf8_lossy(name).into_owned(),
        other => panic!("{other:?}"),
    }
}

fn instant() -> Boxed {
    Boxed::new(tower::service_fn(|_| async { Ok(actions("done", TypedData::Bool(true))) }))
}

/// Answers when told to.
fn held(release: &Arc<Signal>) -> Boxed {
    let release = Arc::clone(release);
    Boxed::new(tower::service_fn(move |_| {
        let release = Arc::clone(&release);
        async move {
            release.notified().await;
            Ok(actions("done", TypedData::Bool(true)))
        }
    }))
}

#[tokio::test]
async fn d02_acks_that_are_ready_together_leave_in_one_write() {
    let server = serve(|builder| builder, instant());
    let mut engine = server.established().await;
    let before = engine.reads;
    engine.notify(1..=50).await;
    for _ in 0..50 {
        engine.ack().await;
    }
    assert_eq!(engine.reads - before, 1, "50 ACKs, one write");
}

#[tokio::test]
async fn d09_notifies_of_one_connection_run_side_by_side_and_end_in_any_order() {
    let barrier = Arc::new(tokio::sync::Barrier::new(20));
    let processor = Boxed::new(tower::service_fn(move |notify: Notify| {
        let barrier = Arc::clone(&barrier);
        async move {
            // Passes only when all 20 are here at once; then the later ones are quicker.
            barrier.wait().await;
            for _ in notify.stream_id..40 {
                tokio::task::yield_now().await;
            }
            Ok(actions("done", TypedData::Bool(true)))
        }
    }));
    let server = serve(|builder| builder, processor);
    let mut engine = server.established().await;
    engine.notify((0..20).map(|number| number * 2 + 1)).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(engine.ack().await.stream_id);
    }
    assert_ne!(ids, (0..20).map(|number| number * 2 + 1).collect::<Vec<_>>(), "the order is that of being ready");
    ids.sort_unstable();
    assert_eq!(ids, (0..20).map(|number| number * 2 + 1).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_panic_costs_one_fallback_ack() {
    let processor = Boxed::new(tower::service_fn(|notify: Notify| {
        assert_ne!(notify.stream_id, 3, "panics when called");
        async move {
            assert_ne!(notify.stream_id, 5, "panics when polled");
            Ok(actions("done", TypedData::Bool(true)))
        }
    }));
    let server = serve(|builder| builder.fallback(actions("sorry", TypedData::Null)), processor);
    let mut engine = server.established().await;
    for (id, expected) in [(1, "done"), (3, "sorry"), (5, "sorry"), (7, "done")] {
        engine.notify([id]).await;
        assert_eq!(name_of(&engine.ack().await), expected, "stream {id}");
    }
}

#[tokio::test]
async fn d15_no_ack_is_empty_and_none_exceeds_the_frame() {
    let processor = Boxed::new(tower::service_fn(|notify: Notify| async move {
        if notify.stream_id == 1 {
            return Ok(Actions::new());
        }
        Ok(actions("big", TypedData::Binary(&vec![0; 20_000])))
    }));
    let server = serve(|builder| builder, processor);
    let mut engine = server.established().await;
    engine.notify([1, 3]).await;
    for expected in [TypedData::from("ok"), TypedData::from("failed")] {
        let ack = engine.ack().await;
        let action = ack.actions.iter().next();
        assert!(matches!(action, Some(Action::SetVar { value, .. }) if value == expected), "{action:?}");
    }
}

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
