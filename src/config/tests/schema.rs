//! The JSON Schema says what the checker does.

use std::sync::LazyLock;

use serde_json::Value;

use super::{BACKEND, EVERYTHING, problems, read};
use crate::config::{Config, reference, schema, tree};

static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&schema()).expect("the schema is one"));

#[track_caller]
fn is_valid(text: &str) -> bool {
    VALIDATOR.is_valid(&tree::read(text, "test.yaml").unwrap())
}

#[test]
fn what_the_checker_takes_is_valid() {
    for text in [EVERYTHING, BACKEND] {
        read(text);
        assert!(is_valid(text), "{text}");
    }
}

#[test]
fn references_to_the_environment_are_valid_for_any_scalar() {
    let text = "
        workers: ${WORKERS}
        listeners: [{bind: '${B:-a:1}', max_connections: '${N:-1}', max_frame_size: '${S:-1KiB}'}]
        backends: {a: {endpoints: ['http://${DECISIONS_HOST}:1']}}
        routes: [{backend: a, timeout: '${T:-5ms}', on_failure: {default: {set: {txn.a: '${FAIL_OPEN}'}}}}]
        log: {level: '${L:-warn}'}";
    read(text);
    assert!(is_valid(text));
}

#[test]
fn what_is_invalid_the_checker_refuses() {
    let wrong = [
        "worker: 1",
        "workers: 0",
        "workers: 257",
        "workers: '2'",
        "workers: null",
        "listeners: []",
        "listeners: [{}]",
        "listeners: [{bind: 9000}]",
        "listeners: [{bind: 'unix:/s', unix: {mode: 660}}]",
        "listeners: [{bind: 'unix:/s', unix: {mode: '0999'}}]",
        "listeners: [{bind: 'a:1', read_timeout: 5}]",
        "listeners: [{bind: 'a:1', read_timeout: 5h}]",
        "listeners: [{bind: 'a:1', read_timeout: never}]",
        "listeners: [{bind: 'a:1', max_frame_size: 16380}]",
        "listeners: [{bind: 'a:1', var_prefix: a-b}]",
        "routes: []",
        "routes: [{}]",
        "routes: [{backend: a, messages: []}]",
        "routes: [{backend: a, messages: ['']}]",
        "routes: [{backend: a, on_failure: {unrouted: {}}}]",
        "on_failure: {late: {}}",
        "on_failure: {default: {set: {allow: true}}}",
        "on_failure: {default: {set: {txn.a-b: true}}}",
        "on_failure: {default: {set: {txn.a: 1.5}}}",
        "on_failure: {default: {set: {txn.a: {ipv4: 1.2.3.4, ipv6: '::1'}}}}",
        "on_failure: {default: {set: {txn.a: {bytes: '?'}}}}",
        "on_failure: {default: {unset: [allow]}}",
        "status_variable: allow",
        "ack_margin: 1",
        "haproxy: {engine: ''}",
        "routes: [{messages: [m], backend: a, haproxy: {event: on-request}}]",
        "routes: [{messages: [m], backend: a, haproxy: {args: ['']}}]",
        "routes: [{messages: [m], backend: a, haproxy: {variables: [allow]}}]",
        "routes: [{messages: [m], backend: a, haproxy: {deny_status: 302}}]",
        "log: {level: loud}",
    ];
    for line in wrong {
        let text = format!("{BACKEND}{line}");
        assert!(!is_valid(&text), "{line}");
        assert!(!problems(&text).is_empty(), "{line}");
    }
    for text in ["", "[]", "backends: {}", "backends: {a: {endpoints: []}}", "backends: {a b: {endpoints: ['http://a:1']}}"] {
        assert!(!is_valid(text), "{text}");
        assert!(!problems(text).is_empty(), "{text}");
    }
}

/// Every key of the schema, as a path without positions.
fn keys(schema: &Value, prefix: &str, keys: &mut Vec<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        assert!(property["description"].is_string() || property["title"].is_string(), "{path} is not described");
        self::keys(property, &path, keys);
        keys.push(path);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            self::keys(&schema[below], prefix, keys);
        }
    }
}

#[test]
fn the_test_file_with_everything_has_every_key() {
    let mut all = Vec::new();
    keys(&schema(), "", &mut all);
    assert!(all.contains(&"routes.on_failure.timeout.set.bytes".to_owned()), "{all:?}");
    for path in all {
        let key = path.rsplit('.').next().unwrap();
        assert!(EVERYTHING.contains(&format!("{key}:")), "{path}");
    }
}

const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_reference_is_what_the_command_prints() {
    let page = include_str!("../../../docs/configuration-reference.md");
    assert!(
        page.trim_end() == reference().trim_end(),
        "renew it: cargo run -- schema --format markdown > docs/configuration-reference.md"
    );
}

/// Every key has a row with its default and range, or a section with its keys.
fn assert_in_reference(schema: &Value, page: &str) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&format!("| `{key}` |"))).collect();
        let has = |part: &str| rows.iter().any(|row| row.contains(part));
        match &property["default"] {
            Value::Null => assert!(!rows.is_empty(), "{key}"),
            Value::String(text) => assert!(has(&format!("| `{text}` |")), "default of {key}: {rows:?}"),
            other => assert!(has(&format!("| `{other}` |")), "default of {key}: {rows:?}"),
        }
        if let Some(range) = property["title"].as_str().filter(|title| title.contains(" to ")) {
            assert!(has(range), "range of {key}, {range}: {rows:?}");
        }
        for schema in [property, &property["items"], &property["additionalProperties"]] {
            assert_in_reference(schema, page);
        }
    }
}

#[test]
fn every_key_is_in_the_reference_with_its_default() {
    assert_in_reference(&schema::shape(), &reference());
}

#[test]
fn a_default_in_words_has_its_own_column() {
    let row = "| `workers` | 1 to 256 | one for each core that is available | Threads that serve connections. |";
    assert!(reference().lines().any(|line| line == row), "{}", reference());
}

#[test]
fn examples_in_the_documentation_are_right() {
    let env = |name: &str| (name == "DECISIONS_TOKEN").then(|| "t".to_owned());
    let examples: Vec<_> = DOCUMENTATION.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        assert!(is_valid(example), "{example}");
        let (_, warnings) = Config::from_yaml(example, "example.yaml", &env).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(warnings, [], "{example}");
    }
}
