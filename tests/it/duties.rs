//! Duties of an agent (d1 to d32 of the list that the project works from) that only show on a socket.
//!
//! Others carry their numbers where they belong: in `hostile_peers`, `failing_services`, `real_haproxy`, `shutdown` and beside the code.

use std::time::Duration;

use spop_bridge::pb::v1::value::Kind;

use crate::support::bridge::Bridge;
use crate::support::engine::{Engine, hello_frame, notify_frame};
use crate::support::service::{Answer, Service, allow, set_txn};
use crate::support::wire::{self, Data, Frame};

/// Stream 1 is slow, all others are immediate.
fn slow_first() -> Service {
    Service::start(|request| match request.origin.as_ref().unwrap().stream_id {
        1 => Answer::after(Duration::from_millis(500), Answer::Actions(vec![allow()])),
        _ => Answer::Actions(vec![allow()]),
    })
}

/// HAProxy 3.2 resets a connection whose AGENT-HELLO comes in two segments.
#[test]
fn d1_agent_hello_is_one_segment() {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "5s");
    for _ in 0..50 {
        let mut engine = Engine::connect(bridge.address());
        engine.send_frame(&hello_frame(16380, "one-segment"));
        let segment = engine.read_some();
        let length = u32::from_be_bytes(segment[..4].try_into().unwrap()) as usize;
        assert_eq!(segment.len(), 4 + length, "one read brings the whole frame");
        assert_eq!(Frame::decode(&segment[4..]).kind, wire::AGENT_HELLO);
    }
}

/// Many big ACKs that become ready at any time, from two services: each comes as a whole frame with its own content.
#[test]
fn d2_acks_never_interleave() {
    let answer = |request: &spop_bridge::pb::v1::DecideRequest| {
        let stream = request.origin.as_ref().unwrap().stream_id;
        let actions = Answer::Actions(vec![
            set_txn("filler", Kind::BytesValue(vec![stream as u8; 8000].into())),
            set_txn("stream", Kind::Uint64Value(stream)),
        ]);
        Answer::after(Duration::from_millis(stream * 7 % 13), actions)
    };
    let services = [Service::start(answer), Service::start(answer)];
    let bridge = Bridge::start(&format!(
        "backends: {{ one: {{ endpoints: [\"{}\"] }}, two: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [one], backend: one, timeout: 10s }}\n  - {{ messages: [two], backend: two, timeout: 10s }}",
        services[0].uri(),
        services[1].uri()
    ));
    let mut engine = bridge.engine();
    let mut writer = engine.writer();
    let notifies: Vec<u8> =
        (1..=400u64).flat_map(|n| notify_frame(n, 1, &[(["one", "two"][n as usize % 2], &[])]).encode()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&notifies).unwrap());
        let mut streams: Vec<u64> = (0..400)
            .map(|_| {
                let ack = engine.expect_ack();
                assert_eq!(ack.value("txn.stream"), Some(&Data::Uint64(ack.stream)));
                assert_eq!(ack.value("txn.filler"), Some(&Data::Binary(vec![ack.stream as u8; 8000])));
                ack.stream
            })
            .collect();
        streams.sort_unstable();
        assert_eq!(streams, (1..=400).collect::<Vec<_>>());
    });
}

/// 3.1+ keeps 20 in flight on a connection: all are called at once, and the first one asked doesn't hold up the others.
#[test]
fn d9_twenty_in_flight_are_served_in_parallel() {
    let service = Service::start(|request| match request.origin.as_ref().unwrap().stream_id {
        39 => Answer::Actions(vec![allow()]),
        _ => Answer::after(Duration::from_millis(600), Answer::Actions(vec![allow()])),
    });
    let bridge = Bridge::simple(service.uri(), "10s");
    let mut engine = bridge.engine();
    for n in 0..20 {
        engine.notify(n * 2 + 1, 1, &[("m", &[])]);
    }
    let mut streams: Vec<u64> = (0..20).map(|_| engine.expect_ack().stream).collect();
    assert_eq!(streams[0], 39, "the last one asked is the first one ready");
    assert!(service.most_in_flight() >= 19, "{} at once", service.most_in_flight());
    streams.sort_unstable();
    assert_eq!(streams, (0..20).map(|n| n * 2 + 1).collect::<Vec<_>>());
}

/// Above `max_in_flight` the bridge stops reading that connection, and answers all in the end.
#[test]
fn d9_in_flight_is_capped_per_connection() {
    let service = Service::start(|_| Answer::after(Duration::from_millis(20), Answer::Actions(vec![allow()])));
    let bridge = Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"127.0.0.1:0\", max_in_flight: 8 }}]\n\
         backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\nroutes: [{{ messages: [\"*\"], backend: decisions, timeout: 10s }}]",
        service.uri()
    ));
    let mut engine = bridge.engine();
    for n in 0..100 {
        engine.notify(n * 2 + 1, 1, &[("m", &[])]);
    }
    for _ in 0..100 {
        assert_eq!(engine.expect_ack().value("txn.allow"), Some(&Data::Bool(true)));
    }
    assert_eq!(service.calls().len(), 100);
    assert!(service.most_in_flight() <= 8, "{} at once", service.most_in_flight());
}

