//! Everything that there is to examine: HAProxy's configuration, its engines, and what they send when.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Context;
use super::env::Env;
use super::finding::{self, Findings, Severity};
use super::line::{Line, Place, Text};
use super::proxy::{Config, Kind, Proxy};
use super::route::{Maps, Way};
use super::rules::{Rules, Stage};
use super::settings::{Setting, Settings};
use super::spoe::{Section, Spoe, scopes_with_agent};
use super::word::Word;
use crate::config;
use crate::haproxy::Version;

/// What the checks look at.
pub(super) struct Case<'a> {
    pub(super) version: Version,
    pub(super) config: Config,
    pub(super) engines: Vec<Engine>,
    /// What an engine does isn't known, or Lua may do things: absence proves nothing.
    pub(super) unclear: bool,
    pub(super) bridge: Option<&'a config::Config>,
    maps: Maps,
}

/// An engine: a scope of an SPOE file, and the filters that use it.
pub(super) struct Engine {
    /// As `send-spoe-group` names it.
    pub(super) name: String,
    /// The `filter` names it.
    pub(super) scope: Option<String>,
    pub(super) file: String,
    pub(super) spoe: Spoe,
    /// None for a file that no filter names.
    pub(super) uses: Vec<Use>,
}

/// A `filter spoe` line.
pub(super) struct Use {
    /// Position in [`Config::proxies`].
    pub(super) proxy: usize,
    pub(super) line: Line,
}

/// A NOTIFY: messages that travel together.
pub(super) struct Moment<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) stage: Stage,
    /// The rule that sends a group; `None`: an event.
    pub(super) rule: Option<&'a Line>,
    pub(super) messages: Vec<&'a Section>,
    /// The event's or the group's name.
    pub(super) name: &'a str,
}

impl Engine {
    /// What its variables begin with, after the scope.
    pub(super) fn prefix(&self) -> Setting<&str> {
        let Some(agent) = self.spoe.agent() else { return Setting::Unclear };
        match agent.value(&["option", "var-prefix"]) {
            Setting::Unset => Setting::Known(&*agent.name),
            setting => setting,
        }
        .map(|prefix| prefix.chars().all(is_name).then_some(prefix))
    }

    /// The variable of `option set-on-error`, in full.
    pub(super) fn error_variable(&self) -> Setting<String> {
        let Some(agent) = self.spoe.agent() else { return Setting::Unclear };
        let name = agent.value(&["option", "set-on-error"]);
        match (self.prefix().known(), name) {
            (_, Setting::Unset) => Setting::Unset,
            (Some(prefix), Setting::Known(name)) => Setting::Known(format!("txn.{prefix}.{name}")),
            _ => Setting::Unclear,
        }
    }

    /// Messages that the agent sends by their events, where they are defined.
    pub(super) fn by_event(&self) -> impl Iterator<Item = &Section> {
        let mut names = self.spoe.agent().map(|agent| agent.names("messages")).unwrap_or_default();
        names.dedup_by_key(|name| name.text);
        names.into_iter().filter_map(|name| self.spoe.message(name.text))
    }

    /// All that it sends, and when.
    pub(super) fn moments<'a>(&'a self, case: &'a Case<'_>) -> Vec<Moment<'a>> {
        let uses = self.uses.iter().filter_map(|used| case.config.proxies.get(used.proxy));
        uses.flat_map(|proxy| self.moments_in(proxy)).collect()
    }

    fn moments_in<'a>(&'a self, proxy: &'a Proxy) -> Vec<Moment<'a>> {
        let mut moments: Vec<Moment<'a>> = Vec::new();
        for message in self.by_event() {
            let Some(event) = event(message).known() else { continue };
            let stage = match Stage::of_event(event) {
                Some(Stage::BackendTcpRequestEvent) if proxy.kind == Kind::Listen => Stage::TcpRequestEvent,
                Some(Stage::BackendHttpRequestEvent) if proxy.kind == Kind::Listen => Stage::HttpRequestEvent,
                Some(stage) => stage,
                None => continue,
            };
            match moments.iter_mut().find(|moment| moment.stage == stage) {
                Some(moment) => moment.messages.push(message),
                None => moments.push(Moment { proxy, stage, rule: None, messages: vec![message], name: event }),
            }
        }
        for rule in &Rules::new(proxy).list {
            let Some((engine, group)) = rule.sends() else { continue };
            let group = group.known().filter(|_| engine.known() == Some(&self.name)).and_then(|name| self.spoe.group(name));
            if let Some(group) = group {
                let messages = group.names("messages").iter().filter_map(|name| self.spoe.message(name.text)).collect();
                moments.push(Moment { proxy, stage: rule.stage, rule: Some(rule.line), messages, name: &group.name });
            }
        }
        moments
    }
}

