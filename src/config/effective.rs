//! The configuration as it counts, for people: what was written, flags and environment in it, and the defaults of all that was not.
//!
//! It is a configuration again: written to a file it means the same, but for secrets, which are not in it.

use std::fmt::Display;

use serde_json::{Map, Value, json};

use super::error::Shown;
use super::model::{Bind, Config, REDACTED};
use super::path::Path;
use super::{raw, schema};
use crate::printable::without_passwords;

/// A whole configuration as a tree, without secrets: no metadata, and what came from the environment as it is written.
///
/// It says nothing that the rest of the [`Config`] does not: two that mean the same are equal, however they are written.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    tree: Value,
    shown: Shown,
}

impl PartialEq for Effective {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Effective {
    /// Of the tree that `config` was made from, with `shown` in place of what came from the environment.
    pub(super) fn new(mut tree: Value, config: &Config, shown: Shown) -> Self {
        quote(&mut tree);
        for (path, written) in &shown {
            if let Some(value) = path.find(&mut tree) {
                *value = without_passwords(written).into();
            }
        }
        if let Some(tree) = tree.as_object_mut() {
            complete_by_meaning(tree, config, &shown);
        }
        complete(&mut tree, &schema::shape());
        Self { tree, shown }
    }

    /// The value at `path` as it may be shown in a problem.
    pub(crate) fn shown(&self, path: &Path, value: impl Display) -> String {
        self.shown.get(path).map_or_else(|| value.to_string(), String::clone)
    }

    /// The keys and values, as in a file.
    #[must_use]
    pub fn tree(&self) -> &Value {
        &self.tree
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
                    property if is_write_only(property.unwrap_or(any)) => *value = REDACTED.into(),
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
fn complete_by_meaning(tree: &mut Map<String, Value>, config: &Config, shown: &Shown) {
    let say = |tree: &mut Map<String, Value>, key: &str, value: Value| _ = tree.entry(key).or_insert(value);
    say(tree, "workers", config.workers.get().into());
    say(tree, "listeners", json!([{ "bind": raw::DEFAULT_BIND }]));
    let backend = config.backends.first().map(|backend| &*backend.name);
    say(tree, "routes", json!([{ "backend": backend }]));
    // Names that follow from something else are shown as that is.
    let name = |name: &str, from: &Path| shown.get(from).map_or_else(|| name.replace('$', "$$"), String::clone).into();
    let root = Path::root();
    for (index, (listener, config)) in objects(tree.get_mut("listeners")).zip(&config.listeners).enumerate() {
        say(listener, "name", name(&config.name, &root.key("listeners").index(index).key("bind")));
        if let Bind::Unix { mode, .. } = &config.bind {
            say(listener, "unix", json!({ "mode": format!("{mode:04o}") }));
        }
    }
    for (index, (route, config)) in objects(tree.get_mut("routes")).zip(&config.routes).enumerate() {
        say(route, "name", name(&config.name, &root.key("routes").index(index).key("messages").index(0)));
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
