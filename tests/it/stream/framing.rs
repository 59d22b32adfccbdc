//! gRPC messages do not keep to HTTP/2 frames.

use std::time::Duration;

use super::{Scene, assert_allowed};
use crate::support::service::allow;
use crate::support::stream::{framed, grpc, response};

/// One message, one byte in each DATA frame.
#[test]
fn a_message_in_many_data_frames() {
    let mut scene = Scene::new("10s");
    let id = scene.ask(&[1])[0].id;
    for byte in grpc(&response(id, vec![allow()])) {
        scene.stream.send(vec![byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_allowed(&scene.engine.expect_ack());
}

/// Many messages in one DATA frame, the last of them cut in its gRPC header.
#[test]
fn many_messages_in_one_data_frame() {
    let mut scene = Scene::new("10s");
    let streams: Vec<u64> = (0..50).map(|n| n * 2 + 1).collect();
    let decisions = scene.ask(&streams);
    let bytes: Vec<u8> = decisions.iter().flat_map(|decision| grpc(&response(decision.id, vec![allow()]))).collect();
    let last = grpc(&response(decisions[49].id, vec![allow()])).len();
    let (first, rest) = bytes.split_at(bytes.len() - last + 3);
    scene.stream.send(first.to_vec());
    (0..49).for_each(|_| assert_allowed(&scene.engine.expect_ack()));
    scene.stream.send(rest.to_vec());
    let ack = scene.engine.expect_ack();
    assert_allowed(&ack);
}

/// Empty DATA frames say nothing, wherever they come.
#[test]
fn empty_data_frames() {
    let mut scene = Scene::new("10s");
    let id = scene.ask(&[1])[0].id;
    let message = grpc(&response(id, vec![allow()]));
    scene.stream.send(Vec::new());
    scene.stream.send(message.slice(..7));
    (0..10).for_each(|_| scene.stream.send(Vec::new()));
    scene.stream.send(message.slice(7..));
    assert_allowed(&scene.engine.expect_ack());
}

/// Larger than HTTP/2's frames and than its first window.
#[test]
fn an_item_in_many_full_frames() {
    let mut scene = Scene::proven("10s");
    for round in 0..3 {
        let id = scene.ask(&[101 + round * 2])[0].id;
        // An unknown id's item of 3 MiB in front of the answer.
        let fill = spop_bridge::pb::v1::value::Kind::BytesValue(vec![7; 3 << 20].into());
        scene.stream.answer(1_000_000, vec![crate::support::service::set_txn("fill", fill)]);
        scene.stream.send(framed(b""));
        scene.stream.allow(id);
        assert_allowed(&scene.engine.expect_ack());
    }
    assert_eq!(scene.totals().of("unknown_answers"), 6);
}
