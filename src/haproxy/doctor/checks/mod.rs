//! What is looked for, by subject.

mod agent;
mod backend;
mod body;
mod bridge;
mod engine;
mod event;
mod path;
mod release;
mod rules;
mod timeout;
mod variable;

use super::case::Case;
use super::finding::Findings;

pub(super) fn all(case: &Case<'_>, out: &mut Findings) {
    engine::check(case, out);
    event::check(case, out);
    backend::check(case, out);
    agent::check(case, out);
    timeout::check(case, out);
    body::check(case, out);
    variable::check(case, out);
    rules::check(case, out);
    path::check(case, out);
    release::check(case, out);
    bridge::check(case, out);
}

/// `a`, `b` and `c`.
fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
