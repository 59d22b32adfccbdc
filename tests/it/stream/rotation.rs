//! Services that end their connections by GOAWAY, to be balanced anew or to leave: no decision fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{PATIENCE, Scene, allowing, assert_allowed, bridge_to, config, in_ms, is_allowed, service_at, stream_id};
use crate::failing_services::{assert_fallback, timed};
use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::host::Bound;
use crate::support::service::{Answer, Methods, Service, set_txn};
use crate::support::stream_server::StreamServer;
use crate::support::wire::Data;
use crate::support::{eventually, figure, free_address};
use spop_bridge::pb::v1::value::Kind;

/// Every 1.3 s a GOAWAY, with answers that take up to 30 ms, and 4 HAProxys with 20 in flight each.
#[test]
fn every_second_under_load() {
    let service = Service::with(Methods::Both, Bound::tcp(), Duration::from_millis(1_300), |request| {
        let stream = stream_id(request);
        Answer::after(Duration::from_millis(stream % 31), Answer::Actions(vec![set_txn("own", Kind::Uint64Value(stream))]))
    });
    let bridge = Bridge::start(&config(2, "auto", &[service.uri()], "10s"));
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut engine = bridge.engine();
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || asked.fetch_add(keep_asking(&mut engine, stop), Ordering::SeqCst));
        }
        std::thread::sleep(Duration::from_secs(6));
        stop.store(true, Ordering::SeqCst);
    });
    let asked = asked.into_inner();
    figure(
        "decisions over streams that are sent away every 1.3 s, all decided",
        format!("{asked} on {} streams, {} connections", service.streams(), service.connections()),
    );
    assert!(service.streams() >= 6, "{} streams of 2 workers in 6 s", service.streams());
    let calls = service.calls();
    assert!(calls.iter().all(|call| call.is_streamed()));
    assert_eq!(calls.len() as u64, asked, "none was asked twice");
    assert_eq!(service.cancelled(), 0);
}

/// 20 in flight until told to stop; each is decided. How many were asked.
fn keep_asking(engine: &mut Engine, stop: &AtomicBool) -> u64 {
    let mut next = 1;
    let mut ask = |engine: &mut Engine| {
        engine.notify(next, 1, &[("check", &[("path", "/".into())])]);
        next += 2;
    };
    (0..20).for_each(|_| ask(engine));
    let mut asked = 20;
    let mut answered = 0;
    while answered < asked {
        let ack = engine.expect_ack();
        assert_eq!(ack.value("txn.own"), Some(&Data::Uint64(ack.stream)), "{ack:?}");
        answered += 1;
        if !stop.load(Ordering::SeqCst) {
            ask(engine);
            asked += 1;
        }
    }
    asked
}

/// Step by step: the new stream is open before the old one is closed on our side; each answers what it was asked.
#[test]
fn the_new_stream_opens_before_the_old_one_drains() {
    let mut scene = Scene::proven("10s");
    let old: Vec<u64> = scene.ask(&[3, 5, 7]).into_iter().map(|decision| decision.id).collect();
    scene.stream.go_away();
    let mut next = scene.server.stream();
    assert!(scene.stream.next().is_none() && scene.stream.is_closed_by_bridge(), "the bridge asks nothing more on the old one");
    scene.notify(9);
    let id = next.decision().id;
    next.allow(id);
    assert_eq!(scene.engine.expect_ack().stream, 9);
    old.iter().for_each(|id| scene.stream.allow(*id));
    (0..3).for_each(|_| assert_allowed(&scene.engine.expect_ack()));
    let Scene { bridge, server, stream, engine } = scene;
    stream.end(0, "");
    assert!(server.stream_within(Duration::from_millis(300)).is_none(), "the end of the old one asks for no third");
    let totals = Scene { bridge, server, stream: next, engine }.totals();
    assert_eq!((totals.of("unavailable"), totals.of("late_answers")), (0, 0), "{}", totals.0);
}

/// A deadline that passes while the old stream drains: its side is closed, so that there is no way to cancel, and the answer is late.
#[test]
fn a_deadline_passes_while_the_old_stream_drains() {
    let mut scene = Scene::proven("500ms");
    let id = scene.ask(&[3])[0].id;
    scene.stream.go_away();
    let mut next = scene.server.stream();
    scene.expect_fallbacks(&[3], "timeout");
    scene.stream.allow(id);
    scene.notify(5);
    let id = next.decision().id;
    next.allow(id);
    assert_allowed(&scene.engine.expect_ack());
}

/// GOAWAY from a service that listens no more, as in a rolling update: decisions go on on the old stream while there is no other,
/// and move when the next service is there.
#[test]
fn a_service_that_has_stopped_listening() {
    let address = free_address();
    let service = service_at(Bound::at(address), |_| allowing());
    let bridge = bridge_to("auto", &[service.uri()], "5s");
    let mut engine = bridge.engine();
    assert_allowed(&timed(&mut engine, 1).0);
    service.retire();
    let (begin, mut stream, mut meanwhile) = (Instant::now(), 1, 0);
    let mut ask = || {
        stream += 2;
        assert_allowed(&timed(&mut engine, stream).0);
    };
    while begin.elapsed() < Duration::from_secs(2) {
        ask();
        meanwhile += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    figure("decided by a service that has said GOAWAY and listens no more, in 2 s", format!("{meanwhile}, all"));
    let next = service_at(Bound::at(address), |_| allowing());
    let moved = eventually(PATIENCE, || {
        ask();
        (!next.calls().is_empty()).then_some(())
    });
    assert!(moved.is_some(), "{:?}", bridge.log());
    let before = service.calls().len();
    (0..100).for_each(|_| ask());
    assert_eq!(service.calls().len(), before, "the old one is asked nothing more");
    assert_eq!((service.cancelled(), next.cancelled()), (0, 0));
}

/// The same when none comes after it: the service is not kept from stopping for ever.
#[test]
fn a_service_that_has_gone_for_good() {
    let service = service_at(Bound::at(free_address()), |_| allowing());
    let bridge = bridge_to("auto", &[service.uri()], "5s");
    let mut engine = bridge.engine();
    assert_allowed(&timed(&mut engine, 1).0);
    assert_eq!(service.open_streams(), 1);
    service.retire();
    let begin = Instant::now();
    let failed = eventually(2 * PATIENCE, || Some(timed(&mut engine, 3).0).filter(|ack| !is_allowed(ack)));
    assert_fallback(&failed.expect("it is not asked for ever"), "unavailable");
    figure("asked on after GOAWAY, when nobody listens any more, for", in_ms(begin.elapsed()));
    assert!(eventually(PATIENCE, || (service.open_streams() == 0).then_some(())).is_some(), "the stream is still open");
    assert_eq!(service.cancelled(), 0);
}

/// A service that ends its streams itself, with OK once nothing is left to answer, instead of by GOAWAY.
#[test]
fn streams_that_end_themselves_between_decisions() {
    let server = StreamServer::start();
    let bridge = bridge_to("auto", &[server.uri()], "5s");
    let mut engine = bridge.engine();
    for round in 0..5 {
        let mut stream = server.stream();
        for n in 0..10 {
            engine.notify(round * 20 + n * 2 + 1, 1, &[("m", &[])]);
            let id = stream.decision().id;
            stream.allow(id);
            assert_allowed(&engine.expect_ack());
        }
        stream.end(0, "");
    }
    assert_eq!(server.unary_calls(), 0);
}
