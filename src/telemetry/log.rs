//! The log: text on a terminal, JSON elsewhere, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging. Called once, before anything is worth a line; a second call is ignored.
pub(crate) fn init(config: &LogConfig) {
    // Libraries below speak up only when something is wrong: at info a line is about a happening of ours. Those that speak with peers
    // warn of what peers do, as often as those do it: we count and log that ourselves.
    let filter =
        EnvFilter::new(format!("warn,h2=error,hickory=off,hyper=error,tonic=error,spop_bridge={}", config.level.as_str()));
    let terminal = std::io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that is already set (tests in one process) stays.
    let _ = if json {
        builder.json().flatten_event(true).with_target(false).try_init()
    } else {
        builder.with_target(false).with_ansi(terminal).try_init()
    };
}
