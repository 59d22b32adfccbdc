//! Services that do not read, or not fast enough: memory stays bounded, decisions are shed, and all goes on when it reads again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spop_bridge::pb::v1::decide_stream_request::Item;

use super::{Scene, allowing, assert_allowed, in_ms, is_allowed};
use crate::support::engine::Engine;
use crate::support::figure;
use crate::support::wire::{Ack, Data};

/// What may queue, 8 MiB, and as much again for NOTIFYs, buffers and the allocator.
const MOST_GROWTH_KIB: u64 = 40 * 1024;
const BODY: usize = 8192;

fn notify(engine: &mut Engine, stream: u64) {
    engine.notify(stream, 1, &[("m", &[("body", Data::Binary(vec![7; BODY]))])]);
}

/// How many of these ACKs say what.
fn tally(acks: &[Ack]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for ack in acks {
        let word = if is_allowed(ack) { "decided".into() } else { ack.text("txn.status") };
        *tally.entry(word).or_default() += 1;
    }
    tally
}

/// 4,000 requests of 8 KiB, 32 MiB in all, to a service that reads nothing: up to 8 MiB wait for their deadline, the others are shed.
#[test]
fn a_service_that_never_reads() {
    let mut scene = Scene::proven("2s");
    let before = scene.bridge.resident_kib();
    let mut engines: Vec<Engine> = (0..4).map(|_| scene.bridge.engine()).collect();
    let mut most_growth = 0;
    let mut acks = Vec::new();
    let begin = Instant::now();
    for n in 0..1000 {
        engines.iter_mut().for_each(|engine| notify(engine, n * 2 + 1));
        if n % 100 == 0 {
            most_growth = most_growth.max(scene.bridge.resident_kib().saturating_sub(before));
        }
    }
    let mut first_shed = None;
    for engine in &mut engines {
        for _ in 0..1000 {
            let ack = engine.expect_ack();
            if first_shed.is_none() && ack.text("txn.status") == "overloaded" {
                first_shed = Some(begin.elapsed());
            }
            acks.push(ack);
        }
        most_growth = most_growth.max(scene.bridge.resident_kib().saturating_sub(before));
    }
    let seen = tally(&acks);
    figure(
        "4,000 requests of 8 KiB to a service that reads nothing",
        format!("{seen:?}, resident grown by at most {most_growth} KiB, first shed read after {:?}", first_shed.map(in_ms)),
    );
    assert!(seen["overloaded"] > 1000 && seen["timeout"] > 100, "{seen:?}");
    assert_eq!(seen["overloaded"] + seen["timeout"], 4000, "{seen:?}");
    assert!(most_growth < MOST_GROWTH_KIB, "grew by {most_growth} KiB");

    // It reads again.
    let reader = std::thread::spawn(move || {
        loop {
            match scene.stream.next_within(Duration::from_secs(2)) {
                Ok(Some(Item::Decision(decision))) => scene.stream.allow(decision.id),
                Ok(Some(Item::Cancel(_))) => {}
                Ok(None) | Err(_) => return (scene.bridge, scene.server),
            }
        }
    });
    let begin = Instant::now();
    let mut shed = 0;
    while !is_allowed(&engines[0].ask(99_999, "m", &[])) {
        shed += 1;
        assert!(begin.elapsed() < super::PATIENCE, "decisions do not go on");
    }
    figure("first decision after it reads again", format!("{}, after {shed} others", in_ms(begin.elapsed())));
    for n in 0..100 {
        notify(&mut engines[1], n * 2 + 1);
        assert_allowed(&engines[1].expect_ack());
    }
    drop(reader.join().unwrap());
}

/// Shed means at once: who comes when the queue is full does not wait for the deadline of those in it.
#[test]
fn overload_is_told_at_once() {
    let mut scene = Scene::proven("20s");
    let mut engines = [scene.bridge.engine(), scene.bridge.engine()];
    for n in 0..1000 {
        engines.iter_mut().for_each(|engine| notify(engine, n * 2 + 1));
    }
    // Of 2,000 requests of 8 KiB half are more than may wait: when the first is shed, there is no room.
    let shed = engines[0].expect_ack();
    assert_eq!(shed.text("txn.status"), "overloaded", "{shed:?}");
    let asked = Instant::now();
    notify(&mut scene.engine, 101);
    let ack = scene.engine.expect_ack();
    assert_eq!(ack.text("txn.status"), "overloaded", "{ack:?}");
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    figure("overloaded after", in_ms(asked.elapsed()));
}

/// The time that an item carries is what was left when it was written, not when it was asked for.
#[test]
fn time_in_the_queue_is_taken_off() {
    let mut scene = Scene::proven("10s");
    for n in 0..200 {
        notify(&mut scene.engine, 3 + n * 2);
    }
    let shut = Duration::from_millis(1500);
    std::thread::sleep(shut);
    let decisions = scene.stream.decisions(200);
    let remaining = |index: usize| Duration::from_micros(decisions[index].remaining_us);
    figure(
        "time left of 10 s, 200 requests of 8 KiB, window shut for 1.5 s",
        format!("first {:?}, last {:?}", remaining(0), remaining(199)),
    );
    assert!(remaining(0) > Duration::from_secs(9));
    assert!(remaining(199) < Duration::from_secs(10) - shut, "{:?}", remaining(199));
    decisions.iter().for_each(|decision| scene.stream.allow(decision.id));
    (0..200).for_each(|_| assert_allowed(&scene.engine.expect_ack()));
}

/// One item every 2 ms out of a window of 64 KiB: slow, and every decision is made.
#[test]
fn a_service_that_reads_slowly() {
    let Scene { bridge, server, mut stream, mut engine } = Scene::proven("30s");
    let before = bridge.resident_kib();
    let service = std::thread::spawn(move || {
        for _ in 0..800 {
            let id = stream.decision().id;
            std::thread::sleep(Duration::from_millis(2));
            stream.allow(id);
        }
        stream
    });
    for n in 0..800 {
        notify(&mut engine, 3 + n * 2);
    }
    let growth = bridge.resident_kib().saturating_sub(before);
    for _ in 0..800 {
        assert_allowed(&engine.expect_ack());
    }
    figure("800 requests of 8 KiB, read one every 2 ms", format!("all decided, resident grown by {growth} KiB meanwhile"));
    drop((service.join().unwrap(), server));
}

/// HAProxys that do not read their ACKs while the service answers: the stream is not held up for others.
#[test]
fn an_haproxy_that_does_not_read_holds_up_nobody() {
    let service = super::service(|request| match request.messages[0].name.as_str() {
        "much" => {
            let much = spop_bridge::pb::v1::value::Kind::BytesValue(vec![7; 8000].into());
            crate::support::service::Answer::Actions(vec![crate::support::service::set_txn("much", much)])
        }
        _ => allowing(),
    });
    let bridge = super::bridge_to("auto", &[service.uri()], "5s");
    let mut deaf = bridge.engine();
    let mut other = bridge.engine();
    let mut writer = deaf.writer();
    let asked: Vec<u8> =
        (0..1000u64).flat_map(|n| crate::support::engine::notify_frame(n * 2 + 1, 1, &[("much", &[])]).encode()).collect();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&asked).unwrap());
        for n in 0..500 {
            assert_allowed(&other.ask(n * 2 + 1, "little", &[]));
        }
        // 8 MB of answers, read at last.
        for _ in 0..1000 {
            assert!(deaf.expect_ack().value("txn.much").is_some());
        }
    });
}
