//! How much to log, and in which form.

use schemars::JsonSchema;
use serde::Deserialize;

use super::names::names;

/// What to log, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important lines to print.
    pub level: LogLevel,
    /// What a line looks like.
    pub format: LogFormat,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogLevel {
    /// Something that must be repaired.
    Error,
    /// Something that will need attention.
    Warn,
    /// One line per happening that an operator cares about.
    #[default]
    Info,
    /// Every connection.
    Debug,
    /// As debug, today. Single NOTIFYs are in the decision log: `decision_log` with `one_in`.
    Trace,
}

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

names!(LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" });
names!(LogFormat { Auto = "auto", Text = "text", Json = "json" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for level in LogLevel::ALL {
            assert_eq!(level.as_str().parse(), Ok(*level));
        }
        assert_eq!("xml".parse::<LogFormat>(), Err("expected auto, text or json".to_owned()));
    }
}
