//! Why this verdict: the variables about a decision, and the decision log.

use std::time::Duration;

use serde_json::{Value, json};
use spop_bridge::pb::v1::value::Kind;

use crate::failing_services::fallbacks;
use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::http::get;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::{Ack, Data};
use crate::support::{eventually, figure, free_address};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Two backends, the second of which nobody listens at, and a third that answers late.
fn bridge(more: &str) -> (Bridge, [Service; 2]) {
    let quick = Service::allowing();
    let slow = Service::start(|_| Answer::after(Duration::from_millis(200), Answer::Actions(vec![allow()])));
    let bridge = Bridge::start(&format!(
        "backends:\n  quick: {{ endpoints: [\"{}\"] }}\n  dead: {{ endpoints: [\"http://{}\"] }}\n  slow: {{ endpoints: [\"{}\"] }}\n\
         routes:\n  - {{ messages: [check], backend: quick, timeout: 2s }}\n  - {{ messages: [lost], backend: dead, timeout: 2s }}\n  \
         - {{ messages: [late], backend: slow, timeout: 50ms }}\n{}{more}\n",
        quick.uri(),
        free_address(),
        slow.uri(),
        fallbacks()
    ));
    (bridge, [quick, slow])
}

fn number(ack: &Ack, name: &str) -> u64 {
    match ack.value(name) {
        Some(Data::Uint64(number)) => *number,
        Some(Data::Uint32(number)) => u64::from(*number),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn variables_say_how_a_decision_came_about() {
    let (bridge, [quick, _slow]) = bridge("decision_variables: txn.why");
    let mut engine = bridge.engine();

    let ack = engine.ask(1, "check", &[]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)), "the decision itself is there too");
    assert_eq!((ack.text("txn.why.cause"), ack.text("txn.why.source")), ("ok".into(), quick.uri().into()));
    assert_eq!(number(&ack, "txn.why.attempts"), 1);
    let micros = number(&ack, "txn.why.latency_us");
    assert!((1..2_000_000).contains(&micros), "{micros}");
    figure("txn.why.latency_us of a decision", format!("{micros} us"));

    let ack = engine.ask(2, "late", &[]);
    assert_eq!((ack.text("txn.why.cause"), ack.text("txn.why.source")), ("timeout".into(), "fallback".into()));
    assert_eq!((ack.text("txn.status"), number(&ack, "txn.why.attempts")), ("timeout".into(), 1));
    assert!(number(&ack, "txn.why.latency_us") >= 45_000, "{ack:?}");

    let ack = engine.ask(3, "lost", &[]);
    assert_eq!((ack.text("txn.why.cause"), number(&ack, "txn.why.attempts")), ("unavailable".into(), 0));

    // Two routes in one NOTIFY: the first that failed, the latency of the last, the attempts of both.
    engine.notify(4, 1, &[("check", &[]), ("late", &[])]);
    let ack = engine.expect_ack();
    assert_eq!((ack.text("txn.why.cause"), number(&ack, "txn.why.attempts")), ("timeout".into(), 2));
    assert_eq!(ack.text("txn.why.source"), format!("{},fallback", quick.uri()));
    assert!(number(&ack, "txn.why.latency_us") >= 45_000, "{ack:?}");

    engine.notify(5, 1, &[]);
    let ack = engine.expect_ack();
    assert_eq!((ack.text("txn.why.cause"), number(&ack, "txn.why.attempts")), ("ok".into(), 0), "a NOTIFY without messages");
    assert_eq!(ack.text("txn.status"), "ok", "nothing else was set, whatever the bridge says of itself");
}

#[test]
fn without_them_nothing_is_added() {
    let (bridge, _services) = bridge("");
    let ack = bridge.engine().ask(1, "check", &[]);
    assert_eq!(ack.actions.len(), 1, "{ack:?}");
}

/// Where the frame has no room, the decision goes first.
#[test]
fn variables_give_way_to_the_decision() {
    let text = "x".repeat(190);
    let service =
        Service::start(move |_| Answer::Actions(vec![crate::support::service::set_txn("t", Kind::StringValue(text.clone()))]));
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\ndecision_variables: txn.why",
        service.uri()
    ));
    let mut engine = crate::support::engine::Engine::connect(bridge.address());
    engine.hello_with(256, "small");
    let ack = engine.ask(1, "check", &[]);
    assert_eq!((ack.text("txn.t").len(), ack.actions.len()), (190, 1), "{ack:?}");

    // And so they do to the status.
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"http://{}\"] }} }}\ndecision_variables: txn.why\n\
         on_failure: {{ default: {{ set: {{ txn.t: {} }} }} }}",
        free_address(),
        "x".repeat(160)
    ));
    let mut engine = crate::support::engine::Engine::connect(bridge.address());
    engine.hello_with(256, "small");
    let ack = engine.ask(1, "check", &[]);
    assert_eq!((ack.text("txn.bridge_status"), ack.actions.len()), ("unavailable".into(), 2), "{ack:?}");
}

