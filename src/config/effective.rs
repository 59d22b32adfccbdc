//! The configuration as it counts, for people: what was written, flags and environment in it, and the defaults of all that was not.
//!
//! It is a configuration again: written to a file it means the same, but for secrets, which are not in it.

use serde_json::{Map, Value, json};

use super::model::{Bind, Config, REDACTED, is_secret};
use super::{raw, schema};

/// A whole configuration as a tree, without secrets.
///
/// It says nothing that the rest of the [`Config`] does not: two that mean the same are equal, however they are written.
#[derive(Clone, Debug, Default)]
pub struct Effective(Value);

impl PartialEq for Effective {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Effective {
    /// Of the tree that `config` was made from.
    pub(super) fn new(mut tree: Value, config: &Config) -> Self {
        if let Some(tree) = tree.as_object_mut() {
            complete_by_meaning(tree, config);
        }
        complete(&mut tree, &schema::shape());
        quote(&mut tree);
        Self(tree)
    }

    /// The keys and values, as in a file.
    #[must_use]
    pub fn tree(&self) -> &Value {
        &self.0
    }
}

/// Puts defaults where nothing is, and something else where secrets are.
fn complete(value: &mut Value, schema: &Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| complete(item, &schema["items"])),
        Value::Object(map) => {
            let any = &schema["additionalProperties"];
            for (key, value) in map.iter_mut() {
                match schema["properties"].get(key) {
                    Some(property) if is_write_only(property) => *value = REDACTED.into(),
                    None if is_write_only(any) && is_secret(key) => *value = REDACTED.into(),
                    property => complete(value, property.unwrap_or(any)),
                }
            }
            for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = default(key, property).filter(|_| !map.contains_key(key)) {
                    map.insert(key.clone(), default);
                }
            }
        }
        _ => {}
    }
}

fn is_write_only(schema: &Value) -> bool {
    schema["writeOnly"] == true
}

fn default(key: &str, schema: &Value) -> Option<Value> {
    if let Some(default) = schema.get("default") {
        return Some(default.clone());
    }
    // A section whose absence means something says what; the others mean the same when they are empty.
    let says = schema["description"].as_str().is_some_and(|text| text.contains("Default:"));
    if !schema["properties"].is_object() || says || key == "unix" {
        return None;
    }
    let mut section = json!({});
    complete(&mut section, schema);
    (section != json!({})).then_some(section)
}

/// Defaults that follow from something else.
fn complete_by_meaning(tree: &mut Map<String, Value>, config: &Config) {
    let say = |tree: &mut Map<String, Value>, key: &str, value: Value| _ = tree.entry(key).or_insert(value);
    say(tree, "workers", config.workers.get().into());
    say(tree, "listeners", json!([{ "bind": raw::DEFAULT_BIND }]));
    let backend = config.backends.first().map(|backend| &*backend.name);
    say(tree, "routes", json!([{ "backend": backend }]));
    for (listener, config) in objects(tree.get_mut("listeners")).zip(&config.listeners) {
        say(listener, "name", (*config.name).into());
        if let Bind::Unix { mode, .. } = &config.bind {
            say(listener, "unix", json!({ "mode": format!("{mode:04o}") }));
        }
    }
    for (route, config) in objects(tree.get_mut("routes")).zip(&config.routes) {
        say(route, "name", (*config.name).into());
        say(route, "messages", json!(["*"]));
    }
    for config in &config.backends {
        let Some(Value::Object(backend)) = tree.get_mut("backends").and_then(|all| all.get_mut(&*config.name)) else { continue };
        say(backend, "retry", json!({}));
        let codes: Vec<_> = config.retry.retryable_status_codes.iter().map(|code| code.as_str()).collect();
        if let Some(Value::Object(retry)) = backend.get_mut("retry") {
            say(retry, "retryable_status_codes", codes.into());
        }
    }
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Writes each `$` so that it is read as one.
fn quote(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(quote),
        Value::Object(map) => map.values_mut().for_each(quote),
        _ => {}
    }
}
