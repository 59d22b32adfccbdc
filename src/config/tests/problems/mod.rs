//! What is said about files that are wrong: exact lines.

mod haproxy;
mod own;
mod tls;

use std::time::Duration;

use super::{BACKEND, EVERYTHING, env, problems};
use crate::config::{Config, Overrides};

/// Asserts that a file with one backend `a` and the lines `text` has exactly these problems.
#[track_caller]
fn assert_problems(text: &str, expected: &[&str]) {
    assert_eq!(problems(&format!("{BACKEND}{text}")), expected, "{text}");
}

#[test]
fn unknown_keys() {
    assert_problems("worker: 1", &["worker: found an unknown key, expected workers"]);
    assert_problems("drain: {dealy: 1s}", &["drain.dealy: found an unknown key, expected delay"]);
    assert_problems("log: {file: x}", &["log.file: found an unknown key, expected format or level"]);
    assert_problems(
        "routes: [{backend: a, on_failure: {unrouted: {}}}]",
        &[
            "routes[0].on_failure.unrouted: found an unknown key, expected default, internal, invalid_response, overloaded, rejected, timeout or unavailable",
        ],
    );
}

#[test]
fn admin() {
    assert_problems("admin: {bind: on}", &["admin.bind: found on, expected host:port, unix:/path or off"]);
    assert_problems("admin: {bind: 'unix:a'}", &["admin.bind: found unix:a, expected host:port, unix:/path or off"]);
    assert_problems(
        "admin: {bind: off, unix: {mode: '0600'}}",
        &["admin.unix: found settings of a socket file beside off, expected them only beside unix:/path"],
    );
    assert_problems(
        "listeners: [{bind: '127.0.0.1:9902'}]",
        &["admin.bind: found 127.0.0.1:9902, expected an address other than that of listeners[0]"],
    );
}

#[test]
fn wrong_types_and_missing_keys() {
    assert_problems("workers: two", &["workers: found the text two, expected 1 to 256"]);
    assert_problems("workers: '2'", &["workers: found the text 2, expected 1 to 256"]);
    assert_problems("listeners: 9000", &["listeners: found 9000, expected a list with at least one item"]);
    assert_problems("listeners: [{}]", &["listeners[0].bind: found nothing, expected host:port or unix:/path"]);
    assert_problems("listeners: [{bind: 9000}]", &["listeners[0].bind: found 9000, expected host:port or unix:/path"]);
    assert_problems(
        "listeners: [{bind: 'a:1', unix: {user: 1000}}]",
        &[
            "listeners[0].unix: found settings of a socket file beside a:1, expected them only beside unix:/path",
            "listeners[0].unix.user: found 1000, expected a user's name or number, in quotes",
        ],
    );
    assert_problems(
        "listeners: [{}]\nroutes: [{backend: a, listeners: [local]}]",
        &["listeners[0].bind: found nothing, expected host:port or unix:/path"],
    );
    assert_problems("listeners: [{bind: !!str}]", &["listeners[0].bind: found \"\", expected host:port or unix:/path"]);
    assert_problems("ack_margin: ' '", &["ack_margin: found \" \", expected 0s to 1s"]);
    assert_problems("routes: [{}]", &["routes[0].backend: found nothing, expected the name of a backend"]);
    assert_problems(
        "routes: [a, 5]",
        &["routes[0]: found the text a, expected keys and values", "routes[1]: found 5, expected keys and values"],
    );
    assert_problems("routes:", &["routes: found nothing, expected a list with at least one item"]);
    assert_problems(
        "routes: [{backend: a, messages: [5]}]",
        &["routes[0].messages[0]: found 5, expected text of 1 to 256 characters"],
    );
    assert_eq!(
        problems("backends: {d: {endpoints: [http://d:1], protocol: grpc}}"),
        ["backends.d.protocol: found grpc, expected auto, decide or decide_stream"]
    );
    assert_problems("log: {level: loud}", &["log.level: found loud, expected error, warn, info, debug or trace"]);
    assert_eq!(problems("[]"), ["top level: found an empty list, expected a configuration of spop-bridge"]);
    assert_eq!(problems(""), ["backends: found nothing, expected keys and values, at least one"]);
    assert_eq!(problems("backends: {}"), ["backends: found no keys, expected keys and values, at least one"]);
    assert_eq!(problems("backends: {a: {}}"), ["backends.a.endpoints: found nothing, expected a list with at least one item"]);
}

