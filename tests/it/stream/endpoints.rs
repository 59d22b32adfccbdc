//! Several endpoints, a stream to each.

use std::time::{Duration, Instant};

use super::{PATIENCE, allowing, assert_allowed, bridge_to, in_ms, is_allowed, service, service_at};
use crate::failing_services::timed;
use crate::support::host::Bound;
use crate::support::service::{Answer, Methods, Service};
use crate::support::stream_server::StreamServer;
use crate::support::{eventually, figure, free_address};

/// One dies under load and comes back: what it had in flight is lost, everything else is decided by the other, at the end by both.
#[test]
fn one_dies_and_the_other_takes_over() {
    let address = free_address();
    let slow = |_: &_| Answer::after(Duration::from_millis(5), allowing());
    let other = service(slow);
    let mut mortal = service_at(Bound::at(address), slow);
    let bridge = bridge_to("auto", &[mortal.uri(), other.uri()], "5s");
    let mut engine = bridge.engine();
    (0..20).for_each(|n| assert_allowed(&timed(&mut engine, n * 2 + 1).0));
    let mut next = 101;
    let mut ask = |engine: &mut crate::support::engine::Engine| {
        engine.notify(next, 1, &[("m", &[])]);
        next += 2;
    };
    (0..20).for_each(|_| ask(&mut engine));
    let (mut lost, mut killed) = (0, None);
    for n in 0..2000 {
        if n == 500 {
            mortal.kill();
            killed = Some(Instant::now());
        }
        let ack = engine.expect_ack();
        if !is_allowed(&ack) {
            assert_eq!(ack.text("txn.status"), "unavailable", "{ack:?}");
            lost += 1;
            figure("lost after the death of one of two endpoints, the last after", in_ms(killed.expect("after it").elapsed()));
        }
        ask(&mut engine);
    }
    (0..20).for_each(|_| _ = engine.expect_ack());
    figure("one of two endpoints dies with 20 in flight: lost of 2,000", lost);
    assert!(lost <= 20, "{lost} are more than it can have had in flight");
    drop(mortal);

    let reborn = service_at(Bound::at(address), slow);
    let back = eventually(PATIENCE, || {
        timed(&mut engine, 1);
        (!reborn.calls().is_empty()).then_some(())
    });
    assert!(back.is_some(), "the endpoint is back and gets nothing: {:?}", bridge.log());
    assert!(other.calls().iter().chain(&reborn.calls()).all(|call| call.is_streamed()));
}

/// One of two says GOAWAY and never listens again, as when fewer are needed: nobody notices, and it has not to wait for as long as the only
/// endpoint would be asked on.
#[test]
fn one_leaves_for_good() {
    let other = service(|_| allowing());
    let leaving = service_at(Bound::at(free_address()), |_| allowing());
    let bridge = bridge_to("auto", &[leaving.uri(), other.uri()], "5s");
    let mut engine = bridge.engine();
    let mut ask = || {
        assert_allowed(&timed(&mut engine, 1).0);
        std::thread::sleep(Duration::from_millis(2));
    };
    (0..50).for_each(|_| ask());
    leaving.retire();
    let begin = Instant::now();
    let left = eventually(2 * PATIENCE, || {
        ask();
        (leaving.open_streams() == 0).then_some(())
    });
    assert!(left.is_some(), "the stream is still open");
    figure("one of two endpoints leaves: its stream ended after", in_ms(begin.elapsed()));
    assert!(begin.elapsed() < Duration::from_secs(5));
    (0..200).for_each(|_| ask());
    assert_eq!((leaving.cancelled(), other.cancelled()), (0, 0));
    figure(
        "one of two endpoints leaves: decided by it and by the other",
        format!("{} {}", leaving.calls().len(), other.calls().len()),
    );
}

/// Each endpoint by what it has.
#[test]
fn one_has_the_stream_and_one_has_not() {
    let streaming = service(|_| allowing());
    let unary = Service::with(Methods::Unary, Bound::tcp(), crate::support::host::FOREVER, |_| allowing());
    let bridge = bridge_to("auto", &[streaming.uri(), unary.uri()], "5s");
    let mut engine = bridge.engine();
    (0..200).for_each(|n| assert_allowed(&timed(&mut engine, n * 2 + 1).0));
    assert!(streaming.calls().iter().all(|call| call.is_streamed()));
    assert!(unary.calls().iter().all(|call| !call.is_streamed()));
    let shares = (streaming.calls().len(), unary.calls().len());
    // The quicker one has the larger share.
    assert!(shares.0 > 0 && shares.1 > 0, "both are asked: {shares:?}");
}

/// One stalls: it has one in flight, and from then on the other is asked, which has none.
#[test]
fn the_one_with_less_in_flight_is_asked() {
    let servers = [StreamServer::start(), StreamServer::start()];
    let bridge = bridge_to("auto", &[servers[0].uri(), servers[1].uri()], "60s");
    let (mut stalls, mut answers) = (servers[0].stream(), servers[1].stream());
    let mut engine = bridge.engine();
    let mut stuck = 0;
    for n in 0..50 {
        engine.notify(n * 2 + 1, 1, &[("m", &[])]);
        if stuck == 0 && stalls.next_within(Duration::from_millis(200)).is_ok() {
            stuck += 1;
            continue;
        }
        let id = answers.decision().id;
        answers.allow(id);
        assert_allowed(&engine.expect_ack());
    }
    assert_eq!(stuck, 1, "both are asked");
}

/// A stream over a Unix socket is like any other.
#[test]
fn over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let service = service_at(Bound::unix(&directory.path().join("decisions.sock")), |_| allowing());
    let bridge = bridge_to("decide_stream", &[service.uri()], "5s");
    let mut engine = bridge.engine();
    (0..20).for_each(|n| assert_allowed(&timed(&mut engine, n * 2 + 1).0));
    assert!(service.calls().iter().all(|call| call.is_streamed()));
}
