//! `check` and `schema`: the configuration without running it.

use super::{code, file, spop_bridge};

fn check(text: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    spop_bridge(&["check", "--config", file(directory.path(), text).to_str().unwrap()])
}

#[test]
fn a_good_file() {
    let (exit, out, err) = check(
        "workers: 2\n\
         listeners:\n  - name: main\n    bind: 0.0.0.0:9000\n    max_connections: 4096\n    max_in_flight: 1024\n    \
           max_frame_size: 128KiB\n    handshake_timeout: 5s\n    read_timeout: 10s\n    write_timeout: 10s\n    \
           idle_timeout: never\n    var_prefix: br\n  \
           - bind: unix:/run/spop-bridge/spop.sock\n    unix: { mode: \"0660\", user: root, group: root }\n\
         backends:\n  decisions:\n    endpoints: [http://127.0.0.1:50051, unix:/run/decisions.sock]\n    connect_timeout: 1s\n    \
           metadata: { x-tenant: a }\n\
         routes:\n  - messages: [check-request, \"waf-*\"]\n    engines: [\"*\"]\n    listeners: [main]\n    backend: decisions\n    \
           timeout: 50ms\n    timeout_arg: deadline_ms\n    on_failure:\n      default: { set: { txn.allow: true } }\n      \
           timeout: { set: { txn.allow: false, txn.reason: late, txn.n: -5, txn.ip: { ipv4: 192.0.2.1 }, txn.b: { bytes: AAE= } }, unset: [txn.score] }\n\
         on_failure: { default: { set: { txn.allow: true } }, unrouted: { set: { txn.allow: true } } }\n\
         status_variable: txn.bridge_status\nack_margin: 1ms\ndrain: { delay: 0s, grace_period: 10s }\nlog: { level: info, format: auto }\n",
    );
    assert_eq!((exit, &err[..]), (code::SUCCESS, ""), "{out}");
    assert!(out.contains("ok") && out.contains("2 listeners") && out.contains("1 backend"), "{out}");
}

/// What works and lets pass what it should not is said, and is no failure.
#[test]
fn warnings_are_printed() {
    let (exit, out, err) = check(
        "backends: { decisions: { endpoints: [\"http://127.0.0.1:1\"] } }\n\
         routes:\n  - { messages: [a], backend: decisions, on_failure: { default: { set: { txn.allow: true } } } }\n  \
           - { messages: [b], backend: decisions, variables: [txn.allow] }\n",
    );
    assert_eq!((exit, &err[..]), (code::SUCCESS, ""), "{out}");
    let told: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("warning: ")?.split(' ').next()).collect();
    assert_eq!(told, ["routes[0].on_failure.default:", "routes[1].variables:"], "{out}");
}

/// All problems at once, each with its path and what was expected.
#[test]
fn all_problems_at_once() {
    let (exit, out, err) = check(
        "listeners: [{ bind: nowhere }, { bind: \"127.0.0.1:9000\", max_frame_size: 5 }]\n\
         backends: { decisions: { endpoints: [\"ftp://x\"] } }\n\
         colour: green\n\
         routes:\n  - { messages: [a], backend: decisions, timeout: 50ms }\n  \
           - { messages: [b], backend: others, timeout: 0ms }\n  - { messages: [c], backend: decisions, timeout: 50 }\n\
         on_failure: { default: { set: { allow: true } } }\n",
    );
    assert_eq!((exit, &out[..]), (code::CONFIG, ""));
    assert!(err.contains("routes[1].timeout: found 0ms, expected 1ms to 60s"), "{err}");
    let paths = [
        "backends.decisions.endpoints[0]",
        "colour",
        "listeners[0].bind",
        "listeners[1].max_frame_size",
        "on_failure.default.set.allow",
        "routes[1].backend",
        "routes[1].timeout",
        "routes[2].timeout",
    ];
    let places: Vec<_> =
        paths.iter().map(|path| err.find(&format!("{path}:")).unwrap_or_else(|| panic!("{path} in {err}"))).collect();
    assert!(places.is_sorted(), "sorted by path: {err}");
}

#[test]
fn files_that_are_none() {
    for text in ["", "- 1\n- 2\n", "backends: [", "\"just text\"", "{}"] {
        let (exit, _, err) = check(text);
        assert_eq!(exit, code::CONFIG, "{text:?}: {err}");
        assert!(!err.is_empty());
    }
}

/// Secrets aren't shown in what is said about them.
#[test]
fn metadata_is_not_shown() {
    let (exit, out, err) = check(
        "backends: { decisions: { endpoints: [\"http://127.0.0.1:1\"], metadata: { \"Bad Key\": hunter2, authorization: \"hunter2\\u0001\" } } }",
    );
    assert_eq!(exit, code::CONFIG, "{out}");
    assert!(!err.contains("hunter2"), "{err}");
}

#[test]
fn schema_is_json_schema() {
    let (exit, out, _) = spop_bridge(&["schema"]);
    assert_eq!(exit, code::SUCCESS);
    let schema: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(schema["$schema"].as_str().is_some_and(|uri| uri.contains("json-schema.org")), "{out}");
    for key in ["workers", "listeners", "backends", "routes", "on_failure", "status_variable", "ack_margin", "drain", "log"] {
        assert!(schema["properties"][key].is_object(), "{key} in {out}");
    }
}
