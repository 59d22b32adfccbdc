//! Hedging, item by item: whom the bridge asks, when, and what it says to the one that was slower. That it needs `idempotent` is a rule of
//! the configuration: see its tests.

use std::time::{Duration, Instant};

use spop_bridge::pb::v1::decide_stream_request::Item;

use super::{bridge_to, counted, ms};
use crate::support::askers::outcome;
use crate::support::service::{Answer, Service, allow};
use crate::support::stream_server::StreamServer;
use crate::support::{eventually, figure};

const DELAY: Duration = Duration::from_millis(300);
const KEYS: &str = "idempotent: true, hedging: { delay: 300ms }";

#[test]
fn on_streams_the_slower_one_gets_a_cancel() {
    let servers = [StreamServer::start(), StreamServer::start()];
    let mut bridge = bridge_to(1, &[servers[0].uri(), servers[1].uri()], KEYS, "8s");
    let mut streams = servers.each_ref().map(StreamServer::stream);
    let mut engine = bridge.engine();
    let asked = Instant::now();
    engine.notify(1, 1, &[("check-request", &[])]);
    let short = Duration::from_millis(20);
    // Whichever was chosen.
    let (slow, id) = eventually(Duration::from_secs(5), || {
        streams.iter_mut().enumerate().find_map(|(index, stream)| match stream.next_within(short) {
            Ok(Some(Item::Decision(decision))) => Some((index, decision.id)),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        })
    })
    .expect("a decision");
    let quick = 1 - slow;
    let hedge = streams[quick].decision().id;
    let after = asked.elapsed();
    assert!(after >= DELAY, "the other is asked only then: {after:?}");
    streams[quick].allow(hedge);
    assert_eq!(outcome(&engine.expect_ack()), "decided");
    assert_eq!(streams[slow].cancel(), id, "what comes too late is cancelled");
    figure(
        "one of two endpoints silent, hedging after 300 ms",
        format!("the other was asked after {}, the first got a Cancel", ms(after)),
    );

    // Answered in time, nobody else is asked. The slow one is avoided now.
    engine.notify(1, 2, &[("check-request", &[])]);
    let id = streams[quick].decision().id;
    streams[quick].allow(id);
    assert_eq!(outcome(&engine.expect_ack()), "decided");
    for stream in &mut streams {
        assert!(stream.next_within(2 * DELAY).is_err(), "nothing more, no second Cancel either");
    }
    assert_eq!(counted(&mut bridge, "hedges"), 1);
}

#[test]
fn of_calls_the_slower_one_is_reset() {
    let silent = Service::start(|_| Answer::Never);
    let quick = Service::start(|_| Answer::Actions(vec![allow()]));
    let mut bridge = bridge_to(1, &[silent.uri(), quick.uri()], &format!("protocol: decide, {KEYS}"), "8s");
    let mut engine = bridge.engine();
    let (mut stream, mut slowest) = (0, Duration::ZERO);
    let cancelled = eventually(Duration::from_secs(10), || {
        stream += 1;
        let asked = Instant::now();
        assert_eq!(outcome(&engine.ask(stream, "check-request", &[])), "decided");
        slowest = slowest.max(asked.elapsed());
        (silent.cancelled() > 0).then_some(())
    });
    assert!(cancelled.is_some(), "the silent one was never asked, or not reset: {} calls", silent.calls().len());
    figure(
        "one of two endpoints silent, calls",
        format!("{stream} asked, all decided, the slowest after {}; {} reset", ms(slowest), silent.cancelled()),
    );
    assert!(slowest >= DELAY);
    assert_eq!(counted(&mut bridge, "hedges"), silent.calls().len() as u64);
    assert_eq!(silent.cancelled(), silent.calls().len());
}
