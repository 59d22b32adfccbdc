//! Time: one deadline, passed on, kept, and nobody works on what nobody waits for.

use std::time::Duration;

use super::{assert_fallback, bridge_to, fallbacks, timed};
use crate::support::bridge::Bridge;
use crate::support::engine::notify_frame;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::{ABORT, Data, FIN};
use crate::support::{eventually, figure};

const PATIENCE: Duration = Duration::from_secs(10);

/// The service knows how long it has: less than the route's timeout, by the margin and what was used up.
#[test]
fn grpc_timeout_is_passed_on() {
    let service = Service::allowing();
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"], metadata: {{ x-tenant: blue }} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 1500ms }}]\nack_margin: 20ms",
        service.uri()
    ));
    bridge.engine().ask(1, "m", &[]);
    let call = service.only_call();
    let timeout = call.timeout().expect("grpc-timeout");
    assert!(timeout <= Duration::from_millis(1480), "the margin is off: {timeout:?}");
    assert!(timeout > Duration::from_millis(100), "{timeout:?}");
    assert_eq!(call.metadata.get("x-tenant").map(String::as_str), Some("blue"));
    assert_eq!(call.metadata.get("te").map(String::as_str), Some("trailers"));
    assert!(call.metadata["content-type"].starts_with("application/grpc"));
}

/// The ACK leaves when the time is over, not before; then the service learns that nobody waits.
#[test]
fn d25_deadline_sends_the_fallback_and_cancels_the_call() {
    let service = Service::start(|_| Answer::Never);
    let bridge = bridge_to(service.uri(), "400ms");
    let (ack, took) = timed(&mut bridge.engine(), 1);
    assert_fallback(&ack, "timeout");
    assert!(took >= Duration::from_millis(350), "the service had its time: {took:?}");
    figure("ACK for a stalled service, route timeout 400 ms, after", format!("{:.1} ms", took.as_secs_f64() * 1e3));
    assert!(eventually(PATIENCE, || (service.cancelled() == 1).then_some(())).is_some(), "the call is still running");
}

/// An answer after the deadline is nobody's: exactly one ACK, and the next NOTIFY gets its own.
#[test]
fn d14_late_answer_makes_no_second_ack() {
    let service = Service::start(|request| match request.origin.as_ref().unwrap().stream_id {
        1 => Answer::after(Duration::from_millis(300), Answer::Actions(vec![allow()])),
        _ => Answer::Actions(vec![allow()]),
    });
    let bridge = bridge_to(service.uri(), "100ms");
    let mut engine = bridge.engine();
    assert_fallback(&timed(&mut engine, 1).0, "timeout");
    std::thread::sleep(Duration::from_millis(400));
    let decided = eventually(PATIENCE, || {
        let (ack, _) = timed(&mut engine, 3);
        (ack.value("txn.allow") == Some(&Data::Bool(true))).then_some(())
    });
    assert!(decided.is_some());
    engine.disconnect();
    assert_eq!(engine.expect_disconnect().0, 0, "no ACK was left over");
    engine.expect_end();
}

#[test]
fn d10_calls_end_with_the_connection_that_asked() {
    let service = Service::start(|_| Answer::Never);
    let bridge = bridge_to(service.uri(), "30s");
    let mut engine = bridge.engine();
    for stream in [1, 3, 5] {
        engine.notify(stream, 1, &[("m", &[])]);
    }
    assert!(eventually(PATIENCE, || (service.in_flight() == 3).then_some(())).is_some());
    drop(engine);
    assert!(eventually(PATIENCE, || (service.cancelled() == 3).then_some(())).is_some(), "{} cancelled", service.cancelled());
}

/// HAProxy gave up on one NOTIFY: its call ends and it gets no ACK, the others do.
#[test]
fn abort_cancels_one_call_and_withholds_its_ack() {
    let service = Service::start(|request| match request.origin.as_ref().unwrap().stream_id {
        1 => Answer::Never,
        _ => Answer::Actions(vec![allow()]),
    });
    let bridge = bridge_to(service.uri(), "30s");
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 1).then_some(())).is_some());
    engine.send_frame(&notify_frame(1, 1, &[]).with_flags(FIN | ABORT));
    assert!(eventually(PATIENCE, || (service.cancelled() == 1).then_some(())).is_some(), "the call still runs");
    assert_eq!(engine.ask(3, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
    engine.disconnect();
    assert_eq!(engine.expect_disconnect().0, 0, "no ACK for the aborted one");
}

/// An arg can only shorten the time.
#[test]
fn timeout_arg_shortens() {
    let service = Service::start(|_| Answer::Never);
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [long], backend: decisions, timeout: 30s, timeout_arg: deadline_ms }}\n  \
           - {{ messages: [short], backend: decisions, timeout: 200ms, timeout_arg: deadline_ms }}\n{}",
        service.uri(),
        fallbacks()
    ));
    let mut engine = bridge.engine();
    let shortened = engine.ask(1, "long", &[("deadline_ms", Data::Int64(150))]);
    assert_fallback(&shortened, "timeout");
    assert!(service.calls()[0].timeout().unwrap() <= Duration::from_millis(150));

    let not_lengthened = engine.ask(3, "short", &[("deadline_ms", Data::Int64(60_000))]);
    assert_fallback(&not_lengthened, "timeout");
    assert!(service.calls()[1].timeout().unwrap() <= Duration::from_millis(200));

    // Not an integer, absent, or nothing left: the NOTIFY is answered all the same.
    for (stream, value) in [(5, "soon".into()), (7, Data::Null)] {
        assert_fallback(&engine.ask(stream, "short", &[("deadline_ms", value)]), "timeout");
    }
    for (stream, value) in [(9, Data::Int64(0)), (11, Data::Int64(-5)), (13, Data::Int64(i64::MIN))] {
        assert_fallback(&engine.ask(stream, "short", &[("deadline_ms", value)]), "timeout");
    }
}

/// Who fills the arg cannot do without the service: whatever it says, the service is asked and has time to answer.
#[test]
fn timeout_arg_leaves_time_for_an_answer() {
    let service = Service::start(|_| Answer::Actions(vec![allow()]));
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [m], backend: decisions, timeout: 30s, timeout_arg: deadline_ms, timeout_arg_min: 20s }}\n{}",
        service.uri(),
        fallbacks()
    ));
    let mut engine = bridge.engine();
    let hasty = [Data::Int64(1), Data::Int64(0), Data::Int64(-5), Data::Int64(i64::MIN), Data::Uint32(0), Data::Int32(-1)];
    for (stream, value) in (1..).step_by(2).zip(hasty) {
        let decided = engine.ask(stream, "m", &[("deadline_ms", value.clone())]);
        assert_eq!(decided.value("txn.allow"), Some(&Data::Bool(true)), "{value:?}");
        assert!(service.calls().last().unwrap().timeout().unwrap() > Duration::from_secs(10), "{value:?}");
    }
    assert_eq!(service.calls().len(), 6);
}
