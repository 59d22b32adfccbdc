//! The log: text on a terminal, JSON elsewhere, on standard error.
//!
//! A [thread of its own](super::writer) writes it. When its reader is too slow, lines are left out, and no worker waits. What it writes
//! becomes [records](super::records) as well, if a receiver is set for them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Instant;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::format::{PrintableFields, PrintableJson};
use super::records::Records;
use super::throttle::Throttle;
use super::writer::Writer;
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::printable::{PrintableLines, without_passwords};

/// Replaces the filter of the log that [`init`] has started.
static REPLACE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

static WRITER: OnceLock<Writer> = OnceLock::new();

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
    let builder = tracing_subscriber::fmt().with_env_filter(filter(config.level)).with_target(false);
    // It would print them itself, and wait for whoever reads that.
    let builder = builder.log_internal_errors(false);
    // A log that is already set (tests in one process) stays. The two kinds of a handle are different types.
    if json {
        let writer = || PrintableJson(writer());
        let builder = builder.json().flatten_event(true).with_writer(writer).with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.finish().with(Records).try_init().is_ok() {
            let _ = REPLACE.set(Box::new(move |filter| drop(handle.reload(filter))));
        }
    } else {
        let builder = builder.fmt_fields(PrintableFields).with_writer(writer).with_ansi(terminal).with_filter_reloading();
        let handle = builder.reload_handle();
        if builder.finish().with(Records).try_init().is_ok() {
            let _ = REPLACE.set(Box::new(move |filter| drop(handle.reload(filter))));
        }
    }
}

/// Says on standard error why the process ends, before there is a log or in its place.
pub(crate) fn complain(message: &str) {
    writer().push(format!("spop-bridge: {}\n", PrintableLines(without_passwords(message))).as_bytes());
}

/// What panics say becomes a line of the log: the standard library would print it, and wait for whoever reads standard error, on whatever
/// thread it is.
pub(crate) fn log_panics() {
    static THROTTLE: Throttle = Throttle::of_many();
    std::panic::set_hook(Box::new(|panic| {
        // One that a peer can bring about would come with each NOTIFY.
        let Some(suppressed) = THROTTLE.admit() else { return };
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(panic = text(panic), place, thread, backtrace, suppressed, "panic, a bug: please report it");
    }));
}

fn text<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

/// Lines that the queue had no room for, and those that could not be written.
pub(super) fn lost() -> (u64, u64) {
    WRITER.get().map_or((0, 0), |writer| (writer.left_out(), writer.failed()))
}

/// Writes what is left, until `end` at the latest.
pub(super) fn flush(end: Instant) {
    WRITER.get().into_iter().for_each(|writer| writer.flush(end));
}

fn writer() -> &'static Writer {
    WRITER.get_or_init(|| Writer::start("log", LINES, std::io::stderr()))
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
