//! Which message goes where, and what one ACK makes of several answers.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use spop_bridge::pb::v1::value::Kind;
use tonic::Status;

use super::fallbacks;
use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::http::get;
use crate::support::service::{Answer, Service, set_txn};
use crate::support::wire::{Action, Data};
use crate::support::{eventually, free_address};

/// Sets `txn.by_NAME` and, for all, `txn.last` to its name.
fn named(name: &'static str, delay: Duration) -> Service {
    Service::start(move |_| {
        let actions =
            vec![set_txn(&format!("by_{name}"), Kind::BoolValue(true)), set_txn("last", Kind::StringValue(name.into()))];
        Answer::after(delay, Answer::Actions(actions))
    })
}

fn message_names(service: &Service) -> Vec<Vec<String>> {
    let names = |call: crate::support::service::Call| call.request.messages.into_iter().map(|message| message.name).collect();
    service.calls().into_iter().map(names).collect()
}

/// The actions of all services in the order of the messages, however late each of them comes.
#[test]
fn d17_fan_out_merges_in_message_order() {
    let (slow, fast) = (named("slow", Duration::from_millis(200)), named("fast", Duration::ZERO));
    let bridge = Bridge::start(&format!(
        "backends: {{ slow: {{ endpoints: [\"{}\"] }}, fast: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [\"s*\"], backend: slow, timeout: 5s }}\n  - {{ messages: [\"f*\"], backend: fast, timeout: 5s }}\n{}",
        slow.uri(),
        fast.uri(),
        fallbacks()
    ));
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("s1", &[("n", "1".into())]), ("f1", &[]), ("s2", &[])]);
    let ack = engine.expect_ack();
    assert_eq!(names(&ack.actions), ["txn.by_slow", "txn.last", "txn.by_fast"]);
    assert_eq!(ack.text("txn.last"), "slow", "of two answers about one variable the first counts");
    assert_eq!(message_names(&slow), [["s1", "s2"]], "one call for all messages of one route");
    assert_eq!(message_names(&fast), [["f1"]]);

    engine.notify(3, 1, &[("f1", &[]), ("s1", &[])]);
    assert_eq!(names(&engine.expect_ack().actions), ["txn.by_fast", "txn.last", "txn.by_slow"]);
    assert_eq!(["conflict", "answered", "no_room"].map(|reason| left_out(&bridge, reason)), ["2", "0", "0"]);
    let about =
        || bridge.log().into_iter().find(|line| line["message"].as_str().unwrap().starts_with("two services have answered"));
    let told = eventually(Duration::from_secs(10), about).expect("a line about it");
    assert_eq!((&told["route"], &told["left_out"]), (&"f*".into(), &"txn.last: conflict".into()));
}

/// HAProxy's own frames may be shorter than the bridge knows: what is not sent is not said to be, and the status always has room.
#[test]
fn a_fallback_that_does_not_fit_is_told() {
    let bridge = Bridge::start(&format!(
        "backends: {{ none: {{ endpoints: [\"http://{}\"] }} }}\nroutes: [{{ messages: [m], backend: none, timeout: 5s }}]\n\
         on_failure: {{ default: {{ set: {{ txn.allow: false, txn.reason: {} }} }} }}",
        free_address(),
        "x".repeat(250)
    ));
    let mut engine = Engine::connect(bridge.address());
    engine.hello_with(256, "short");
    let ack = engine.ask(1, "m", &[]);
    assert_eq!(
        (names(&ack.actions), ack.text("txn.bridge_status")),
        (vec!["txn.bridge_status".to_owned()], "unavailable".into())
    );
    assert_eq!(left_out(&bridge, "no_room"), "2");
    let about = || bridge.log().into_iter().find(|line| line["cause"] == "unavailable");
    let told = eventually(Duration::from_secs(10), about).expect("a line about it");
    assert_eq!(told["message"], "decision failed, fallback left out");
    assert_eq!(told["left_out"], "txn.allow: no_room, txn.reason: no_room");
    // With frames as they usually are it fits.
    assert_eq!(bridge.engine().ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(false)));
}

