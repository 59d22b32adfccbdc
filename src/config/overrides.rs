//! Flags of the command line, laid over the tree of the file before it is checked.
//!
//! So a flag goes through the same checks as a key of the file, and a problem with it names the flag.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::Problem;
use super::log::{LogFormat, LogLevel};
use super::path::Path;
use super::units::format_duration;

/// What the command line, or the environment in its place, says instead of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--workers`.
    pub workers: Option<usize>,
    /// `--listen`: addresses instead of the file's. The first replaces the bind of the file's first listener, whose
    /// other settings stay, and so on; listeners of the file without a counterpart are dropped.
    pub listen: Vec<String>,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--drain-delay`.
    pub drain_delay: Option<Duration>,
    /// `--grace-period`.
    pub grace_period: Option<Duration>,
    /// `--admin`.
    pub admin: Option<String>,
}

impl Overrides {
    /// Lays the flags over `tree`.
    pub(super) fn apply(&self, tree: &mut Value) -> Flags {
        let mut flags = Flags::default();
        flags.set(tree, "--workers", &["workers"], self.workers.map(Value::from));
        flags.set(tree, "--log-level", &["log", "level"], self.log_level.map(|level| level.as_str().into()));
        flags.set(tree, "--log-format", &["log", "format"], self.log_format.map(|format| format.as_str().into()));
        flags.set(tree, "--drain-delay", &["drain", "delay"], self.drain_delay.map(|delay| format_duration(delay).into()));
        flags.set(
            tree,
            "--grace-period",
            &["drain", "grace_period"],
            self.grace_period.map(|period| format_duration(period).into()),
        );
        flags.set(tree, "--admin", &["admin", "bind"], self.admin.as_deref().map(literal));
        if let Some(admin) = tree.get_mut("admin").and_then(Value::as_object_mut)
            && self.admin.as_ref().is_some_and(|bind| !bind.starts_with("unix:"))
        {
            admin.remove("unix");
        }
        self.apply_listen(tree, &mut flags);
        flags
    }

    fn apply_listen(&self, tree: &mut Value, flags: &mut Flags) {
        let Some(tree) = tree.as_object_mut().filter(|_| !self.listen.is_empty()) else { return };
        let of_file = match tree.remove("listeners") {
            Some(Value::Array(listeners)) => listeners,
            _ => Vec::new(),
        };
        let of_file = of_file.into_iter().map(Some).chain(std::iter::repeat(None));
        let listeners = self.listen.iter().zip(of_file).map(|(bind, listener)| rebound(listener, bind)).collect();
        tree.insert("listeners".to_owned(), Value::Array(listeners));
        for index in 0..self.listen.len() {
            flags.at("--listen", Path::root().key("listeners").index(index).key("bind"));
        }
    }
}

/// The tree of a configuration without a file: one listener for each of `listen`, one backend, one route for everything to it.
pub(super) fn quick_tree(backend: &[String], timeout: Option<Duration>) -> (Value, Flags) {
    let mut tree = json!({
        "backends": { DEFAULT_BACKEND: { "endpoints": backend.iter().map(|text| literal(text)).collect::<Vec<_>>() } },
        "routes": [{ "messages": ["*"], "backend": DEFAULT_BACKEND }],
    });
    let mut flags = Flags::default();
    flags.at("--backend", Path::root().key("backends").key(DEFAULT_BACKEND).key("endpoints"));
    flags.at("--timeout", Path::root().key("routes").index(0).key("timeout"));
    if let (Some(timeout), Some(Value::Object(route))) = (timeout, tree.pointer_mut("/routes/0")) {
        route.insert("timeout".to_owned(), format_duration(timeout).into());
    }
    (tree, flags)
}

/// The listener of the file, or a new one, at another address.
fn rebound(listener: Option<Value>, bind: &str) -> Value {
    let mut listener = match listener {
        Some(Value::Object(listener)) => listener,
        _ => Map::new(),
    };
    if !bind.starts_with("unix:") {
        listener.remove("unix");
    }
    listener.insert("bind".to_owned(), literal(bind));
    Value::Object(listener)
}

/// Which places of the tree came from which flag.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<(Path, &'static str)>);

impl Flags {
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Names the flag instead of the place, for what came from a flag.
    pub(super) fn attribute(&self, problem: &mut Problem) {
        if let Some((_, flag)) = self.0.iter().find(|(place, _)| problem.path.is_within(place)) {
            problem.path = Path::flag(flag);
        }
    }

    fn at(&mut self, flag: &'static str, place: Path) {
        self.0.push((place, flag));
    }

    /// Puts `value` at `keys`. Does nothing where the file has something else than a mapping on the way: that is a
    /// problem already.
    fn set(&mut self, tree: &mut Value, flag: &'static str, keys: &[&str], value: Option<Value>) {
        let Some(value) = value else { return };
        let mut node = tree;
        let mut place = Path::root();
        for key in keys {
            let Some(map) = node.as_object_mut() else { return };
            place = place.key(key);
            node = map.entry(*key).or_insert_with(|| json!({}));
        }
        *node = value;
        self.at(flag, place);
    }
}

/// A text that is to stay as it is: a flag's `$` has been through the shell.
fn literal(text: &str) -> Value {
    text.replace('$', "$$").into()
}

const DEFAULT_BACKEND: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_replace_what_the_file_says() {
        let overrides = Overrides {
            workers: Some(3),
            log_level: Some(LogLevel::Debug),
            grace_period: Some(Duration::from_secs(3)),
            ..Overrides::default()
        };
        let mut tree = json!({ "workers": 1, "log": { "format": "json" } });
        overrides.apply(&mut tree);
        let expected = json!({ "workers": 3, "log": { "format": "json", "level": "debug" }, "drain": { "grace_period": "3s" } });
        assert_eq!(tree, expected);
    }

    #[test]
    fn listen_keeps_the_other_settings_of_a_listener() {
        let overrides = Overrides { listen: vec!["[::]:1".to_owned(), "unix:/s".to_owned()], ..Overrides::default() };
        let mut tree = json!({ "listeners": [{ "name": "main", "bind": "unix:/a", "unix": {} }] });
        overrides.apply(&mut tree);
        assert_eq!(tree, json!({ "listeners": [{ "name": "main", "bind": "[::]:1" }, { "bind": "unix:/s" }] }));
    }

    #[test]
    fn a_broken_file_is_left_for_the_checks() {
        let overrides = Overrides { log_level: Some(LogLevel::Debug), listen: vec!["a:1".to_owned()], ..Overrides::default() };
        let mut tree = json!([]);
        overrides.apply(&mut tree);
        assert_eq!(tree, json!([]));
    }
}