/// The lines of the decision log so far, when there are `count`.
fn lines(bridge: &Bridge, count: usize) -> Vec<Value> {
    let decisions = || bridge.log().into_iter().filter(|line| line.get("decisions").is_some()).collect::<Vec<_>>();
    let end = std::time::Instant::now() + PATIENCE;
    while decisions().len() < count && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    decisions()
}

#[test]
fn failures_are_logged_with_what_was_asked() {
    let (bridge, [_quick, slow]) = bridge("decision_log: { args: true }");
    let mut engine = bridge.engine();
    engine.ask(1, "check", &[]);
    let args = [
        ("traceparent", TRACEPARENT.into()),
        ("path", "/a".into()),
        ("Cookie", "sid=1".into()),
        ("x-api-key", "k".into()),
        ("req_body", "pin=1234".into()),
        ("headers", "Authorization: pin=1234".into()),
        ("", "pin=1234".into()),
        ("path", "/again".into()),
        ("long", "y".repeat(1_000).as_str().into()),
        ("n", Data::Int64(-7)),
        ("raw", Data::Binary(vec![0, 255])),
        ("nothing", Data::Null),
    ];
    engine.ask(7, "late", &args);
    engine.notify(8, 1, &[("check", &[("path", "/b".into())]), ("nobody", &[("traceparent", TRACEPARENT.into())])]);
    engine.expect_ack();

    let lines = lines(&bridge, 2);
    let [late, unrouted] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(late["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&late["listener"], &late["stream_id"], &late["frame_id"]), (&json!("main"), &json!(7), &json!(1)));
    assert_eq!((&late["outcome"], &late["engine_id"]), (&json!("timeout"), &json!("it-engine")));
    assert_eq!(late["messages"][0]["name"], "late");
    let args = late["messages"][0]["args"].as_array().unwrap();
    let names: Vec<_> = args.iter().map(|arg| arg["name"].as_str().unwrap()).collect();
    assert_eq!(names[..6], ["traceparent", "path", "Cookie", "x-api-key", "req_body", "headers"], "in their order");
    let value = |name: &str| &args.iter().find(|arg| arg["name"] == name).unwrap()["value"];
    assert_eq!((value("path"), value("n"), &args[7]["value"]), (&json!("/a"), &json!(-7), &json!("/again")));
    for hidden in ["Cookie", "x-api-key", "req_body", "headers", ""] {
        assert_eq!(value(hidden), "(redacted)", "{hidden}");
    }
    assert_eq!(*value("long"), json!(format!("{}…", "y".repeat(256))));
    assert_eq!((value("raw"), value("nothing")), (&json!("(2 bytes)"), &Value::Null));
    let decision = &late["decisions"][0];
    assert_eq!((&decision["route"], &decision["backend"], &decision["attempts"]), (&json!("late"), &json!("slow"), &json!(1)));
    assert_eq!((&decision["outcome"], &decision["endpoint"]), (&json!("timeout"), &json!(slow.uri())), "who was asked");
    assert!(decision["problem"].as_str().unwrap().contains("deadline"), "{decision}");
    assert!(decision["latency_us"].as_u64().unwrap() >= 45_000 && slow.calls().len() == 1);

    assert_eq!((&unrouted["outcome"], &unrouted["decisions"][0]["outcome"]), (&json!("unrouted"), &json!("ok")));
    assert_eq!(unrouted["decisions"][1]["route"], Value::Null);
    assert_eq!(unrouted["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "of a message without a route, too");
    assert!(!bridge.log().iter().any(|line| line.to_string().contains("pin=1234")), "nowhere in any log");
}

/// A peer cannot make lines of any length.
#[test]
fn a_line_is_bounded() {
    let (bridge, _services) = bridge("decision_log: { args: true }");
    let (name, value) = ("n".repeat(250), "v".repeat(250));
    let args: Vec<_> = (0..28).map(|n| (format!("{n}{name}"), Data::from(&*value))).collect();
    let args: Vec<_> = args.iter().map(|(name, value)| (&**name, value.clone())).collect();
    bridge.engine().ask(1, "nobody", &args);
    // Control characters are written as six bytes each.
    let name = "\u{1}".repeat(10_000);
    bridge.engine().ask(1, &name, &[]);
    let lines = lines(&bridge, 2);
    let shown = lines[0]["messages"][0]["args"].as_array().unwrap();
    assert!((10..20).contains(&shown.len()), "{}", shown.len());
    assert_eq!(shown.last(), Some(&json!("…")));
    let lengths = [lines[0].to_string().len(), lines[1].to_string().len()];
    assert!(lengths.iter().all(|length| *length < 12 * 1024), "{lengths:?}");
    assert!(bridge.log().iter().all(|line| line.to_string().len() < 12 * 1024), "nor is one of the log longer");
}

#[test]
fn a_sample_is_logged_up_to_a_rate() {
    let (bridge, [quick, _slow]) =
        bridge("decision_log: { failures: false, one_in: 1, max_per_second: 5, args: false }\nlog: { format: json }");
    let mut engine = bridge.engine();
    for stream in 0..500 {
        engine.notify(1 + stream, 1, &[("check", &[("path", "/".into())])]);
    }
    for _ in 0..500 {
        assert_eq!(engine.expect_ack().value("txn.allow"), Some(&Data::Bool(true)), "decisions do not wait for the log");
    }
    let found = lines(&bridge, 5);
    // All within a second, or two; on a very busy machine a few more.
    assert!((5..100).contains(&found.len()), "{}", found.len());
    assert_eq!((&found[0]["outcome"], &found[0]["messages"][0]), (&json!("ok"), &json!({ "name": "check" })), "no args");
    assert_eq!(found[0]["decisions"][0]["endpoint"], quick.uri());

    // Failures alone are off, samples are off: nothing more comes.
    let before = found.len();
    engine.ask(1_000, "nobody", &[]);
    assert!(lines(&bridge, before).len() <= before + 1);
}

/// However long they are and however many: what is left out is said, and counted.
#[test]
fn the_bytes_of_a_second_are_bounded() {
    let (bridge, _services) = bridge("decision_log: { max_per_second: 100000, max_bytes_per_second: 1KiB, args: true }");
    let (mut engine, value) = (bridge.engine(), "v".repeat(250));
    for stream in 0..200 {
        engine.ask(
            1 + stream,
            "nobody",
            &[("a", value.as_str().into()), ("b", value.as_str().into()), ("c", value.as_str().into())],
        );
    }
    let Address::Tcp(port) = bridge.admin() else { panic!("not TCP") };
    let metrics = String::from_utf8(get("/metrics").send(port).body).unwrap();
    let series = "spop_bridge_telemetry_dropped_total{signal=\"decision_log\",reason=\"rate\"} ";
    let dropped: usize = metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap();
    assert!(dropped > 0, "{metrics}");
    assert_eq!(lines(&bridge, 200 - dropped).len(), 200 - dropped);
    let told = || bridge.log().iter().any(|line| line["message"].as_str().is_some_and(|text| text.starts_with("decision log:")));
    assert!(eventually(PATIENCE, || told().then_some(())).is_some());
}

/// What HAProxy sends may be secret, whatever it is called.
#[test]
fn args_are_in_no_log_unasked() {
    let (bridge, _services) = bridge("decision_log: {}\nlog: { level: trace, format: json }");
    bridge.engine().ask(1, "nobody", &[("pin", "s3cr3t".into()), ("path", "/s3cr3t".into())]);
    assert_eq!(lines(&bridge, 1)[0]["messages"], json!([{ "name": "nobody" }]));
    assert!(!bridge.log().iter().any(|line| line.to_string().contains("s3cr3t")));
}

/// The log's line about a failure has the trace of the request, whether or not anybody records it.
#[test]
fn warnings_name_the_trace() {
    let (bridge, _services) = bridge("trace_context: { traceparent: tp }");
    bridge.engine().ask(1, "late", &[("tp", TRACEPARENT.into())]);
    let warned = || bridge.log().into_iter().find(|line| line["message"] == "decision failed, fallback sent");
    let end = std::time::Instant::now() + PATIENCE;
    while warned().is_none() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(warned().unwrap()["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

/// Args of other names carry the trace to the service, and only those.
#[test]
fn trace_context_by_other_names() {
    let (bridge, [quick, _slow]) = bridge("trace_context: { traceparent: tp, baggage: luggage }");
    let args = [("tp", TRACEPARENT.into()), ("tracestate", "a=1".into()), ("luggage", "k=v".into()), ("baggage", "no".into())];
    bridge.engine().ask(1, "check", &args);
    let call = quick.only_call();
    let sent = ["traceparent", "tracestate", "baggage"].map(|name| call.trace(name));
    assert_eq!(sent, [Some(TRACEPARENT.into()), Some("a=1".into()), Some("k=v".into())]);
}

/// The trace is that of the NOTIFY, baggage that of a message: it is for nobody else.
#[test]
fn baggage_goes_where_its_message_goes() {
    let (bridge, [quick, slow]) = bridge("");
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("check", &[("baggage", "k=v".into())]), ("late", &[("traceparent", TRACEPARENT.into())])]);
    engine.expect_ack();
    let sent = [quick.only_call(), slow.only_call()].map(|call| ["traceparent", "baggage"].map(|name| call.trace(name)));
    assert_eq!(sent, [[Some(TRACEPARENT.into()), Some("k=v".into())], [Some(TRACEPARENT.into()), None]]);
}