#[test]
fn units_and_ranges() {
    assert_problems("routes: [{backend: a, timeout: 0ms}]", &["routes[0].timeout: found 0ms, expected 1ms to 60s"]);
    assert_problems("routes: [{backend: a, timeout: 50}]", &["routes[0].timeout: found 50 without a unit, expected 1ms to 60s"]);
    assert_problems(
        "routes: [{backend: a, timeout: '50'}]",
        &["routes[0].timeout: found 50 without a unit, expected 1ms to 60s"],
    );
    assert_problems("routes: [{backend: a, timeout: 1.5s}]", &["routes[0].timeout: found 1.5s, expected 1ms to 60s"]);
    assert_problems("routes: [{backend: a, timeout: never}]", &["routes[0].timeout: found never, expected 1ms to 60s"]);
    assert_problems(
        "listeners: [{bind: 'a:1', max_frame_size: 16380}]",
        &["listeners[0].max_frame_size: found 16380 without a unit, expected 256B to 16MiB"],
    );
    assert_problems(
        "listeners: [{bind: 'a:1', max_frame_size: 1GiB}]",
        &["listeners[0].max_frame_size: found 1GiB, expected 256B to 16MiB"],
    );
    assert_problems(
        "listeners: [{bind: 'a:1', idle_timeout: 0s}]",
        &["listeners[0].idle_timeout: found 0s, expected never or 1s to 1440m"],
    );
    assert_problems(
        "listeners: [{bind: 'a:1', max_in_flight: 0}]",
        &["listeners[0].max_in_flight: found 0, expected 1 to 65536"],
    );
    assert_problems("workers: 0", &["workers: found 0, expected 1 to 256"]);
    assert_problems("workers: 1.5", &["workers: found 1.5, expected 1 to 256"]);
    assert_problems("workers: -1", &["workers: found -1, expected 1 to 256"]);
}

