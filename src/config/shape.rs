//! Makes a tree fit the JSON Schema: everything that does not is recorded and taken out.
//!
//! What remains is sure to fit the types in [`raw`](super::raw), and all problems of shape are found in one pass:
//! unknown keys, wrong types, numbers out of range, missing keys. References to the environment are replaced on the
//! way, because only the schema knows whether `${WORKERS}` is to be a number.

use serde_json::{Map, Value};

use super::env::expand;
use super::error::Problems;
use super::path::Path;
use super::suggest::{closest, list};

/// Makes `tree` fit `schema`, and records in `problems` what did not.
pub(super) fn fit(tree: &mut Value, schema: &Value, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
    let mut walk = Walk { env, problems };
    // For anchors: what stands below is read where it is used.
    tree.as_object_mut().into_iter().for_each(|keys| keys.retain(|key, _| !key.starts_with(EXTENSION)));
    if !walk.fit(tree, schema, &Path::root()) {
        *tree = neutral(schema);
    }
}

/// How keys of the top level begin that are the operator's own.
pub(super) const EXTENSION: &str = "x-";

struct Walk<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Problems,
}

impl Walk<'_> {
    /// Whether `value` can stay, if need be without some of its parts.
    fn fit(&mut self, value: &mut Value, schema: &Value, path: &Path) -> bool {
        if !self.replace_references(value, schema, path) {
            return false;
        }
        if !is_of_type(value, schema) || !is_in_bounds(value, schema) || !is_a_choice(value, schema) {
            self.problems.add(path, found(value, schema), expected(schema));
            return false;
        }
        match value {
            Value::Array(items) => self.fit_items(items, schema, path),
            Value::Object(map) => self.fit_keys(map, schema, path),
            _ => {}
        }
        true
    }

    fn fit_items(&mut self, items: &mut [Value], schema: &Value, path: &Path) {
        for (index, item) in items.iter_mut().enumerate() {
            // What does not fit is replaced, not removed: the paths of the items after it stay right.
            if !self.fit(item, &schema["items"], &path.index(index)) {
                *item = neutral(&schema["items"]);
            }
        }
    }

    fn fit_keys(&mut self, map: &mut Map<String, Value>, schema: &Value, path: &Path) {
        for (key, mut value) in std::mem::take(map) {
            let at = path.key(&key);
            match (schema["properties"].get(&key).unwrap_or(&Value::Null), &schema["additionalProperties"]) {
                (Value::Null, any @ Value::Object(_)) => {
                    // What does not fit is replaced: other places refer to it by its key.
                    if !self.fit(&mut value, any, &at) {
                        value = neutral(any);
                    }
                    map.insert(key, value);
                }
                (Value::Null, _) => self.problems.add(&at, "an unknown key", known_key(&key, schema)),
                (property, _) => {
                    if self.fit(&mut value, property, &at) {
                        map.insert(key, value);
                    }
                }
            }
        }
        self.require(map, schema, path);
    }

    fn require(&mut self, map: &Map<String, Value>, schema: &Value, path: &Path) {
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(key) {
                self.problems.add(&path.key(key), "nothing", schema["properties"].get(key).map_or_else(String::new, expected));
            }
        }
    }

    /// Replaces `${NAME}` in a text. What comes from the environment is text, but may be meant as a number or as true
    /// or false: it becomes that if the schema has room for it.
    fn replace_references(&mut self, value: &mut Value, schema: &Value, path: &Path) -> bool {
        let Value::String(text) = value else { return true };
        match expand(text, self.env) {
            Ok(expanded) => {
                expanded.shown.iter().for_each(|shown| self.problems.hide(path, &expanded.text, shown.clone()));
                let typed = serde_json::from_str(&expanded.text).ok();
                let typed = typed.filter(|typed: &Value| (typed.is_boolean() || is_integer(typed)) && is_of_type(typed, schema));
                *value = typed.filter(|_| expanded.shown.is_some()).unwrap_or(Value::String(expanded.text));
                true
            }
            Err(bad) => {
                self.problems.add(path, bad.found, bad.expected);
                false
            }
        }
    }
}

