//! What a service has denied stays denied: whatever a client sends, whatever another service answers, and whatever fails beside it.

use std::path::Path;
use std::time::Duration;

use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{DecideRequest, VarScope};

use super::{engine, frontend, on_all_lines, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::haproxy::Haproxy;
use crate::support::http::{Reply, get};
use crate::support::service::{Answer, Service, argument, set, set_txn, unset_txn};
use crate::support::{eventually, free_address, wire};

on_all_lines!(
    an_echo_of_bytes_that_are_no_text,
    an_echo_that_does_not_fit,
    a_candidate_that_answers_about_the_verdict,
    an_outage_beside_a_denial,
    a_message_without_a_route_beside_a_denial,
    an_answer_that_fills_the_frame_beside_an_outage,
    a_status_of_the_services_own,
    an_arg_that_leaves_no_time
);

/// Rules that take a verdict for granted: only a plain false denies. They are what an `on_failure` that lets pass is written for.
fn rules() -> String {
    let shown = [("allow", "txn.br.allow"), ("status", "txn.br.bridge_status"), ("waf", "txn.br.waf_failed")];
    format!(
        "    http-request deny deny_status 403 if {{ var(txn.br.allow) -m found }} !{{ var(txn.br.allow) -m bool }}\n{}",
        reflect(&shown)
    )
}

/// A message for each name, in this order, all with the same args.
fn messages(names: &[&str]) -> (String, String) {
    let message = |name: &&str| {
        format!(
            "spoe-message {name}\n    args token=req.hdr(x-token) deadline_ms=req.hdr(x-deadline),add(0)\n    event on-frontend-http-request\n"
        )
    };
    (format!("messages {}", names.join(" ")), names.iter().map(message).collect())
}

fn haproxy(binary: &Path, bridge: &Bridge, names: &[&str]) -> Haproxy {
    let (line, messages) = messages(names);
    start(binary, bridge, frontend(&rules()), engine(&line, &messages))
}

/// Denies, and says which token it does not know.
fn denying() -> Service {
    Service::start(|request| {
        let reason = format!("token {} is not known", token(request));
        Answer::Actions(vec![set_txn("allow", Kind::BoolValue(false)), set_txn("reason", Kind::StringValue(reason))])
    })
}

fn token(request: &DecideRequest) -> String {
    match argument(request, "token") {
        Some(Kind::StringValue(token)) => token,
        _ => String::new(),
    }
}

/// A backend that allows when it fails, but for what a client can bring about.
const OPEN: &str = "on_failure: { default: { set: { txn.allow: true } }, timeout: { set: { txn.allow: false } }, \
                    rejected: { set: { txn.allow: false } }, invalid_response: { set: { txn.allow: false } } }";

fn ask(haproxy: &Haproxy, token: &[u8]) -> Reply {
    get("/").header("x-token", token).send(haproxy.frontend())
}

/// What the log says of the first failure of this cause.
fn failure(bridge: &Bridge, cause: &str) -> serde_json::Value {
    let line = || bridge.log().into_iter().find(|line| line["cause"] == cause);
    eventually(Duration::from_secs(20), line).unwrap_or_else(|| panic!("no failure {cause}"))
}

/// Bytes that are not UTF-8 are not longer for the service than they were, so what it repeats of them fits. Even with an
/// `on_failure` that says nothing but "let pass".
fn an_echo_of_bytes_that_are_no_text(binary: &Path) {
    let service = denying();
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\non_failure: {{ default: {{ set: {{ txn.allow: true }} }} }}\n\
         routes: [{{ messages: [check], backend: decisions, timeout: 3s }}]",
        service.uri()
    ));
    let haproxy = haproxy(binary, &bridge, &["check"]);
    for token in [&b"wrong"[..], &[b'x'; 8_000], &[0xff; 8_000], &b"\xe2\x82".repeat(4_000), &b"\xf0\x9f\x98".repeat(2_600)] {
        let reply = ask(&haproxy, token);
        assert_eq!((reply.status, service.calls().is_empty()), (403, false), "{} bytes of {:#x}", token.len(), token[0]);
    }
    assert_eq!(token(&service.calls()[2].request), "?".repeat(8_000));
}

