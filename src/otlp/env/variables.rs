//! Environment variables by the rules that OpenTelemetry has for all of them: empty is unset, and what is invalid is reported and then
//! taken as unset, since telemetry is no reason not to start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The variables whose names start with `OTEL_`, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    known: BTreeSet<String>,
    warnings: Vec<String>,
}

impl Variables {
    pub(super) fn new(all: impl IntoIterator<Item = (String, String)>) -> Self {
        let set = |(name, value): (String, String)| (name, value.trim().to_owned());
        let all = all.into_iter().filter(|(name, _)| name.starts_with("OTEL_")).map(set);
        Self { values: all.filter(|(_, value)| !value.is_empty()).collect(), ..Self::default() }
    }

    /// What is wrong, and which variables nobody has asked for.
    pub(super) fn into_warnings(self) -> Vec<String> {
        let Self { values, known, mut warnings } = self;
        let others: Vec<&str> = values.keys().filter(|name| !known.contains(*name)).map(String::as_str).collect();
        if !others.is_empty() {
            warnings.push(format!("set, but not honoured: {}", others.join(", ")));
        }
        warnings
    }

    /// Values are not repeated in warnings unless the caller does: some are secrets.
    pub(super) fn warn(&mut self, name: &str, problem: impl Display) {
        let warning = format!("{name}: {problem}");
        // Some variables are read for each signal.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        if !self.known.contains(name) {
            self.known.insert(name.to_owned());
        }
        self.values.get(name).cloned()
    }

    /// One of a few words, in any case; lower case comes back.
    pub(super) fn word(&mut self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.to_ascii_lowercase())
    }

    /// Words with commas between them.
    pub(super) fn words(&mut self, name: &str) -> Option<Vec<String>> {
        let words = |text: String| text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
        self.word(name).map(words)
    }

    /// Only `true` is true.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.word(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.warn(name, format_args!("found {other}, expected true or false; taken as false"));
                false
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            self.warn(name, format_args!("found {text}, expected a whole number from {least} to {most}; ignored"));
        }
        number
    }

    /// A number of milliseconds.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.number(name, 1..=DAY).map(Duration::from_millis)
    }
}

/// Milliseconds.
const DAY: u64 = 86_400_000;
