//! What is no answer at all. An item that cannot be read costs nobody's decision; what is no gRPC any more costs the stream.

use std::time::Duration;

use super::{Scene, assert_allowed, bridge_to};
use crate::failing_services::timed;
use crate::support::garbage::Page;
use crate::support::stream::framed;

/// Framed as gRPC wants it, and no `DecideStreamResponse`.
#[test]
fn items_that_cannot_be_read() {
    let mut scene = Scene::proven("5s");
    let id = scene.ask(&[3])[0].id;
    let garbage: [&[u8]; 4] = [b"\xff\xff\xff\xff\xff", b"\x12\xff\xff\xff\xff\x0f", b"\x08", b"\x0b\x0b\x0b"];
    garbage.iter().for_each(|bytes| scene.stream.send(framed(bytes)));
    scene.stream.allow(id);
    assert_allowed(&scene.engine.expect_ack());
    let totals = scene.totals();
    assert_eq!(totals.of("unknown_answers"), 4, "{}", totals.0);
}

/// Nothing at all is a valid item: of no id, which nobody waits for.
#[test]
fn an_empty_item() {
    let mut scene = Scene::proven("5s");
    let id = scene.ask(&[3])[0].id;
    scene.stream.send(framed(b""));
    scene.stream.allow(id);
    assert_allowed(&scene.engine.expect_ack());
    assert_eq!(scene.totals().of("unknown_answers"), 1);
}

/// The stream cannot be read any further: what is in flight fails at once, and the next stream is opened.
#[track_caller]
fn assert_breaks_the_stream(what: &str, bytes: Vec<u8>) {
    let mut scene = Scene::without_retries("30s");
    scene.ask(&[3, 5]);
    scene.stream.send(bytes);
    scene.expect_fallbacks(&[3, 5], "unavailable");
    assert_eq!(scene.stream.next(), None, "{what}: nothing more comes on this stream");
    scene.expect_next_stream();
}

/// Nobody has agreed to a compression.
#[test]
fn a_compressed_message() {
    assert_breaks_the_stream("compressed", b"\x01\x00\x00\x00\x03abc".to_vec());
    assert_breaks_the_stream("flag of no meaning", b"\x07\x00\x00\x00\x03abc".to_vec());
}

/// The limit is 4 MiB, and nothing is set aside for what is only announced.
#[test]
fn a_message_over_the_limit() {
    assert_breaks_the_stream("4 MiB and a byte", b"\x00\x00\x40\x00\x01abc".to_vec());
    assert_breaks_the_stream("4 GiB", b"\x00\xff\xff\xff\xffabc".to_vec());
}

/// At the limit it is read: too big for any frame, and the stream goes on.
#[test]
fn a_message_within_the_limit() {
    let mut scene = Scene::proven("10s");
    let id = scene.ask(&[3])[0].id;
    let fill = vec![7; (4 << 20) - 64];
    let fill = spop_bridge::pb::v1::value::Kind::BytesValue(fill.into());
    scene.stream.answer(id, vec![crate::support::service::set_txn("fill", fill)]);
    scene.expect_fallbacks(&[3], "invalid_response");
    let id = scene.ask(&[5])[0].id;
    scene.stream.allow(id);
    assert_allowed(&scene.engine.expect_ack());
}

/// What is on the port has HTTP/2 and is no decision service; the stream is insisted on. Unary calls have their own test.
#[test]
fn http_2_but_not_grpc() {
    let page = |status| Page {
        status,
        headers: vec![("content-type", "text/html")],
        body: b"<h1>Oops</h1>".to_vec(),
        trailers: Vec::new(),
        delay: Duration::ZERO,
    };
    let mut nonsense = Page::grpc(b"\xff\xff\xff\xff\xff");
    nonsense.headers = vec![("content-type", "application/grpc")];
    let mut unfinished = Page::grpc(b"");
    unfinished.trailers.clear();
    let pages = [
        ("HTTP 200 text/html", page(200), &["rejected", "unavailable"][..]),
        ("HTTP 404", page(404), &["rejected", "unavailable"]),
        ("HTTP 403", page(403), &["rejected", "unavailable"]),
        ("HTTP 503", page(503), &["unavailable"]),
        ("HTTP 429", page(429), &["unavailable", "overloaded"]),
        ("an item that cannot be read, then OK", nonsense, &["unavailable"]),
        ("no grpc-status", unfinished, &["rejected", "unavailable"]),
    ];
    for (what, page, causes) in pages {
        let server = page.serve();
        let bridge = bridge_to("decide_stream", &[server.uri()], "5s");
        let mut engine = bridge.engine();
        for stream in [1, 3, 5] {
            let (ack, took) = timed(&mut engine, stream);
            let cause = ack.text("txn.status");
            assert!(causes.contains(&&cause[..]), "{what}: {cause}");
            assert!(took < Duration::from_secs(4), "{what}: at once, not at the deadline");
        }
    }
}
