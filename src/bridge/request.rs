//! A NOTIFY's messages to the bytes of a `DecideRequest`, in one pass.
//!
//! This file and `response.rs` alone know the contract's messages; numbers are the fields of `proto/spopbridge/v1/decision.proto`.

use crate::config::TraceArgs;
use crate::grpc::Request;
use crate::protobuf::Writer;
use crate::spop::{Message, Notify, Peer, TypedData};
use crate::telemetry::TraceContext;

/// What a request needs beyond its frame: tags, lengths, the origin's texts.
const OVERHEAD: usize = 256;

/// What an `Origin` says of the peer: the same for all NOTIFYs of a connection, so it is encoded once.
#[derive(Debug)]
pub(crate) struct Origin {
    // The fields before and after the numbers of the frame.
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Origin {
    pub(crate) fn of(peer: &Peer) -> Self {
        let (mut head, mut tail) = (Writer::new(Vec::new()), Writer::new(Vec::new()));
        text_unless_empty(&mut head, 1, &peer.engine_id);
        text_unless_empty(&mut head, 2, peer.listener.as_bytes());
        text_unless_empty(&mut tail, 5, peer.address.as_bytes());
        Self { head: head.into_bytes(), tail: tail.into_bytes() }
    }
}

/// What of a NOTIFY goes into a trace: what its args say, by their names.
pub(crate) struct Tracing<'a> {
    pub(crate) args: &'a TraceArgs,
    pub(crate) context: TraceContext,
}

impl Tracing<'_> {
    /// Reads the args of a message that is not sent.
    pub(crate) fn take(&mut self, message: &Message<'_>) {
        for (name, value) in message.args() {
            if let TypedData::String(value) = value {
                self.context.take(self.args, name, value);
            }
        }
    }
}

/// Encodes the messages of `notify` for which `wanted` says so; it is asked with each one's position.
pub(crate) fn encode(notify: &Notify, origin: &Origin, wanted: impl FnMut(usize) -> bool, trace: &mut Tracing<'_>) -> Request {
    let length = notify.payload().len();
    Request::new(length + length / 4 + OVERHEAD, |out| encode_into(out, notify, origin, wanted, trace))
}

fn encode_into(
    out: Vec<u8>,
    notify: &Notify,
    origin: &Origin,
    mut wanted: impl FnMut(usize) -> bool,
    trace: &mut Tracing<'_>,
) -> Vec<u8> {
    let mut request = Writer::new(out);
    request.message(1, |out| {
        out.raw(&origin.head);
        varint_unless_zero(out, 3, notify.stream_id);
        varint_unless_zero(out, 4, notify.frame_id);
        out.raw(&origin.tail);
    });
    for (position, message) in notify.messages().enumerate() {
        if wanted(position) {
            request.message(2, |out| encode_message(out, &message, trace));
        }
    }
    request.into_bytes()
}

fn encode_message(out: &mut Writer, message: &Message<'_>, trace: &mut Tracing<'_>) {
    text_unless_empty(out, 1, message.name);
    for (name, value) in message.args() {
        if let TypedData::String(value) = value {
            trace.context.take(trace.args, name, value);
        }
        out.message(2, |arg| {
            text_unless_empty(arg, 1, name);
            arg.message(2, |out| encode_value(out, value));
        });
    }
}

fn encode_value(out: &mut Writer, value: TypedData<'_>) {
    match value {
        TypedData::Null => out.varint(1, 0),
        TypedData::Bool(value) => out.varint(2, u64::from(value)),
        // Protobuf and SPOP agree on negative integers: 64-bit two's complement.
        TypedData::Int32(value) => out.varint(3, i64::from(value) as u64),
        TypedData::Int64(value) => out.varint(3, value as u64),
        TypedData::Uint32(value) => out.varint(4, u64::from(value)),
        TypedData::Uint64(value) => out.varint(4, value),
        TypedData::Ipv4(address) => out.bytes(5, &address.octets()),
        TypedData::Ipv6(address) => out.bytes(6, &address.octets()),
        TypedData::String(value) => {
            // One byte that is not UTF-8 would make every decoder refuse the whole request: the exact bytes go beside.
            if !out.text(7, value) {
                out.bytes(9, value);
            }
        }
        TypedData::Binary(value) => out.bytes(8, value),
    }
}

fn text_unless_empty(out: &mut Writer, field: u8, value: &[u8]) {
    if !value.is_empty() {
        out.text(field, value);
    }
}

fn varint_unless_zero(out: &mut Writer, field: u8, value: u64) {
    if value != 0 {
        out.varint(field, value);
    }
}
