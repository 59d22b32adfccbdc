//! The rules of a proxy: when each runs, what it does, and whether its condition holds.

use super::condition::Tri;
use super::line::Line;
use super::proxy::Proxy;
use super::sample::{self, VarName};
use super::settings::Settings;
use super::word::Word;

/// When in the life of a request something happens, in the order of HAProxy's analysers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Connection,
    Session,
    ClientSession,
    TcpRequestEvent,
    TcpRequest,
    HttpRequestEvent,
    HttpRequest,
    UseBackend,
    BackendTcpRequestEvent,
    BackendTcpRequest,
    BackendHttpRequestEvent,
    BackendHttpRequest,
    Server,
    TcpResponseEvent,
    TcpResponse,
    HttpResponseEvent,
    HttpResponse,
    AfterResponse,
    Log,
}

impl Stage {
    /// When the messages of an event leave.
    pub(super) fn of_event(event: &str) -> Option<Self> {
        Some(match event {
            "on-client-session" => Self::ClientSession,
            "on-frontend-tcp-request" => Self::TcpRequestEvent,
            "on-frontend-http-request" => Self::HttpRequestEvent,
            "on-backend-tcp-request" => Self::BackendTcpRequestEvent,
            "on-backend-http-request" => Self::BackendHttpRequestEvent,
            "on-server-session" => Self::Server,
            "on-tcp-response" => Self::TcpResponseEvent,
            "on-http-response" => Self::HttpResponseEvent,
            _ => return None,
        })
    }

    /// When a line of a proxy does something. Lines that only say how things are have none.
    fn of_line(line: &Line, in_frontend: bool) -> Option<Self> {
        let pick = |frontend, backend| if in_frontend { frontend } else { backend };
        Some(match (line.get(0)?, line.get(1)) {
            ("tcp-request", Some("connection")) => Self::Connection,
            ("tcp-request", Some("session")) => Self::Session,
            ("tcp-request", Some("content")) => pick(Self::TcpRequest, Self::BackendTcpRequest),
            ("http-request" | "redirect", _) => pick(Self::HttpRequest, Self::BackendHttpRequest),
            ("use_backend" | "default_backend", _) => Self::UseBackend,
            ("use-server" | "server" | "balance" | "hash-type" | "stick" | "source", _) => Self::Server,
            ("tcp-response", Some("content")) => Self::TcpResponse,
            ("http-response", _) => Self::HttpResponse,
            ("http-after-response", _) => Self::AfterResponse,
            ("log-format" | "log-format-sd" | "error-log-format", _) => Self::Log,
            _ => return None,
        })
    }

    /// Variables of the scope `req` are gone.
    pub(super) fn is_response(self) -> bool {
        self >= Self::TcpResponseEvent
    }
}

/// A line that does something.
pub(super) struct Rule<'a> {
    pub(super) stage: Stage,
    pub(super) line: &'a Line,
    action: &'a [Word],
    condition: Option<Condition<'a>>,
}

struct Condition<'a> {
    unless: bool,
    words: &'a [Word],
}

impl<'a> Rule<'a> {
    fn new(stage: Stage, line: &'a Line) -> Self {
        let position = line.words.iter().position(|word| matches!(word.known(), Some("if" | "unless")));
        let (action, condition) = match position {
            Some(position) => {
                let unless = line.get(position) == Some("unless");
                let action = line.words.get(..position).unwrap_or_default();
                (action, Some(Condition { unless, words: line.from(position + 1) }))
            }
            None => (&*line.words, None),
        };
        Self { stage, line, action, condition }
    }

    /// The engine and the group that it sends.
    pub(super) fn sends(&self) -> Option<(&'a Word, &'a Word)> {
        let position = self.action.iter().position(|word| word.known() == Some("send-spoe-group"))?;
        Some((self.action.get(position + 1)?, self.action.get(position + 2)?))
    }

