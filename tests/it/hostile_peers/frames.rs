//! Frames that are broken, cut, fragmented, doubled or in pieces.

use std::time::{Duration, Instant};

use super::{Scene, assert_allowed, status};
use crate::support::bridge::Bridge;
use crate::support::engine::{Engine, hello_frame, notify_frame};
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::{self, Data, Frame};

/// The connection of an established peer that sends this ends with this code.
#[track_caller]
fn assert_ends(scene: &Scene, what: &str, frame: &Frame, code: u32) {
    let mut peer = scene.bridge.engine();
    peer.send_frame(frame);
    let reason = peer.expect_disconnect();
    assert_eq!(reason.0, code, "{what}: {}", reason.1);
    peer.expect_end();
}

fn notify_payload(payload: Vec<u8>) -> Frame {
    Frame::new(wire::NOTIFY, 1, 1, payload)
}

#[test]
fn payloads_that_break_off() {
    let scene = Scene::new();
    let whole =
        wire::message_list(&[("check", &[("a", "text".into()), ("b", Data::Ipv6([1; 16].into())), ("c", Data::Int64(-1))])]);
    for end in 1..whole.len() {
        assert_ends(&scene, &format!("cut at {end}"), &notify_payload(whole[..end].to_vec()), status::INVALID);
    }
    scene.finish();
}

#[test]
fn payloads_that_lie() {
    let scene = Scene::new();
    let payload = |bytes: &[u8]| notify_payload(bytes.to_vec());
    let endless = [&[0xf0][..], &[0x80; 60][..], &[0]].concat();
    let cases = [
        ("name longer than the frame", payload(b"\xef")),
        ("name of 2^64 bytes", payload(&[&[0xff; 9][..], &[0x0f], b"abc"].concat())),
        ("varint that doesn't end", payload(&endless)),
        ("255 args announced", payload(b"\x01m\xff\x01a\x00")),
        ("unknown data type", payload(b"\x01m\x01\x01a\x0f")),
        ("string of 4 GiB", payload(b"\x01m\x01\x01a\x08\xff\xff\xff\xff\x7f")),
        ("IPv4 of 3 bytes", payload(b"\x01m\x01\x01a\x06\x01\x02\x03")),
        ("ids are 0", Frame::new(wire::NOTIFY, 0, 0, wire::message_list(&[("m", &[])]))),
        ("frame id is 0", Frame::new(wire::NOTIFY, 1, 0, wire::message_list(&[("m", &[])]))),
        ("an agent's frame", Frame::new(wire::ACK, 1, 1, Vec::new())),
        ("an agent's HELLO", Frame::new(wire::AGENT_HELLO, 0, 0, Vec::new())),
    ];
    for (what, frame) in cases {
        assert_ends(&scene, what, &frame, status::INVALID);
    }
    // The ids themselves: a varint that goes on to the end of the frame.
    let mut peer = scene.bridge.engine();
    peer.send(&[&[0, 0, 0, 30, wire::NOTIFY, 0, 0, 0, 1][..], &[0xff; 25]].concat());
    assert_eq!(peer.expect_disconnect().0, status::INVALID);
    scene.finish();
}

/// d12: the bridge announces no fragmentation, so a frame without FIN can't be understood.
#[test]
fn d12_fragments() {
    let scene = Scene::new();
    let frame = notify_frame(1, 1, &[("m", &[])]).with_flags(0);
    assert_ends(&scene, "first fragment", &frame, status::FRAGMENTATION);
    let frame = Frame::new(0, 1, 1, b"rest".to_vec()).with_flags(0);
    assert_ends(&scene, "later fragment", &frame, status::FRAGMENTATION);
    scene.finish();
}

/// Up to 3.0 stream ids are those of HAProxy's streams, and the first of a process is 0.
#[test]
fn d13_stream_id_0_is_one_like_others() {
    let scene = Scene::new();
    assert_allowed(&mut scene.bridge.engine(), 0);
    scene.finish();
}

