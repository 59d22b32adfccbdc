//! What the service set is what HAProxy has.

use std::path::Path;

use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{self as pb, VarScope};

use super::{VERDICT, engine, frontend, on_all_lines, reflect};
use crate::support::bridge::Bridge;
use crate::support::haproxy::{Haproxy, Setup};
use crate::support::http::get;
use crate::support::service::{Answer, Service, set, set_txn, unset_txn};

on_all_lines!(every_type_and_scope_back, unset_through_a_group);

/// Every type of value and all five scopes, `res` from a response event; `proc` needs the variable known beforehand.
fn every_type_and_scope_back(haproxy: &Path) {
    let service = Service::start(|request| {
        Answer::Actions(match request.messages[0].name.as_str() {
            "request" => request_actions(),
            _ => vec![set(VarScope::Response, "late", text("response"))],
        })
    });
    let bridge = Bridge::simple(service.uri(), "3s");
    let rules = format!(
        "    http-request set-var(txn.copy) var(req.br.early)\n\
             http-response set-header x-bool yes if {{ var(txn.br.bool) -m bool }}\n\
             http-response set-header x-false no if !{{ var(txn.br.false) -m bool }}\n{}",
        reflect(&[
            ("false-set", "txn.br.false"),
            ("int", "txn.br.int,mul(2)"),
            ("least", "txn.br.least"),
            ("uint", "txn.br.uint"),
            ("v4", "txn.br.v4,ipmask(24)"),
            ("v6", "txn.br.v6,ipmask(32,64)"),
            ("text", "txn.br.text"),
            ("empty", "txn.br.empty,length"),
            ("raw", "txn.br.raw,hex"),
            ("bytes", "txn.br.bytes,hex"),
            ("null", "txn.br.null"),
            ("proc", "proc.br.count"),
            ("sess", "sess.br.who"),
            ("req", "txn.copy"),
            ("res", "res.br.late"),
            ("error", "txn.br.error"),
        ])
    );
    let spoe = engine(
        "messages request response",
        "spoe-message request\n    args path=path\n    event on-frontend-http-request\n\
         spoe-message response\n    args status=status\n    event on-http-response\n",
    );
    let global = "set-var proc.br.count int(0)".into();
    let setup = Setup { proxies: frontend(&rules), spoe, global, master: false };
    let haproxy = Haproxy::start(haproxy, bridge.address(), &setup);

    let reply = get("/").send(haproxy.frontend());
    let seen = |name: &str| reply.header(&format!("x-{name}"));
    assert_eq!(seen("error"), "-");
    assert_eq!(seen("bool"), "yes");
    assert_eq!((seen("false"), seen("false-set") != "-"), ("no".into(), true), "false is set, not absent");
    assert_eq!(seen("int"), "-10");
    assert_eq!(seen("least"), i64::MIN.to_string());
    assert_eq!(seen("uint"), "4294967301");
    assert_eq!(seen("v4"), "192.0.2.0");
    assert_eq!(seen("v6"), "2001:db8::");
    assert_eq!(seen("text"), "gr\u{fc}n");
    assert_eq!(seen("empty"), "0");
    assert_eq!(seen("raw"), "63E9FF");
    assert_eq!(seen("bytes"), "0001FF00");
    assert_eq!(seen("null"), "-", "a set-var with null unsets");
    assert_eq!(seen("proc"), "17");
    assert_eq!(seen("sess"), "session");
    assert_eq!(seen("req"), "request");
    assert_eq!(seen("res"), "response");

    // What the configuration mentions nowhere isn't created by an agent.
    let unknown = haproxy.command("get var proc.br.unknown");
    assert!(unknown.contains("not found"), "{unknown}");

    let statuses: Vec<_> = service.calls().iter().filter_map(|call| call.arg("status")).collect();
    assert_eq!(statuses, [Kind::Int64Value(200)], "the response event carries the status");
}

fn request_actions() -> Vec<pb::Action> {
    let exact = pb::Value { kind: None, raw_string: (&b"c\xe9\xff"[..]).into() };
    let raw = pb::SetVar { scope: VarScope::Unspecified.into(), name: "raw".into(), value: Some(exact) };
    vec![
        set_txn("bool", Kind::BoolValue(true)),
        set_txn("false", Kind::BoolValue(false)),
        set_txn("int", Kind::Int64Value(-5)),
        set_txn("least", Kind::Int64Value(i64::MIN)),
        set_txn("uint", Kind::Uint64Value(4_294_967_301)),
        set_txn("v4", Kind::Ipv4Value(vec![192, 0, 2, 77].into())),
        set_txn("v6", Kind::Ipv6Value(vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].into())),
        set_txn("text", text("gr\u{fc}n")),
        set_txn("empty", text("")),
        pb::Action { action: Some(pb::action::Action::SetVar(raw)) },
        set_txn("bytes", Kind::BytesValue(vec![0, 1, 255, 0].into())),
        set_txn("null", text("soon gone")),
        set_txn("null", Kind::NullValue(0)),
        set(VarScope::Process, "count", Kind::Int64Value(17)),
        set(VarScope::Process, "unknown", Kind::Int64Value(18)),
        set(VarScope::Session, "who", text("session")),
        set(VarScope::Request, "early", text("request")),
    ]
}

/// `send-spoe-group` sees what the rules before it have set, and can take it away.
fn unset_through_a_group(haproxy: &Path) {
    let service = Service::start(|_| {
        Answer::Actions(vec![unset_txn("gone"), set_txn("nulled", Kind::NullValue(0)), set_txn("allow", Kind::BoolValue(true))])
    });
    let bridge = Bridge::simple(service.uri(), "3s");
    let rules = format!(
        "    http-request set-var(txn.br.gone) str(here)\n    \
             http-request set-var(txn.br.nulled) str(here)\n    \
             http-request set-var(txn.br.kept) str(here)\n    \
             http-request send-spoe-group br checks if {{ path_beg /checked }}\n{}{}",
        reflect(&VERDICT),
        reflect(&[("gone", "txn.br.gone"), ("nulled", "txn.br.nulled"), ("kept", "txn.br.kept")]),
    );
    let spoe = engine(
        "groups checks",
        "spoe-group checks\n    messages first second\n\
         spoe-message first\n    args kept=var(txn.br.kept) absent=var(txn.br.none)\n\
         spoe-message second\n    args path=path\n",
    );
    let haproxy = super::start(haproxy, &bridge, frontend(&rules), spoe);

    let reply = get("/other").send(haproxy.frontend());
    assert_eq!((reply.header("x-gone"), reply.header("x-allow")), ("here".into(), "-".into()));
    assert!(service.calls().is_empty(), "the group is sent by its rule alone");

    let reply = get("/checked").send(haproxy.frontend());
    assert_eq!(reply.header("x-error"), "-");
    assert_eq!(
        (reply.header("x-gone"), reply.header("x-nulled"), reply.header("x-kept")),
        ("-".into(), "-".into(), "here".into())
    );
    assert_eq!(reply.header("x-allow"), "1");
    let call = service.only_call();
    assert_eq!(call.request.messages.iter().map(|message| &message.name[..]).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(call.arg("kept"), Some(text("here")));
    assert_eq!(call.arg("absent"), Some(Kind::NullValue(0)));
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.into())
}
