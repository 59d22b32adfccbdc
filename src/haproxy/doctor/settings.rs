//! What lines set: an option, a time, a number, or that it cannot be told.

use super::line::{Line, Modifier};

/// A value that was set, or can't be told: from the environment, or in a conditional block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting<T> {
    Unset,
    Known(T),
    Unclear,
}

impl<T> Setting<T> {
    pub(super) fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn map<U>(self, f: impl FnOnce(T) -> Option<U>) -> Setting<U> {
        match self {
            Self::Unset => Setting::Unset,
            Self::Known(value) => f(value).map_or(Setting::Unclear, Setting::Known),
            Self::Unclear => Setting::Unclear,
        }
    }
}

/// The last of some lines has a say, unless one of them may or may not be there.
fn last<'a>(lines: impl Iterator<Item = &'a Line>) -> Setting<&'a Line> {
    let mut setting = Setting::Unset;
    for line in lines {
        setting = match (line.maybe, setting) {
            (true, _) | (_, Setting::Unclear) => Setting::Unclear,
            _ => Setting::Known(line),
        };
    }
    setting
}

/// A list of lines about one thing: a proxy, the global section, an SPOE agent.
pub(super) trait Settings {
    fn lines(&self) -> &[Line];

    /// The line that sets `words`, such as `timeout connect`.
    fn line(&self, words: &[&str]) -> Setting<&Line> {
        last(self.lines().iter().filter(|line| line.is(words)))
    }

    /// The word after `words`.
    fn value(&self, words: &[&str]) -> Setting<&str> {
        self.line(words).map(|line| line.get(words.len()))
    }

    /// The word after `words` as milliseconds.
    fn time(&self, words: &[&str]) -> Setting<u64> {
        self.value(words).map(milliseconds)
    }

    fn number(&self, words: &[&str]) -> Setting<u64> {
        self.value(words).map(|text| text.parse().ok())
    }

    /// Whether `option NAME` is on; `None` if it isn't certain or nothing is said.
    fn option(&self, name: &str) -> Setting<bool> {
        match self.line(&["option", name]) {
            Setting::Known(line) if line.modifier == Modifier::Default => Setting::Unset,
            setting => setting.map(|line| Some(line.modifier == Modifier::Plain)),
        }
    }
}

/// What HAProxy takes for a time: a number with a unit, milliseconds without.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let factor = match unit {
        "us" => return Some(number / 1000),
        "ms" | "" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, time) in [("100", Some(100)), ("2s", Some(2000)), ("500us", Some(0)), ("1d", Some(86_400_000)), ("x", None)] {
            assert_eq!(milliseconds(text), time, "{text}");
        }
    }
}
