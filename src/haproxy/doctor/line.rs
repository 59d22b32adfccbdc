//! Texts to lines: words with their place, sections' scopes, conditional blocks, and the findings that a comment silences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use super::condition::{self, Tri};
use super::env::Env;
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
    /// As it stands in the file.
    pub(super) raw: Rc<str>,
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

    /// Its text with other words in the place of some, comments and spaces kept.
    pub(super) fn with(&self, words: Range<usize>, text: &str) -> String {
        let place = |index: usize| self.words.get(index).map(Word::span);
        let end = self.words.last().map_or(self.raw.len(), |word| word.span().end);
        let from = place(words.start).map_or(end, |span| span.start);
        let to = words.end.checked_sub(1).filter(|last| *last >= words.start).and_then(place).map_or(from, |span| span.end);
        let part = |range| self.raw.get(range).unwrap_or_default();
        [part(0..from), text, part(to..self.raw.len())].concat()
    }

    /// The text of some of its words.
    pub(super) fn text(&self, words: Range<usize>) -> &str {
        let span = |index: usize| self.words.get(index).map(Word::span);
        let last = words.end.checked_sub(1).and_then(span);
        let (Some(first), Some(last)) = (span(words.start), last) else { return "" };
        self.raw.get(first.start..last.end).unwrap_or_default()
    }

    pub(super) fn from(&self, index: usize) -> &[Word] {
        self.words.get(index..).unwrap_or_default()
    }
}

/// Why HAProxy refuses a line as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Word(SyntaxError),
    /// A byte order mark, which is part of the first word.
    Mark,
    NoScope,
    Scope(char),
    AfterScope(char),
    /// A backslash at the end.
    Continued,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(error) => error.fmt(f),
            Self::Mark => f.write_str("a byte order mark before the first word"),
            Self::NoScope => f.write_str("a `[` without a name and `]`"),
            Self::Scope(c) => write!(f, "`{c}` in the name of a scope"),
            Self::AfterScope(c) => write!(f, "`{c}` after a scope"),
            Self::Continued => f.write_str("a backslash at the end of the line does not continue it"),
        }
    }
}

/// What a file says.
#[derive(Default)]
pub(super) struct Text<'a> {
    pub(super) lines: Vec<Line>,
    pub(super) faults: Vec<(Place, Fault)>,
    /// Places at which a comment silences a finding, with its id.
    pub(super) ignored: BTreeSet<(Place, String)>,
    /// All `[scopes]` of the file.
    pub(super) scopes: Vec<(Place, Rc<str>)>,
    /// The environment at each line that names an SPOE file.
    pub(super) filters: BTreeMap<Place, Env<'a>>,
}

/// What a comment begins with that silences findings: `# spop-bridge: ignore no-check because ...`.
const IGNORE: &str = "spop-bridge: ignore ";

/// Reads a file; what it says to the environment counts for what is read after it.
pub(super) fn read<'a>(file: &str, text: &str, version: Version, env: &mut Env<'a>) -> Text<'a> {
    let file: Rc<str> = file.into();
    let mut result = Text::default();
    let mut blocks = condition::Blocks::default();
    let mut scope = None;
    let mut pending = Vec::new();
    let mut continued = false;
    for (index, raw) in text.split('\n').enumerate() {
        let place = Place { file: file.clone(), line: index + 1 };
        let raw = match raw.strip_prefix('\u{feff}').filter(|_| index == 0) {
            Some(raw) => {
                result.faults.push((place.clone(), Fault::Mark));
                raw
            }
            None => raw,
        };
        if raw.trim_start().starts_with('[') {
            match scope_name(raw) {
                Ok(name) => {
                    let name: Rc<str> = name.into();
                    result.scopes.push((place, name.clone()));
                    scope = Some(name);
                }
                Err(fault) => result.faults.push((place, fault)),
            }
            continue;
        }
        let split = match split(raw, &|name| env.value(name)) {
            Ok(split) => split,
            Err(error) => {
                result.faults.push((place, Fault::Word(error)));
                continue;
            }
        };
        pending.extend(split.comment.iter().filter_map(|comment| ignored_id(comment)));
        let mut words = split.words;
        if words.is_empty() {
            continue;
        }
        result.ignored.extend(pending.drain(..).map(|id| (place.clone(), id)));
        if blocks.directive(&words, version, env) {
            continue;
        }
        let maybe = match blocks.state() {
            Tri::False => continue,
            state => state == Tri::Unknown,
        };
        env.change(&words, maybe);
        let continues = is_continued(raw, &mut words);
        if std::mem::replace(&mut continued, continues) {
            // As it is meant; HAProxy ends the line before it, which is a finding already.
            if let Some(line) = result.lines.last_mut() {
                line.words.extend(words);
            }
            continue;
        }
        if continues {
            result.faults.push((place.clone(), Fault::Continued));
        }
        let modifier = match words.first().and_then(Word::known) {
            Some("no") => Modifier::No,
            Some("default") => Modifier::Default,
            _ => Modifier::Plain,
        };
        if modifier != Modifier::Plain {
            words.remove(0);
        }
        if words.is_empty() {
            continue;
        }
        let line = Line { place, raw: raw.trim_end_matches('\r').into(), modifier, words, scope: scope.clone(), maybe };
        if line.is(&["filter", "spoe"]) {
            result.filters.insert(line.place.clone(), env.clone());
        }
        result.lines.push(line);
    }
    result
}

/// Takes the backslash at a line's end from its words; false if there is none.
fn is_continued(raw: &str, words: &mut Vec<Word>) -> bool {
    let Some(last) = words.last() else { return false };
    let text = raw.get(last.span()).unwrap_or_default();
    let alone = text.trim_end() == "\\";
    let at_end = raw.trim_end_matches('\r').len() == last.span().end;
    let backslashes = text.len() - text.trim_end_matches('\\').len();
    if alone && words.len() > 1 {
        words.pop();
    }
    alone || (at_end && backslashes % 2 == 1)
}

/// The name of a `[scope]` line, which HAProxy takes to the letter.
fn scope_name(raw: &str) -> Result<&str, Fault> {
    let inside = raw.trim_start().strip_prefix('[').unwrap_or_default();
    let (name, after) = inside.split_once(']').unwrap_or_default();
    let wrong = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"_:.-".contains(*c));
    let after = after.trim_start().chars().next().filter(|c| *c != '#');
    match (name.is_empty(), wrong, after) {
        (true, ..) => Err(Fault::NoScope),
        (_, Some(c), _) => Err(Fault::Scope(c)),
        (_, _, Some(c)) => Err(Fault::AfterScope(c)),
        _ => Ok(name),
    }
}

fn ignored_id(comment: &str) -> Option<String> {
    let id = comment.trim_start().strip_prefix(IGNORE)?.split_whitespace().next()?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Text<'static> {
        read("f", text, Version::new(3, 2), &mut Env::default())
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
