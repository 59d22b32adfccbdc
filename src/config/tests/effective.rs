//! The configuration as it counts is one, and means the same.

use serde_json::{Value, json};

use super::{BACKEND, EVERYTHING, read};
use crate::config::{Config, Overrides, schema};

fn effective(text: &str) -> Value {
    read(text).0.effective.tree().clone()
}

#[test]
fn written_to_a_file_it_means_the_same() {
    // Metadata is not shown.
    let everything = EVERYTHING.replace("x-tenant: shop, authorization: Bearer secret", "");
    for text in [
        &everything,
        BACKEND,
        "backends: {a: {endpoints: ['unix:/a']}}\nlisteners: [{bind: 'unix:/b'}]\nadmin: {bind: 'unix:/c'}",
    ] {
        let tree = effective(text);
        let again = serde_json::to_string_pretty(&tree).unwrap();
        let before = Config { admin: read(&again).0.admin, ..read(text).0 };
        assert!(read(&again).0 == before, "{again}");
        assert_eq!(effective(&again), tree);
    }
}

#[test]
fn defaults_are_in_it() {
    let tree = effective(BACKEND);
    assert_eq!(tree["admin"], json!({ "bind": "127.0.0.1:9902" }));
    assert_eq!(tree["drain"], json!({ "delay": "5s", "grace_period": "10s" }));
    assert_eq!(
        (&tree["listeners"][0]["name"], &tree["listeners"][0]["idle_timeout"]),
        (&json!("127.0.0.1:9000"), &json!("never"))
    );
    let route = json!({ "name": "*", "backend": "a", "messages": ["*"], "timeout": "50ms", "timeout_arg_min": "10ms" });
    assert_eq!(tree["routes"], json!([route]));
    let backend = &tree["backends"]["a"];
    assert_eq!(backend["retry"], json!({ "max_attempts": 3, "retryable_status_codes": ["UNAVAILABLE"] }));
    assert_eq!(backend["outlier_detection"]["base_ejection_time"], "1s");
    for absent in ["tls", "health", "hedging", "adaptive_limit"] {
        assert_eq!(backend[absent], Value::Null, "{absent} is not on");
    }
    assert!(tree["workers"].as_u64() > Some(0));
}

#[test]
fn flags_and_environment_are_in_it() {
    let overrides = Overrides { admin: Some("off".to_owned()), listen: vec!["a:1".to_owned()], ..Overrides::default() };
    let env = |name: &str| (name == "HOST").then(|| "decisions".to_owned());
    let text = "backends: {a: {endpoints: ['http://${HOST}:1']}}";
    let tree = Config::from_yaml_with(text, "test.yaml", &env, &overrides).unwrap().0.effective.tree().clone();
    assert_eq!((&tree["admin"]["bind"], &tree["listeners"][0]["bind"]), (&json!("off"), &json!("a:1")));
    assert_eq!(tree["backends"]["a"]["endpoints"], json!(["http://${HOST}:1"]));
}

#[test]
fn secrets_are_not() {
    let text = "backends: {a: {endpoints: ['http://a:1'], metadata: {authorization: Bearer x1, x-api-key: x2, x-tenant: shop}}}";
    let tree = effective(text);
    let metadata = json!({ "authorization": "(redacted)", "x-api-key": "(redacted)", "x-tenant": "(redacted)" });
    assert_eq!(tree["backends"]["a"]["metadata"], metadata);
}

/// A section that is added and that means something by its absence must say so, or it would seem to be on.
#[test]
fn every_key_with_a_default_is_in_it() {
    fn check(tree: &Value, schema: &Value, path: &str) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(default) = property.get("default").filter(|_| tree.is_object()) {
                assert!(!tree[key].is_null(), "{path}.{key}, which is {default} by default");
            }
            check(&tree[key], property, &format!("{path}.{key}"));
        }
        for item in tree.as_array().into_iter().flatten() {
            check(item, &schema["items"], path);
        }
    }
    check(&effective(EVERYTHING), &schema(), "");
}
