//! The reference of the configuration's keys, in Markdown, made from the JSON Schema.
//!
//! A section for each set of keys, a row for each key. A `Default:` that ends a description becomes the column of that name.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{schema, variable};

/// Every key of the configuration with its type, its range and unit, its default and its meaning, as a page of Markdown.
///
/// `docs/configuration-reference.md` is what this returns.
pub fn reference() -> String {
    let schema = schema::shape();
    let mut page = Page { text: INTRODUCTION.to_owned(), sections: Vec::new() };
    page.section("", &schema);
    page.text
}

const INTRODUCTION: &str = "# Configuration reference

Every key of the configuration file, made from its JSON Schema by `spop-bridge schema --format markdown`. What the keys do together, how values are
written, and where else they may come from is in [configuration.md](configuration.md). Required keys come first in each table, the others by name.

";

/// What is written so far, and which sections that are.
struct Page<'a> {
    text: String,
    sections: Vec<(String, &'a Map<String, Value>)>,
}

impl<'a> Page<'a> {
    /// The keys of `schema`, which stand at `path` in the file, and then those of the keys.
    fn section(&mut self, path: &str, schema: &'a Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        self.sections.push((path.to_owned(), properties));
        let level = if path.contains('.') { "###" } else { "##" };
        let _ = writeln!(self.text, "{level} {}\n", if path.is_empty() { "Top level" } else { path });
        let introduction = Meaning::of(schema).text;
        if !path.is_empty() && !introduction.is_empty() {
            let _ = writeln!(self.text, "{introduction}\n");
        }
        self.text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        let required = |key: &str| schema["required"].as_array().is_some_and(|keys| keys.iter().any(|name| name == key));
        let mut keys: Vec<_> = properties.iter().collect();
        keys.sort_by_key(|(key, _)| !required(key));
        for (key, property) in &keys {
            // Keys that are alike share the section of the first.
            let alike = |(_, other): &&(&String, &Value)| inner(other)["properties"] == inner(property)["properties"];
            let first = keys.iter().find(alike).map_or(*key, |(first, _)| first);
            self.row(key, property, required(key), &below(path, first));
        }
        self.text.push('\n');
        if path.is_empty() {
            keys.sort_by_key(|(key, _)| ORDER.iter().position(|first| first == key).unwrap_or(ORDER.len()));
        }
        for (key, property) in keys {
            let inner = inner(property);
            if self.known(inner).is_none() {
                self.section(&below(path, key), inner);
            }
        }
    }

    fn row(&mut self, key: &str, property: &Value, required: bool, path: &str) {
        let meaning = Meaning::of(property);
        let default = match &property["default"] {
            _ if required => "required".to_owned(),
            Value::Null => meaning.default,
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let cells = [format!("`{key}`"), self.kind(property, path), default, meaning.text];
        let _ = writeln!(self.text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }

    /// What may stand there, in words.
    fn kind(&self, property: &Value, path: &str) -> String {
        let link = || {
            let keys = inner(property);
            keys["properties"].is_object().then(|| {
                let section = self.known(keys).unwrap_or(path);
                format!("[{section}](#{})", section.replace('.', ""))
            })
        };
        let of = |schema: &Value| link().unwrap_or_else(|| self.kind(schema, path));
        if property["items"].is_object() {
            let each = if property.pointer("/items/title").is_some() && link().is_none() { "list, each" } else { "list of" };
            format!("{each} {}", of(&property["items"]))
        } else if property["additionalProperties"].is_object() {
            let pattern = property.pointer("/propertyNames/pattern");
            let by = if pattern.is_some_and(|pattern| pattern == variable::PATTERN) { "variable" } else { "name" };
            format!("{} by {by}", of(&property["additionalProperties"]))
        } else if property["type"] == "object" {
            link().unwrap_or_default()
        } else {
            scalar(property)
        }
    }

    /// The section that has these keys already.
    fn known(&self, schema: &Value) -> Option<&str> {
        let properties = schema["properties"].as_object()?;
        self.sections.iter().find(|(_, known)| *known == properties).map(|(path, _)| path.as_str())
    }
}

/// Sections that come first: the way of a NOTIFY.
const ORDER: [&str; 4] = ["listeners", "backends", "on_failure", "routes"];

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What has keys of its own: the property, or what is in its list or map.
fn inner(property: &Value) -> &Value {
    let below = [&property["items"], &property["additionalProperties"]];
    below.into_iter().find(|schema| schema["properties"].is_object()).unwrap_or(property)
}

/// A value without keys of its own.
fn scalar(property: &Value) -> String {
    let choices = choices(property);
    let length = |bound: &str| property[bound].as_u64();
    if let Some(title) = property["title"].as_str() {
        title.to_owned()
    } else if property["type"] == "boolean" {
        "`true`, `false`".to_owned()
    } else if !choices.is_empty() {
        choices.iter().map(|(choice, _)| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
    } else if property["pattern"] == variable::PATTERN {
        "variable: scope.name".to_owned()
    } else if let (Some(least), Some(most)) = (length("minLength"), length("maxLength")) {
        format!("text, {least} to {most} characters")
    } else {
        "text".to_owned()
    }
}

/// The words that are allowed, each with what it means.
fn choices(property: &Value) -> Vec<(&str, Option<&str>)> {
    let plain = property["enum"].as_array().into_iter().flatten().filter_map(|word| Some((word.as_str()?, None)));
    let described = property["oneOf"].as_array().into_iter().flatten();
    let described = described.flat_map(|choice| {
        let words = choice["enum"].as_array().into_iter().flatten().chain(choice.get("const"));
        words.filter_map(|word| Some((word.as_str()?, choice["description"].as_str())))
    });
    plain.chain(described).collect()
}

/// What a description says.
struct Meaning {
    text: String,
    default: String,
}

impl Meaning {
    fn of(schema: &Value) -> Self {
        let text = schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let (mut text, default) = match text.split_once("Default: ") {
            Some((text, default)) => (text.trim_end().to_owned(), default.trim_end_matches('.').to_owned()),
            None => (text, String::new()),
        };
        for (choice, meaning) in choices(schema) {
            if let Some(meaning) = meaning {
                let _ = write!(text, " `{choice}`: {}.", meaning.trim_end_matches('.'));
            }
        }
        Self { text, default }
    }
}
