//! What HAProxy sent is what the service sees.

use std::path::Path;

use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{Arg, Value};

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::http::{Request, get, post};
use crate::support::service::Service;

on_each_line!(d29_every_type_in_order, many_args, method_names);

/// Null, bool, integers of either sign, both kinds of address, text of any bytes, a binary body; unnamed and repeated names.
fn d29_every_type_in_order(haproxy: &Path) {
    let message = "spoe-message everything\n    \
         args absent=req.hdr(x-absent) yes=bool(true) no=bool(false)\n    \
         args zero=int(0) negative=int(-42) least=int(-9223372036854775808) most=int(9223372036854775807)\n    \
         args client=src v4=ipv4(192.0.2.1) v6=ipv6(2001:db8::1)\n    \
         args path=path high=req.hdr(x-high) empty=url_param(empty)\n    \
         args body=req.body method=method\n    \
         args str(first) int(2) twice=str(a) twice=str(b)\n    \
         event on-frontend-http-request\n";
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let haproxy = start(haproxy, &bridge, frontend(&reflect(&VERDICT)), engine("messages everything", message));

    let body: Vec<u8> = (0..=255).collect();
    let request = post("/some/path?empty=", body.clone()).header("x-high", b"caf\xe9 \xff\xfe!");
    let reply = request.send(haproxy.frontend());
    assert_eq!((reply.header("x-allow"), reply.header("x-error")), ("1".into(), "-".into()));

    let call = service.only_call();
    assert_eq!(call.request.messages.len(), 1);
    assert_eq!(call.request.messages[0].name, "everything");
    let expected = [
        arg("absent", Kind::NullValue(0)),
        arg("yes", Kind::BoolValue(true)),
        arg("no", Kind::BoolValue(false)),
        arg("zero", Kind::Int64Value(0)),
        arg("negative", Kind::Int64Value(-42)),
        arg("least", Kind::Int64Value(i64::MIN)),
        arg("most", Kind::Int64Value(i64::MAX)),
        arg("client", Kind::Ipv4Value(vec![127, 0, 0, 1].into())),
        arg("v4", Kind::Ipv4Value(vec![192, 0, 2, 1].into())),
        arg("v6", Kind::Ipv6Value(vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into())),
        arg("path", text("/some/path")),
        raw("high", "caf? ??!", b"caf\xe9 \xff\xfe!"),
        arg("empty", text("")),
        arg("body", Kind::BytesValue(body.into())),
        arg("method", text("POST")),
        arg("", text("first")),
        arg("", Kind::Int64Value(2)),
        arg("twice", text("a")),
        arg("twice", text("b")),
    ];
    assert_eq!(call.request.messages[0].args, expected);

    let origin = call.request.origin.expect("an origin");
    assert_eq!(origin.listener, "main");
    assert!(!origin.engine_id.is_empty(), "HAProxy names its engine");
    assert!(origin.peer_address.starts_with("127.0.0.1:"), "{}", origin.peer_address);
    assert_ne!(origin.frame_id, 0);
}

/// Far more args than anybody uses, still in order.
fn many_args(haproxy: &Path) {
    let line = |from: usize| (from..from + 20).map(|n| format!(" a{n}=int({n})")).collect::<String>();
    let lines: String = (0..10).map(|n| format!("    args{}\n", line(n * 20))).collect();
    let message = format!("spoe-message many\n{lines}    event on-frontend-http-request\n");
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let haproxy = start(haproxy, &bridge, frontend(&reflect(&VERDICT)), engine("messages many", &message));

    assert_eq!(get("/").send(haproxy.frontend()).header("x-allow"), "1");
    let expected: Vec<Arg> = (0..200).map(|n| arg(&format!("a{n}"), Kind::Int64Value(n))).collect();
    assert_eq!(service.only_call().request.messages[0].args, expected);
}

/// HAProxy has a type of its own for methods; on the wire they are text, known to it or not.
fn method_names(haproxy: &Path) {
    let message = "spoe-message m\n    args method=method\n    event on-frontend-http-request\n";
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let haproxy = start(haproxy, &bridge, frontend(&reflect(&VERDICT)), engine("messages m", message));

    let methods = ["GET", "DELETE", "PURGE", "OPTIONS"];
    for method in methods {
        Request::new(method, "/").send(haproxy.frontend());
    }
    let seen: Vec<_> = service.calls().iter().map(|call| call.arg("method")).collect();
    assert_eq!(seen, methods.map(|method| Some(text(method))));
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.into())
}

fn arg(name: &str, kind: Kind) -> Arg {
    Arg { name: name.into(), value: Some(Value { kind: Some(kind), ..Default::default() }) }
}

fn raw(name: &str, replaced: &str, exact: &'static [u8]) -> Arg {
    Arg { name: name.into(), value: Some(Value { kind: Some(text(replaced)), raw_string: exact.into() }) }
}
