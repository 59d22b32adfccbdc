//! Answers that are no decision: each costs its own NOTIFY and nothing else.

use prost::Message;
use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{DecideStreamResponse, Decision};

use super::{PATIENCE, Scene, assert_allowed};
use crate::failing_services::assert_fallback;
use crate::support::eventually;
use crate::support::service::{allow, set_txn};
use crate::support::stream::{framed, grpc, response};

/// Asks once, lets the service answer, and expects the fallback for `cause`; then the stream still works.
#[track_caller]
fn assert_cause(scene: &mut Scene, what: &str, cause: &str, answer: impl Fn(&mut Scene, Decision)) {
    let decision = scene.ask(&[3]).remove(0);
    answer(scene, decision);
    let ack = scene.engine.expect_ack();
    assert_eq!(ack.text("txn.status"), cause, "{what}: {ack:?}");
    assert_fallback(&ack, cause);
    let id = scene.ask(&[5])[0].id;
    scene.stream.allow(id);
    assert_allowed(&scene.engine.expect_ack());
}

/// The contract's table, by every code that gRPC has and some that it has not.
#[test]
fn error_items() {
    let mut scene = Scene::with("5s", "retry: { max_attempts: 1 },");
    let causes = [(4, "timeout"), (14, "unavailable"), (8, "overloaded"), (0, "invalid_response")];
    for code in (0..=16).chain([17, 99, i32::MAX, -1, i32::MIN]) {
        let cause = causes.iter().find(|(listed, _)| *listed == code).map_or("rejected", |(_, cause)| cause);
        assert_cause(&mut scene, &format!("code {code}"), cause, |scene, decision| {
            scene.stream.error(decision.id, code, "as scripted");
        });
    }
}

/// Operators read why; not all of it, if a service writes a novel.
#[test]
fn the_message_of_an_error_is_logged_and_cut() {
    let mut scene = Scene::new("5s");
    let novel = "dragons \u{1f409} ".repeat(100_000);
    assert_cause(&mut scene, "long message", "rejected", |scene, decision| scene.stream.error(decision.id, 7, &novel));
    let told = || scene.bridge.log().into_iter().find(|line| line.to_string().contains("dragons"));
    let line = eventually(PATIENCE, told).unwrap_or_else(|| panic!("{:?}", scene.bridge.log()));
    assert!(line.to_string().len() < 2000, "{} bytes", line.to_string().len());
}

#[test]
fn an_answer_with_nothing_set() {
    let mut scene = Scene::new("5s");
    assert_cause(&mut scene, "no result", "invalid_response", |scene, decision| {
        scene.stream.send(grpc(&DecideStreamResponse { id: decision.id, result: None }));
    });
}

/// The item says whose it is, and what it says is no decision.
#[test]
fn a_response_that_is_none() {
    let mut scene = Scene::new("5s");
    let bad_name = "not UTF-8: \u{1f409}";
    assert_cause(&mut scene, "bad name", "invalid_response", |scene, decision| {
        scene.stream.answer(decision.id, vec![allow(), set_txn(bad_name, Kind::Int64Value(1))]);
    });
    assert_cause(&mut scene, "too big for the frame", "invalid_response", |scene, decision| {
        scene.stream.answer(decision.id, vec![set_txn("big", Kind::BytesValue(vec![7; 3_000_000].into()))]);
    });
    // Field 2 holds these bytes where a DecideResponse belongs.
    for (what, bytes) in
        [("tag without a field", &b"\xff\xff"[..]), ("action cut off", b"\x0a\xc8\x01"), ("text in it", b"hello")]
    {
        assert_cause(&mut scene, what, "invalid_response", |scene, decision| {
            let mut item = DecideStreamResponse { id: decision.id, result: None }.encode_to_vec();
            item.extend([0x12, bytes.len() as u8]);
            item.extend(bytes);
            scene.stream.send(framed(&item));
        });
    }
}

/// Protobuf leaves the order of fields open, and new fields to later versions.
#[test]
fn fields_in_any_order_and_unknown_ones() {
    let mut scene = Scene::new("5s");
    let id = scene.ask(&[1])[0].id;
    let whole = response(id, vec![allow()]).encode_to_vec();
    let with_id = DecideStreamResponse { id, result: None }.encode_to_vec();
    let (id_field, result_field) = whole.split_at(with_id.len());
    // Fields 100 (varint), 101 (bytes), 102 (fixed64) and 103 (fixed32).
    let unknown = b"\xa0\x06\x96\x01\xaa\x06\x03new\xb1\x06\x01\x02\x03\x04\x05\x06\x07\x08\xbd\x06\x01\x02\x03\x04";
    scene.stream.send(framed(&[unknown, result_field, unknown, id_field].concat()));
    assert_allowed(&scene.engine.expect_ack());
}
