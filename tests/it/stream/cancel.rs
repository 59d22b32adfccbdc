//! Who no longer waits says so: a Cancel for what was sent, nothing for what was not.

use std::collections::BTreeSet;
use std::time::Duration;

use spop_bridge::pb::v1::decide_stream_request::Item;

use super::{Scene, assert_allowed};
use crate::failing_services::assert_fallback;
use crate::support::engine::notify_frame;
use crate::support::figure;
use crate::support::wire::{ABORT, Data, FIN};

#[test]
fn at_the_deadline() {
    let mut scene = Scene::new("200ms");
    let ids: BTreeSet<u64> = scene.ask(&[1, 3, 5]).into_iter().map(|decision| decision.id).collect();
    scene.expect_fallbacks(&[1, 3, 5], "timeout");
    let cancelled: BTreeSet<u64> = (0..3).map(|_| scene.stream.cancel()).collect();
    assert_eq!(cancelled, ids);
}

/// HAProxy gives up one of three: the others are decided, and it gets no ACK for that one.
#[test]
fn when_haproxy_aborts() {
    let mut scene = Scene::new("10s");
    let decisions = scene.ask(&[1, 3, 5]);
    scene.engine.send_frame(&notify_frame(3, 1, &[]).with_flags(FIN | ABORT));
    assert_eq!(scene.stream.cancel(), decisions[1].id);
    for decision in &decisions {
        scene.stream.allow(decision.id);
    }
    let mut acked = [scene.engine.expect_ack(), scene.engine.expect_ack()];
    acked.iter().for_each(assert_allowed);
    acked.sort_by_key(|ack| ack.stream);
    assert_eq!([acked[0].stream, acked[1].stream], [1, 5]);
    scene.engine.disconnect();
    assert_eq!(scene.engine.expect_disconnect().0, 0, "no ACK for the aborted one");
    assert_eq!(scene.totals().of("late_answers"), 1);
}

/// One connection goes with what it has in flight; what another one asked stays.
#[test]
fn when_haproxy_is_gone() {
    let mut scene = Scene::new("10s");
    let mut other = scene.bridge.engine();
    other.notify(1, 1, &[("m", &[])]);
    let kept = scene.stream.decision().id;
    let ids: BTreeSet<u64> = scene.ask(&[1, 3, 5]).into_iter().map(|decision| decision.id).collect();
    scene.engine = scene.bridge.engine(); // and the first one is dropped
    let cancelled: BTreeSet<u64> = (0..3).map(|_| scene.stream.cancel()).collect();
    assert_eq!(cancelled, ids);
    scene.stream.allow(kept);
    assert_allowed(&other.expect_ack());
}

/// An answer in time is the end of it, also when the deadline has come and gone.
#[test]
fn never_for_what_was_answered() {
    let mut scene = Scene::new("1s");
    for round in 0..5 {
        let decisions = scene.ask(&[round * 4 + 1, round * 4 + 3]);
        decisions.iter().for_each(|decision| scene.stream.allow(decision.id));
        (0..2).for_each(|_| assert_allowed(&scene.engine.expect_ack()));
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(scene.stream.next_within(Duration::from_millis(1_500)).is_err(), "nothing more to say");
}

/// What waits behind a closed window when its time is over is never sent: the service sees a Cancel for every decision that it
/// sees, and not one for any other.
#[test]
fn what_is_still_queued_is_just_dropped() {
    let mut scene = Scene::proven("500ms");
    let asked: Vec<u64> = (0..400).map(|n| 101 + n * 2).collect();
    for stream in &asked {
        scene.engine.notify(*stream, 1, &[("m", &[("body", Data::Binary(vec![7; 4096]))])]);
    }
    // 1.6 MiB into a window of 64 KiB.
    for _ in &asked {
        assert_fallback(&scene.engine.expect_ack(), "timeout");
    }
    let (mut open, mut decisions) = (BTreeSet::new(), 0);
    while let Ok(item) = scene.stream.next_within(Duration::from_millis(500)) {
        match item.expect("the stream goes on") {
            Item::Decision(decision) => {
                decisions += 1;
                assert!(open.insert(decision.id));
            }
            Item::Cancel(cancel) => assert!(open.remove(&cancel.id), "a Cancel for {} which is not open", cancel.id),
        }
    }
    figure("of 400 requests of 4 KiB into a window of 64 KiB that stays shut beyond their deadlines were sent", decisions);
    assert!(open.is_empty(), "sent and not cancelled: {open:?}");
    assert!(decisions < 200, "{decisions} of 400 were sent after their deadline");
    scene.notify(1);
    let id = scene.stream.decision().id;
    scene.stream.allow(id);
    assert_allowed(&scene.engine.expect_ack());
}
