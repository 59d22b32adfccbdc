//! YAML text to a tree of values, before anybody asks what they mean.

use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, UserMessageFormatter};

use super::error::ConfigError;

/// Reads `text` as one YAML document. Keys that come twice are refused.
///
/// An empty file is an empty mapping: the flags may say everything.
pub(super) fn read(text: &str, file: &str) -> Result<Value, ConfigError> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        // As YAML 1.2 has it: `no` is a text, and so is `0660`.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // No key takes one; as texts they are refused where they stand.
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(Value::Null) => Ok(Value::Object(Map::new())),
        Ok(tree) => Ok(tree),
        Err(error) => Err(syntax_error(&error, file)),
    }
}

fn syntax_error(error: &serde_saphyr::Error, file: &str) -> ConfigError {
    // The excerpt that the library would print may hold a secret.
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let message = error.render_with_formatter(&UserMessageFormatter);
    let place = format!(" at line {line}, column {column}");
    let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
    ConfigError::Syntax { file: file.to_owned(), line, column, message }
}

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
}
