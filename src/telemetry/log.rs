//! The log: text on a terminal, JSON elsewhere, on standard error.
//!
//! A thread of its own writes it. When whoever reads it is too slow, lines are left out, and no worker waits. What it writes becomes
//! [records](super::records) as well, if somebody exports them.

use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::records::Records;
use crate::config::{LogConfig, LogFormat, LogLevel};

/// Replaces the filter of the log that [`init`] has started.
static REPLACE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// What is written when it is dropped.
static REST: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Counts the lines that were left out.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that may wait to be written: a second's worth of the busiest log that throttling lets through, about a mebibyte.
const LINES: usize = 4_096;

/// Starts logging. Called once, before anything is worth a line; a second call is ignored.
pub(crate) fn init(config: &LogConfig) {
    let terminal = std::io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let (writer, rest) =
        NonBlockingBuilder::default().buffered_lines_limit(LINES).lossy(true).thread_name("log").finish(std::io::stderr());
    *REST.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    let _ = LOST.set(writer.error_counter());
    let builder = tracing_subscriber::fmt().with_env_filter(filter(config.level)).with_writer(writer).with_target(false);
    // A log that is already set (tests in one process) stays. The two kinds of a handle are different types.
    if json {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.finish().with(Records).try_init().is_ok() {
            let _ = REPLACE.set(Box::new(move |filter| drop(handle.reload(filter))));
        }
    } else {
        let builder = builder.with_ansi(terminal).with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.finish().with(Records).try_init().is_ok() {
            let _ = REPLACE.set(Box::new(move |filter| drop(handle.reload(filter))));
        }
    }
}

/// Lines that were left out, since whoever reads them was too slow.
pub(super) fn lost() -> usize {
    LOST.get().map_or(0, ErrorCounter::dropped_lines)
}

/// Writes what is left, before the process ends; for a second at most.
pub(crate) fn flush() {
    drop(REST.lock().unwrap_or_else(PoisonError::into_inner).take());
    super::decision_log::flush();
}

/// Another level from now on.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(replace) = REPLACE.get() {
        replace(filter(level));
    }
}

/// Libraries below speak up only when something is wrong: at info a line is about a happening of ours. Those that speak with
/// peers warn of what peers do, as often as those do it: we count and log that ourselves.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("warn,h2=error,hickory=off,hyper=error,tonic=error,spop_bridge={}", level.as_str()))
}
