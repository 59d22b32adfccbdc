//! How much to log, and in which form.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::suggest::list;

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
    /// Every NOTIFY.
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

/// Names of an enum's values, both ways: for configuration and command line.
macro_rules! names {
    ($enum:ident { $($value:ident = $name:literal),+ $(,)? }) => {
        impl $enum {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The name in configuration and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }

        impl FromStr for $enum {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let known = Self::ALL.iter().find(|value| value.as_str() == text);
                let names = || list(Self::ALL.iter().map(|value| value.as_str()));
                known.copied().ok_or_else(|| format!("expected {}", names()))
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
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
