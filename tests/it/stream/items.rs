//! What the bridge sends: one stream per worker and endpoint, and on it decisions with an id and their time.

use std::time::{Duration, Instant};

use super::{Scene, assert_allowed, bridge_to, config, stream_id};
use crate::support::bridge::Bridge;
use crate::support::service::set_txn;
use crate::support::stream_server::StreamServer;
use crate::support::wire::Data;
use spop_bridge::pb::v1::value::Kind;

/// Opened with the connection, before there is anything to decide, by each worker.
#[test]
fn one_stream_for_each_worker() {
    let server = StreamServer::start();
    let bridge = Bridge::start(&config(2, "auto", &[server.uri()], "5s"));
    let mut streams = [server.stream(), server.stream()];
    let mut engines = [bridge.engine(), bridge.engine()];
    for round in 0..50 {
        engines.iter_mut().for_each(|engine| engine.notify(round * 2 + 1, 1, &[("m", &[])]));
        for stream in &mut streams {
            let decision = stream.decision();
            assert_eq!(decision.id, round + 1, "connections are spread over workers, each with ids of its own");
            stream.allow(decision.id);
        }
        engines.iter_mut().for_each(|engine| assert_allowed(&engine.expect_ack()));
    }
    assert!(server.stream_within(Duration::from_millis(200)).is_none(), "no third stream");
    assert_eq!(server.unary_calls(), 0);
}

/// The backend's metadata and what gRPC wants, once; no deadline, which is each decision's own.
#[test]
fn metadata_comes_when_the_stream_is_opened() {
    let scene = Scene::new("5s");
    let header = |name: &str| scene.stream.metadata.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("x-tenant").as_deref(), Some("blue"));
    assert_eq!(header("te").as_deref(), Some("trailers"));
    assert!(header("content-type").unwrap().starts_with("application/grpc"));
    assert_eq!(header("grpc-timeout"), None);
}

#[test]
fn ids_grow_from_1_and_time_is_what_is_left() {
    let mut scene = Scene::new("2s");
    for round in 0..30 {
        let begin = Instant::now();
        let decisions = scene.ask(&[round * 6 + 1, round * 6 + 3, round * 6 + 5]);
        let late = begin.elapsed();
        for (index, decision) in decisions.iter().enumerate() {
            assert_eq!(decision.id, round * 3 + 1 + index as u64);
            let remaining = Duration::from_micros(decision.remaining_us);
            assert!(remaining <= Duration::from_millis(1998), "the margin is off: {remaining:?}");
            assert!(remaining + late >= Duration::from_millis(1990), "{remaining:?}, seen {late:?} after it was asked");
            assert!(decision.traceparent.is_empty() && decision.tracestate.is_empty() && decision.baggage.is_empty());
            scene.stream.allow(decision.id);
        }
        (0..3).for_each(|_| assert_allowed(&scene.engine.expect_ack()));
    }
}

/// Answers find their NOTIFYs in whatever order they come, and the first one asked holds up nobody.
#[test]
fn answers_come_in_any_order() {
    let mut scene = Scene::new("10s");
    let streams: Vec<u64> = (0..20).map(|n| n * 2 + 1).collect();
    for shift in [0, 7, 13] {
        let mut decisions = scene.ask(&streams);
        decisions.reverse();
        decisions[1..].rotate_left(shift);
        let held_back = decisions.pop().unwrap();
        let answer = |scene: &mut Scene, decision: spop_bridge::pb::v1::Decision| {
            let stream = stream_id(decision.request.as_ref().unwrap());
            scene.stream.answer(decision.id, vec![set_txn("stream", Kind::Uint64Value(stream))]);
        };
        decisions.into_iter().for_each(|decision| answer(&mut scene, decision));
        let mut answered: Vec<u64> = (0..19).map(|_| expect_own(&mut scene)).collect();
        answer(&mut scene, held_back);
        answered.push(expect_own(&mut scene));
        answered.sort_unstable();
        assert_eq!(answered, streams);
    }
}

/// An ACK that carries the stream id of its own NOTIFY.
fn expect_own(scene: &mut Scene) -> u64 {
    let ack = scene.engine.expect_ack();
    assert_eq!(ack.value("txn.stream"), Some(&Data::Uint64(ack.stream)), "{ack:?}");
    ack.stream
}

/// All of a request arrives, to the last byte of a frame as large as SPOP has them here.
#[test]
fn large_requests_and_answers() {
    let server = StreamServer::start();
    let bridge = bridge_to("decide_stream", &[server.uri()], "10s");
    let mut stream = server.stream();
    let mut engine = crate::support::engine::Engine::connect(bridge.address());
    engine.hello_with(128 << 10, "large");
    for (round, size) in [(0, 120_000), (1, 16_384), (2, 16_379), (3, 1), (4, 0), (5, 120_000)] {
        let body = vec![size as u8; size];
        engine.notify(round * 2 + 1, 1, &[("m", &[("body", Data::Binary(body.clone()))])]);
        let decision = stream.decision();
        let arg = decision.request.unwrap().messages.remove(0).args.remove(0);
        assert_eq!(arg.value.unwrap().kind, Some(Kind::BytesValue(body.clone().into())));
        stream.answer(decision.id, vec![set_txn("body", Kind::BytesValue(body.clone().into()))]);
        assert_eq!(engine.expect_ack().value("txn.body"), Some(&Data::Binary(body)));
    }
}
