//! Any bytes as a stream of frames, each payload through every decoder.
//!
//! Nothing panics, the limit holds, chunks do not matter, and what decodes encodes to the same meaning.
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use spop_bridge::spop::kv::KvList;
use spop_bridge::spop::reader::Reader;
use spop_bridge::spop::{
    Actions, AgentHello, Decoder, Disconnect, Frame, FrameType, HaproxyHello, Notify, NotifyEncoder, TypedData,
};

const LIMIT: u32 = 16_380;

fuzz_target!(|data: &[u8]| {
    let frames = decode(data, data.len().max(1));
    assert_eq!(frames, decode(data, data.len() % 7 + 1), "chunks do not matter");
    for frame in frames {
        kv(&frame.payload);
        hellos(&frame.payload);
        disconnect(&frame.payload);
        actions(&frame.payload);
        notify(frame);
    }
    value(data);
});

/// Frames until the first error.
fn decode(data: &[u8], chunk: usize) -> Vec<Frame> {
    let (mut decoder, mut buffer, mut frames) = (Decoder::new(LIMIT), BytesMut::new(), Vec::new());
    for chunk in data.chunks(chunk) {
        buffer.extend_from_slice(chunk);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => {
                    assert!(frame.payload.len() <= LIMIT as usize);
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
        assert!(decoder.needed() <= LIMIT as usize + 4);
    }
    frames
}

fn kv(payload: &Bytes) {
    let items: Vec<_> = KvList::new(payload).collect();
    assert!(items.iter().rev().skip(1).all(Result::is_ok), "an error is the end");
}

fn hellos(payload: &Bytes) {
    let mut out = BytesMut::new();
    if let Ok(hello) = HaproxyHello::decode(payload) {
        hello.encode(&mut out);
        assert_eq!(HaproxyHello::decode(&unframe(&mut out).payload), Ok(hello));
    }
    if let Ok(hello) = AgentHello::decode(payload) {
        hello.encode(&mut out);
        assert_eq!(AgentHello::decode(&unframe(&mut out).payload), Ok(hello));
    }
}

fn disconnect(payload: &Bytes) {
    if let Ok(disconnect) = Disconnect::decode(payload) {
        let mut out = BytesMut::new();
        disconnect.encode(FrameType::AGENT_DISCONNECT, &mut out);
        let sent = Disconnect::decode(&unframe(&mut out).payload).expect("our own frame");
        assert_eq!(sent.status, disconnect.status);
        assert!(disconnect.message.starts_with(&sent.message) && sent.message.len() <= 255);
    }
}

fn actions(payload: &Bytes) {
    if let Ok(actions) = Actions::decode(payload) {
        assert_eq!(actions.as_bytes(), payload);
        assert_eq!(actions.iter().count(), actions.count());
    }
}

fn notify(frame: Frame) {
    let (stream_id, frame_id) = (frame.metadata.stream_id, frame.metadata.frame_id);
    let Ok(notify) = Notify::decode(frame, Arc::default(), Instant::now(), LIMIT) else { return };
    let mut encoder = NotifyEncoder::new(stream_id, frame_id);
    for message in notify.messages() {
        let args: Vec<_> = message.args().collect();
        assert_eq!(args.len(), usize::from(message.arg_count()));
        encoder = encoder.message(message.name, &args);
    }
    assert_eq!(notify.messages().count(), notify.message_count());

    let mut out = BytesMut::new();
    encoder.encode(&mut out).expect("as many args as there were");
    let again = Notify::decode(unframe(&mut out), Arc::default(), Instant::now(), LIMIT).expect("our own frame");
    assert_eq!(again.message_count(), notify.message_count());
    for (again, message) in again.messages().zip(notify.messages()) {
        assert_eq!(again.name, message.name);
        assert!(again.args().eq(message.args()));
    }
}

fn value(data: &[u8]) {
    if let Ok(value) = TypedData::decode(&mut Reader::new(data)) {
        let mut out = Vec::new();
        value.encode(&mut out);
        assert_eq!(out.len(), value.encoded_len());
        assert_eq!(TypedData::decode(&mut Reader::new(&out)), Ok(value));
    }
}

/// The one frame in `out`.
fn unframe(out: &mut BytesMut) -> Frame {
    let frame = Decoder::new(u32::MAX).decode(out).expect("our own frame").expect("a whole frame");
    assert!(out.is_empty());
    frame
}