    pub(super) fn action(&self) -> &'a str {
        let position = match self.line.get(0) {
            Some("tcp-request" | "tcp-response") => 2,
            Some("redirect" | "use_backend" | "default_backend") => 0,
            _ => 1,
        };
        self.line.get(position).unwrap_or_default()
    }

    /// Refuses the request, or sends the client elsewhere.
    pub(super) fn refuses(&self) -> bool {
        match self.action() {
            "deny" | "reject" | "tarpit" | "silent-drop" | "redirect" | "auth" | "set-status" => true,
            "close" => self.line.get(0) == Some("tcp-response"),
            // Pages with status 200 are answers.
            "return" => {
                let position = self.action.iter().position(|word| word.known() == Some("status"));
                let status = position.and_then(|position| self.action.get(position + 1)?.known()?.parse().ok());
                status.is_some_and(|status: u16| status >= 300)
            }
            _ => false,
        }
    }

    /// The backend that a `use_backend` names.
    pub(super) fn uses_backend(&self) -> Option<&'a str> {
        self.line.get(1).filter(|_| self.line.get(0) == Some("use_backend"))
    }

    /// `set-var(name)` and the like, and the expression that it takes.
    pub(super) fn sets(&self) -> Option<(&'a str, Option<&'a str>)> {
        let position = self.action.iter().position(|word| word.known().is_some_and(|word| word.starts_with("set-var")))?;
        let at = |position: usize| self.action.get(position).and_then(Word::known);
        Some((at(position)?, at(position + 1)))
    }

    /// Whether it is `unless` rather than `if`, and the words after that.
    pub(super) fn condition(&self) -> Option<(bool, &'a [Word])> {
        self.condition.as_ref().map(|condition| (condition.unless, condition.words))
    }

    /// The words of its condition in its line, the `if` or `unless` left out.
    pub(super) fn condition_words(&self) -> (usize, usize) {
        (self.action.len() + 1, self.line.words.len())
    }

    /// The text of what it does, without its condition.
    pub(super) fn action_text(&self) -> &'a str {
        self.line.text(0..self.action.len())
    }

    /// The variables that it reads, its condition left out.
    pub(super) fn reads_of_action(&self) -> impl Iterator<Item = VarName<'a>> + use<'a> {
        self.action.iter().flat_map(|word| sample::reads(word.text()))
    }

    pub(super) fn is_conditional(&self) -> bool {
        self.condition.is_some()
    }
}

