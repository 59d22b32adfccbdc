//! Where in the configuration something stands.

use std::borrow::Borrow;
use std::fmt;

use serde_json::Value;

/// A place in the configuration, printed as `routes[1].timeout`, or the flag that a value came from, printed as `--listen`.
///
/// Paths sort as a reader goes through the file: by key, and list items by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
    Flag(&'static str),
}

impl Path {
    /// The whole configuration.
    pub(crate) fn root() -> Self {
        Self::default()
    }

    /// A flag of the command line.
    pub(super) fn flag(name: &'static str) -> Self {
        Self(vec![Segment::Flag(name)])
    }

    /// The value of `key` below this place.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// The list item `index` below this place.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This place and all that it is below, by the segments of their paths.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &[Segment]> {
        (0..=self.0.len()).filter_map(|length| self.0.get(..length))
    }

    /// Whether this place is `other` or below it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Whether this is a flag, not a place in a file.
    pub(super) fn is_flag(&self) -> bool {
        matches!(self.0.first(), Some(Segment::Flag(_)))
    }

    /// What stands at this place of `tree`.
    pub(super) fn find<'t>(&self, tree: &'t mut Value) -> Option<&'t mut Value> {
        self.0.iter().try_fold(tree, |below, segment| match segment {
            Segment::Key(key) => below.get_mut(key),
            Segment::Index(index) => below.get_mut(index),
            Segment::Flag(_) => None,
        })
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

/// A set of paths is asked by segments. They hash as the list that they are.
impl Borrow<[Segment]> for Path {
    fn borrow(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("top level");
        }
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Flag(name) => f.write_str(name)?,
                // A key with dots of its own, such as a variable's name, would read as several keys.
                Segment::Key(key) if !is_plain(key) => write!(f, "[{key:?}]")?,
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_an_operator_would_write_it() {
        let root = Path::root();
        assert_eq!(root.to_string(), "top level");
        assert_eq!(root.key("routes").index(1).key("timeout").to_string(), "routes[1].timeout");
        assert_eq!(root.key("on_failure").key("set").key("txn.allow").to_string(), r#"on_failure.set["txn.allow"]"#);
        assert_eq!(Path::flag("--listen").to_string(), "--listen");
    }

    #[test]
    fn list_items_sort_by_number() {
        let routes = Path::root().key("routes");
        assert!(routes.index(2) < routes.index(10));
        assert!(routes < routes.index(0));
    }

    #[test]
    fn within_means_at_or_below() {
        let route = Path::root().key("routes").index(1);
        assert!(route.key("timeout").is_within(&route));
        assert!(route.is_within(&route));
        assert!(!route.is_within(&route.key("timeout")));
        assert!(!Path::root().key("routes").index(10).is_within(&route));
    }
}