/// 3.0 and older offer async; an ACK still travels on the connection of its NOTIFY, also between connections of one engine.
#[test]
fn d11_acks_stay_on_the_connection_of_their_notify() {
    let service = slow_first();
    let bridge = Bridge::simple(service.uri(), "10s");
    let open = || {
        let mut engine = Engine::connect(bridge.address());
        let pairs = [
            ("supported-versions", "2.0".into()),
            ("max-frame-size", Data::Uint32(16380)),
            ("capabilities", "pipelining,async,fragmentation".into()),
            ("engine-id", "the-same".into()),
        ];
        engine.send_frame(&Frame::new(wire::HAPROXY_HELLO, 0, 0, wire::kv_list(&pairs)));
        let answer = engine.expect_frame().pairs();
        assert!(answer.contains(&("capabilities".into(), "pipelining".into())), "{answer:?}");
        engine
    };
    let (mut first, mut second) = (open(), open());
    first.notify(1, 1, &[("m", &[])]);
    second.notify(1, 1, &[("m", &[])]);
    second.notify(3, 1, &[("m", &[])]);
    assert_eq!(second.expect_ack().stream, 3);
    assert_eq!(second.expect_ack().stream, 1);
    assert_eq!(first.expect_ack().stream, 1);
}

/// Both ways of numbering: global streams with a frame per event up to 3.0, odd streams with frame 1 from 3.1 on.
#[test]
fn d13_d14_ids_are_echoed_exactly() {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "10s");
    let mut engine = bridge.engine();
    let ids = [
        (1, 1),
        (3, 1),
        (41, 1),
        (123_456_789, 1),
        (123_456_789, 2),
        (123_456_789, 3),
        (u64::from(u32::MAX), 240),
        (u64::MAX, u64::MAX),
    ];
    for (stream, frame) in ids {
        engine.notify(stream, frame, &[("m", &[])]);
        let ack = engine.expect_ack();
        assert_eq!((ack.stream, ack.frame), (stream, frame));
        let origin = service.calls().last().unwrap().request.origin.clone().unwrap();
        assert_eq!((origin.stream_id, origin.frame_id), (stream, frame));
    }
}

/// 3.0 and older reject messages over 255 bytes, however much the peer gave cause to say.
#[test]
fn d21_disconnect_messages_are_short() {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "10s");
    let long = "9.9,".repeat(700);
    let pairs =
        [("supported-versions", long.as_str().into()), ("max-frame-size", Data::Uint32(16380)), ("capabilities", "".into())];
    let mut engine = Engine::connect(bridge.address());
    engine.send_frame(&Frame::new(wire::HAPROXY_HELLO, 0, 0, wire::kv_list(&pairs)));
    let (code, message) = engine.expect_disconnect();
    assert_eq!(code, 8);
    assert!(message.len() <= 255, "{message}");
    engine.expect_end();
}

/// HAProxy says goodbye while decisions are under way: their ACKs come first, then our goodbye, then the end.
#[test]
fn d23_acks_are_flushed_before_the_answer_to_a_disconnect() {
    let service = slow_first();
    let bridge = Bridge::simple(service.uri(), "10s");
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    engine.disconnect();
    assert_eq!(engine.expect_ack().value("txn.allow"), Some(&Data::Bool(true)));
    assert_eq!(engine.expect_disconnect().0, 0);
    engine.expect_end();
}

/// The engine's other half-close, as some peers do it: no more NOTIFYs, but the answers are wanted.
#[test]
fn d22_a_half_closed_connection_still_gets_its_acks() {
    let service = slow_first();
    let bridge = Bridge::simple(service.uri(), "10s");
    let mut engine = bridge.engine();
    engine.notify(3, 1, &[("m", &[])]);
    assert_eq!(engine.expect_ack().stream, 3);
    engine.finish_writing();
    engine.read_to_end();
    assert!(!bridge.log().iter().any(|line| line["level"] == "WARN" || line["level"] == "ERROR"), "{:?}", bridge.log());
}

/// Failed decisions are answers: the connection lives on through every kind of them.
#[test]
fn d24_a_failed_decision_never_costs_the_connection() {
    let service = Service::start(|request| match request.origin.as_ref().unwrap().stream_id % 4 {
        0 => Answer::Status(tonic::Status::internal("broken")),
        1 => Answer::Actions(vec![set_txn("bad name", Kind::NullValue(0))]),
        2 => Answer::Never,
        _ => Answer::Actions(vec![allow()]),
    });
    let bridge = Bridge::simple(service.uri(), "50ms");
    let mut engine = bridge.engine();
    for stream in 1..=40 {
        let ack = engine.ask(stream, "m", &[]);
        assert!(!ack.actions.is_empty());
    }
}

/// Names may be empty or repeat; order holds; bytes stay bytes.
#[test]
fn d29_args_are_a_list_of_names_and_bytes() {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "10s");
    let latin = Data::Text(b"caf\xe9".to_vec());
    let args =
        [("", "1".into()), ("x", Data::Int32(-1)), ("", Data::Uint32(u32::MAX)), ("x", Data::Uint64(u64::MAX)), ("x", latin)];
    bridge.engine().ask(1, "m", &args);
    let call = service.only_call();
    let seen: Vec<_> = call.request.messages[0].args.iter().map(|arg| (&arg.name[..], arg.value.clone().unwrap())).collect();
    let kinds: Vec<_> = seen.iter().map(|(name, value)| (*name, value.kind.clone().unwrap())).collect();
    let expected = [
        ("", Kind::StringValue("1".into())),
        ("x", Kind::Int64Value(-1)),
        ("", Kind::Uint64Value(u32::MAX.into())),
        ("x", Kind::Uint64Value(u64::MAX)),
        ("x", Kind::StringValue("caf?".into())),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(&seen[4].1.raw_string[..], b"caf\xe9");
    assert!(seen[..4].iter().all(|(_, value)| value.raw_string.is_empty()));
}