/// A proxy's rules and the ACLs that they name.
pub(super) struct Rules<'a> {
    proxy: &'a Proxy,
    pub(super) list: Vec<Rule<'a>>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(proxy: &'a Proxy) -> Self {
        let stage = |line| Stage::of_line(line, proxy.has_frontend());
        let mut list: Vec<_> = proxy.lines().iter().filter_map(|line| stage(line).map(|stage| Rule::new(stage, line))).collect();
        // In the order in which they run; the sort keeps that of the file within a stage.
        list.sort_by_key(|rule| rule.stage);
        Self { proxy, list }
    }

    /// The lines of an ACL.
    pub(super) fn acls<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a Line> + use<'a, 'n> {
        self.proxy.lines().iter().filter(move |line| line.get(0) == Some("acl") && line.get(1) == Some(name))
    }

    /// The variables that a rule reads, those of its ACLs too.
    pub(super) fn reads(&self, rule: &Rule<'a>) -> Vec<VarName<'a>> {
        let mut names: Vec<_> = rule.action.iter().filter_map(Word::known).flat_map(sample::reads).collect();
        names.extend(self.condition_reads(rule));
        names
    }

    /// The variables that a rule's condition reads.
    pub(super) fn condition_reads(&self, rule: &Rule<'a>) -> Vec<VarName<'a>> {
        self.condition_words(rule).filter_map(Word::known).flat_map(sample::reads).collect()
    }

    /// Whether it's a question whether something is there, not what it says.
    pub(super) fn asks_for_presence(&self, rule: &Rule<'a>) -> bool {
        self.condition_words(rule).any(|word| word.known() == Some("found"))
    }

    /// The line of a rule or of an ACL of its condition that reads a variable.
    pub(super) fn line_with(&self, rule: &Rule<'a>, name: VarName<'_>) -> &'a Line {
        let reads = |line: &Line| line.words.iter().filter_map(Word::known).flat_map(sample::reads).any(|read| read == name);
        let words = rule.condition.as_ref().map(|condition| condition.words).unwrap_or_default();
        let mut acls = words.iter().flat_map(|word| self.acls(word.text().trim_start_matches('!')));
        if reads(rule.line) { rule.line } else { acls.find(|acl| reads(acl)).unwrap_or(rule.line) }
    }

    /// The variables that an ACL reads.
    pub(super) fn reads_of_acl(&self, name: &str) -> Vec<VarName<'a>> {
        self.acls(name).flat_map(|acl| acl.from(2)).filter_map(Word::known).flat_map(sample::reads).collect()
    }

    /// The words of a rule's condition and those of the ACLs that it names.
    pub(super) fn condition_words(&self, rule: &Rule<'a>) -> impl Iterator<Item = &'a Word> {
        let words = rule.condition.as_ref().map(|condition| condition.words).unwrap_or_default();
        let named = words.iter().flat_map(|word| self.acls(word.text().trim_start_matches('!'))).flat_map(|acl| acl.from(2));
        words.iter().chain(named)
    }

    /// As [`Self::applies_without`], by those alternatives alone that read such a variable.
    pub(super) fn decides_without(&self, rule: &Rule<'a>, absent: &dyn Fn(VarName<'_>) -> bool) -> Tri {
        let Some(condition) = rule.condition.as_ref().filter(|condition| !condition.unless) else {
            return self.applies_without(rule, absent);
        };
        let reads = |words: &&[Word]| self.reads_of(words).into_iter().any(absent);
        let alternatives = condition.words.split(is_or).filter(reads);
        let evaluation = Evaluation { rules: self, absent };
        alternatives.fold(Tri::False, |state, terms| state.or(evaluation.all_of(terms)))
    }

    /// The variables that a part of a condition reads.
    fn reads_of(&self, words: &'a [Word]) -> Vec<VarName<'a>> {
        let named = words.iter().flat_map(|word| self.reads_of_acl(word.text().trim_start_matches('!')));
        words.iter().filter_map(Word::known).flat_map(sample::reads).chain(named).collect()
    }

    /// Whether a rule applies while none of the variables that `absent` holds for is there.
    pub(super) fn applies_without(&self, rule: &Rule<'a>, absent: &dyn Fn(VarName<'_>) -> bool) -> Tri {
        let Some(condition) = &rule.condition else { return Tri::True };
        let holds = Evaluation { rules: self, absent }.any_of(condition.words);
        if condition.unless { holds.not() } else { holds }
    }
}

/// What stands between alternatives.
pub(super) fn is_or(word: &Word) -> bool {
    matches!(word.known(), Some("or" | "||"))
}

struct Evaluation<'a, 'r> {
    rules: &'r Rules<'a>,
    absent: &'r dyn Fn(VarName<'_>) -> bool,
}

impl Evaluation<'_, '_> {
    /// Terms side by side must all hold; `or` and `||` stand between alternatives.
    fn any_of(&self, words: &[Word]) -> Tri {
        let alternatives = words.split(is_or);
        alternatives.fold(Tri::False, |state, terms| state.or(self.all_of(terms)))
    }

