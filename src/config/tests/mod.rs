//! The way from text to configuration, end to end.

mod accepted;
mod effective;
mod passing;
mod problems;
mod schema;
mod secrets;
mod shared;

use super::{Config, Warning};

/// Every key once, with values other than the defaults.
const EVERYTHING: &str = include_str!("everything.yaml");

/// A backend, as the smallest file has it.
const BACKEND: &str = "backends: {a: {endpoints: ['http://a:1']}}\n";

/// The environment of all tests.
fn env(name: &str) -> Option<String> {
    match name {
        "DECISIONS_HOST" => Some("decisions".to_owned()),
        "WORKERS" => Some("3".to_owned()),
        "FAIL_OPEN" => Some("true".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> (Config, Vec<Warning>) {
    Config::from_yaml(text, "test.yaml", &env).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The problems with `text`, a line each.
fn problems(text: &str) -> Vec<String> {
    let error = Config::from_yaml(text, "test.yaml", &env).expect_err(text);
    error.problems().iter().map(ToString::to_string).collect()
}