/// The metric of what is not in an ACK.
fn left_out(bridge: &Bridge, reason: &str) -> String {
    let Address::Tcp(admin) = bridge.admin() else { panic!("the admin port is a socket file") };
    let text = String::from_utf8(get("/metrics").send(admin).body).unwrap();
    let name = format!("spop_bridge_actions_left_out_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Each waits for the other to be asked: one after the other they'd never answer.
#[test]
fn fan_out_is_side_by_side() {
    let barrier = Arc::new(Barrier::new(2));
    let service = |name: &'static str| {
        let barrier = Arc::clone(&barrier);
        Service::start(move |_| {
            barrier.wait();
            Answer::Actions(vec![set_txn(name, Kind::BoolValue(true))])
        })
    };
    let (one, two) = (service("one"), service("two"));
    let bridge = Bridge::start(&format!(
        "backends: {{ one: {{ endpoints: [\"{}\"] }}, two: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [m1], backend: one, timeout: 5s }}\n  - {{ messages: [m2], backend: two, timeout: 5s }}\n{}",
        one.uri(),
        two.uri(),
        fallbacks()
    ));
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m1", &[]), ("m2", &[])]);
    assert_eq!(names(&engine.expect_ack().actions), ["txn.one", "txn.two"]);
}

/// A branch that fails costs its own fallback; the other's decision stays.
#[test]
fn one_branch_fails_and_the_other_answers() {
    let good = named("good", Duration::ZERO);
    let bad = Service::start(|_| Answer::Status(Status::permission_denied("no")));
    let bridge = Bridge::start(&format!(
        "backends: {{ good: {{ endpoints: [\"{}\"] }}, bad: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [g], backend: good, timeout: 5s }}\n  \
           - messages: [b]\n    backend: bad\n    timeout: 5s\n    \
             on_failure: {{ rejected: {{ set: {{ txn.mine: 7 }}, unset: [txn.score] }} }}\n{}",
        good.uri(),
        bad.uri(),
        fallbacks()
    ));
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("g", &[]), ("b", &[]), ("nobody-s", &[])]);
    let ack = engine.expect_ack();
    let names = names(&ack.actions);
    assert_eq!(ack.text("txn.last"), "good");
    assert!(
        ["txn.mine", "-txn.score"].iter().all(|name| names.iter().any(|seen| seen == name)),
        "the route's own fallback: {names:?}"
    );
    assert_eq!(ack.text("txn.reason"), "because unrouted", "and the general one for the message without a route");
    assert!(!ack.text("txn.status").is_empty(), "{ack:?}");
}

#[test]
fn first_matching_route_wins() {
    let (exact, glob, rest) = (named("exact", Duration::ZERO), named("glob", Duration::ZERO), named("rest", Duration::ZERO));
    let bridge = Bridge::start(&format!(
        "backends: {{ exact: {{ endpoints: [\"{}\"] }}, glob: {{ endpoints: [\"{}\"] }}, rest: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [waf-check, other], backend: exact, timeout: 5s }}\n  \
           - {{ messages: [\"waf-*\", \"auth-?\"], backend: glob, timeout: 5s }}\n  \
           - {{ messages: [\"*-rest\"], backend: rest, timeout: 5s }}\n{}",
        exact.uri(),
        glob.uri(),
        rest.uri(),
        fallbacks()
    ));
    let mut engine = bridge.engine();
    let expected = [
        ("waf-check", "exact"),
        ("other", "exact"),
        ("waf-checks", "glob"),
        ("waf-", "glob"),
        ("auth-1", "glob"),
        ("waf-rest", "glob"),
        ("the-rest", "rest"),
    ];
    for (index, (message, by)) in expected.into_iter().enumerate() {
        assert_eq!(engine.ask(index as u64 * 2 + 1, message, &[]).text("txn.last"), by, "{message}");
    }
    for (index, message) in ["auth-12", "auth-", "waf", "WAF-check", "", "rest"].into_iter().enumerate() {
        let ack = engine.ask(index as u64 * 2 + 101, message, &[]);
        assert_eq!(ack.text("txn.status"), "unrouted", "{message:?}");
        assert_eq!(ack.text("txn.reason"), "because unrouted", "{message:?}");
    }
}

#[test]
fn routes_by_engine_and_by_listener() {
    let (blue, green, rest) = (named("blue", Duration::ZERO), named("green", Duration::ZERO), named("rest", Duration::ZERO));
    let bridge = Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"127.0.0.1:0\" }}, {{ name: inner, bind: \"127.0.0.1:0\" }}]\n\
         backends: {{ blue: {{ endpoints: [\"{}\"] }}, green: {{ endpoints: [\"{}\"] }}, rest: {{ endpoints: [\"{}\"] }} }}\n\
         routes:\n  - {{ messages: [m], engines: [\"blue-*\"], backend: blue, timeout: 5s }}\n  \
           - {{ messages: [m], listeners: [inner], backend: green, timeout: 5s }}\n  \
           - {{ messages: [m], backend: rest, timeout: 5s }}",
        blue.uri(),
        green.uri(),
        rest.uri()
    ));
    let asked = |listener: &str, engine_id: &str| {
        let mut engine = Engine::connect(bridge.listener(listener));
        engine.hello_with(16380, engine_id);
        engine.ask(1, "m", &[]).text("txn.last")
    };
    assert_eq!(asked("main", "blue-1"), "blue");
    assert_eq!(asked("inner", "blue-2"), "blue");
    assert_eq!(asked("inner", "red"), "green");
    assert_eq!(asked("main", "red"), "rest");
    assert_eq!(green.only_call().request.origin.unwrap().listener, "inner");
}

/// Set names as they are, unset ones with a dash in front.
fn names(actions: &[Action]) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Set(name, _) => name.clone(),
        Action::Unset(name) => format!("-{name}"),
    };
    actions.iter().map(name).collect()
}
