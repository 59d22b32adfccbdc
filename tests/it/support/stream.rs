//! The service's end of a `DecideStream`, driven by a test item by item: HTTP/2 by h2 alone, so that it can do what no gRPC library does.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use prost::Message;
use spop_bridge::pb::google::rpc;
use spop_bridge::pb::v1::decide_stream_request::Item;
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use spop_bridge::pb::v1::{Action, DecideResponse, DecideStreamRequest, DecideStreamResponse, Decision};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::service::allow;

/// How long a test waits for a stream or an item before it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// gRPC's flag and length before each message.
const HEADER: usize = 5;

/// What a stream can ask of its connection.
#[derive(Default)]
pub(super) struct Control {
    pub(super) go_away: Notify,
    pub(super) lose: Notify,
}

/// One `DecideStream` that the bridge has opened.
pub(crate) struct Stream {
    pub(crate) metadata: HeaderMap,
    requests: RecvStream,
    unread: BytesMut,
    respond: SendResponse<Bytes>,
    /// From the first answer on, which is when the response's headers go out.
    answers: Option<SendStream<Bytes>>,
    control: Arc<Control>,
    runtime: Handle,
}

impl Stream {
    /// Of a request on the connection that listens to `control`; on its runtime.
    pub(super) fn new(metadata: HeaderMap, requests: RecvStream, respond: SendResponse<Bytes>, control: Arc<Control>) -> Stream {
        let runtime = Handle::current();
        Stream { metadata, requests, unread: BytesMut::new(), respond, answers: None, control, runtime }
    }

    /// The next item; `None` when the bridge has closed its side or the stream is broken.
    pub(crate) fn next(&mut self) -> Option<Item> {
        self.next_within(PATIENCE).expect("an item from the bridge, or the end")
    }

    /// As `next`; `Err` if nothing happens in that time.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Result<Option<Item>, tokio::time::error::Elapsed> {
        let runtime = self.runtime.clone();
        runtime.block_on(async { tokio::time::timeout(patience, self.read()).await })
    }

    /// Whether the bridge has closed its side as it should; otherwise the stream was reset or its connection lost.
    pub(crate) fn is_closed_by_bridge(&self) -> bool {
        self.requests.is_end_stream()
    }

    /// The next item, which is a decision.
    #[track_caller]
    pub(crate) fn decision(&mut self) -> Decision {
        match self.next() {
            Some(Item::Decision(decision)) => decision,
            other => panic!("expected a decision: {other:?}"),
        }
    }

    /// So many decisions, one after the other.
    #[track_caller]
    pub(crate) fn decisions(&mut self, count: usize) -> Vec<Decision> {
        (0..count).map(|_| self.decision()).collect()
    }

    /// The next item, which is a Cancel: its id.
    #[track_caller]
    pub(crate) fn cancel(&mut self) -> u64 {
        match self.next() {
            Some(Item::Cancel(cancel)) => cancel.id,
            other => panic!("expected a Cancel: {other:?}"),
        }
    }

    async fn read(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.take_item() {
                return Some(item);
            }
            let data = self.requests.data().await?.ok()?;
            let _at_the_end = self.requests.flow_control().release_capacity(data.len());
            self.unread.extend(data);
        }
    }

    fn take_item(&mut self) -> Option<Item> {
        let mut header = self.unread.get(..HEADER)?;
        assert_eq!(header.get_u8(), 0, "a message that is not compressed");
        let length = header.get_u32() as usize;
        if self.unread.len() < HEADER + length {
            return None;
        }
        self.unread.advance(HEADER);
        let item = DecideStreamRequest::decode(self.unread.split_to(length)).expect("a DecideStreamRequest");
        Some(item.item.expect("an item with something set"))
    }

    /// The response's headers, which otherwise go out with the first answer.
    pub(crate) fn headers(&mut self) -> &mut SendStream<Bytes> {
        let respond = &mut self.respond;
        self.answers.get_or_insert_with(|| respond.send_response(grpc_headers(), false).expect("the stream is open"))
    }

    /// Bytes in a DATA frame of their own, or in several if they do not fit into one.
    pub(crate) fn send(&mut self, bytes: impl Into<Bytes>) {
        self.try_send(bytes).expect("the stream is open");
    }

    /// As `send`, where the bridge may have ended the stream.
    pub(crate) fn try_send(&mut self, bytes: impl Into<Bytes>) -> Result<(), h2::Error> {
        self.headers().send_data(bytes.into(), false)
    }

    pub(crate) fn answer(&mut self, id: u64, actions: Vec<Action>) {
        self.send(grpc(&response(id, actions)));
    }

    /// Sets `txn.allow` to true.
    pub(crate) fn allow(&mut self, id: u64) {
        self.answer(id, vec![allow()]);
    }

    pub(crate) fn error(&mut self, id: u64, code: i32, message: &str) {
        let status = rpc::Status { code, message: message.into(), details: Vec::new() };
        self.send(grpc(&DecideStreamResponse { id, result: Some(Outcome::Error(status)) }));
    }

    /// Ends the stream with this status: in trailers, or in headers alone when nothing was answered.
    pub(crate) fn end(mut self, code: i32, message: &str) {
        match &mut self.answers {
            Some(answers) => answers.send_trailers(status(code, message)).expect("the stream is open"),
            None => {
                let mut headers = grpc_headers();
                headers.headers_mut().extend(status(code, message));
                self.respond.send_response(headers, true).expect("the stream is open");
            }
        }
        // Dropped with items unread, it would be reset.
        let runtime = self.runtime.clone();
        runtime.spawn(async move { while self.read().await.is_some() {} });
    }

    /// RST_STREAM.
    pub(crate) fn reset(mut self, reason: Reason) {
        match &mut self.answers {
            Some(answers) => answers.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    /// GOAWAY on its connection: streams that are open go on.
    pub(crate) fn go_away(&self) {
        self.control.go_away.notify_one();
    }

    /// Closes its connection without a word.
    pub(crate) fn lose_connection(self) {
        self.control.lose.notify_one();
    }
}

pub(crate) fn response(id: u64, actions: Vec<Action>) -> DecideStreamResponse {
    DecideStreamResponse { id, result: Some(Outcome::Response(DecideResponse { actions })) }
}

/// A message with gRPC's header.
pub(crate) fn grpc(message: &impl Message) -> Bytes {
    framed(&message.encode_to_vec())
}

/// The same for a message that is encoded already, or is none.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

pub(super) fn grpc_headers() -> http::Response<()> {
    http::Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub(super) fn status(code: i32, message: &str) -> HeaderMap {
    let text = |text: &str| http::HeaderValue::from_str(text).unwrap();
    HeaderMap::from_iter([
        (http::HeaderName::from_static("grpc-status"), text(&code.to_string())),
        (http::HeaderName::from_static("grpc-message"), text(message)),
    ])
}
