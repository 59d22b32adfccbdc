//! Very many decisions in flight at once on one stream.

use std::time::Instant;

use super::{Scene, in_ms, stream_id};
use crate::support::engine::{Engine, notify_frame};
use crate::support::figure;
use crate::support::service::set_txn;
use crate::support::wire::Data;
use spop_bridge::pb::v1::value::Kind;

const CONNECTIONS: u64 = 10;
const EACH: u64 = 1000;

/// 10 connections with 1,000 each: the service answers none before it has seen all, and then the last one first.
#[test]
fn ten_thousand_in_flight() {
    let Scene { bridge, server, mut stream, engine: _ } = Scene::new("30s");
    let before = bridge.resident_kib();
    let mut engines: Vec<Engine> = (0..CONNECTIONS).map(|_| bridge.engine()).collect();
    let begin = Instant::now();
    for (index, engine) in engines.iter_mut().enumerate() {
        let notify = |n: u64| notify_frame(stream_of(index as u64, n), 1, &[("check", &[("path", "/index.html".into())])]);
        engine.send(&(0..EACH).flat_map(|n| notify(n).encode()).collect::<Vec<u8>>());
    }
    let decisions = stream.decisions((CONNECTIONS * EACH) as usize);
    let all_in_flight = begin.elapsed();
    let growth = bridge.resident_kib().saturating_sub(before);
    for decision in decisions.into_iter().rev() {
        let own = stream_id(decision.request.as_ref().unwrap());
        stream.answer(decision.id, vec![set_txn("own", Kind::Uint64Value(own))]);
    }
    for (index, engine) in engines.iter_mut().enumerate() {
        let mut acked: Vec<u64> = (0..EACH)
            .map(|_| {
                let ack = engine.expect_ack();
                assert_eq!(ack.value("txn.own"), Some(&Data::Uint64(ack.stream)), "{ack:?}");
                ack.stream
            })
            .collect();
        acked.sort_unstable();
        assert_eq!(acked, (0..EACH).map(|n| stream_of(index as u64, n)).collect::<Vec<_>>());
    }
    figure(
        "10,000 in flight on one stream",
        format!(
            "all seen after {}, all ACKs after {}, resident grown by {growth} KiB",
            in_ms(all_in_flight),
            in_ms(begin.elapsed())
        ),
    );
    assert!(growth < 64 * 1024, "grew by {growth} KiB");
    assert_eq!(server.unary_calls(), 0);
}

fn stream_of(connection: u64, n: u64) -> u64 {
    connection * 100_000 + n * 2 + 1
}
