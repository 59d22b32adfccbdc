//! What a finding proposes: words for people and, where it is certain, the edit for tools.

use super::line::{Line, Place};

/// What would make a finding go away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fix {
    pub(crate) text: String,
    /// Changes of the files that do it; none where the operator has to know or decide something.
    pub(crate) edits: Vec<Edit>,
}

/// A change of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) place: Place,
    pub(crate) change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new line before it.
    Before(String),
    /// A new line after it.
    After(String),
    /// Another line in its place.
    Replace(String),
    Remove,
}

impl From<&str> for Fix {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Fix {
    fn from(text: String) -> Self {
        Self { text, edits: Vec::new() }
    }
}

impl Fix {
    /// A new line after `line`, which is a section's first or one of its others.
    pub(super) fn after(line: &Line, text: impl Into<String>) -> Self {
        let text = text.into();
        let inserted = Change::After(indented(line, &text));
        Self::new(line, text, inserted)
    }

    /// A new line before `line`.
    pub(super) fn before(line: &Line, text: impl Into<String>) -> Self {
        let text = text.into();
        let inserted = Change::Before(indented(line, &text));
        Self::new(line, text, inserted)
    }

    /// Another text, with its indentation and comment, for `line`: what [`Line::with`] makes.
    pub(super) fn replace(line: &Line, text: String) -> Self {
        let after = line.words.last().and_then(|word| line.raw.get(word.span().end..)).unwrap_or_default();
        let said = text.strip_suffix(after).unwrap_or(&text).trim().to_owned();
        Self::new(line, said, Change::Replace(text))
    }

    pub(super) fn remove(line: &Line) -> Self {
        Self::new(line, format!("remove `{}`", line.text(0..line.words.len())), Change::Remove)
    }

    fn new(line: &Line, text: String, change: Change) -> Self {
        Self { text, edits: vec![Edit { place: line.place.clone(), change }] }
    }

    /// With other words for people.
    pub(super) fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// With the edits of another fix.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.edits.extend(other.edits);
        self
    }
}

const SECTIONS: [&str; 8] = ["global", "defaults", "frontend", "backend", "listen", "spoe-agent", "spoe-message", "spoe-group"];

fn indented(line: &Line, text: &str) -> String {
    let own = line.raw.len() - line.raw.trim_start().len();
    let indentation = line.raw.get(..own).filter(|_| !line.get(0).is_some_and(|word| SECTIONS.contains(&word)));
    format!("{}{text}", indentation.unwrap_or("    "))
}
