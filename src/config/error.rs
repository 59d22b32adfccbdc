//! What is wrong with a configuration, in the operator's terms.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::path::Path;
use crate::printable::{Printable, without_userinfo};

/// A configuration that cannot be used.
///
/// Prints one line per problem, each with where it is, ready for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not YAML. Nothing else can be said about it.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file, as it was named.
        file: String,
        /// The line, from 1; 0 if the parser does not know it.
        line: u64,
        /// The column, from 1; 0 if the parser does not know it.
        column: u64,
        /// What the parser found.
        message: String,
    },
    /// The file is YAML, but not a configuration.
    #[error("{}", lines(.file, .problems))]
    Invalid {
        /// The file, as it was named.
        file: String,
        /// Everything that is wrong, sorted by path; at least one.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// Everything that is wrong, a line each, as it is printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.to_string().lines().map(str::to_owned).collect()
    }

    /// Everything that is wrong; empty if the file is not even YAML.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Syntax { .. } => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }
}

fn lines(file: &str, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| if problem.path.is_flag() { problem.to_string() } else { format!("{file}: {problem}") })
        .collect();
    lines.join("\n")
}

/// One thing that is wrong: `routes[1].timeout: found 0ms, expected 1ms to 60s`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub path: Path,
    /// What stands there. Never a secret.
    pub found: String,
    /// What could stand there instead.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.path, self.found, self.expected)
    }
}

/// Something that works but is hardly meant: `backends.spare: no route uses it`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where.
    pub path: Path,
    /// What is odd about it.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Problems as they are found.
///
/// The first word about a place is the last: later problems at or below it would only be consequences.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    /// Where they are.
    places: HashSet<Path>,
    shown: Shown,
    /// Values that came from the environment, each with what is written.
    hidden: Vec<(String, String)>,
}

/// Bytes of a value that is looked for in whatever is said about other places. A shorter one would be found in other words.
const LEAST_HIDDEN: usize = 6;

/// What to show in place of values that came from the environment, by their place: these as they are written.
pub(super) type Shown = BTreeMap<Path, String>;

impl Problems {
    /// Says that `value`, which stands at `path`, came from the environment, and is shown as `written`.
    pub(super) fn hide(&mut self, path: &Path, value: &str, written: String) {
        if value.len() >= LEAST_HIDDEN {
            self.hidden.push((value.to_owned(), written.clone()));
        }
        self.shown.insert(path.clone(), written);
    }

    /// The value at `path` as it may be shown, where a problem at another place names it.
    pub(super) fn shown(&self, path: &Path, value: impl fmt::Display) -> String {
        self.shown.get(path).map_or_else(|| value.to_string(), String::clone)
    }

    /// Records that `found` stands at `path` where `expected` should be.
    ///
    /// If the value there came from the environment, what is written there is said instead of `found`.
    pub(super) fn add(&mut self, path: &Path, found: impl fmt::Display, expected: impl fmt::Display) {
        if path.ancestors().any(|place| self.places.contains(place)) {
            return;
        }
        self.places.insert(path.clone());
        let problem = Problem { path: path.clone(), found: cut(&self.shown(path, found)), expected: expected.to_string() };
        self.list.push(problem);
    }

    /// How many are recorded.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Everything recorded, in the order of the paths, and what hides values. These are not in `warnings` either, then.
    pub(super) fn finish(self, warnings: &mut [Warning]) -> (Vec<Problem>, Shown) {
        let Self { mut list, shown, hidden, .. } = self;
        let said = list.iter_mut().flat_map(|Problem { found, expected, .. }| [found, expected]);
        for text in said.chain(warnings.iter_mut().map(|warning| &mut warning.message)) {
            for (value, written) in hidden.iter().filter(|(value, _)| text.contains(value)).collect::<Vec<_>>() {
                *text = text.replace(value, written);
            }
        }
        list.sort();
        (list, shown)
    }

    #[cfg(test)]
    pub(super) fn sorted(self) -> Vec<Problem> {
        self.finish(&mut []).0
    }
}

/// Keeps one problem on one line of bearable length, where it can be seen, and without a password.
fn cut(text: &str) -> String {
    let text = if text.trim().is_empty() { format!("\"{text}\"") } else { without_userinfo(text).into_owned() };
    let text = Printable(text).to_string();
    if text.chars().count() <= MAX_FOUND {
        return text;
    }
    text.chars().take(MAX_FOUND).chain("...".chars()).collect()
}

/// Most characters of a value that a problem repeats: enough to recognise it.
const MAX_FOUND: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(index: usize) -> Path {
        Path::root().key("routes").index(index).key("timeout")
    }

    #[test]
    fn prints_path_found_and_expected() {
        let mut problems = Problems::default();
        problems.add(&timeout(1), "0ms", "1ms to 60s");
        let problems = problems.sorted();
        assert_eq!(problems[0].to_string(), "routes[1].timeout: found 0ms, expected 1ms to 60s");
    }

    #[test]
    fn consequences_of_a_problem_are_left_out() {
        let mut problems = Problems::default();
        problems.add(&Path::root().key("routes").index(0), "5", "keys and values");
        problems.add(&timeout(0), "nothing", "something");
        problems.add(&timeout(1), "nothing", "something");
        assert_eq!(problems.sorted().len(), 2);
    }

    #[test]
    fn an_error_names_the_file_but_not_before_a_flag() {
        let mut problems = Problems::default();
        problems.add(&timeout(0), "0ms", "1ms to 60s");
        problems.add(&Path::flag("--workers"), "0", "1 to 256");
        let error = ConfigError::Invalid { file: "a.yaml".to_owned(), problems: problems.sorted() };
        let expected = "a.yaml: routes[0].timeout: found 0ms, expected 1ms to 60s\n--workers: found 0, expected 1 to 256";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn long_and_odd_values_stay_on_one_line() {
        assert_eq!(cut("a\nb \"c\""), "a\\nb \"c\"");
        assert_eq!(cut(&"x".repeat(500)).len(), MAX_FOUND + 3);
    }
}
