//! Things on the port that are no gRPC service at all, or a broken one, called by unary calls. Streams have theirs in `stream::garbage`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use spop_bridge::pb::v1::DecideResponse;
use spop_bridge::pb::v1::value::Kind;

use super::{HAPROXY_TIMER, fallbacks, timed};
use crate::support::bridge::Bridge;
use crate::support::figure;
use crate::support::garbage::{Page, TcpServer};
use crate::support::service::set_txn;
use crate::support::wire::Data;

fn bridge_to(endpoint: &str, timeout: &str) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{endpoint}\"], protocol: decide }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: {timeout} }}]\n{}",
        fallbacks()
    ))
}

/// Which causes fit: where a peer breaks HTTP/2 or gRPC it's a matter of view whether the connection or the answer was bad.
#[track_caller]
fn assert_one_of(what: &str, endpoint: &str, causes: &[&str]) {
    let bridge = bridge_to(endpoint, "1s");
    let mut engine = bridge.engine();
    for stream in [1, 3] {
        let (ack, took) = timed(&mut engine, stream);
        let cause = ack.text("txn.status");
        assert!(causes.contains(&&cause[..]), "{what}: {cause}");
        assert_eq!(ack.text("txn.reason"), format!("because {cause}"));
        assert!(took < HAPROXY_TIMER);
        figure(&format!("{what}: {cause} with a route timeout of 1s after"), format!("{:.1} ms", took.as_secs_f64() * 1e3));
    }
}

#[test]
fn an_http_1_server() {
    assert_one_of("HTTP/1.1 server", &TcpServer::web().uri, &["unavailable"]);
}

#[test]
fn random_bytes() {
    let noise = TcpServer::start(|mut socket| {
        let bytes: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let _whatever = std::io::Write::write_all(&mut socket, &bytes);
        std::thread::sleep(Duration::from_millis(100));
    });
    assert_one_of("random bytes", &noise.uri, &["unavailable"]);
}

#[test]
fn protobuf_that_is_none() {
    assert_one_of("invalid protobuf", Page::grpc(b"\xff\xff\xff\xff\xff").serve().uri(), &["invalid_response"]);
    // Field 1, length 200, of which nothing follows.
    assert_one_of("truncated protobuf", Page::grpc(b"\x0a\xc8\x01").serve().uri(), &["invalid_response"]);
    // A string that is not UTF-8 where the name of a variable belongs.
    assert_one_of("name not UTF-8", Page::grpc(b"\x0a\x08\x0a\x06\x08\x03\x12\x02\xff\xfe").serve().uri(), &["invalid_response"]);
}

#[test]
fn a_message_that_lies_about_its_length() {
    let broken = ["invalid_response", "rejected", "unavailable"];
    let mut endless = Page::grpc(b"");
    endless.body = b"\x00\xff\xff\xff\xff".to_vec();
    assert_one_of("4 GiB announced", endless.serve().uri(), &broken);
    let mut short = Page::grpc(b"");
    short.body = b"\x00\x00\x00\x00\x20abc".to_vec();
    assert_one_of("32 bytes announced, 3 sent", short.serve().uri(), &broken);
    let mut compressed = Page::grpc(b"");
    compressed.body = b"\x01\x00\x00\x00\x03abc".to_vec();
    assert_one_of("compressed, unasked", compressed.serve().uri(), &broken);
}

/// A call has one answer. If a deny comes before an allow, or an answer before half of another, none of them can be believed.
#[test]
fn more_than_one_message() {
    let message = |allow: bool| {
        let answer = DecideResponse { actions: vec![set_txn("allow", Kind::BoolValue(allow))] };
        Page::grpc(&answer.encode_to_vec()).body
    };
    let (deny, allow) = (message(false), message(true));
    for (what, body) in [
        ("a deny, then an allow", [&deny[..], &allow].concat()),
        ("the same twice", [&deny[..], &deny].concat()),
        ("an allow, then an empty message", [&allow[..], &[0; 5]].concat()),
        ("half a message behind the answer", [&allow[..], &deny[..7]].concat()),
        ("one byte behind the answer", [&allow[..], &[0]].concat()),
    ] {
        let page = Page { body, ..Page::grpc(b"") };
        assert_one_of(what, page.serve().uri(), &["invalid_response"]);
    }
}

