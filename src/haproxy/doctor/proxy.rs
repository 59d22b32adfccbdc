//! HAProxy's own configuration: the global section and the proxies, each with what `defaults` hands down to it.

use std::rc::Rc;

use super::line::Line;
use super::settings::{Setting, Settings};
use super::word::Word;

/// What a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Frontend,
    Backend,
    Listen,
}

/// A frontend, backend or listen section.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The line that begins it.
    pub(super) head: Line,
    /// What its `defaults` says, then what it says itself; without the line that begins it.
    lines: Vec<Line>,
    /// How many of them are inherited.
    inherited: usize,
}

impl Settings for Proxy {
    fn lines(&self) -> &[Line] {
        &self.lines
    }
}

impl Proxy {
    pub(super) fn has_backend(&self) -> bool {
        self.kind != Kind::Frontend
    }

    pub(super) fn has_frontend(&self) -> bool {
        self.kind != Kind::Backend
    }

    /// As messages name it.
    pub(super) fn title(&self) -> String {
        let kind = match self.kind {
            Kind::Frontend => "frontend",
            Kind::Backend => "backend",
            Kind::Listen => "listen",
        };
        format!("{kind} `{}`", self.name)
    }

    /// Whether requests of this proxy may go on to a backend, as far as its lines tell.
    pub(super) fn may_reach(&self, backend: &Proxy) -> bool {
        if !self.has_frontend() || !backend.has_backend() {
            return false;
        }
        let choices = self.lines.iter().filter(|line| matches!(line.get(0), Some("use_backend" | "default_backend")));
        let names: Option<Vec<_>> = choices.map(|line| line.get(1).filter(|name| !name.contains('%'))).collect();
        names.is_none_or(|names| names.contains(&&*backend.name))
    }

    /// Whether a line of [`Settings::lines`] came from `defaults`.
    pub(super) fn inherits(&self, line: &Line) -> bool {
        self.lines.iter().take(self.inherited).any(|own| own.place == line.place)
    }

    pub(super) fn mode(&self) -> Setting<&str> {
        self.value(&["mode"])
    }

    pub(super) fn servers(&self) -> Vec<Server<'_>> {
        let mut defaults: Vec<&[Word]> = Vec::new();
        let mut servers = Vec::new();
        for line in &self.lines {
            let (address, words) = match line.get(0) {
                Some("default-server") => {
                    defaults.push(line.from(1));
                    continue;
                }
                Some("server") => (2, line.from(3)),
                Some("server-template") => (3, line.from(4)),
                _ => continue,
            };
            let mut all: Vec<&Word> = defaults.iter().flat_map(|words| words.iter()).collect();
            all.extend(words);
            servers.push(Server { line, address: line.words.get(address), words: all });
        }
        servers
    }
}

/// A `server` line, with what `default-server` lines before it say.
pub(super) struct Server<'a> {
    pub(super) line: &'a Line,
    address: Option<&'a Word>,
    words: Vec<&'a Word>,
}

impl Server<'_> {
    pub(super) fn name(&self) -> &str {
        self.line.get(1).unwrap_or("?")
    }

    pub(super) fn address(&self) -> Option<&str> {
        self.address?.known()
    }

    /// Some word came from the environment, and may be anything.
    pub(super) fn is_unclear(&self) -> bool {
        self.words.iter().any(|word| word.known().is_none())
    }

    /// Whether a keyword is in force: the last of it and `no-` it.
    pub(super) fn has(&self, keyword: &str) -> bool {
        self.said(keyword) == Some(true)
    }

    /// The last that is said of a keyword: true for itself, false for `no-` it.
    pub(super) fn said(&self, keyword: &str) -> Option<bool> {
        let said = self.words.iter().rev().filter_map(|word| word.known());
        let mut said = said.filter(|word| *word == keyword || word.strip_prefix("no-") == Some(keyword));
        said.next().map(|word| word == keyword)
    }

    pub(super) fn value(&self, keyword: &str) -> Option<&str> {
        let position = self.words.iter().rposition(|word| word.known() == Some(keyword))?;
        self.words.get(position + 1)?.known()
    }
}

/// All of HAProxy's own files.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) global: Global,
    pub(super) proxies: Vec<Proxy>,
    /// Lines of all other sections, which may mention variables.
    pub(super) others: Vec<Line>,
}

/// All lines of `global` sections.
#[derive(Debug, Default)]
pub(super) struct Global(Vec<Line>);

impl Settings for Global {
    fn lines(&self) -> &[Line] {
        &self.0
    }
}

impl Config {
    /// All lines there are, those of `defaults` as often as they are handed down.
    pub(super) fn all_lines(&self) -> impl Iterator<Item = &Line> {
        let proxies = self.proxies.iter().flat_map(|proxy| &proxy.lines);
        self.global.0.iter().chain(proxies).chain(&self.others)
    }

    pub(super) fn backend(&self, name: &str) -> Option<&Proxy> {
        self.proxies.iter().find(|proxy| proxy.has_backend() && proxy.name == name)
    }

    /// From the lines of all files, in their order.
    pub(super) fn read(files: Vec<Vec<Line>>) -> Self {
        let mut reader = Reader::default();
        for file in files {
            reader.section = Section::None;
            file.into_iter().for_each(|line| reader.line(line));
        }
        reader.config
    }
}

/// Sections that begin and end others, of which nothing more is known here.
const OTHER_SECTIONS: [&str; 18] = [
    "acme",
    "cache",
    "crt-list",
    "crt-store",
    "dynamic-update",
    "fcgi-app",
    "healthcheck",
    "http-errors",
    "log-forward",
    "log-profile",
    "mailers",
    "namespace_list",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];

