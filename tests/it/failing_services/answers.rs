//! Answers that are gRPC and still no decision: refused whole, so that HAProxy never gets half of one.

use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{self as pb, Action, VarScope};

use super::{assert_fallback, bridge_to, timed};
use crate::support::service::{Answer, Service, allow, set, set_txn, unset_txn};
use crate::support::wire::Data;

#[test]
fn d18_one_bad_action_refuses_the_whole_answer() {
    let long = "n".repeat(60);
    let text = || Kind::StringValue("x".into());
    let value = |kind| Some(pb::Value { kind, raw_string: Default::default() });
    let raw = |scope: i32, name: &str, value| Action {
        action: Some(pb::action::Action::SetVar(pb::SetVar { scope, name: name.into(), value })),
    };
    let bad = [
        ("empty name", set_txn("", text())),
        ("space in the name", set_txn("a b", text())),
        ("dash in the name", set_txn("a-b", text())),
        ("name that is not ASCII", set_txn("gr\u{fc}n", text())),
        ("NUL in the name", set_txn("a\0b", text())),
        ("name too long", set_txn(&long, text())),
        ("unset of a bad name", unset_txn("a b")),
        ("IPv4 of 3 bytes", set_txn("ip", Kind::Ipv4Value(vec![1, 2, 3].into()))),
        ("IPv4 of 16 bytes", set_txn("ip", Kind::Ipv4Value(vec![0; 16].into()))),
        ("IPv6 of 4 bytes", set_txn("ip", Kind::Ipv6Value(vec![1, 2, 3, 4].into()))),
        ("unknown scope", raw(9, "name", value(Some(text())))),
        ("negative scope", raw(-1, "name", value(Some(text())))),
        ("no value", raw(VarScope::Transaction.into(), "name", None)),
        ("value of no kind", raw(VarScope::Transaction.into(), "name", value(None))),
        ("action of no kind", Action { action: None }),
    ];
    let actions: Vec<Action> = bad.iter().map(|(_, action)| action.clone()).collect();
    let service = Service::start(move |request| {
        let index = request.origin.as_ref().unwrap().stream_id / 2;
        // Good ones around it: none of them may come through.
        Answer::Actions(vec![allow(), actions[index as usize].clone(), set_txn("more", Kind::Int64Value(1))])
    });
    let bridge = bridge_to(service.uri(), "5s");
    let mut engine = bridge.engine();
    for (index, (what, _)) in bad.iter().enumerate() {
        let (ack, _) = timed(&mut engine, index as u64 * 2 + 1);
        assert_eq!(ack.text("txn.status"), "invalid_response", "{what}");
        assert_fallback(&ack, "invalid_response");
        assert_eq!(ack.value("txn.more"), None, "{what}");
    }
}

/// `scope.prefix.name` has at most 63 bytes (d19). A prefix that the bridge isn't told of counts 16.
#[test]
fn d19_longest_name() {
    let service = Service::start(|request| {
        let length = request.origin.as_ref().unwrap().stream_id as usize;
        Answer::Actions(vec![set(VarScope::Transaction, &"n".repeat(length), Kind::BoolValue(true))])
    });
    let config = |prefix: &str| {
        format!(
            "listeners: [{{ name: main, bind: \"127.0.0.1:0\"{prefix} }}]\n\
             backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]\nstatus_variable: txn.status",
            service.uri()
        )
    };
    for (prefix, longest) in [(", var_prefix: br", 63 - "txn.br.".len()), ("", 63 - "txn..".len() - 16)] {
        let bridge = crate::support::bridge::Bridge::start(&config(prefix));
        let mut engine = bridge.engine();
        let fits = engine.ask(longest as u64, "m", &[]);
        assert_eq!(fits.value(&format!("txn.{}", "n".repeat(longest))), Some(&Data::Bool(true)), "{prefix}: {fits:?}");
        let over = engine.ask(longest as u64 + 1, "m", &[]);
        assert_eq!(over.text("txn.status"), "invalid_response", "{prefix}: {over:?}");
    }
}

