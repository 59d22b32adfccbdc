//! Another configuration while the bridge runs: what changes, what stays, and what is refused.

mod backends;
mod early;
mod listeners;
mod refused;
mod settings;
mod under_load;
mod watch;

pub(crate) use early::wait_until_it_catches;
use serde_json::Value;

use crate::support::bridge::NOT_RELOADED;
use crate::support::service::Service;

/// One backend with a route for everything, and more keys of the top level.
fn config(service: &Service, more: &str) -> String {
    format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 10s }}]\n{more}",
        service.uri()
    )
}

/// The changes that a reload tells, which must have been done.
fn changes(reload: &Value) -> &str {
    assert_eq!(reload["message"], "configuration reloaded", "{reload}");
    reload["changes"].as_str().expect("changes")
}

fn assert_refused(reload: &Value) {
    assert_eq!(reload["message"], NOT_RELOADED, "{reload}");
}