/// A `defaults` section.
struct Defaults {
    name: Option<String>,
    lines: Rc<Vec<Line>>,
}

#[derive(Default, Clone, Copy)]
enum Section {
    #[default]
    None,
    Global,
    Defaults,
    Proxy,
    Other,
}

#[derive(Default)]
struct Reader {
    config: Config,
    defaults: Vec<Defaults>,
    section: Section,
}

impl Reader {
    fn line(&mut self, line: Line) {
        match line.get(0) {
            Some("global") => self.section = Section::Global,
            Some("defaults") => self.begin_defaults(&line),
            Some("frontend") => self.begin_proxy(Kind::Frontend, line),
            Some("backend") => self.begin_proxy(Kind::Backend, line),
            Some("listen") => self.begin_proxy(Kind::Listen, line),
            Some(word) if OTHER_SECTIONS.contains(&word) => self.section = Section::Other,
            _ => self.setting(line),
        }
    }

    fn setting(&mut self, line: Line) {
        match self.section {
            Section::Global => self.config.global.0.push(line),
            Section::Defaults => {
                if let Some(defaults) = self.defaults.last_mut() {
                    Rc::make_mut(&mut defaults.lines).push(line);
                }
            }
            Section::Proxy => {
                if let Some(proxy) = self.config.proxies.last_mut() {
                    proxy.lines.push(line);
                }
            }
            Section::Other | Section::None => self.config.others.push(line),
        }
    }

    /// `defaults [name] [from other]`.
    fn begin_defaults(&mut self, line: &Line) {
        self.section = Section::Defaults;
        let name = line.get(1).filter(|name| *name != "from").map(str::to_owned);
        let lines = Self::parent(line).map(|parent| self.named(parent)).unwrap_or_default();
        self.defaults.push(Defaults { name, lines });
    }

    /// `frontend name [address] [from other]`: else from the last `defaults`.
    fn begin_proxy(&mut self, kind: Kind, head: Line) {
        self.section = Section::Proxy;
        let lines = match Self::parent(&head) {
            Some(parent) => self.named(parent),
            None => self.defaults.last().map(|defaults| defaults.lines.clone()).unwrap_or_default(),
        };
        let name = head.get(1).unwrap_or_default().to_owned();
        self.config.proxies.push(Proxy { kind, name, head, inherited: lines.len(), lines: lines.to_vec() });
    }

    fn parent(line: &Line) -> Option<&str> {
        let position = line.words.iter().position(|word| word.known() == Some("from"))?;
        line.get(position + 1)
    }

    fn named(&self, name: &str) -> Rc<Vec<Line>> {
        let found = self.defaults.iter().rev().find(|defaults| defaults.name.as_deref() == Some(name));
        found.map(|defaults| defaults.lines.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::env::Env;
    use super::super::line::read;
    use super::*;
    use crate::haproxy::Version;

    fn config(texts: &[&str]) -> Config {
        let lines = |text: &&str| read("f", text, Version::DEFAULT, &mut Env::default()).lines;
        Config::read(texts.iter().map(lines).collect())
    }

    #[test]
    fn settings_come_from_the_last_defaults_or_the_named_one() {
        let config = config(&[
            "defaults base\n mode http\n timeout connect 5\ndefaults tcp from base\n mode tcp\n",
            "backend a\nbackend b from base\n timeout connect 2s\ndefaults\n option httpchk\nlisten c\nfrontend d from nowhere\n",
        ]);
        let modes: Vec<_> = config.proxies.iter().map(Proxy::mode).collect();
        assert_eq!(modes, [Setting::Known("tcp"), Setting::Known("http"), Setting::Unset, Setting::Unset]);
        let times: Vec<_> = config.proxies.iter().map(|proxy| proxy.time(&["timeout", "connect"])).collect();
        assert_eq!(times, [Setting::Known(5), Setting::Known(2000), Setting::Unset, Setting::Unset]);
        assert_eq!(config.proxies[2].option("httpchk"), Setting::Known(true));
        let line = config.proxies[1].line(&["mode"]).known().unwrap();
        assert!(config.proxies[1].inherits(line));
    }

    #[test]
    fn options_are_taken_back_and_blocks_make_them_unclear() {
        let config = config(&[
            "defaults\n option httpchk\n option redispatch\n option a\nbackend a\n no option httpchk\n default option a\n\
             .if defined(X)\n option redispatch\n option b\n.endif\n",
        ]);
        let option = |name| config.proxies[0].option(name);
        assert_eq!(option("httpchk"), Setting::Known(false));
        assert_eq!([option("a"), option("redispatch"), option("b")], [Setting::Unset, Setting::Unclear, Setting::Unclear]);
    }

    #[test]
    fn servers_have_what_default_server_says() {
        let config = config(&["backend a\n default-server check inter 1s maxconn 5\n server x 127.0.0.1:1 no-check\n\
             server-template y 1-3 z:1 maxconn \"$N\"\n server u unix@/x maxconn 9\n"]);
        let servers = config.proxies[0].servers();
        let seen: Vec<_> = servers.iter().map(|s| (s.address(), s.has("check"), s.value("maxconn"), s.is_unclear())).collect();
        let expected = [
            (Some("127.0.0.1:1"), false, Some("5"), false),
            (Some("z:1"), true, None, true),
            (Some("unix@/x"), true, Some("9"), false),
        ];
        assert_eq!(seen, expected);
    }
}
