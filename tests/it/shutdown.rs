//! Leaving: what HAProxy sees of each step of a drain, and what a second signal does.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::engine::Engine;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::{ACK, AGENT_DISCONNECT, Data};
use crate::support::{eventually, figure};

/// One listener, one route with a long timeout, and this `drain`.
fn bridge(service: &Service, drain: &str) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 30s }}]\ndrain: {{ {drain} }}",
        service.uri()
    ))
}

fn connects(address: &Address) -> bool {
    let Address::Tcp(address) = address else { unreachable!() };
    std::net::TcpStream::connect(address).is_ok()
}

#[test]
fn an_idle_bridge_leaves_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let service = Service::allowing();
        let mut bridge = bridge(&service, "delay: 0s, grace_period: 60s");
        bridge.signal(signal);
        assert_eq!(bridge.exit_code(), 0, "{signal}");
    }
}

/// d24, step by step: goodbye with code 0 to a connection that has nothing in flight.
#[test]
fn d24_idle_connections_get_a_goodbye() {
    let service = Service::allowing();
    let mut bridge = bridge(&service, "delay: 0s, grace_period: 60s");
    let mut engines = [bridge.engine(), bridge.engine(), bridge.engine()];
    engines[0].ask(1, "m", &[]);
    bridge.terminate();
    for engine in &mut engines {
        assert_eq!(engine.expect_disconnect().0, 0);
        engine.expect_end();
    }
    assert_eq!(bridge.exit_code(), 0);
}

/// d24: what is in flight is finished, its ACK comes before the goodbye.
#[test]
fn d24_in_flight_is_finished_before_the_goodbye() {
    let service = Service::start(|_| Answer::after(Duration::from_millis(800), Answer::Actions(vec![allow()])));
    let mut bridge = bridge(&service, "delay: 0s, grace_period: 60s");
    let mut engine = bridge.engine();
    for stream in [1, 3, 5] {
        engine.notify(stream, 1, &[("m", &[])]);
    }
    assert!(eventually(PATIENCE, || (service.in_flight() == 3).then_some(())).is_some());
    bridge.terminate();
    for _ in 0..3 {
        assert_eq!(engine.expect_ack().value("txn.allow"), Some(&Data::Bool(true)));
    }
    assert_eq!(engine.expect_disconnect().0, 0);
    engine.expect_end();
    assert_eq!(bridge.exit_code(), 0);
}

/// During the delay HAProxy learns by its checks that we leave, and what it still sends is decided.
#[test]
fn delay_says_not_ready_and_goes_on_serving() {
    let service = Service::allowing();
    let mut bridge = bridge(&service, "delay: 2s, grace_period: 60s");
    let mut engine = bridge.engine();
    assert!(Engine::connect(bridge.address()).health_check().is_ok());
    bridge.terminate();
    let told = Instant::now();
    let not_ready = eventually(PATIENCE, || Engine::connect(bridge.address()).health_check().err());
    let (_, message) = not_ready.expect("not ready");
    assert!(!message.is_empty());
    assert!(bridge.running());
    assert_eq!(engine.ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)), "{:?} after the signal", told.elapsed());
    assert_eq!(engine.expect_disconnect().0, 0);
    assert!(told.elapsed() >= Duration::from_millis(1900), "the delay is kept: {:?}", told.elapsed());
    assert_eq!(bridge.exit_code(), 0);
}

/// After the delay nobody new gets in, while the last decisions are finished.
#[test]
fn accepting_stops_before_the_last_decisions_are_made() {
    let service = Service::start(|_| Answer::after(Duration::from_secs(3), Answer::Actions(vec![allow()])));
    let mut bridge = bridge(&service, "delay: 0s, grace_period: 60s");
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 1).then_some(())).is_some());
    bridge.terminate();
    let closed = eventually(PATIENCE, || (!connects(bridge.address())).then_some(()));
    assert!(closed.is_some(), "the port is closed");
    assert!(bridge.running(), "and the decision is still under way");
    assert_eq!(engine.expect_ack().value("txn.allow"), Some(&Data::Bool(true)));
    assert_eq!(bridge.exit_code(), 0);
}

/// What isn't decided by the end of the grace period is given up.
#[test]
fn grace_period_ends_it() {
    let service = Service::start(|_| Answer::Never);
    let mut bridge = bridge(&service, "delay: 0s, grace_period: 500ms");
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 1).then_some(())).is_some());
    bridge.terminate();
    let begin = Instant::now();
    let code = bridge.exit_code();
    let rest: Vec<_> = std::iter::from_fn(|| engine.next()).map(|frame| frame.kind).collect();
    figure(
        "grace period of 500 ms over",
        format!("exit code {code} after {:.0} ms, frames {rest:?}", begin.elapsed().as_secs_f64() * 1e3),
    );
    assert!(begin.elapsed() < PATIENCE, "far before the route's 30 s");
    assert_eq!(code, 0);
    assert_eq!(rest, [ACK, AGENT_DISCONNECT], "the fallback, then the goodbye");
    assert!(eventually(PATIENCE, || (service.in_flight() == 0).then_some(())).is_some());
}

#[test]
fn second_signal_ends_it_at_once() {
    let service = Service::start(|_| Answer::Never);
    let mut bridge = bridge(&service, "delay: 0s, grace_period: 60s");
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 1).then_some(())).is_some());
    bridge.terminate();
    assert!(eventually(PATIENCE, || (!connects(bridge.address())).then_some(())).is_some(), "the drain has begun");
    assert!(bridge.running(), "it waits for the decision");
    bridge.terminate();
    let code = bridge.exit_code();
    figure("exit code after a second SIGTERM", code);
}

/// The same in the delay, where nothing is in flight.
#[test]
fn second_signal_cuts_the_delay_short() {
    let service = Service::allowing();
    let mut bridge = bridge(&service, "delay: 60s, grace_period: 60s");
    bridge.terminate();
    assert!(eventually(PATIENCE, || Engine::connect(bridge.address()).health_check().err()).is_some());
    bridge.signal(Signal::SIGINT);
    bridge.exit_code();
}
