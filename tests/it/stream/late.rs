//! Answers that nobody waits for: counted, and no more than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use spop_bridge::pb::v1::decide_stream_request::Item;

use super::{Scene, allowing, assert_allowed, in_ms, is_allowed, service};
use crate::support::bridge::Bridge;
use crate::support::figure;
use crate::support::service::allow;
use crate::support::stream::{grpc, response};
use crate::support::stream_server::StreamServer;

#[test]
fn d14_a_late_answer_makes_no_second_ack() {
    let mut scene = Scene::new("150ms");
    let decisions = scene.ask(&[1, 3]);
    scene.expect_fallbacks(&[1, 3], "timeout");
    decisions.iter().for_each(|decision| scene.stream.allow(decision.id));
    (0..2).for_each(|_| _ = scene.stream.cancel());
    scene.notify(1); // the same stream id again, as HAProxy reuses them
    let id = scene.stream.decision().id;
    scene.stream.allow(id);
    assert_allowed(&scene.engine.expect_ack());
    scene.engine.disconnect();
    assert_eq!(scene.engine.expect_disconnect().0, 0, "no ACK was left over");
    let totals = scene.totals();
    assert_eq!((totals.of("late_answers"), totals.of("unknown_answers")), (2, 0), "{}", totals.0);
}

#[test]
fn a_repeated_answer_counts_once() {
    let mut scene = Scene::new("5s");
    for round in 0..10 {
        let id = scene.ask(&[round * 2 + 1])[0].id;
        (0..3).for_each(|_| scene.stream.allow(id));
        assert_allowed(&scene.engine.expect_ack());
    }
    scene.engine.disconnect();
    assert_eq!(scene.engine.expect_disconnect().0, 0, "one ACK for each");
    let totals = scene.totals();
    assert_eq!((totals.of("late_answers"), totals.of("unknown_answers")), (20, 0), "{}", totals.0);
}

/// Ids that were never given out: below, next in turn and far above.
#[test]
fn unknown_ids_are_ignored() {
    let mut scene = Scene::proven("5s");
    let id = scene.ask(&[3])[0].id;
    for unknown in [0, id + 1, id + 1000, 1 << 32, u64::MAX] {
        scene.stream.allow(unknown);
        scene.stream.error(unknown, 14, "not for anybody");
    }
    scene.stream.allow(id);
    assert_allowed(&scene.engine.expect_ack());
    // The id that was answered before it was given out is still good.
    let next = scene.ask(&[5])[0].id;
    assert_eq!(next, id + 1);
    scene.stream.allow(next);
    assert_allowed(&scene.engine.expect_ack());
    let totals = scene.totals();
    assert_eq!((totals.of("late_answers"), totals.of("unknown_answers")), (0, 10), "{}", totals.0);
}

/// Thousands of answers cross the Cancels of their decisions: one stream all the time.
#[test]
fn late_answers_cost_no_stream() {
    let Scene { mut bridge, server, mut stream, mut engine } = Scene::new("20ms");
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    // Ends with the bridge.
    let service = std::thread::spawn(move || {
        let mut due = std::collections::VecDeque::new();
        loop {
            match stream.next_within(Duration::from_millis(1)) {
                Ok(Some(Item::Decision(decision))) => due.push_back((Instant::now() + Duration::from_millis(100), decision.id)),
                Ok(Some(Item::Cancel(_))) | Err(_) => {}
                Ok(None) => return,
            }
            while due.front().is_some_and(|(at, _)| *at <= Instant::now()) {
                let answer = grpc(&response(due.pop_front().unwrap().1, vec![allow()]));
                count.fetch_add(usize::from(stream.try_send(answer).is_ok()), Ordering::SeqCst);
            }
        }
    });
    for round in 0..20 {
        for n in 0..200 {
            engine.notify(1 + (round * 200 + n) * 2, 1, &[("check", &[])]);
        }
        for _ in 0..200 {
            let ack = engine.expect_ack();
            // On a very busy machine the answer may be there before the deadline is looked at.
            assert!(is_allowed(&ack) || ack.text("txn.status") == "timeout", "{ack:?}");
        }
    }
    assert!(server.stream_within(Duration::from_millis(100)).is_none(), "{:?}", bridge.log());
    drop(engine);
    let totals = super::totals(&mut bridge);
    service.join().unwrap();
    let answered = answered.load(Ordering::SeqCst);
    figure("late answers on one stream, of 4,000 decisions", format!("{answered} sent, {} counted", totals.of("late_answers")));
    assert!(totals.of("late_answers") > 2000, "{}", totals.0);
    assert_eq!(totals.of("unknown_answers"), 0, "{}", totals.0);
}

/// A service that talks all the time and says nothing: others on the same worker are served, memory and log stay small.
#[test]
fn a_flood_of_unknown_answers_disturbs_nobody() {
    let flooding = StreamServer::start();
    let quiet = service(|_| allowing());
    let bridge = Bridge::start(&format!(
        "workers: 1\nbackends: {{ flooding: {{ endpoints: [\"{}\"] }}, quiet: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [f], backend: flooding, timeout: 60s }}\n  - {{ messages: [q], backend: quiet, timeout: 10s }}",
        flooding.uri(),
        quiet.uri()
    ));
    let mut stream = flooding.stream();
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("f", &[])]);
    let id = stream.decision().id;
    assert_allowed(&engine.ask(3, "q", &[]));
    let before = bridge.resident_kib();
    let unknown = grpc(&response(1 << 40, vec![allow()]));
    let many: bytes::Bytes = unknown.iter().copied().cycle().take(unknown.len() * 5_000).collect::<Vec<u8>>().into();
    let mut slowest = Duration::ZERO;
    for round in 0..50 {
        stream.send(many.clone());
        let asked = Instant::now();
        assert_allowed(&engine.ask(5 + round * 2, "q", &[]));
        slowest = slowest.max(asked.elapsed());
    }
    stream.allow(id);
    assert_eq!(engine.expect_ack().stream, 1, "and its own decision is made");
    let growth = bridge.resident_kib().saturating_sub(before);
    figure(
        "250,000 unknown answers on a stream",
        format!("slowest decision of another backend meanwhile {}, resident grown by {growth} KiB", in_ms(slowest)),
    );
    assert!(growth < 32 * 1024, "grew by {growth} KiB");
    assert!(bridge.log().len() < 60, "{} lines", bridge.log().len());
}