/// What names of variables consist of.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.".contains(c)
}

/// The event of a message.
pub(super) fn event(message: &Section) -> Setting<&str> {
    message.value(&["event"])
}

impl<'a> Case<'a> {
    /// Finds the engines of a configuration and reads their files.
    pub(super) fn new<'e>(
        config: Config,
        loose: Vec<(String, Rc<Text<'e>>)>,
        filters: &BTreeMap<Place, Env<'e>>,
        context: &Context<'a>,
        out: &mut Findings,
    ) -> Self {
        // A line that nobody could read may have said anything.
        let unread = out.has(&finding::SYNTAX);
        let lua = config.global.lines().iter().any(|line| line.get(0).is_some_and(|word| word.starts_with("lua-load")));
        let mut engines = Engines { list: Vec::new(), texts: loose.clone(), filters, unclear: lua || unread };
        for (position, proxy) in config.proxies.iter().enumerate() {
            for line in proxy.lines().iter().filter(|line| line.is(&["filter", "spoe"])) {
                engines.unclear |= line.maybe;
                engines.filter(position, line, &config, context, out);
            }
        }
        for (file, text) in &loose {
            engines.loose(file, text);
        }
        let unclear = engines.unclear || out.has(&finding::SYNTAX);
        let maps = Maps::read(&config, context);
        Self { version: context.version, config, engines: engines.list, unclear, bridge: context.bridge, maps }
    }

    /// The ways from frontends into a backend.
    pub(super) fn ways_into(&self, backend: &Proxy) -> Vec<Way<'_>> {
        self.maps.ways_into(&self.config, backend)
    }

    /// Engines that a proxy asks.
    pub(super) fn engines_of(&self, proxy: usize) -> impl Iterator<Item = &Engine> {
        self.engines.iter().filter(move |engine| engine.uses.iter().any(|used| used.proxy == proxy))
    }

    /// All words there are, those of the SPOE files too.
    pub(super) fn all_words(&self) -> impl Iterator<Item = (&Line, &Word)> {
        let spoe = self.engines.iter().flat_map(|engine| engine.spoe.lines());
        self.config.all_lines().chain(spoe).flat_map(|line| line.words.iter().map(move |word| (line, word)))
    }
}

struct Engines<'e, 'f> {
    list: Vec<Engine>,
    /// Files that have been read.
    texts: Vec<(String, Rc<Text<'e>>)>,
    /// The environment at each filter.
    filters: &'f BTreeMap<Place, Env<'e>>,
    unclear: bool,
}

impl<'e> Engines<'e, '_> {
    /// `filter spoe [engine NAME] config FILE`.
    fn filter(&mut self, proxy: usize, line: &Line, config: &Config, context: &Context<'_>, out: &mut Findings) {
        let after = |keyword: &str| {
            let position = line.words.iter().position(|word| word.known() == Some(keyword))?;
            line.words.get(position + 1)
        };
        let Some(path) = after("config") else {
            out.add(
                &finding::SPOE_FILE,
                line,
                "`filter spoe` without `config FILE`",
                "the engine's messages are in a file of their own",
                "filter spoe engine bridge config spoe.cfg",
            );
            return;
        };
        let scope = match after("engine").map(Word::known) {
            None => None,
            Some(Some(name)) => Some(name.to_owned()),
            Some(None) => {
                self.unclear = true;
                unknown(line, "the engine of this filter", out);
                return;
            }
        };
        let file = resolve(config, &line.place, path.text());
        let text = match self.text(&file, &line.place, context, out) {
            Ok(text) => text,
            Err(why) => {
                self.unclear = true;
                if path.known().is_some() {
                    out.add(
                        &finding::SPOE_FILE,
                        line,
                        format!("the SPOE file `{file}` cannot be read: {why}"),
                        "relative names are relative to where HAProxy is started, unless `default-path` in `global` says otherwise",
                        "give the file's place, or say `default-path config` in `global`; for files of another machine, --root DIR",
                    );
                } else {
                    unknown(line, "the SPOE file of this filter", out);
                }
                return;
            }
        };
        if line.maybe {
            unknown(line, "whether HAProxy reads this filter", out);
        }
        let used = Use { proxy, line: line.clone() };
        if let Some(engine) = self.list.iter_mut().find(|engine| engine.file == file && engine.scope == scope) {
            engine.uses.push(used);
            return;
        }
        let spoe = Spoe::read(&text, scope.as_deref());
        if spoe.agents.is_empty() {
            self.unclear = true;
            missing_scope(line, &file, scope.as_deref(), &text, out);
            return;
        }
        let name = scope.clone().or_else(|| spoe.agent().map(|agent| agent.name.clone())).unwrap_or_default();
        self.list.push(Engine { name, scope, file, spoe, uses: vec![used] });
    }

