//! The order of evaluation: what a question reads before the rule that sets it has run.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings, Severity};
use super::super::line::Line;
use super::super::rules::{Rule, Rules, Stage};
use super::super::settings::{Setting, Settings};
use super::super::spoe::Section;
use super::super::thing::{Thing, read_by, set_by, slot_filled};
use super::super::word::Word;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    if case.unclear {
        return;
    }
    let order = Order::new(case);
    for engine in case.engines.iter().filter(|engine| !engine.uses.is_empty()) {
        messages(case, &order, engine, out);
    }
    for (proxy, rules) in order.rules.iter().enumerate() {
        for (position, rule) in rules.list.iter().enumerate().filter(|(_, rule)| rule.sends().is_some()) {
            let when = When { proxy, stage: rule.stage, position };
            for thing in rules.condition_words(rule).flat_map(|word| read_by(word.text())) {
                // Verdicts in rules are the subject of other findings.
                if thing.is_about_requests() && !order.is_verdict(&thing) {
                    let late = order.late(&thing, &[when]).filter(|_| !thing.is_kept());
                    late.into_iter().for_each(|setter| group(&thing, rule, &setter, out));
                }
            }
        }
    }
}

/// A moment in the life of a request.
#[derive(Clone, Copy, Debug)]
struct When {
    proxy: usize,
    stage: Stage,
    /// Among the rules of the proxy, or among its filters.
    position: usize,
}

/// What sets something: a rule, or an engine that is asked.
#[derive(Clone, Copy)]
struct Setter<'a> {
    when: When,
    rule: Option<&'a Rule<'a>>,
    /// The event or the group.
    name: &'a str,
}

struct Order<'a> {
    case: &'a Case<'a>,
    rules: Vec<Rules<'a>>,
    prefixes: Vec<(&'a Engine, &'a str)>,
}

impl<'a> Order<'a> {
    fn new(case: &'a Case<'a>) -> Self {
        let used = case.engines.iter().filter(|engine| !engine.uses.is_empty());
        let prefixes = used.filter_map(|engine| Some((engine, engine.prefix().known()?))).collect();
        Self { case, rules: case.config.proxies.iter().map(Rules::new).collect(), prefixes }
    }

    fn is_verdict(&self, thing: &Thing<'_>) -> bool {
        matches!(thing, Thing::Variable(name) if self.prefixes.iter().any(|(_, prefix)| name.under(prefix).is_some()))
    }

    /// When an engine asks.
    fn moments(&self, engine: &'a Engine, message: Option<&Section>) -> Vec<(When, &'a str)> {
        let mut found = Vec::new();
        for moment in engine.moments(self.case) {
            let sent = |message: &Section| moment.messages.iter().any(|sent| sent.head.place == message.head.place);
            let Some(proxy) = self.case.config.proxies.iter().position(|proxy| std::ptr::eq(proxy, moment.proxy)) else {
                continue;
            };
            if message.is_some_and(|message| !sent(message)) {
                continue;
            }
            let filters = moment.proxy.lines().iter().filter(|line| line.get(0) == Some("filter"));
            let used = engine.uses.iter().find(|used| used.proxy == proxy);
            let filter = filters.into_iter().position(|line| used.is_some_and(|used| used.line.place == line.place));
            let rules = self.rules.get(proxy).map(|rules| &rules.list[..]).unwrap_or_default();
            let position = match moment.rule {
                Some(line) => rules.iter().position(|rule| std::ptr::eq(rule.line, line)),
                None => filter,
            };
            found.push((When { proxy, stage: moment.stage, position: position.unwrap_or_default() }, moment.name));
        }
        found
    }

    fn setters(&'a self, thing: &Thing<'_>) -> Vec<Setter<'a>> {
        let mut setters = Vec::new();
        for (proxy, rules) in self.rules.iter().enumerate() {
            for (position, rule) in rules.list.iter().enumerate() {
                let verdict = rules.reads(rule).into_iter().any(|name| self.is_verdict(&Thing::Variable(name)));
                let lines = self.case.config.proxies.get(proxy).map(Settings::lines).unwrap_or_default();
                let slot = slot_filled(lines, rule.line).map(Thing::Capture);
                let own = set_by(rule.action(), rule.line).iter().chain(&slot).any(|set| set == thing);
                // What follows from a verdict can't be there before it.
                if own && (!verdict || matches!(thing, Thing::Variable(_))) {
                    let when = When { proxy, stage: rule.stage, position };
                    setters.push(Setter { when, rule: Some(rule), name: "" });
                }
            }
        }
        if let Thing::Variable(name) = thing {
            for (engine, _) in self.prefixes.iter().filter(|(_, prefix)| name.under(prefix).is_some()) {
                setters.extend(self.moments(engine, None).into_iter().map(|(when, name)| Setter { when, rule: None, name }));
            }
        }
        setters
    }

    /// What sets a thing, if that is always after `moments`.
    fn late(&'a self, thing: &Thing<'_>, moments: &[When]) -> Option<Setter<'a>> {
        let setters = self.setters(thing);
        let early = |setter: &Setter<'_>| moments.iter().any(|moment| self.is_before(setter.when, *moment));
        if moments.is_empty() || setters.iter().any(early) {
            return None;
        }
        let here = |setter: &&Setter<'_>| moments.iter().any(|moment| moment.proxy == setter.when.proxy);
        setters.iter().find(here).or(setters.first()).copied()
    }

    fn is_before(&self, one: When, other: When) -> bool {
        let backend_only = |when: When| self.case.config.proxies.get(when.proxy).is_some_and(|proxy| !proxy.has_frontend());
        if one.proxy == other.proxy {
            return (one.stage, one.position) < (other.stage, other.position);
        }
        match (backend_only(one), backend_only(other)) {
            // A request goes through one of each.
            (true, true) | (false, false) => false,
            (false, true) => one.stage < other.stage,
            // Of responses the backend's rules come first.
            (true, false) => one.stage < other.stage || (one.stage == other.stage && one.stage.is_response()),
        }
    }
}

