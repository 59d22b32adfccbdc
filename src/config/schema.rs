//! The JSON Schema of the configuration file, for editors and for the checker alike.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

use super::raw;
use super::shape::EXTENSION;

/// The JSON Schema (draft 2020-12) of the configuration file, as it is written: `${NAME}` may stand for any value.
///
/// The checker follows the same schema, and then checks what a schema cannot say: ranges of durations and sizes,
/// addresses, names that refer to each other.
pub fn schema() -> Value {
    let mut schema = shape();
    allow_references(&mut schema);
    let own = json!({
        format!("^{EXTENSION}"): { "description": "The operator's own: a place for YAML anchors. The bridge does not look at it." },
    });
    schema.as_object_mut().into_iter().for_each(|schema| _ = schema.insert("patternProperties".to_owned(), own.clone()));
    schema
}

/// The schema of a configuration once the references to the environment are replaced.
pub(super) fn shape() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    // Absent is absent: a key with nothing behind it is more likely forgotten than meant.
    let settings = settings.with_transform(RecursiveTransform(not_null));
    settings.into_generator().into_root_schema_for::<raw::Config>().to_value()
}

/// Takes back that an optional key may also be null.
fn not_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get("type")
        && let [kind, null] = types.as_slice()
        && null == "null"
    {
        let kind = kind.clone();
        schema.insert("type".to_owned(), kind);
    }
    if let Some(Value::Array(either)) = schema.get("anyOf")
        && let [Value::Object(value), null] = either.as_slice()
        && *null == json!({ "type": "null" })
    {
        let value = value.clone();
        schema.remove("anyOf");
        for (key, value) in value {
            // What the field says goes before what its type says.
            schema.ensure_object().entry(key).or_insert(value);
        }
    }
}

/// Lets a text with `${NAME}` stand for every value that is not a list or a set of keys.
fn allow_references(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if schema.get("type").is_some_and(|kind| kind == "integer") {
        schema.insert("type".to_owned(), json!(["integer", "string"]));
        schema.insert("pattern".to_owned(), REFERENCE.into());
    } else if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        let either = format!("{pattern}|{REFERENCE}");
        schema.insert("pattern".to_owned(), either.into());
    } else if let Some(Value::Array(choices)) = schema.get_mut("oneOf") {
        choices.push(json!({ "type": "string", "pattern": REFERENCE, "description": "From the environment." }));
    }
    for below in ["items", "additionalProperties"] {
        schema.get_mut(below).into_iter().for_each(allow_references);
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten().for_each(|(_, property)| allow_references(property));
}

const REFERENCE: &str = r"\$\{";
