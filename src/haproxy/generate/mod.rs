//! HAProxy's side of a bridge, written from the bridge's configuration.
//!
//! ```text
//! Config, Options ──plan──▶ Plan ──┬─ spoe ────▶ the SPOE file: what is asked, when, and how long HAProxy waits
//!                                  ├─ backend ─▶ the section whose servers are the bridge
//!                                  ├─ rules ───▶ what a frontend does with the answers, and without them
//!                                  └─ complete ▶ all of it as a file that HAProxy runs
//! ```
//!
//! The same configuration and options give the same text, byte by byte.

mod backend;
mod body;
mod complete;
mod plan;
mod rules;
mod server;
mod spoe;
#[cfg(test)]
mod tests;
mod text;

use thiserror::Error;

use self::plan::Plan;
pub(crate) use self::server::{Target, TlsFiles};
use super::Version;
use crate::config::{Condition, Config, Event};

/// What the configuration of the bridge does not say.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) version: Version,
    /// Where HAProxy reaches the bridge; empty: at its listeners.
    pub(crate) servers: Vec<Target>,
    /// Names of the listeners that HAProxy uses; empty: all that it can use.
    pub(crate) listeners: Vec<String>,
    /// The SPOE file, as the `filter` line names it.
    pub(crate) spoe_file: String,
    pub(crate) tls: TlsFiles,
}

/// The texts, and the name of the file for each.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) spoe: String,
    pub(crate) backend: String,
    pub(crate) rules: String,
    pub(crate) complete: String,
    /// For the operator, before HAProxy runs with it.
    pub(crate) warnings: Vec<String>,
}

/// Why there is nothing to write.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum GenerateError {
    #[error(
        "no route says how HAProxy comes to send its messages. Give one exact messages and `haproxy`, for example:\n\n    \
         routes:\n      - messages: [check-request]\n        backend: {backend}\n        haproxy: {{}}"
    )]
    NothingAsked { backend: String },
    #[error("--listener {name}: no listener has that name, there is {known}")]
    UnknownListener { name: String, known: String },
    #[error(
        "no listener takes the messages of all routes that have `haproxy`: one engine cannot ask them all. Let the routes agree in \
         `listeners`, or generate for one listener at a time from files of their own"
    )]
    NoListener,
    #[error("the listeners {listeners} have different var_prefix: say with --listener which of them HAProxy uses")]
    Prefixes { listeners: String },
    #[error("the listeners {listeners} are not alike in TLS: say with --listener which of them is behind --server")]
    MixedTls { listeners: String },
    #[error(
        "listener {name} listens on a port that is not known before it runs ({bind}): say with --server where HAProxy reaches it"
    )]
    UnknownPort { name: String, bind: String },
    #[error(
        "a frame of {frame} bytes has no room for a body beside the other args of {message}: raise max_frame_size of the listeners"
    )]
    FrameTooSmall { frame: u32, message: String },
    #[error(
        "{message} looks at a response's body, which is not there when a message leaves: on-http-response comes with the headers. HAProxy \
         can wait for it only before a group that an http-response rule sends, and generate writes none: write these lines \
         yourself (http-response wait-for-body, then http-response send-spoe-group)"
    )]
    ResponseBody { message: String },
    #[error(
        "{message} looks at a request's body at {event}, when it is not there: take on-frontend-http-request, on-backend-http-request \
         or a group"
    )]
    BodyNotThere { message: String, event: Event },
    #[error(
        "{message} looks at the body at an event, which comes before all rules: HAProxy would have to wait for the body of every \
         request, and answer 408 to slow clients that are not asked about. Give the route a `group` in place of the event; then \
         it waits only if {condition}"
    )]
    EventWaitsForAll { message: String, condition: Condition },
}

/// Writes HAProxy's side of the bridge that `config` describes.
pub(crate) fn generate(config: &Config, options: &Options) -> Result<Parts, GenerateError> {
    let plan = Plan::new(config, options)?;
    Ok(Parts {
        spoe: spoe::write(&plan),
        backend: backend::write(&plan),
        rules: rules::write(&plan),
        complete: complete::write(&plan),
        warnings: plan.warnings(),
    })
}
