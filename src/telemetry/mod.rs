//! What happened, recorded in one place per happening.
//!
//! Code that notices something says so once, by building a value from [`event`] and calling its `record`; what becomes of it
//! (a log line, a count) is decided here. Happenings that a peer or a service can cause at any rate are counted always and
//! logged at most once a second each.

#[cfg_attr(not(feature = "bridge"), allow(dead_code, reason = "the bridge lists them"))]
pub(crate) mod connections;
#[cfg_attr(not(feature = "bridge"), allow(dead_code, reason = "the bridge reports the counts"))]
mod count;
#[cfg(feature = "bridge")]
pub(crate) mod decision_log;
pub(crate) mod event;
#[cfg(feature = "bridge")]
mod few;
#[cfg(feature = "bridge")]
mod format;
#[cfg(feature = "bridge")]
mod log;
#[cfg_attr(not(feature = "bridge"), allow(dead_code, reason = "the bridge reads them"))]
pub(crate) mod metrics;
#[cfg(feature = "bridge")]
pub(crate) mod queue;
#[cfg(feature = "bridge")]
pub(crate) mod records;
mod throttle;
pub(crate) mod trace;
#[cfg(feature = "bridge")]
mod writer;

#[cfg(feature = "bridge")]
use std::time::{Duration, Instant};

use count::Count;
#[cfg(feature = "bridge")]
pub(crate) use count::Totals;
#[cfg(feature = "bridge")]
pub(crate) use few::few;
#[cfg(feature = "bridge")]
pub(crate) use log::{complain, init, log_panics, set_level};
#[cfg(feature = "bridge")]
pub(crate) use trace::TraceContext;

/// Writes what is left of both logs, for as long as `limit` at most: their readers may have stalled.
#[cfg(feature = "bridge")]
pub(crate) fn flush(limit: Duration) {
    let end = Instant::now() + limit;
    log::flush(end);
    decision_log::flush(end);
}
#[cfg(all(test, feature = "bridge", feature = "tls"))]
mod tests;
