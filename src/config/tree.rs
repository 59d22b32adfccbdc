//! YAML text to a tree of values, before anybody asks what they mean.

use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, UserMessageFormatter};

use super::error::ConfigError;

/// Reads `text` as one YAML document. Keys that come twice are refused.
///
/// An empty file is an empty mapping: the flags may say everything.
pub(super) fn read(text: &str, file: &str) -> Result<Value, ConfigError> {
    match parse(text) {
        Ok(Value::Null) => Ok(Value::Object(Map::new())),
        Ok(tree) => Ok(tree),
        Err(error) => Err(syntax_error(&error, file, is_for_want_of_quotes(text))),
    }
}

fn parse(text: &str) -> Result<Value, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        // As YAML 1.2 has it: `no` is a text, and so is `0660`.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // No key takes one; as texts they are refused where they stand.
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Whether it is YAML but for references that stand without quotes within `{ }` or `[ ]`, where their braces are YAML's.
fn is_for_want_of_quotes(text: &str) -> bool {
    let mut parts = text.split("${");
    let mut without = parts.next().unwrap_or_default().to_owned();
    let is_there = text.contains("${");
    for part in parts {
        without.push_str("reference");
        without.push_str(part.split_once('}').map_or(part, |(_, rest)| rest));
    }
    is_there && parse(&without).is_ok()
}

fn syntax_error(error: &serde_saphyr::Error, file: &str, wants_quotes: bool) -> ConfigError {
    // The excerpt that the library would print may hold a secret.
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let message = error.render_with_formatter(&UserMessageFormatter);
    let place = format!(" at line {line}, column {column}");
    let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    let hint = if wants_quotes { QUOTE } else { "" };
    ConfigError::Syntax { file: file.to_owned(), line, column, message: message + hint }
}

const QUOTE: &str = ". Within { } and [ ] a value with ${NAME} must be in quotes: \"${NAME}\"";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree(text: &str) -> Value {
        read(text, "a.yaml").unwrap()
    }

    fn error(text: &str) -> String {
        read(text, "a.yaml").unwrap_err().to_string()
    }

    #[test]
    fn scalars_are_what_yaml_1_2_says() {
        let text = "{a: true, b: yes, c: 0660, d: 660, e: 1_000, f: ~, g: 50ms, h: '5', i: -1, j: 127.0.0.1:9000, k: 1.5}";
        let expected = json!({
            "a": true, "b": "yes", "c": "0660", "d": 660, "e": "1_000", "f": null, "g": "50ms", "h": "5", "i": -1,
            "j": "127.0.0.1:9000", "k": 1.5,
        });
        assert_eq!(tree(text), expected);
    }

    #[test]
    fn an_empty_file_is_an_empty_mapping() {
        for text in ["", "# nothing\n", "---\n"] {
            assert_eq!(tree(text), json!({}), "{text:?}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let text = "a: &a {timeout: 50ms}\nb: {<<: *a, backend: x}\n";
        assert_eq!(tree(text)["b"], json!({ "timeout": "50ms", "backend": "x" }));
    }

    #[test]
    fn syntax_errors_have_line_and_column() {
        assert_eq!(error("a: b: c\n"), "a.yaml:1:5: mapping values are not allowed in this context");
        assert_eq!(error("a: 1\na: 2\n"), "a.yaml:2:1: duplicate mapping key `a` is not allowed here");
        assert_eq!(error("a: 1\n---\nb: 2\n"), "a.yaml:3:1: only single YAML document expected but multiple found");
        for text in ["a: [1\nb: 2\n", "a: 1\n\tb: 2\n", "a: *b\n", "'", "}"] {
            let error = error(text);
            assert!(error.starts_with("a.yaml:") && !error.starts_with("a.yaml:0"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn references_without_quotes_within_braces() {
        for text in ["a: { b: ${C} }\n", "a: [${C}]\n", "a:\n  - { b: x-${C:-d}, e: f }\n", "{ a: [{ b: ${C} }] }"] {
            assert!(error(text).ends_with("must be in quotes: \"${NAME}\""), "{}", error(text));
        }
        for text in ["a: { b: \"${C}\" }\n", "a: ${C}\n", "a: [\"x${C}y\"]\n"] {
            read(text, "a.yaml").unwrap();
        }
        // Something else is wrong, too, or alone.
        assert!(!error("a: { b: \"${C}\" \n").contains("quotes"));
    }
}
