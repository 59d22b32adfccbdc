//! The agent as its users see it: a listener of their own, a processor, and a scripted engine on the other end.

mod ending;
mod limits;
mod replacing;

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