/// What is longer than a frame after all is the answer's failure, which a client can bring about: it has its own entry.
fn an_echo_that_does_not_fit(binary: &Path) {
    let service = Service::start(|request| {
        let reason = token(request).repeat(4);
        Answer::Actions(vec![set_txn("allow", Kind::BoolValue(false)), set_txn("reason", Kind::StringValue(reason))])
    });
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [check], backend: decisions, timeout: 3s, {OPEN} }}]",
        service.uri()
    ));
    let haproxy = haproxy(binary, &bridge, &["check"]);
    assert_eq!(ask(&haproxy, &[b'x'; 8_000]).status, 403);
    assert_eq!(failure(&bridge, "invalid_response")["message"], "decision failed, fallback sent");
}

/// `docs/how-to/shadowing.md`: the candidate cannot touch the verdict, whatever it answers and wherever its message is.
fn a_candidate_that_answers_about_the_verdict(binary: &Path) {
    let authority = denying();
    for order in [["check", "shadow"], ["shadow", "check"]] {
        for action in [
            set_txn("allow", Kind::BoolValue(true)),
            unset_txn("allow"),
            set(VarScope::Unspecified, "allow", Kind::Int64Value(1)),
        ] {
            let candidate =
                Service::start(move |_| Answer::Actions(vec![set_txn("shadow_allow", Kind::BoolValue(true)), action.clone()]));
            let bridge = Bridge::start(&format!(
                "backends: {{ authority: {{ endpoints: [\"{}\"] }}, candidate: {{ endpoints: [\"{}\"] }} }}\nroutes:\n  \
                 - {{ messages: [check], backend: authority, timeout: 3s, variables: [txn.allow, txn.reason] }}\n  \
                 - {{ messages: [shadow], backend: candidate, timeout: 3s, variables: [\"txn.shadow_*\"] }}",
                authority.uri(),
                candidate.uri()
            ));
            let haproxy = haproxy(binary, &bridge, &order);
            assert_eq!(ask(&haproxy, b"wrong").status, 403, "{order:?}");
            let refused = failure(&bridge, "invalid_response");
            let detail = refused["detail"].as_str().unwrap();
            assert!(detail.contains("txn.allow is not among the variables of routes[1]"), "{detail}");
        }
    }
}

/// What lets pass while one service is down does not undo what the other has denied, and does where the other is down too.
fn an_outage_beside_a_denial(binary: &Path) {
    let waf = denying();
    let away = || format!("http://{}", free_address());
    let config = |waf: &str| {
        format!(
            "backends: {{ waf: {{ endpoints: [\"{waf}\"] }}, decisions: {{ endpoints: [\"{}\"] }} }}\nroutes:\n  \
             - {{ messages: [waf], backend: waf, timeout: 3s, on_failure: {{ default: {{ set: {{ txn.waf_failed: true }} }} }} }}\n  \
             - {{ messages: [check], backend: decisions, timeout: 3s, {OPEN} }}",
            away()
        )
    };
    for order in [["waf", "check"], ["check", "waf"]] {
        let bridge = Bridge::start(&config(waf.uri()));
        let haproxy = haproxy(binary, &bridge, &order);
        assert_eq!(ask(&haproxy, b"wrong").status, 403, "{order:?}");
        let failed = failure(&bridge, "unavailable");
        let told = (failed["message"].as_str().unwrap(), failed["left_out"].as_str().unwrap());
        assert_eq!(told, ("decision failed, fallback left out", "txn.allow: answered"), "{failed}");
    }
    let bridge = Bridge::start(&config(&away()));
    let haproxy = haproxy(binary, &bridge, &["waf", "check"]);
    let reply = ask(&haproxy, b"wrong");
    let seen = [reply.header("x-allow"), reply.header("x-waf"), reply.header("x-status")];
    assert_eq!((reply.status, seen), (200, ["1", "1", "unavailable"].map(str::to_owned)), "fallbacks go side by side");
}