fn messages<'a>(case: &'a Case<'a>, order: &'a Order<'a>, engine: &'a Engine, out: &mut Findings) {
    for message in &engine.spoe.messages {
        let moments = order.moments(engine, Some(message));
        let Some((_, name)) = moments.first() else { continue };
        let whens: Vec<_> = moments.iter().map(|(when, _)| *when).collect();
        let mut late = |line: &Line, word: &str, is_arg: bool| {
            for thing in read_by(word) {
                let asks_once = thing.is_kept() && (!is_arg || order.is_verdict(&thing));
                if asks_once || (!is_arg && !thing.is_about_requests()) {
                    continue;
                }
                if let Some(setter) = order.late(&thing, &whens) {
                    report(case, engine, &thing, line, is_arg, name, &setter, out);
                }
            }
        };
        message.args().for_each(|(line, expression)| late(line, expression, true));
        let Setting::Known(event) = message.line(&["event"]) else { continue };
        for word in event.from(2) {
            let acls = message.lines().iter().filter(|line| line.get(0) == Some("acl"));
            let named =
                acls.filter(|line| line.get(1) == Some(word.text().trim_start_matches('!'))).flat_map(|line| line.from(2));
            [word].into_iter().chain(named).for_each(|word| late(event, word.text(), false));
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one finding, from all that it is about")]
fn report(
    case: &Case<'_>,
    engine: &Engine,
    thing: &Thing<'_>,
    line: &Line,
    is_arg: bool,
    moment: &str,
    setter: &Setter<'_>,
    out: &mut Findings,
) {
    let reads = if is_arg { "is sent" } else { "decides" };
    let (severity, consequence) = thing.too_early(is_arg);
    let what = format!("{} {reads} at `{moment}`, before {}", thing.title(), setter_title(setter));
    let fix = match setter.rule {
        Some(rule) => earlier(case, engine, thing, rule, setter),
        None => "a later event, or a group that a rule sends below what sets it".to_owned(),
    };
    out.add_as(
        &finding::SET_TOO_LATE,
        severity,
        line,
        what,
        format!("rules run in the order connection, session, tcp content, http-request, response, and events come before their rules: {consequence}"),
        fix,
    );
}

fn setter_title(setter: &Setter<'_>) -> String {
    match setter.rule {
        Some(rule) => format!("line {} of {} sets it", rule.line.place.line, rule.line.place.file),
        None => format!("the agent is asked for it, at `{}`", setter.name),
    }
}

/// The rule in a form that runs before the event, or the question after the rule.
fn earlier(case: &Case<'_>, engine: &Engine, thing: &Thing<'_>, rule: &Rule<'_>, setter: &Setter<'_>) -> String {
    let frontend = case.config.proxies.get(setter.when.proxy).is_some_and(super::super::proxy::Proxy::has_frontend);
    let group = format!("send the message in a group: http-request send-spoe-group {} GROUP, below that line", engine.name);
    let words: Option<Vec<_>> = rule.line.words.iter().map(Word::known).collect();
    match words {
        Some(words) if frontend && rule.stage == Stage::HttpRequest && thing.is_set_by_tcp_rules() => {
            let rest = words.get(1..).unwrap_or_default().join(" ");
            // HAProxy warns of counters by connection that are tracked later than they could be.
            let by_connection = matches!(thing, Thing::Counter(_)) && words.get(2) == Some(&"src");
            let kind = if by_connection { "session" } else { "content" };
            format!("tcp-request {kind} {rest}, in its place; or {group}")
        }
        _ => group,
    }
}

fn group(thing: &Thing<'_>, rule: &Rule<'_>, setter: &Setter<'_>, out: &mut Findings) {
    let (severity, consequence) = thing.too_early(false);
    out.add_as(
        &finding::SET_TOO_LATE,
        severity,
        rule.line,
        format!("{} decides whether the group is sent, before {}", thing.title(), setter_title(setter)),
        format!("rules run from top to bottom: {consequence}"),
        "move this rule below that line".to_owned(),
    );
}

/// What is sent or decides too early, by its severity.
impl Thing<'_> {
    fn too_early(&self, is_arg: bool) -> (Severity, &'static str) {
        match self {
            Thing::Variable(name) if name.scope() == "sess" => {
                (Severity::Warning, "the first request of a connection has none, and later ones have that of the request before")
            }
            Thing::Variable(_) | Thing::Capture(_) | Thing::Counter(_) if is_arg => (Severity::Error, "the service gets NULL"),
            Thing::Variable(_) | Thing::Capture(_) | Thing::Counter(_) => {
                (Severity::Error, "there is nothing yet to compare, and the test never holds")
            }
            Thing::Header { .. } => (Severity::Warning, "it is what the client sent, or the server, if anything"),
            Thing::Address(_) => (Severity::Warning, "it is the address of the connection, which may be a proxy's"),
            Thing::Path => {
                (Severity::Warning, "the service judges the path before it is normalized, and the application sees another")
            }
            Thing::Rewritten => (Severity::Note, "the service judges the path of the client, and the application sees another"),
        }
    }
}