#[test]
fn addresses() {
    let bind = |text: &str| format!("listeners: [{{bind: '{text}'}}]");
    for text in ["0.0.0.0", ":9000", "::1:9000", "unix:relative", "http://a:1", "a:99999"] {
        assert_problems(&bind(text), &[&format!("listeners[0].bind: found {text}, expected host:port or unix:/path")]);
    }
    let endpoint = |text: &str| problems(&format!("backends: {{a: {{endpoints: ['{text}']}}}}"));
    for text in ["a:1", "http://a", "http://a:0", "http://a:1/path", "https://a", "unix:a"] {
        assert_eq!(
            endpoint(text),
            [format!("backends.a.endpoints[0]: found {text}, expected http(s)://host:port, dns:///host:port or unix:/path")]
        );
    }
    for (text, expected) in [
        ("dns://a:1", "dns:///host:port, with three slashes"),
        ("dns:///a:0", "dns:///host:port, or dns:///name for SRV records"),
        ("dns://server/a:1", "an IP address, with or without a port, between // and /"),
    ] {
        assert_eq!(endpoint(text), [format!("backends.a.endpoints[0]: found {text}, expected {expected}")]);
    }
    let mode = |mode: &str| format!("listeners: [{{bind: 'unix:/s', unix: {{mode: {mode}}}}}]");
    for text in ["660", "'0888'", "'07777'", "'66'", "u+rw"] {
        let bare = text.trim_matches('\'');
        assert_problems(
            &mode(text),
            &[&format!(r#"listeners[0].unix.mode: found {bare}, expected permissions in octal, in quotes, such as "0660""#)],
        );
    }
}

/// What is missing is said, and not what refers to it.
#[test]
fn references_to_nothing() {
    let problems = problems("routes: [{backend: decisions}]");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("backends: found nothing"), "{problems:?}");
}

#[test]
fn references_and_duplicates() {
    let two = "backends: {decisions: {endpoints: ['http://a:1']}, waf: {endpoints: ['http://b:1']}}\n";
    assert_eq!(
        problems(&format!("{two}routes: [{{backend: decision}}]")),
        ["routes[0].backend: found decision, expected decisions"]
    );
    assert_eq!(
        problems(&format!("{two}routes: [{{backend: auth}}]")),
        ["routes[0].backend: found auth, expected decisions or waf"]
    );
    assert_eq!(problems(two), ["routes: found nothing, expected routes to choose between the 2 backends"]);
    assert_problems(
        "listeners: [{name: main, bind: 'a:1'}]\nroutes: [{backend: a, listeners: [other]}]",
        &["routes[0].listeners[0]: found other, expected main"],
    );
    assert_problems(
        "listeners: [{bind: 'a:1'}, {bind: 'a:1'}, {name: 'a:1', bind: 'b:1'}]",
        &[
            "listeners[1].bind: found a:1, expected an address other than that of listeners[0]",
            "listeners[2].name: found a:1, expected a name other than that of listeners[0]",
        ],
    );
    assert_problems(
        "routes: [{name: x, messages: [a], backend: a}, {name: x, messages: [b], backend: a}]",
        &["routes[1].name: found x, expected a name that no other route has"],
    );
    assert_eq!(
        problems("backends: {a: {endpoints: ['http://a:1', 'http://a:1/']}}"),
        ["backends.a.endpoints[1]: found http://a:1/, expected each endpoint once",]
    );
    assert_eq!(
        problems("backends: {a b: {endpoints: ['http://a:1']}}"),
        [r#"backends["a b"]: found a b, expected a name of 1 to 128 letters, digits, _, . and -"#,]
    );
}

#[test]
fn impossible_combinations() {
    assert_problems(
        "listeners: [{bind: 'a:1', unix: {mode: '0600'}}]",
        &["listeners[0].unix: found settings of a socket file beside a:1, expected them only beside unix:/path"],
    );
    assert_problems(
        "ack_margin: 5ms\nroutes: [{backend: a, timeout: 5ms}]",
        &["routes[0].timeout: found 5ms, expected more than ack_margin (5ms)"],
    );
    assert_problems("ack_margin: 50ms", &["ack_margin: found 50ms, expected less than the routes' default timeout (50ms)"]);
    assert_problems(
        "routes: [{backend: a}, {messages: [x], backend: a}]",
        &["routes[1]: found a route that comes after routes[0] and gets nothing, expected it before routes[0]"],
    );
    assert_problems(
        "routes: [{messages: ['w*', x], engines: [e], backend: a}, {messages: [waf, x], engines: [e], backend: a}]",
        &["routes[1]: found a route that comes after routes[0] and gets nothing, expected it before routes[0]"],
    );
}

#[test]
fn variables() {
    let set = |name: &str| format!("on_failure: {{default: {{set: {{{name}: 1}}}}}}");
    let expected = "scope.name with the scope proc, sess, txn, req or res";
    assert_problems(&set("allow"), &[&format!("on_failure.default.set.allow: found allow, expected {expected}")]);
    assert_problems(
        &set("var.allow"),
        &[&format!(r#"on_failure.default.set["var.allow"]: found var.allow, expected {expected}"#)],
    );
    assert_problems(
        &set("txn.a-b"),
        &[&format!(
            r#"on_failure.default.set["txn.a-b"]: found txn.a-b, expected {expected} (variable name holds byte 0x2d, expected letters, digits, '_' or '.')"#
        )],
    );
    assert_problems("status_variable: bridge_status", &[&format!("status_variable: found bridge_status, expected {expected}")]);
    assert_problems(
        "decision_variables: decision",
        &[&format!("decision_variables: found decision.latency_us, expected {expected}")],
    );
    assert_problems(
        "trace_context: {tracestate: traceparent}",
        &["trace_context.tracestate: found traceparent, expected an arg of its own for each header"],
    );
    assert_problems(
        "listeners: [{bind: 'a:1', var_prefix: a-b}]",
        &["listeners[0].var_prefix: found a-b, expected letters, digits, _ and ., at most 57 bytes"],
    );
}

#[test]
fn d19_the_prefix_of_the_listeners_counts() {
    let name = format!("txn.{}", "n".repeat(43));
    let line = format!("on_failure: {{default: {{unset: [{name}]}}}}");
    let long = |bytes: usize| {
        format!(
            "on_failure.default.unset[0]: found {name}, expected scope.name with the scope proc, sess, txn, req or res (variable name takes {bytes} bytes with its scope and prefix, at most 63 are possible)"
        )
    };
    // Without being told: 16 bytes are kept free.
    assert_problems(&line, &[&long(64)]);
    assert_problems(
        &format!("{line}\nlisteners: [{{bind: 'a:1', var_prefix: br}}, {{bind: 'b:1', var_prefix: {}}}]", "p".repeat(17)),
        &[&long(65)],
    );
    let fits = format!("{BACKEND}{line}\nlisteners: [{{bind: 'a:1', var_prefix: br}}]");
    assert!(Config::from_yaml(&fits, "test.yaml", &env).is_ok());
}

#[test]
fn fallback_values() {
    let set = |value: &str| format!("on_failure: {{timeout: {{set: {{txn.a: {value}}}}}}}");
    let line = |found: &str, expected: &str| format!(r#"on_failure.timeout.set["txn.a"]{found}, expected {expected}"#);
    assert_problems(&set("{ipv4: '::1'}"), &[&line(".ipv4: found ::1", "an IPv4 address")]);
    assert_problems(&set("{ipv6: 1.2.3.4}"), &[&line(".ipv6: found 1.2.3.4", "an IPv6 address")]);
    assert_problems(&set("{bytes: '?'}"), &[&line(".bytes: found ?", "base64")]);
    assert_problems(&set("{hex: 00}"), &[&line(".hex: found an unknown key", "bytes, ipv4 or ipv6")]);
    let any = "true, false, an integer, text, null, {ipv4: address}, {ipv6: address} or {bytes: base64}";
    assert_problems(&set("1.5"), &[&line(": found 1.5", any)]);
    assert_problems(&set("9223372036854775808"), &[&line(": found 9223372036854775808", any)]);
    assert_problems(&set("[]"), &[&line(": found an empty list", any)]);
    assert_problems(&set("{}"), &[&line(": found no keys", any)]);
    assert_problems(
        "on_failure: {default: {set: {txn.a: 1}, unset: [txn.b, txn.a, txn.b]}}",
        &[
            "on_failure.default.unset[1]: found txn.a, expected each variable once in set and unset",
            "on_failure.default.unset[2]: found txn.b, expected each variable once in set and unset",
        ],
    );
    assert_problems(
        "on_failure: {default: {set: {txn.bridge_status: 1}}}",
        &[
            r#"on_failure.default.set["txn.bridge_status"]: found txn.bridge_status, expected another variable: the bridge sets status_variable itself"#,
        ],
    );
    assert_problems(
        &set(&"x".repeat(9_000)),
        &["on_failure.timeout: found actions of 9009 bytes, expected at most 8000 bytes, which fit into one frame"],
    );
}

#[test]
fn names_and_health() {
    let with = |keys: &str| problems(&format!("backends: {{a: {{endpoints: ['dns:///a:1'], {keys}}}}}"));
    assert_eq!(
        with("dns: {min_ttl: 2m}"),
        ["backends.a.dns: found min_ttl 2m and max_ttl 60s, expected min_ttl not above max_ttl"]
    );
    assert_eq!(with("dns: {min_ttl: 0s}"), ["backends.a.dns.min_ttl: found 0s, expected 100ms to 60m"]);
    assert_eq!(with("health: {timeout: 1}"), ["backends.a.health.timeout: found 1 without a unit, expected 10ms to 60s"]);
    assert_eq!(with("health: {service: 5}"), ["backends.a.health.service: found 5, expected text of at most 256 characters"]);
    assert_eq!(with("health: true"), ["backends.a.health: found true, expected keys and values"]);
    assert_eq!(
        problems("backends: {a: {endpoints: ['dns:///a:1', 'dns:A:1']}}"),
        ["backends.a.endpoints[1]: found dns:A:1, expected each endpoint once"]
    );
}

#[test]
fn metadata_is_checked_but_its_values_are_not_repeated() {
    let with = |metadata: &str| problems(&format!("backends: {{a: {{endpoints: ['http://a:1'], metadata: {{{metadata}}}}}}}"));
    assert_eq!(
        with("x-token: 12345"),
        ["backends.a.metadata.x-token: found a value that is not text, expected text, in quotes if it looks like something else",]
    );
    assert_eq!(
        with("x-token: 'säcret'"),
        [
            "backends.a.metadata.x-token: found a value that HTTP cannot carry, expected printable ASCII, without spaces at the ends",
        ]
    );
    let key = "a key of lower-case letters, digits, _, . and -, not ending in -bin";
    assert_eq!(with("X-Token: secret"), [format!("backends.a.metadata.X-Token: found X-Token, expected {key}")]);
    assert_eq!(with("trace-bin: secret"), [format!("backends.a.metadata.trace-bin: found trace-bin, expected {key}")]);
    let reserved = "a key that neither gRPC nor the bridge sets itself";
    assert_eq!(with("grpc-timeout: 1S"), [format!("backends.a.metadata.grpc-timeout: found grpc-timeout, expected {reserved}")]);
    assert_eq!(with("te: x"), [format!("backends.a.metadata.te: found te, expected {reserved}")]);
}

#[test]
fn the_environment() {
    assert_problems(
        "status_variable: '${NOPE}'",
        &["status_variable: found ${NOPE}, which is not set, expected NOPE in the environment, or ${NOPE:-default}"],
    );
    assert_problems("workers: '${DECISIONS_HOST}'", &["workers: found ${DECISIONS_HOST}, expected 1 to 256"]);
    assert_problems(
        "routes: [{backend: a, timeout: $5}]",
        &["routes[0].timeout: found a $ that starts no ${NAME}, expected $$ for a literal $"],
    );
}

#[test]
fn all_at_once_and_sorted() {
    let text = "
        listenrs: []
        listeners: [{bind: nowhere, read_timeout: 5}]
        backends: {a: {endpoints: ['ftp://a:1']}}
        routes:
        - {backend: a, messages: [x], timeout: 50}
        - {backend: b, messages: [x]}
        - {backend: a, messages: [y], timeout: 0ms, on_failure: {default: {set: {allow: true}}}}
        drain: {grace_period: 1h}";
    let expected = [
        "backends.a.endpoints[0]: found ftp://a:1, expected http(s)://host:port, dns:///host:port or unix:/path",
        "drain.grace_period: found 1h, expected 0s to 10m",
        "listeners[0].bind: found nowhere, expected host:port or unix:/path",
        "listeners[0].read_timeout: found 5 without a unit, expected 10ms to 10m",
        "listenrs: found an unknown key, expected listeners",
        "routes[0].timeout: found 50 without a unit, expected 1ms to 60s",
        "routes[1]: found a route that comes after routes[0] and gets nothing, expected it before routes[0]",
        "routes[1].backend: found b, expected a",
        "routes[2].on_failure.default.set.allow: found allow, expected scope.name with the scope proc, sess, txn, req or res",
        "routes[2].timeout: found 0ms, expected 1ms to 60s",
    ];
    assert_eq!(problems(text), expected);
    let error = Config::from_yaml(text, "test.yaml", &env).unwrap_err().to_string();
    assert!(error.starts_with("test.yaml: backends.a.endpoints[0]: found"), "{error}");
    assert_eq!(error.lines().count(), expected.len());
}

#[test]
fn no_key_of_a_right_file_may_hold_something_of_another_type() {
    // Whatever is broken in the file, there is a problem at that place and nobody panics.
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(": ") else { continue };
        let broken = format!("{key}: [[]]");
        let text =
            lines.iter().enumerate().map(|(at, line)| if at == index { &broken } else { *line }).collect::<Vec<_>>().join("\n");
        assert!(!problems(&text).is_empty(), "{text}");
    }
}

#[test]
fn flags_are_named() {
    let listen = ["nowhere".to_owned()];
    let error = Config::quick(&listen, &["ftp://a:1".to_owned()], Some(Duration::ZERO)).unwrap_err().to_string();
    let expected = [
        "--backend: found ftp://a:1, expected http(s)://host:port, dns:///host:port or unix:/path",
        "--listen: found nowhere, expected host:port or unix:/path",
        "--timeout: found 0s, expected 1ms to 60s",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
    let error = Config::quick(&[], &[], None).unwrap_err().to_string();
    assert_eq!(error, "--backend: found an empty list, expected a list with at least one item");

    let overrides = Overrides { workers: Some(0), grace_period: Some(Duration::from_secs(3_600)), ..Overrides::default() };
    let error = Config::from_yaml_with("workers: 5", "a.yaml", &env, &overrides).unwrap_err().to_string();
    let expected = [
        "a.yaml: backends: found nothing, expected keys and values, at least one",
        "--grace-period: found 60m, expected 0s to 10m",
        "--workers: found 0, expected 1 to 256",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn hedging_asks_twice_so_that_must_be_harmless() {
    let expected =
        "backends.a.hedging: found hedging, expected it only beside idempotent: true, since it asks twice for one decision";
    assert_eq!(problems("backends: {a: {endpoints: ['http://a:1'], hedging: {}}}"), [expected]);
}

#[test]
fn shares_are_written_in_percent() {
    let text = "backends: {a: {endpoints: ['http://a:1'], retry_budget: {percent: 20}, outlier_detection: {max_ejection_percent: 101%}}}";
    let expected = [
        "backends.a.outlier_detection.max_ejection_percent: found 101%, expected 0% to 100%",
        "backends.a.retry_budget.percent: found 20 without a unit, expected 0% to 100%",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn only_statuses_that_leave_time_can_be_tried_again() {
    let text = "backends: {a: {endpoints: ['http://a:1'], retry: {retryable_status_codes: [DEADLINE_EXCEEDED]}}}";
    let found = problems(text);
    assert!(found[0].starts_with("backends.a.retry.retryable_status_codes[0]: found DEADLINE_EXCEEDED, expected"), "{found:?}");
}