/// A typo in a message's name.
fn a_message_without_a_route_beside_a_denial(binary: &Path) {
    let waf = denying();
    let bridge = Bridge::start(&format!(
        "backends: {{ waf: {{ endpoints: [\"{}\"] }} }}\nroutes: [{{ messages: [waf], backend: waf, timeout: 3s }}]\n\
         on_failure: {{ default: {{ set: {{ txn.allow: true }} }} }}",
        waf.uri()
    ));
    for order in [&["waf", "chekc"][..], &["chekc", "waf"], &["chekc", "waf", "wfa"]] {
        let reply = ask(&haproxy(binary, &bridge, order), b"wrong");
        assert_eq!(reply.status, 403, "{order:?}");
    }
}

/// One service repeats what a client has sent until the frame is full; another is down, and its fallback denies.
fn an_answer_that_fills_the_frame_beside_an_outage(binary: &Path) {
    let echo = Service::start(|_| Answer::Actions(vec![set_txn("note", Kind::StringValue("x".repeat(16_340)))]));
    let bridge = Bridge::start(&format!(
        "backends: {{ echo: {{ endpoints: [\"{}\"] }}, decisions: {{ endpoints: [\"http://{}\"] }} }}\nroutes:\n  \
         - {{ messages: [echo], backend: echo, timeout: 3s, on_failure: {{ default: {{ set: {{ txn.waf_failed: true }} }} }} }}\n  \
         - {{ messages: [check], backend: decisions, timeout: 3s, on_failure: {{ default: {{ set: {{ txn.allow: false }} }} }} }}",
        echo.uri(),
        free_address()
    ));
    for order in [["echo", "check"], ["check", "echo"]] {
        let reply = ask(&haproxy(binary, &bridge, &order), b"any");
        assert_eq!(reply.status, 403, "{order:?}");
    }
    // Alone it fits.
    assert_eq!(ask(&haproxy(binary, &bridge, &["echo"]), b"any").header("x-waf"), "-");
    // By the wire: what the log says is sent is there, and so is the status.
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("echo", &[]), ("check", &[])]);
    let ack = engine.expect_ack();
    let expected = [("txn.allow", wire::Data::Bool(false)), ("txn.waf_failed", wire::Data::Bool(true))];
    for (name, value) in expected {
        assert_eq!(ack.value(name), Some(&value), "{name}");
    }
    assert_eq!((ack.value("txn.note"), ack.text("txn.bridge_status")), (None, "invalid_response".to_owned()));
}

/// `ok` of a service's must not look like the bridge's.
fn a_status_of_the_services_own(binary: &Path) {
    let service = Service::start(|_| {
        Answer::Actions(vec![set_txn("allow", Kind::BoolValue(true)), set_txn("bridge_status", Kind::StringValue("ok".into()))])
    });
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [check], backend: decisions, timeout: 3s, on_failure: {{ default: {{ set: {{ txn.waf_failed: true }} }} }} }}]",
        service.uri()
    ));
    let reply = ask(&haproxy(binary, &bridge, &["check"]), b"any");
    assert_eq!((reply.header("x-status"), reply.header("x-allow")), ("invalid_response".to_owned(), "-".to_owned()));
}

/// A client fills the arg that shortens the timeout; the service is asked all the same.
fn an_arg_that_leaves_no_time(binary: &Path) {
    let service = denying();
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\nroutes:\n  \
         - {{ messages: [check], backend: decisions, timeout: 20s, timeout_arg: deadline_ms, timeout_arg_min: 10s,\n      \
         on_failure: {{ default: {{ set: {{ txn.allow: true }} }} }} }}",
        service.uri()
    ));
    let haproxy = haproxy(binary, &bridge, &["check"]);
    for deadline in ["0", "-1", "1", "-9223372036854775808"] {
        let reply = get("/").header("x-deadline", deadline.as_bytes()).send(haproxy.frontend());
        assert_eq!(reply.status, 403, "{deadline}");
    }
    assert_eq!(service.calls().len(), 4);
}