/// An ACK is within the negotiated frame size, whatever the service says.
#[test]
fn answer_too_big_for_the_frame() {
    let service = Service::start(|request| {
        let size = request.origin.as_ref().unwrap().stream_id as usize;
        Answer::Actions(vec![set_txn("big", Kind::BytesValue(vec![7; size].into()))])
    });
    let bridge = bridge_to(service.uri(), "5s");
    let mut engine = bridge.engine();
    let (fits, _) = timed(&mut engine, 16_300);
    assert_eq!(fits.value("txn.big"), Some(&Data::Binary(vec![7; 16_300])));
    for size in [16_380, 100_000, 3_000_000] {
        let (over, _) = timed(&mut engine, size);
        assert_fallback(&over, "invalid_response");
    }
    let mut small = crate::support::engine::Engine::connect(bridge.address());
    small.hello_with(256, "small");
    assert_fallback(&small.ask(250, "m", &[]), "invalid_response");
    assert_eq!(small.ask(150, "m", &[]).value("txn.big"), Some(&Data::Binary(vec![7; 150])));
}

/// d15: early 3.1.x hangs on an ACK without actions; the bridge says `ok` in its status variable.
#[test]
fn d15_an_empty_answer_is_no_empty_ack() {
    let service = Service::start(|_| Answer::Actions(vec![]));
    let bridge = bridge_to(service.uri(), "5s");
    let (ack, _) = timed(&mut bridge.engine(), 1);
    assert_eq!(ack.actions.len(), 1, "{ack:?}");
    assert_eq!(ack.text("txn.status"), "ok");
}

/// The same without a configured status variable: there is still an action.
#[test]
fn d15_no_ack_is_empty_without_any_configuration() {
    let service = Service::start(|_| Answer::Actions(vec![]));
    let bridge = crate::support::bridge::Bridge::simple(service.uri(), "5s");
    let mut engine = bridge.engine();
    assert!(!engine.ask(1, "m", &[]).actions.is_empty());
    let nobody = crate::support::bridge::Bridge::simple(&format!("http://{}", crate::support::free_address()), "5s");
    assert!(!nobody.engine().ask(1, "m", &[]).actions.is_empty());
}

/// Values keep their SPOP type; here the wire is looked at, not HAProxy's view of it.
#[test]
fn d20_types_on_the_wire() {
    let service = Service::start(|_| {
        Answer::Actions(vec![
            set_txn("null", Kind::NullValue(0)),
            set_txn("yes", Kind::BoolValue(true)),
            set_txn("no", Kind::BoolValue(false)),
            set_txn("negative", Kind::Int64Value(-1)),
            set_txn("least", Kind::Int64Value(i64::MIN)),
            set_txn("most", Kind::Uint64Value(u64::MAX)),
            set_txn("v4", Kind::Ipv4Value(vec![192, 0, 2, 1].into())),
            set_txn("v6", Kind::Ipv6Value(vec![0; 16].into())),
            set_txn("text", Kind::StringValue("gr\u{fc}n".into())),
            set_txn("bytes", Kind::BytesValue(vec![0, 255].into())),
            set(VarScope::Process, "p", Kind::Int64Value(240)),
            set(VarScope::Session, "s", Kind::Int64Value(2287)),
            set(VarScope::Unspecified, "t", Kind::Int64Value(2288)),
            set(VarScope::Request, "q", Kind::Int64Value(239)),
            set(VarScope::Response, "r", Kind::Int64Value(0)),
            unset_txn("u"),
        ])
    });
    let bridge = bridge_to(service.uri(), "5s");
    let (ack, _) = timed(&mut bridge.engine(), 1);
    use crate::support::wire::Action::{Set, Unset};
    let set = |name: &str, value| Set(name.into(), value);
    let expected = [
        set("txn.null", Data::Null),
        set("txn.yes", Data::Bool(true)),
        set("txn.no", Data::Bool(false)),
        set("txn.negative", Data::Int64(-1)),
        set("txn.least", Data::Int64(i64::MIN)),
        set("txn.most", Data::Uint64(u64::MAX)),
        set("txn.v4", Data::Ipv4([192, 0, 2, 1].into())),
        set("txn.v6", Data::Ipv6([0; 16].into())),
        set("txn.text", "gr\u{fc}n".into()),
        set("txn.bytes", Data::Binary(vec![0, 255])),
        set("proc.p", Data::Int64(240)),
        set("sess.s", Data::Int64(2287)),
        set("txn.t", Data::Int64(2288)),
        set("req.q", Data::Int64(239)),
        set("res.r", Data::Int64(0)),
        Unset("txn.u".into()),
    ];
    assert_eq!(ack.actions, expected);
}