fn is_of_type(value: &Value, schema: &Value) -> bool {
    let is = |kind: &str| match kind {
        "boolean" => value.is_boolean(),
        "integer" => is_integer(value),
        "string" => value.is_string(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    types(schema).any(is)
}

/// The names of the types that a schema allows; a schema that lists texts to choose from may leave them out.
fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let several = schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let one = schema["type"].as_str().or_else(|| schema["oneOf"].is_array().then_some("string"));
    several.chain(one)
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

/// How large a number is, how long a text, a list or a set of keys.
fn is_in_bounds(value: &Value, schema: &Value) -> bool {
    let (size, least, most) = match value {
        Value::Number(number) => (number.as_i128(), "minimum", "maximum"),
        Value::String(text) => (i128::try_from(text.chars().count()).ok(), "minLength", "maxLength"),
        Value::Array(items) => (i128::try_from(items.len()).ok(), "minItems", "maxItems"),
        Value::Object(map) => (i128::try_from(map.len()).ok(), "minProperties", "maxProperties"),
        Value::Null | Value::Bool(_) => return true,
    };
    let bound = |key: &str| schema[key].as_number().and_then(serde_json::Number::as_i128);
    let size = size.unwrap_or_default();
    bound(least).is_none_or(|least| size >= least) && bound(most).is_none_or(|most| size <= most)
}

fn is_a_choice(value: &Value, schema: &Value) -> bool {
    let mut choices = choices(schema).peekable();
    choices.peek().is_none() || choices.any(|choice| value == choice)
}

/// The texts to choose from, if it is a choice.
fn choices(schema: &Value) -> impl Iterator<Item = &str> {
    let described = schema["oneOf"].as_array().into_iter().flatten().map(|choice| &choice["const"]);
    schema["enum"].as_array().into_iter().flatten().chain(described).filter_map(Value::as_str)
}

/// The value as a problem repeats it.
fn found(value: &Value, schema: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(map) if map.is_empty() => "no keys".to_owned(),
        Value::Object(_) => "keys and values".to_owned(),
        _ if schema["writeOnly"] == true => "a value that is not text".to_owned(),
        _ if schema["additionalProperties"].get("writeOnly") == Some(&true.into()) => "a value without a key".to_owned(),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(text) if !types(schema).any(|kind| kind == "string") => format!("the text {text}"),
        Value::String(text) => text.clone(),
        Value::Number(number) if schema["x-units"].is_string() => format!("{number} without a unit"),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// What a problem says could stand there.
pub(super) fn expected(schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    let choices = list(choices(schema));
    match types(schema).next() {
        _ if !choices.is_empty() => choices,
        Some("array") if schema["minItems"] == 1 => "a list with at least one item".to_owned(),
        Some("array") => "a list".to_owned(),
        Some("object") if schema["minProperties"] == 1 => "keys and values, at least one".to_owned(),
        Some("object") => "keys and values".to_owned(),
        Some("string") => match (schema["minLength"].as_u64(), schema["maxLength"].as_u64()) {
            (Some(least), Some(most)) => format!("text of {least} to {most} characters"),
            _ => "text, in quotes if it looks like something else".to_owned(),
        },
        Some(other) => format!("a value of type {other}"),
        None => "something else".to_owned(),
    }
}

fn known_key(key: &str, schema: &Value) -> String {
    let known = || schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    closest(key, known()).map_or_else(|| list(known()), str::to_owned)
}

/// A value without meaning of a type that the schema allows.
fn neutral(schema: &Value) -> Value {
    if let Some(choice) = choices(schema).next() {
        return choice.into();
    }
    match types(schema).next() {
        Some("boolean") => Value::Bool(false),
        Some("integer") => 0.into(),
        Some("string") => Value::String(String::new()),
        Some("array") => Value::Array(Vec::new()),
        Some("object") => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 5 },
                "workers": { "type": "integer", "minimum": 1, "maximum": 256, "title": "1 to 256" },
                "timeout": { "type": "string", "title": "1ms to 60s", "x-units": "ms" },
                "level": { "oneOf": [{ "const": "info" }, { "const": "debug" }] },
                "routes": { "type": "array", "minItems": 1, "items": { "type": "object", "properties": {} } },
                "secrets": { "type": "object", "additionalProperties": { "type": "string", "writeOnly": true } },
                "value": { "type": ["boolean", "integer", "string"] },
            },
        })
    }

    fn env(name: &str) -> Option<String> {
        match name {
            "FOUR" => Some("4".to_owned()),
            "YES" => Some("true".to_owned()),
            _ => None,
        }
    }

    /// The tree as it fits, and the problems with it.
    fn fitted(mut tree: Value) -> (Value, Vec<String>) {
        let mut problems = Problems::default();
        fit(&mut tree, &schema(), &env, &mut problems);
        (tree, problems.sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_fits_stays() {
        let tree = json!({ "name": "a", "workers": 3, "level": "info", "routes": [{}], "value": true });
        assert_eq!(fitted(tree.clone()), (tree, vec![]));
    }

    #[test]
    fn all_that_does_not_fit_is_reported_at_once_and_gone() {
        let tree = json!({
            "nam": "a", "workers": 0, "timeout": 50, "level": "loud", "routes": [{}, 5], "secrets": { "a": 12345 },
        });
        let expected = [
            "level: found loud, expected info or debug",
            "nam: found an unknown key, expected name",
            "name: found nothing, expected text of 1 to 5 characters",
            "routes[1]: found 5, expected keys and values",
            "secrets.a: found a value that is not text, expected text, in quotes if it looks like something else",
            "timeout: found 50 without a unit, expected 1ms to 60s",
            "workers: found 0, expected 1 to 256",
        ];
        let (tree, problems) = fitted(tree);
        assert_eq!(problems, expected);
        assert_eq!(tree, json!({ "routes": [{}, {}], "secrets": { "a": "" } }));
    }

    #[test]
    fn emptiness_is_reported() {
        let (_, problems) = fitted(json!({ "name": "", "workers": null, "routes": [] }));
        let expected = [
            "name: found an empty text, expected text of 1 to 5 characters",
            "routes: found an empty list, expected a list with at least one item",
            "workers: found nothing, expected 1 to 256",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_file_that_is_no_mapping_is_one_problem() {
        let (tree, problems) = fitted(json!([1]));
        assert_eq!(problems, ["top level: found a list, expected keys and values"]);
        assert_eq!(tree, json!({}));
    }

    #[test]
    fn the_environment_gives_what_the_schema_wants() {
        let (tree, problems) =
            fitted(json!({ "name": "${FOUR}", "workers": "${FOUR}", "value": "${YES}", "timeout": "${FOUR}ms" }));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(tree, json!({ "name": "4", "workers": 4, "value": true, "timeout": "4ms" }));
    }

    #[test]
    fn a_text_that_only_looks_like_a_number_stays_a_text() {
        let (tree, problems) = fitted(json!({ "name": "a", "value": "4", "workers": "4" }));
        assert_eq!(tree, json!({ "name": "a", "value": "4" }));
        assert_eq!(problems, ["workers: found the text 4, expected 1 to 256"]);
    }

    #[test]
    fn what_came_from_the_environment_is_shown_as_written() {
        let secret = |_: &str| Some("s3cret".to_owned());
        let mut tree = json!({ "name": "${A}${A}", "workers": "${A}", "level": "x${A}", "secrets": "${A}", "routes": ["${A}"] });
        let mut problems = Problems::default();
        fit(&mut tree, &schema(), &secret, &mut problems);
        let problems = problems.sorted().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(problems.contains("workers: found ${A}, expected 1 to 256") && !problems.contains("s3cret"), "{problems}");
    }

    #[test]
    fn an_unset_variable_is_a_problem_with_its_path() {
        let (_, problems) = fitted(json!({ "name": "${NOPE}" }));
        assert_eq!(problems, ["name: found ${NOPE}, which is not set, expected NOPE in the environment, or ${NOPE:-default}"]);
    }
}