#[test]
fn no_message_at_all() {
    let mut nothing = Page::grpc(b"");
    nothing.body = Vec::new();
    assert_one_of("OK without a message", nothing.serve().uri(), &["invalid_response", "rejected"]);
    let mut unfinished = Page::grpc(b"");
    unfinished.trailers.clear();
    assert_one_of("no grpc-status", unfinished.serve().uri(), &["invalid_response", "rejected", "unavailable"]);
}

/// A web server or a balancer with nobody behind it.
#[test]
fn http_2_but_not_grpc() {
    let page = |status| Page {
        status,
        headers: vec![("content-type", "text/html")],
        body: b"<h1>Oops</h1>".to_vec(),
        trailers: Vec::new(),
        delay: Duration::ZERO,
    };
    assert_one_of("HTTP 200 text/html", page(200).serve().uri(), &["invalid_response", "rejected"]);
    assert_one_of("HTTP 404", page(404).serve().uri(), &["rejected"]);
    assert_one_of("HTTP 403", page(403).serve().uri(), &["rejected"]);
    assert_one_of("HTTP 503", page(503).serve().uri(), &["unavailable"]);
    assert_one_of("HTTP 429", page(429).serve().uri(), &["unavailable", "overloaded"]);
}

/// Headers at once, the message never: the deadline holds for the whole answer.
#[test]
fn an_answer_that_never_ends() {
    let mut slow = Page::grpc(b"");
    slow.delay = Duration::from_secs(30);
    let server = slow.serve();
    let bridge = bridge_to(server.uri(), "200ms");
    let (ack, took) = timed(&mut bridge.engine(), 1);
    super::assert_fallback(&ack, "timeout");
    assert!(took < HAPROXY_TIMER);
}

/// tonic's own reading of a status panics on it.
#[test]
fn details_that_are_not_base64() {
    let mut head = Page::grpc(b"");
    head.headers.extend([("grpc-status", "9"), ("grpc-status-details-bin", "!!!, ?")]);
    let mut trailers = Page::grpc(b"");
    trailers.trailers = vec![("grpc-status", "9"), ("grpc-status-details-bin", "!!!, ?")];
    for (what, page) in [("in the head", head), ("in the trailers", trailers)] {
        let page = page.serve();
        assert_one_of(what, page.uri(), &["rejected"]);
        // The stream is refused with it, then the calls are; no task is lost on the way.
        let bridge = Bridge::simple(page.uri(), "1s");
        let mut engine = bridge.engine();
        for stream in [1, 3, 5] {
            assert_eq!(engine.ask(stream, "check", &[]).text("txn.bridge_status"), "rejected", "{what}");
        }
    }
}

/// HTTP/2 keeps calls that the socket does not take, cancelled or not: the connection has to go.
#[test]
fn a_service_that_never_reads() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let silent = TcpServer::start(move |mut socket| {
        counter.fetch_add(1, Ordering::Relaxed);
        // Empty SETTINGS, and not a word more.
        let _gone = std::io::Write::write_all(&mut socket, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        std::thread::sleep(Duration::from_secs(30));
    });
    let bridge = bridge_to(&silent.uri, "50ms");
    let mut engine = bridge.engine();
    let before = bridge.resident_kib();
    let (mut most, mut answered) = (0, 0);
    for round in 0..40 {
        for stream in 0..500 {
            engine.notify(1 + (round * 500 + stream) * 2, 1, &[("m", &[("body", Data::Binary(vec![7; 4096]))])]);
        }
        for _ in 0..500 {
            engine.expect_ack();
            answered += 1;
        }
        most = most.max(bridge.resident_kib().saturating_sub(before));
    }
    let connections = connections.load(Ordering::Relaxed);
    figure(
        "20,000 calls of 4 KiB to a service that reads nothing",
        format!("{answered} fallbacks, {connections} connections, resident grown by at most {most} KiB"),
    );
    assert!(connections >= 2, "the connection was never left");
    assert!(most < 96 * 1024, "grew by {most} KiB");
}