#[test]
fn duplicate_ids_in_flight() {
    let service = Service::start(|_| Answer::after(Duration::from_millis(300), Answer::Actions(vec![allow()])));
    let bridge = Bridge::simple(service.uri(), "10s");
    let mut peer = bridge.engine();
    let twice = [notify_frame(7, 1, &[("m", &[])]).encode(), notify_frame(7, 1, &[("m", &[])]).encode()].concat();
    peer.send(&twice);
    assert_eq!(peer.expect_ack().stream, 7, "the first one is still answered (d24)");
    assert_eq!(peer.expect_disconnect().0, status::INVALID);
    peer.expect_end();
    assert_eq!(service.calls().len(), 1);
    // Once answered, the ids are free again; 3.1+ has frame id 1 for all.
    let scene = Scene::new();
    let mut peer = scene.bridge.engine();
    for stream in [7, 7, 7] {
        assert_allowed(&mut peer, stream);
    }
    scene.finish();
}

/// SPOE §3.2.2: unknown types may be skipped.
#[test]
fn unknown_frame_types_are_skipped() {
    let scene = Scene::new();
    let mut peer = scene.bridge.engine();
    for kind in [4, 50, 200, 255] {
        peer.send_frame(&Frame::new(kind, 0, 0, b"whatever".to_vec()));
    }
    assert_allowed(&mut peer, 1);
    scene.finish();
}

/// d30: bytes come as they like.
#[test]
fn d30_frames_byte_by_byte() {
    let scene = Scene::new();
    let mut peer = scene.stranger();
    for byte in hello_frame(16380, "slow").encode() {
        peer.send(&[byte]);
    }
    assert_eq!(peer.expect_frame().kind, wire::AGENT_HELLO);
    let notify = notify_frame(1, 1, &[("check", &[("a", "text".into())])]).encode();
    for byte in notify {
        peer.send(&[byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(peer.expect_ack().stream, 1);
    scene.finish();
}

/// All in one segment: HELLO, NOTIFYs, DISCONNECT.
#[test]
fn d30_a_whole_conversation_in_one_write() {
    let scene = Scene::new();
    let mut peer = scene.stranger();
    let goodbye = wire::kv_list(&[("status-code", Data::Uint32(0)), ("message", "normal".into())]);
    let mut bytes = hello_frame(16380, "hasty").encode();
    for stream in [1, 3, 5] {
        bytes.extend(notify_frame(stream, 1, &[("m", &[])]).encode());
    }
    bytes.extend(Frame::new(wire::HAPROXY_DISCONNECT, 0, 0, goodbye).encode());
    peer.send(&bytes);
    assert_eq!(peer.expect_frame().kind, wire::AGENT_HELLO);
    let mut streams: Vec<_> = (0..3).map(|_| peer.expect_ack().stream).collect();
    streams.sort_unstable();
    assert_eq!(streams, [1, 3, 5], "flushed before the goodbye (d23)");
    assert_eq!(peer.expect_disconnect().0, 0);
    peer.expect_end();
    scene.finish();
}

/// A frame begun and not finished: the read timeout ends it.
#[test]
fn half_a_frame_and_silence() {
    let scene = Scene::with(", read_timeout: 300ms, handshake_timeout: 300ms");
    let whole = notify_frame(1, 1, &[("m", &[("a", "text".into())])]).encode();
    let mut peer = scene.bridge.engine();
    peer.send(&whole[..whole.len() - 3]);
    assert_eq!(peer.expect_disconnect().0, status::TIMEOUT);
    peer.expect_end();
    let mut peer = Engine::connect(scene.address());
    peer.send(&hello_frame(16380, "x").encode()[..9]);
    assert_eq!(peer.expect_disconnect().0, status::TIMEOUT);
    peer.expect_end();
    // Between frames it may be silent for as long as it likes.
    let mut peer = scene.bridge.engine();
    std::thread::sleep(Duration::from_millis(800));
    assert_allowed(&mut peer, 1);
    scene.finish();
}

/// Off by default, because HAProxy closes idle connections itself; when it's on, the goodbye is a normal one.
#[test]
fn idle_timeout_says_goodbye() {
    let scene = Scene::with(", idle_timeout: 1s");
    let begin = Instant::now();
    let mut peer = scene.bridge.engine();
    assert_eq!(peer.expect_disconnect().0, 0);
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    peer.expect_end();
    scene.finish();
}
