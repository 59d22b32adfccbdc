//! `${NAME}` in a configuration's texts: values from the environment.
//!
//! | written | becomes |
//! |---|---|
//! | `${NAME}` | the variable's value; a problem if it is not set |
//! | `${NAME:-default}` | the same, or `default` if it is not set or empty |
//! | `$$` | one `$` |
//!
//! Anything else after a `$` is a problem, so that a forgotten brace is noticed. Values are not expanded again.
//!
//! What came this way may be a secret, whatever it is for: it is shown as it is written.

use std::fmt::Write;

/// A text with its references replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// What to show instead, if anything came from the environment: the text as it is written, without defaults.
    pub(super) shown: Option<String>,
}

/// Why a reference could not be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadReference {
    pub(super) found: String,
    pub(super) expected: String,
}

/// Replaces every reference in `text` with what `env` says.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, BadReference> {
    let mut expanded = String::with_capacity(text.len());
    let mut shown = String::new();
    let mut referenced = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        shown.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            shown.push_str("$$");
            after
        } else if let Some((reference, after)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            let (name, default) = name_and_default(reference);
            expanded.push_str(&value(reference, env)?);
            let _ = write!(shown, "${{{name}{}}}", if default.is_some() { ":-(redacted)" } else { "" });
            referenced = true;
            after
        } else {
            return Err(BadReference {
                found: "a $ that starts no ${NAME}".to_owned(),
                expected: "$$ for a literal $".to_owned(),
            });
        };
    }
    expanded.push_str(rest);
    shown.push_str(rest);
    Ok(Expanded { text: expanded, shown: referenced.then_some(shown) })
}

fn name_and_default(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    }
}

/// The value of `NAME` or `NAME:-default`.
fn value(reference: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, BadReference> {
    let (name, default) = name_and_default(reference);
    if !is_name(name) {
        // It may be a secret in the wrong place.
        let found = "${...} with something in it that is no name".to_owned();
        return Err(BadReference { found, expected: "${NAME} or ${NAME:-default}".to_owned() });
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(BadReference {
            found: format!("${{{name}}}, which is not set"),
            expected: format!("{name} in the environment, or ${{{name}:-default}}"),
        }),
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("decisions".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    fn text(written: &str) -> String {
        expand(written, &env).unwrap().text
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        assert_eq!(text("http://${HOST}:${PORT:-50051}"), "http://decisions:50051");
        assert_eq!(text("${EMPTY:-default}"), "default");
        assert_eq!(text("${EMPTY}"), "");
        assert_eq!(text("${UNSET:-}"), "");
        assert_eq!(text("plain"), "plain");
    }

    #[test]
    fn two_dollars_are_one() {
        assert_eq!(expand("$$5 $${HOST}", &env).unwrap(), Expanded { text: "$5 ${HOST}".to_owned(), shown: None });
    }

    #[test]
    fn what_came_from_the_environment_is_shown_as_written() {
        let shown = |written: &str| expand(written, &env).unwrap().shown;
        assert_eq!(shown("a $$ ${HOST}:${PORT:-50051}/"), Some("a $$ ${HOST}:${PORT:-(redacted)}/".to_owned()));
        assert_eq!(shown("${EMPTY}"), Some("${EMPTY}".to_owned()));
        assert_eq!(shown("plain"), None);
    }

    #[test]
    fn values_are_not_expanded_again() {
        assert_eq!(text("${TRICKY}"), "${HOST}");
    }

    #[test]
    fn an_unset_variable_is_a_problem() {
        let problem = expand("${MISSING}", &env).unwrap_err();
        assert_eq!(problem.found, "${MISSING}, which is not set");
        assert_eq!(problem.expected, "MISSING in the environment, or ${MISSING:-default}");
    }

    #[test]
    fn a_half_reference_is_a_problem() {
        for written in ["$HOST", "${HOST", "5$", "${}", "${1A}", "${A-b}"] {
            assert!(expand(written, &env).is_err(), "{written}");
        }
    }
}