    fn text(&mut self, file: &str, filter: &Place, context: &Context<'_>, out: &mut Findings) -> Result<Rc<Text<'e>>, String> {
        if let Some((_, text)) = self.texts.iter().find(|(name, _)| name == file) {
            return Ok(text.clone());
        }
        let mut env = self.filters.get(filter).cloned().unwrap_or_default();
        let mut text = super::read_text(file, &(context.read)(file)?, context, &mut env, out);
        out.ignore(std::mem::take(&mut text.ignored));
        let text = Rc::new(text);
        self.texts.push((file.to_owned(), text.clone()));
        Ok(text)
    }

    /// Engines of an SPOE file that no filter names.
    fn loose(&mut self, file: &str, text: &Text<'_>) {
        if self.list.iter().any(|engine| engine.file == file) {
            return;
        }
        for (scope, _) in scopes_with_agent(text) {
            let scope = scope.as_deref().map(str::to_owned);
            if self.list.iter().any(|engine| engine.file == file && engine.scope == scope) {
                continue;
            }
            let spoe = Spoe::read(text, scope.as_deref());
            let name = scope.clone().or_else(|| spoe.agent().map(|agent| agent.name.clone())).unwrap_or_default();
            self.list.push(Engine { name, scope, file: file.to_owned(), spoe, uses: Vec::new() });
        }
    }
}

/// A filter of which nothing is checked.
fn unknown(line: &Line, what: &str, out: &mut Findings) {
    let names: Vec<_> = line.words.iter().flat_map(Word::unknown).map(|name| format!("--env {name}=VALUE")).collect();
    let fix = if names.is_empty() { finding::GIVE.to_owned() } else { names.join(" ") };
    out.add_at(
        &finding::NOT_CHECKED,
        Severity::Note,
        &line.place,
        format!("{what} depends on what only HAProxy sees: its messages and rules are not checked"),
        "the environment of HAProxy is not that of this command",
        fix,
    );
}

fn missing_scope(line: &Line, file: &str, scope: Option<&str>, text: &Text<'_>, out: &mut Findings) {
    let there: Vec<_> = scopes_with_agent(text)
        .into_iter()
        .map(|(scope, place)| match scope {
            Some(scope) => format!("`[{scope}]` in line {}", place.line),
            None => format!("one under no scope in line {}", place.line),
        })
        .collect();
    let there = if there.is_empty() { "there is none at all".to_owned() } else { format!("there is {}", there.join(", ")) };
    let (what, fix) = match scope {
        Some(scope) => (
            format!("`{file}` has no spoe-agent under `[{scope}]`: {there}"),
            format!("write `[{scope}]` above the spoe-agent section"),
        ),
        None => (
            format!("the filter names no engine, and `{file}` has no spoe-agent outside of scopes: {there}"),
            "name the scope: filter spoe engine NAME config FILE".to_owned(),
        ),
    };
    let why = "a filter sees only the sections below the `[scope]` that is its engine's name, and without `engine` only those under none";
    out.add_as(&finding::ENGINE_SCOPE, Severity::Error, line, what, why, fix);
}

/// Where HAProxy looks for a file that the configuration at `place` names: relative as `default-path` says.
pub(super) fn resolve(config: &Config, place: &Place, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let folder_of = |path: &str| path.rsplit_once('/').map(|(folder, _)| if folder.is_empty() { "/" } else { folder }.to_owned());
    let folder = match config.global.line(&["default-path"]).known() {
        Some(line) => match (line.get(1), line.get(2)) {
            (Some("config"), _) => folder_of(&place.file),
            (Some("parent"), _) => Some(folder_of(&place.file).map_or("..".to_owned(), |folder| format!("{folder}/.."))),
            (Some("origin"), Some(origin)) => Some(origin.to_owned()),
            _ => None,
        },
        None => None,
    };
    match folder {
        Some(folder) => format!("{}/{path}", folder.trim_end_matches('/')),
        None => path.to_owned(),
    }
}
