//! Streams that end, as they should or not: what is in flight fails at once, and the next stream is there soon.

use std::time::{Duration, Instant};

use h2::Reason;

use super::{PATIENCE, Scene, allowing, bridge_to, in_ms, is_allowed, service_at};
use crate::failing_services::{assert_fallback, timed};
use crate::support::host::Bound;
use crate::support::service::Answer;
use crate::support::stream::Stream;
use crate::support::stream_server::StreamServer;
use crate::support::{eventually, figure, free_address};

/// Five in flight when the stream ends in this way; each of them gets its fallback once, far before its deadline.
#[track_caller]
fn assert_in_flight_is_unavailable(what: &str, end: impl FnOnce(Stream)) {
    let mut scene = Scene::without_retries("30s");
    let streams = [3, 5, 7, 9, 11];
    scene.ask(&streams);
    let Scene { bridge, server, stream, engine } = scene;
    let ended = Instant::now();
    end(stream);
    let next = server.stream();
    let reopened = ended.elapsed();
    let mut scene = Scene { bridge, server, stream: next, engine };
    scene.expect_fallbacks(&streams, "unavailable");
    assert!(ended.elapsed() < Duration::from_secs(15), "{what}: not at their deadline");
    figure(&format!("{what}: the next stream is open after"), in_ms(reopened));
    scene.notify(101);
    let id = scene.stream.decision().id;
    scene.stream.allow(id);
    assert!(is_allowed(&scene.engine.expect_ack()));
    assert_eq!(scene.server.unary_calls(), 0, "{what}: a stream that has answered is no reason for unary calls");
}

#[test]
fn reset_in_mid_flight() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::ENHANCE_YOUR_CALM, Reason::NO_ERROR] {
        assert_in_flight_is_unavailable(&format!("RST_STREAM {reason:?}"), |stream| stream.reset(reason));
    }
}

#[test]
fn connection_lost_in_mid_flight() {
    assert_in_flight_is_unavailable("connection lost", Stream::lose_connection);
}

/// A connection that has answered a decision was a good one, however short: the next is made at once, and what was in flight is decided there.
#[test]
fn a_short_connection_that_has_answered() {
    let mut scene = Scene::proven("30s");
    for _ in 0..3 {
        scene.ask(&[3, 5, 7]);
        let Scene { bridge, server, stream, engine } = scene;
        stream.lose_connection();
        let stream = server.stream();
        scene = Scene { bridge, server, stream, engine };
        for decision in scene.stream.decisions(3) {
            scene.stream.allow(decision.id);
        }
        (0..3).for_each(|_| assert!(is_allowed(&scene.engine.expect_ack())));
    }
    let told = scene.bridge.log().iter().filter(|line| line["message"] == "endpoint not connected, trying on").count();
    assert_eq!(told, 0, "{:?}", scene.bridge.log());
}

/// Whatever status a stream ends with after it has answered: it is the stream's, not that of its decisions.
#[test]
fn ended_with_a_status_in_mid_flight() {
    for code in [0, 13, 8, 12, 16] {
        assert_in_flight_is_unavailable(&format!("status {code}"), |stream| stream.end(code, "going away"));
    }
}

/// A service that has nothing to do may end its stream: no decision is lost, and the next stream is there for what comes.
#[test]
fn ended_with_ok_while_idle() {
    let Scene { bridge, server, stream, engine } = Scene::proven("5s");
    stream.end(0, "");
    let stream = server.stream();
    let mut scene = Scene { bridge, server, stream, engine };
    let id = scene.ask(&[3])[0].id;
    assert_eq!(id, 1, "a new stream numbers anew");
    scene.stream.allow(id);
    assert!(is_allowed(&scene.engine.expect_ack()));
    let totals = scene.totals();
    assert_eq!(totals.of("unavailable"), 0, "{}", totals.0);
}

/// As soon as it is opened, again and again: tried less and less often, and decisions made in between do not wait for ever.
#[test]
fn ended_at_once_every_time() {
    let server = StreamServer::start();
    let bridge = bridge_to("decide_stream", &[server.uri()], "5s");
    let end = Instant::now() + Duration::from_secs(3);
    let mut opened = 0;
    while Instant::now() < end {
        if let Some(stream) = server.stream_within(Duration::from_millis(50)) {
            opened += 1;
            stream.end(0, "");
        }
    }
    figure("streams opened in 3 s, each ended at once", opened);
    assert!((2..40).contains(&opened), "{opened}");
    let told = bridge.log().len();
    assert!(told < 12, "{:?}", bridge.log());
    let mut stream = server.stream();
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    let id = stream.decision().id;
    stream.allow(id);
    assert!(is_allowed(&engine.expect_ack()));
}

/// A service is killed with decisions in flight and started again at once: how long until it decides again.
#[test]
fn service_is_killed_and_restarted() {
    let address = free_address();
    let mut service = service_at(Bound::at(address), |request| match request.messages[0].name.as_str() {
        "stall" => Answer::Never,
        _ => allowing(),
    });
    let bridge = bridge_to("auto", &[service.uri()], "30s");
    let mut engine = bridge.engine();
    assert!(is_allowed(&timed(&mut engine, 1).0));
    let streams: Vec<u64> = (0..100).map(|n| 3 + n * 2).collect();
    streams.iter().for_each(|stream| engine.notify(*stream, 1, &[("stall", &[])]));
    assert!(eventually(PATIENCE, || (service.in_flight() == 100).then_some(())).is_some());
    service.kill();
    let killed = Instant::now();
    let mut failed: Vec<u64> = streams
        .iter()
        .map(|_| {
            let ack = engine.expect_ack();
            assert_fallback(&ack, "unavailable");
            ack.stream
        })
        .collect();
    figure("service killed with 100 on a stream: last fallback after", in_ms(killed.elapsed()));
    failed.sort_unstable();
    assert_eq!(failed, streams);
    drop(service);

    let service = service_at(Bound::at(address), |_| allowing());
    let (there, mut stream) = (Instant::now(), 1001);
    let decided = eventually(PATIENCE, || {
        stream += 2;
        is_allowed(&timed(&mut engine, stream).0).then_some(())
    });
    assert!(decided.is_some(), "{:?}", bridge.log());
    figure("service killed and started again: first decision after it listens", in_ms(there.elapsed()));
    assert!(service.calls().iter().all(|call| call.is_streamed()));
}

/// The bridge leaves: what is in flight is finished, then it closes its side and the service may end the stream.
#[test]
fn the_bridge_itself_leaves() {
    let mut scene = Scene::proven("10s");
    let decisions = scene.ask(&[3, 5, 7]);
    scene.bridge.terminate();
    std::thread::sleep(Duration::from_millis(200));
    decisions.iter().for_each(|decision| scene.stream.allow(decision.id));
    (0..3).for_each(|_| assert!(is_allowed(&scene.engine.expect_ack())));
    assert_eq!(scene.engine.expect_disconnect().0, 0);
    assert!(scene.stream.next().is_none());
    assert!(scene.stream.is_closed_by_bridge(), "half-closed, not reset");
    scene.stream.end(0, "");
    assert_eq!(scene.bridge.exit_code(), 0);
}
