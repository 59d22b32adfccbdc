//! Which protocol an endpoint is called by: what the configuration insists on, or what the service has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spop_bridge::pb::v1::decide_stream_request::Item;

use super::{PATIENCE, allowing, assert_allowed, bridge_to, config, is_allowed, service, service_at};
use crate::failing_services::{assert_fallback, timed};
use crate::support::bridge::Bridge;
use crate::support::host::{Bound, FOREVER};
use crate::support::service::{Methods, Service};
use crate::support::stream::framed;
use crate::support::stream_server::StreamServer;
use crate::support::{eventually, free_address};

fn unary_only(bound: Bound) -> Service {
    Service::with(Methods::Unary, bound, FOREVER, |_| allowing())
}

/// Lines of the log that say that decisions go by unary calls, when there are so many.
fn told_of_unary(bridge: &Bridge, count: usize) -> usize {
    bridge.lines(count, |line| line["message"].as_str().unwrap().contains("each decision is a Decide call")).len()
}

/// No decision fails, the first ones included; the stream is asked for once a connection, and the log has one line for all workers.
#[test]
fn auto_falls_back_to_unary_calls() {
    let service = unary_only(Bound::tcp());
    let bridge = Bridge::start(&config(2, "auto", &[service.uri()], "5s"));
    let mut engines = [bridge.engine(), bridge.engine()];
    for n in 0..100 {
        engines.iter_mut().for_each(|engine| engine.notify(n * 2 + 1, 1, &[("m", &[])]));
    }
    for engine in &mut engines {
        (0..100).for_each(|_| assert_allowed(&engine.expect_ack()));
    }
    assert_eq!(service.calls().len(), 200, "each was asked once");
    assert!(service.calls().iter().all(|call| !call.is_streamed()));
    assert_eq!((service.streams(), service.connections()), (2, 2), "asked for once by each worker");
    assert_eq!(told_of_unary(&bridge, 1), 1, "{:?}", bridge.log());
}

/// The service is replaced by one that has the stream: found by reconnecting, and the other way round.
#[test]
fn auto_tries_the_stream_again_after_a_reconnect() {
    let address = free_address();
    let mut service = unary_only(Bound::at(address));
    let bridge = bridge_to("auto", &[service.uri()], "5s");
    let mut engine = bridge.engine();
    assert_allowed(&timed(&mut engine, 1).0);
    let mut stream = 1;
    for streamed in [true, false, true] {
        drop(service);
        service = match streamed {
            true => service_at(Bound::at(address), |_| allowing()),
            false => unary_only(Bound::at(address)),
        };
        let decided = eventually(PATIENCE, || {
            stream += 2;
            is_allowed(&timed(&mut engine, stream).0).then_some(())
        });
        assert!(decided.is_some(), "{:?}", bridge.log());
        (0..20).for_each(|_| assert_allowed(&timed(&mut engine, 1).0));
        assert!(service.calls().iter().all(|call| call.is_streamed() == streamed), "stream: {streamed}");
    }
}

/// What was sent on the stream before it was refused is asked again by unary calls, within its deadline.
#[test]
fn a_late_refusal_fails_no_decision() {
    let server = StreamServer::start();
    let bridge = bridge_to("auto", &[server.uri()], "10s");
    let mut stream = server.stream();
    let mut engine = bridge.engine();
    (0..50).for_each(|n| engine.notify(n * 2 + 1, 1, &[("m", &[])]));
    stream.decisions(50);
    stream.end(12, "no such method");
    let mut acked: Vec<u64> = (0..50)
        .map(|_| {
            let ack = engine.expect_ack();
            assert_allowed(&ack);
            ack.stream
        })
        .collect();
    acked.sort_unstable();
    assert_eq!(acked, (0..50).map(|n| n * 2 + 1).collect::<Vec<_>>());
    assert_eq!(server.unary_calls(), 50);
    assert!(server.stream_within(Duration::from_millis(200)).is_none());
}

/// A service or what is in front of it refuses the stream for another reason: what is in flight fails by that, the rest is unary.
#[test]
fn another_status_instead_of_the_stream() {
    let causes = [(2, "rejected"), (4, "timeout"), (7, "rejected"), (8, "overloaded"), (16, "rejected")];
    for (code, cause) in causes {
        let server = StreamServer::start();
        let bridge = bridge_to("auto", &[server.uri()], "10s");
        let mut stream = server.stream();
        let mut engine = bridge.engine();
        engine.notify(1, 1, &[("m", &[])]);
        stream.decision();
        stream.end(code, "not that method");
        assert_fallback(&engine.expect_ack(), cause);
        (0..20).for_each(|n| assert_allowed(&engine.ask(n * 2 + 3, "m", &[])));
        assert_eq!(server.unary_calls(), 20, "status {code}");
        assert_eq!(told_of_unary(&bridge, 1), 1, "status {code}: {:?}", bridge.log());
    }
}

