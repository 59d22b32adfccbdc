//! Texts to lines: words with their place, sections' scopes, conditional blocks, and the findings that a comment silences.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::condition::{self, Tri};
use super::word::{SyntaxError, Word, split};
use crate::haproxy::Version;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: Rc<str>,
    pub(crate) line: usize,
}

/// `no` or `default` before an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modifier {
    Plain,
    No,
    Default,
}

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) modifier: Modifier,
    /// Without the modifier. Never empty.
    pub(super) words: Vec<Word>,
    /// `[scope]` of an SPOE file.
    pub(super) scope: Option<Rc<str>>,
    /// In a conditional block of which we can't tell whether HAProxy reads it.
    pub(super) maybe: bool,
}

impl Line {
    /// A word that is there and certain.
    pub(super) fn get(&self, index: usize) -> Option<&str> {
        self.words.get(index)?.known()
    }

    pub(super) fn is(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(index, word)| self.get(index) == Some(word))
    }

    pub(super) fn from(&self, index: usize) -> &[Word] {
        self.words.get(index..).unwrap_or_default()
    }
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) lines: Vec<Line>,
    pub(super) errors: Vec<(Place, SyntaxError)>,
    /// Places at which a comment silences a finding, with its id.
    pub(super) ignored: BTreeSet<(Place, String)>,
    /// All `[scopes]` of the file.
    pub(super) scopes: Vec<(Place, Rc<str>)>,
}

/// What a comment begins with that silences findings: `# spop-bridge: ignore no-check because ...`.
const IGNORE: &str = "spop-bridge: ignore ";

/// Reads a file.
pub(super) fn read(file: &str, text: &str, version: Version, env: &dyn Fn(&str) -> Option<String>) -> Text {
    let file: Rc<str> = file.into();
    let mut result = Text::default();
    let mut blocks = condition::Blocks::default();
    let mut scope = None;
    let mut pending = Vec::new();
    for (index, raw) in text.split('\n').enumerate() {
        let place = Place { file: file.clone(), line: index + 1 };
        if let Some(name) = raw.trim_start().strip_prefix('[') {
            let name: Rc<str> = name.split(']').next().unwrap_or_default().trim().into();
            result.scopes.push((place, name.clone()));
            scope = (!name.is_empty()).then_some(name);
            continue;
        }
        let split = match split(raw, env) {
            Ok(split) => split,
            Err(error) => {
                result.errors.push((place, error));
                continue;
            }
        };
        pending.extend(split.comment.iter().filter_map(|comment| ignored_id(comment)));
        let mut words = split.words;
        if words.is_empty() {
            continue;
        }
        result.ignored.extend(pending.drain(..).map(|id| (place.clone(), id)));
        if blocks.directive(&words, version) {
            continue;
        }
        let maybe = match blocks.state() {
            Tri::False => continue,
            state => state == Tri::Unknown,
        };
        let modifier = match words.first().and_then(Word::known) {
            Some("no") => Modifier::No,
            Some("default") => Modifier::Default,
            _ => Modifier::Plain,
        };
        if modifier != Modifier::Plain {
            words.remove(0);
        }
        if !words.is_empty() {
            result.lines.push(Line { place, modifier, words, scope: scope.clone(), maybe });
        }
    }
    result
}

fn ignored_id(comment: &str) -> Option<String> {
    let id = comment.trim_start().strip_prefix(IGNORE)?.split_whitespace().next()?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Text {
        read("f", text, Version::new(3, 2), &|_| None)
    }

    #[test]
    fn scopes_and_modifiers() {
        let text = lines("[br]\nspoe-agent a\n  no option async\n\n[other]\nspoe-agent b\n");
        let seen: Vec<_> = text.lines.iter().map(|line| (line.place.line, line.scope.as_deref(), line.modifier)).collect();
        let (plain, no) = (Modifier::Plain, Modifier::No);
        assert_eq!(seen, [(2, Some("br"), plain), (3, Some("br"), no), (6, Some("other"), plain)]);
        assert!(text.lines[1].is(&["option", "async"]));
        assert_eq!(text.scopes.len(), 2);
    }

    #[test]
    fn comments_silence_on_the_line_or_before_it() {
        let text = lines("# spop-bridge: ignore a because\n# words\n\nserver x\nserver y # spop-bridge: ignore b\n");
        let seen: Vec<_> = text.ignored.iter().map(|(place, id)| (place.line, &id[..])).collect();
        assert_eq!(seen, [(4, "a"), (5, "b")]);
    }

    #[test]
    fn blocks_that_are_not_read() {
        let text = lines(
            ".if version_atleast(3.1)\n mode spop\n.else\n mode tcp\n.endif\n.if defined(X)\n a\n.elif true\n b\n.else\n c\n.endif\n d\n",
        );
        let seen: Vec<_> = text.lines.iter().map(|line| (line.get(0).unwrap(), line.maybe)).collect();
        assert_eq!(seen, [("mode", false), ("a", true), ("b", true), ("d", false)]);
    }
}
