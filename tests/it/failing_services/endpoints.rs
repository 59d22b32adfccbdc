//! Several endpoints in one backend.

use std::time::{Duration, Instant};

use super::{fallbacks, timed};
use crate::support::bridge::Bridge;
use crate::support::host::Bound;
use crate::support::late::LateService;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::Data;
use crate::support::{eventually, figure, free_address};

fn bridge_to_all(endpoints: &[&str]) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [{}] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 2s }}]\n{}",
        endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect::<Vec<_>>().join(", "),
        fallbacks()
    ))
}

/// Of so many NOTIFYs one after the other, how many were decided; the others are `unavailable`.
fn decided(engine: &mut crate::support::engine::Engine, first: u64, count: u64) -> usize {
    let asked = (0..count).map(|n| timed(engine, first + n * 2).0);
    asked
        .filter(|ack| {
            let decided = ack.value("txn.allow") == Some(&Data::Bool(true));
            assert!(decided || ack.text("txn.status") == "unavailable", "{ack:?}");
            decided
        })
        .count()
}

#[test]
fn all_endpoints_get_calls() {
    let services = [Service::allowing(), Service::allowing(), Service::allowing()];
    let bridge = bridge_to_all(&services.each_ref().map(|service| service.uri()));
    let mut engine = bridge.engine();
    assert_eq!(decided(&mut engine, 1, 60), 60);
    let shares = services.each_ref().map(|service| service.calls().len());
    figure("60 calls over 3 endpoints", format!("{shares:?}"));
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

/// Calls share connections: a worker has its own, and keeps them.
#[test]
fn connections_are_reused() {
    let service = Service::allowing();
    let bridge = bridge_to_all(&[service.uri()]);
    let mut engine = bridge.engine();
    assert_eq!(decided(&mut engine, 1, 200), 200);
    figure("connections for 200 calls of one SPOP connection", service.connections());
    assert!(service.connections() <= 16, "{} connections", service.connections());
}

/// What accepts and hangs up is told of once, however often it is tried, and its decisions fail at once.
#[test]
fn an_endpoint_that_hangs_up_does_not_flood_the_log() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the test's process.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let bridge = bridge_to_all(&[&uri]);
    let mut engine = bridge.engine();
    bridge.lines(1, |line| line["message"] == "endpoint not connected, trying on");
    // It is tried again and again meanwhile.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(decided(&mut engine, 1, 5), 0);
    let log = bridge.log();
    let lines = |message: &str| log.iter().filter(|line| line["message"] == message).count();
    assert!(lines("endpoint connected") <= 1, "{log:?}");
    assert_eq!(lines("endpoint not connected, trying on"), 1, "{log:?}");
}

/// Answers that cross the cancellation of their calls are no fault of the service's: the connection stays. On a stream: `stream::late`.
#[test]
fn late_answers_cost_no_connection() {
    let service = LateService::start(Duration::from_millis(100));
    let bridge = Bridge::start(&format!(
        "workers: 1\nbackends: {{ decisions: {{ endpoints: [\"{}\"], protocol: decide }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 20ms }}]\n{}",
        service.uri(),
        fallbacks()
    ));
    let mut engine = bridge.engine();
    let mut timeouts = 0;
    for round in 0..20 {
        for stream in 0..200 {
            engine.notify(1 + (round * 200 + stream) * 2, 1, &[("check", &[])]);
        }
        for _ in 0..200 {
            let ack = engine.expect_ack();
            // On a very busy machine the answer may be there before the deadline is looked at.
            let decided = ack.value("txn.allow") == Some(&Data::Bool(true));
            assert!(decided || ack.text("txn.status") == "timeout", "{ack:?}");
            timeouts += usize::from(!decided);
        }
    }
    assert!(timeouts > 2000, "{timeouts} of 4,000 answers were late");
    assert_eq!(service.connections(), 1, "{:?}", bridge.log());
}

/// A service that ends its connections by GOAWAY, again and again, costs no verdict: what was not sent goes on the next one.
#[test]
fn connections_reach_their_maximum_age() {
    // Well above the second below which the bridge takes a connection for a failed one: the service counts from its accept, the bridge from
    // when it is connected, which on a busy machine is later.
    const MAX_AGE: Duration = Duration::from_millis(1_500);
    let service = Service::with_max_age(Bound::tcp(), MAX_AGE, |_| Answer::Actions(vec![allow()]));
    let mut bridge = bridge_to_all(&[service.uri()]);
    let mut engine = bridge.engine();
    let end = Instant::now() + Duration::from_secs(6);
    let mut asked = 0;
    while Instant::now() < end {
        // Many at once, so that some are on their way when the connection ends.
        for stream in 0..200 {
            engine.notify(1 + (asked + stream) * 2, 1, &[("check", &[])]);
        }
        for _ in 0..200 {
            let ack = engine.expect_ack();
            assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)), "{ack:?}");
        }
        asked += 200;
    }
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let totals = bridge.log().into_iter().find(|line| line["message"] == "stopped").unwrap()["totals"].clone();
    figure(
        "decisions over connections that live 1.5 s, all decided",
        format!("{asked} on {} connections: {totals}", service.connections()),
    );
    assert!(service.connections() >= 3);
}

/// One that never was there does not cost verdicts once the bridge knows.
#[test]
fn one_endpoint_is_dead() {
    let service = Service::allowing();
    let dead = format!("http://{}", free_address());
    let bridge = bridge_to_all(&[&dead, service.uri()]);
    let mut engine = bridge.engine();
    let first = decided(&mut engine, 1, 20);
    let second = decided(&mut engine, 101, 100);
    figure("decided with one of two endpoints dead", format!("{first} of the first 20, {second} of the next 100"));
    assert!(second >= 95, "{second} of 100");
}

/// One dies and comes back: meanwhile the other decides, afterwards both do.
#[test]
fn one_endpoint_dies_and_comes_back() {
    let address = free_address();
    let other = Service::allowing();
    let mut mortal = Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]));
    let bridge = bridge_to_all(&[mortal.uri(), other.uri()]);
    let mut engine = bridge.engine();
    assert_eq!(decided(&mut engine, 1, 40), 40);
    assert!(!mortal.calls().is_empty() && !other.calls().is_empty());
    mortal.kill();
    let without = decided(&mut engine, 1001, 100);
    figure("decided after one of two endpoints died", format!("{without} of 100"));
    assert!(without >= 90, "{without} of 100");

    let reborn = Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]));
    let mut stream = 10_001;
    let back = eventually(Duration::from_secs(15), || {
        stream += 2;
        timed(&mut engine, stream);
        (!reborn.calls().is_empty()).then_some(())
    });
    assert!(back.is_some(), "the endpoint is back and gets no calls");
}
