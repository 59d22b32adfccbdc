//! What is looked for, by subject.

mod acl;
mod address;
mod agent;
mod around;
mod backend;
mod body;
mod bridge;
mod buffer;
mod engine;
mod event;
mod grammar;
mod header;
mod order;
mod overlap;
mod path;
mod release;
mod response;
mod rules;
mod socket;
mod stale;
mod timeout;
mod unchecked;
mod variable;

use super::case::Case;
use super::finding::Findings;

pub(super) fn all(case: &Case<'_>, out: &mut Findings) {
    unchecked::check(case, out);
    grammar::check(case, out);
    acl::check(case, out);
    engine::check(case, out);
    event::check(case, out);
    backend::check(case, out);
    agent::check(case, out);
    overlap::check(case, out);
    timeout::check(case, out);
    body::check(case, out);
    response::check(case, out);
    variable::check(case, out);
    rules::check(case, out);
    path::check(case, out);
    order::check(case, out);
    stale::check(case, out);
    around::check(case, out);
    header::check(case, out);
    release::check(case, out);
    bridge::check(case, out);
    address::check(case, out);
    buffer::check(case, out);
}

/// `a`, `b` and `c`.
fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