    fn all_of(&self, mut words: &[Word]) -> Tri {
        let mut state = Tri::True;
        let mut negated = false;
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            let Some(text) = word.known() else {
                state = state.and(Tri::Unknown);
                continue;
            };
            let bare = text.trim_start_matches('!');
            negated ^= (text.len() - bare.len()) % 2 == 1;
            if bare.is_empty() {
                continue;
            }
            let term = if bare == "{" {
                let end = words.iter().position(|word| word.known() == Some("}")).unwrap_or(words.len());
                let (inner, rest) = words.split_at(end);
                words = rest.get(1..).unwrap_or_default();
                self.test(inner)
            } else {
                self.named(bare)
            };
            state = state.and(if std::mem::take(&mut negated) { term.not() } else { term });
        }
        state
    }

    fn named(&self, name: &str) -> Tri {
        let mut acls = self.rules.acls(name).peekable();
        if acls.peek().is_some() {
            let test = |acl: &Line| if acl.maybe { Tri::Unknown } else { self.test(acl.from(2)) };
            return acls.fold(Tri::False, |state, acl| state.or(test(acl)));
        }
        match name {
            "TRUE" => Tri::True,
            "FALSE" => Tri::False,
            _ => Tri::Unknown,
        }
    }

    /// `var(name) -m found` and the like: a test of what isn't there never holds.
    fn test(&self, words: &[Word]) -> Tri {
        let Some(expression) = words.first().and_then(Word::known) else { return Tri::Unknown };
        match expression {
            "always_true" => return Tri::True,
            "always_false" => return Tri::False,
            _ => {}
        }
        let absent = sample::plain_variable(expression).is_some_and(|name| (self.absent)(name));
        if absent { Tri::False } else { Tri::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::super::env::Env;
    use super::super::line::read;
    use super::super::proxy::Config;
    use super::*;
    use crate::haproxy::Version;

    fn applies(lines: &str, condition: &str) -> Tri {
        let text = format!("frontend f\n{lines}\n http-request deny {condition}\n");
        let config = Config::read(vec![read("f", &text, Version::DEFAULT, &mut Env::default()).lines]);
        let rules = Rules::new(&config.proxies[0]);
        rules.applies_without(&rules.list[0], &|name| name.under("br").is_some())
    }

    #[test]
    fn what_holds_without_a_verdict() {
        let acls = " acl decided var(txn.br.allow) -m found\n acl allowed var(txn.br.allow) -m bool\n acl admin path_beg /admin";
        for (condition, expected) in [
            ("", Tri::True),
            ("if { var(txn.br.allow) -m bool false }", Tri::False),
            ("if !{ var(txn.br.allow) -m bool }", Tri::True),
            ("unless { var(txn.br.allow) -m bool }", Tri::True),
            ("if decided !allowed", Tri::False),
            ("if admin !decided", Tri::Unknown),
            ("if !decided or admin", Tri::True),
            ("if decided || admin", Tri::Unknown),
            ("if ! decided", Tri::True),
            ("if { var(txn.br.score),sub(1) gt 3 }", Tri::False),
            ("if { var(txn.br.score,0) -m int 0 }", Tri::Unknown),
            ("if { var(txn.mine) -m found }", Tri::Unknown),
            ("if METH_GET", Tri::Unknown),
            ("if TRUE", Tri::True),
            ("if { ", Tri::Unknown),
        ] {
            assert_eq!(applies(acls, condition), expected, "{condition}");
        }
    }

    #[test]
    fn rules_run_in_stages() {
        let text = "frontend f\n http-response deny\n use_backend b if { var(txn.br.x) -m found }\n http-request send-spoe-group br g if a\n \
                    acl a var(txn.br.y) -m found\n tcp-request content reject\n";
        let config = Config::read(vec![read("f", text, Version::DEFAULT, &mut Env::default()).lines]);
        let rules = Rules::new(&config.proxies[0]);
        let stages: Vec<_> = rules.list.iter().map(|rule| rule.stage).collect();
        assert_eq!(stages, [Stage::TcpRequest, Stage::HttpRequest, Stage::UseBackend, Stage::HttpResponse]);
        assert_eq!(rules.list[1].sends().map(|(engine, group)| (engine.text(), group.text())), Some(("br", "g")));
        assert_eq!(rules.reads(&rules.list[1]), [VarName { full: "txn.br.y" }]);
        assert!(rules.list[0].refuses() && !rules.list[2].refuses());
    }
}