/// UNAVAILABLE says nothing about the stream: something is not there yet, and the next connection shows what the service has.
#[test]
fn unavailable_instead_of_the_stream() {
    let server = StreamServer::start();
    let bridge = bridge_to("auto", &[server.uri()], "10s");
    let mut stream = server.stream();
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    stream.decision();
    stream.end(14, "nobody behind the balancer");
    assert_fallback(&engine.expect_ack(), "unavailable");
    let mut stream = server.stream();
    let ack = eventually(PATIENCE, || {
        engine.notify(3, 1, &[("m", &[])]);
        if let Ok(Some(Item::Decision(decision))) = stream.next_within(Duration::from_millis(100)) {
            stream.allow(decision.id);
        }
        is_allowed(&engine.expect_ack()).then_some(())
    });
    assert!(ack.is_some(), "{:?}", bridge.log());
    assert_eq!((server.unary_calls(), told_of_unary(&bridge, 0)), (0, 0));
}

/// Insisted on: a service without the stream is of no use. What it was asked is rejected; then it counts as not connected, and is not
/// asked all the time.
#[test]
fn decide_stream_against_a_unary_service() {
    let server = StreamServer::start();
    let bridge = bridge_to("decide_stream", &[server.uri()], "5s");
    let mut engine = bridge.engine();
    let mut stream = server.stream();
    (0..10).for_each(|n| engine.notify(n * 2 + 1, 1, &[("m", &[])]));
    stream.decisions(10);
    stream.end(12, "no such method");
    (0..10).for_each(|_| assert_fallback(&engine.expect_ack(), "rejected"));
    let stop = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let refusing = scope.spawn(|| {
            let mut opened = 0;
            while !stop.load(Ordering::SeqCst) {
                if let Some(stream) = server.stream_within(Duration::from_millis(10)) {
                    opened += 1;
                    stream.end(12, "no such method");
                }
            }
            opened
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            let cause = timed(&mut engine, 1).0.text("txn.status");
            assert!(["rejected", "unavailable"].contains(&&cause[..]), "{cause}");
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::SeqCst);
        refusing.join().unwrap()
    });
    assert!((2..20).contains(&opened), "asked {opened} times in 2 s");
    assert_eq!(server.unary_calls(), 0);
    let told = || bridge.log().into_iter().find(|line| line["level"] == "WARN" && line.to_string().contains("Unimplemented"));
    assert!(eventually(PATIENCE, told).is_some(), "{:?}", bridge.log());
}

/// As services are upgraded: the stream is there after a reconnect, also when it is insisted on.
#[test]
fn decide_stream_waits_for_a_service_that_has_it() {
    let address = free_address();
    let old = unary_only(Bound::at(address));
    let bridge = bridge_to("decide_stream", &[old.uri()], "2s");
    let mut engine = bridge.engine();
    assert!(!is_allowed(&timed(&mut engine, 1).0));
    drop(old);
    let _new = service_at(Bound::at(address), |_| allowing());
    let decided = eventually(PATIENCE, || is_allowed(&timed(&mut engine, 3).0).then_some(()));
    assert!(decided.is_some(), "{:?}", bridge.log());
}

/// No stream is asked for where unary calls are configured.
#[test]
fn decide_never_opens_a_stream() {
    let service = service(|_| allowing());
    let bridge = bridge_to("decide", &[service.uri()], "5s");
    let mut engine = bridge.engine();
    (0..20).for_each(|n| assert_allowed(&timed(&mut engine, n * 2 + 1).0));
    assert_eq!(service.streams(), 0);
    assert!(service.calls().iter().all(|call| !call.is_streamed()));
}

/// Python's grpc sends the response's headers with the first answer: the bridge does not wait for them.
#[test]
fn headers_come_with_the_first_answer() {
    for protocol in ["auto", "decide_stream"] {
        let server = StreamServer::start();
        let bridge = bridge_to(protocol, &[server.uri()], "10s");
        let mut stream = server.stream();
        let mut engine = bridge.engine();
        (0..10).for_each(|n| engine.notify(n * 2 + 1, 1, &[("m", &[])]));
        for decision in stream.decisions(10) {
            stream.allow(decision.id);
        }
        (0..10).for_each(|_| assert_allowed(&engine.expect_ack()));
        assert_eq!(server.unary_calls(), 0);
    }
}

/// And others send them at once: no answer yet, so that an UNIMPLEMENTED in the trailers still only means that there is no stream.
#[test]
fn headers_at_once_then_a_refusal() {
    let server = StreamServer::start();
    let bridge = bridge_to("auto", &[server.uri()], "10s");
    let mut stream = server.stream();
    stream.headers();
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    stream.decision();
    stream.end(12, "no such method");
    assert_allowed(&engine.expect_ack());
    assert_eq!(server.unary_calls(), 1);
}

/// An item that answers nobody proves nothing: the refusal after it still fails no decision.
#[test]
fn an_answer_to_nobody_then_a_refusal() {
    let server = StreamServer::start();
    let bridge = bridge_to("auto", &[server.uri()], "10s");
    let mut stream = server.stream();
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    let id = stream.decision().id;
    stream.allow(id + 1000);
    stream.send(framed(b"\xff\xff"));
    stream.end(12, "no such method");
    assert_allowed(&engine.expect_ack());
    assert_eq!(server.unary_calls(), 1);
}
