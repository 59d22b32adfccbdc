//! Verdicts: what becomes of a request when there is none.

use std::collections::BTreeSet;

use super::super::case::{Case, Engine};
use super::super::condition::Tri;
use super::super::finding::{self, Findings};
use super::super::fix::Fix;
use super::super::guard::Guard;
use super::super::proxy::Proxy;
use super::super::rules::{Rule, Rules};
use super::super::sample::{VarName, mentions};
use super::super::settings::Settings;
use super::super::verdict::Verdicts;
use super::list;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    if case.unclear {
        return;
    }
    let all: Vec<_> = case.config.proxies.iter().map(Rules::new).collect();
    for engine in case.engines.iter().filter(|engine| !engine.uses.is_empty()) {
        let Some(prefix) = engine.prefix().known() else { continue };
        let verdicts = Verdicts::new(case, &all, prefix);
        let error = engine.error_variable().known();
        let asked = Asked { case, engine, all: &all, verdicts, error: error.as_deref(), alone: messages(case, engine) < 2 };
        asked.check(out);
    }
}

/// How many messages an engine sends. Each may be another service's, which can fail while the others answer.
fn messages(case: &Case<'_>, engine: &Engine) -> usize {
    let names = engine.moments(case).into_iter().flat_map(|moment| moment.messages).map(|message| &message.name);
    names.collect::<BTreeSet<_>>().len()
}

/// An engine and all rules that may act on what it says.
struct Asked<'a, 'r> {
    case: &'a Case<'a>,
    engine: &'a Engine,
    all: &'r [Rules<'a>],
    verdicts: Verdicts<'a>,
    error: Option<&'r str>,
    /// It sends one message: with one of its verdicts all of them are there.
    alone: bool,
}

impl<'a> Asked<'a, '_> {
    fn check(&self, out: &mut Findings) {
        let mut told: Vec<Vec<&str>> = Vec::new();
        for (position, rules) in self.all.iter().enumerate() {
            for rule in rules.list.iter().filter(|rule| rule.is_conditional() && self.refuses(rule)) {
                let reads = self.verdicts_of(rules, rule);
                let Some(name) = reads.first().filter(|_| self.is_asked(position)) else { continue };
                let mut verdicts: Vec<_> = reads.iter().flat_map(|name| self.verdicts.behind(VarName { full: name })).collect();
                verdicts.dedup();
                match rules.decides_without(rule, &|name| self.verdicts.holds(name)) {
                    Tri::False => {
                        let known = told.iter().any(|told| self.alone || told.iter().any(|name| verdicts.contains(name)));
                        if !known && !self.is_prepared(position, rule, &verdicts) {
                            open(rules, rule, &reads, &verdicts, out);
                            told.push(verdicts);
                        }
                    }
                    Tri::True if !rules.asks_for_presence(rule) => closed(rules, rule, &reads, &verdicts, name, out),
                    Tri::True | Tri::Unknown => {}
                }
            }
        }
    }

    /// Whether the engine is asked about requests that come by a proxy.
    fn is_asked(&self, position: usize) -> bool {
        let proxies = &self.case.config.proxies;
        let by = |proxy: &Proxy, other: &Proxy| proxy.name == other.name || proxy.may_reach(other) || other.may_reach(proxy);
        let mut uses = self.engine.uses.iter().filter_map(|used| proxies.get(used.proxy));
        proxies.get(position).is_some_and(|proxy| uses.any(|used| by(proxy, used)))
    }

    /// The verdicts that a rule's condition reads, each once.
    fn verdicts_of(&self, rules: &Rules<'a>, rule: &Rule<'a>) -> Vec<&'a str> {
        let mut names = Vec::new();
        for name in rules.condition_reads(rule).into_iter().filter(|name| self.verdicts.holds(*name)) {
            if !names.contains(&name.full) {
                names.push(name.full);
            }
        }
        names
    }

    fn refuses(&self, rule: &Rule<'_>) -> bool {
        let backend = rule.uses_backend().and_then(|name| self.case.config.backend(name));
        rule.refuses() || backend.is_some_and(refuses_all)
    }

    /// Whether something is said of requests for which these verdicts are missing, where a rule's requests come by.
    fn is_prepared(&self, position: usize, rule: &Rule<'_>, verdicts: &[&str]) -> bool {
        let (Some(proxy), Some(own)) = (self.case.config.proxies.get(position), self.all.get(position)) else { return true };
        let later = own.list.iter().skip_while(|other| other.line.place != rule.line.place);
        if later.skip(1).any(|later| !later.is_conditional() && later.refuses()) {
            return true;
        }
        let meets = |other: &Proxy| other.name == proxy.name || proxy.may_reach(other) || other.may_reach(proxy);
        let others = self.case.config.proxies.iter().zip(self.all).filter(|(other, _)| meets(other));
        others.into_iter().any(|(other, rules)| {
            rules.list.iter().any(|rule| self.looks_at_absence(rules, rule, verdicts)) || self.copies_error(other)
        })
    }

    /// Whether a rule may apply while the verdicts are missing, and looks at them or at the error variable.
    fn looks_at_absence(&self, rules: &Rules<'a>, rule: &Rule<'a>, verdicts: &[&str]) -> bool {
        if !rule.is_conditional() {
            return false;
        }
        let reads = rules.condition_reads(rule);
        if reads.iter().any(|name| self.error == Some(name.full)) {
            return true;
        }
        let concerns = |name: VarName<'a>| {
            self.verdicts.holds(name) && self.verdicts.behind(name).iter().any(|name| self.alone || verdicts.contains(name))
        };
        let absent = |name: VarName<'_>| reads.iter().any(|read| read.full == name.full && concerns(*read));
        reads.iter().any(|name| concerns(*name)) && rules.decides_without(rule, &absent) != Tri::False
    }

    /// By way of another variable, a map or a table HAProxy's configuration may be prepared.
    fn copies_error(&self, proxy: &Proxy) -> bool {
        proxy.lines().iter().any(|line| {
            let acts = line.get(0).is_some_and(|word| word.starts_with("http-re") || word.starts_with("tcp-re"));
            let copies =
                |error: &str| line.words.iter().any(|word| mentions(word.text(), error) && word.text().contains("set-var"));
            acts && self.error.is_some_and(copies)
        })
    }
}

/// Whether a backend is there to refuse: by a rule for all requests, by having no server, or by its name.
fn refuses_all(backend: &Proxy) -> bool {
    let rules = Rules::new(backend);
    let mut always = rules.list.iter().filter(|rule| !rule.is_conditional());
    let answers = ["return", "use-service", "redirect"];
    let names = ["ban", "banned", "block", "blocked", "captcha", "challenge", "denied", "deny", "forbidden", "reject", "tarpit"];
    let named = backend.name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| names.contains(&&*part.to_ascii_lowercase()));
    let serves = || rules.list.iter().any(|rule| answers.contains(&rule.action()));
    named || always.any(Rule::refuses) || (backend.servers().is_empty() && !serves())
}

fn open<'a>(rules: &Rules<'a>, rule: &'a Rule<'a>, reads: &[&'a str], verdicts: &[&'a str], out: &mut Findings) {
    let Some(guard) = Guard::new(rules, rule, reads, verdicts) else { return };
    let name = verdicts.first().copied().unwrap_or_default();
    let action = match (rule.line.get(0), rule.line.get(1)) {
        (Some("use_backend"), _) => rule.action_text().to_owned(),
        (Some(protocol @ ("tcp-request" | "tcp-response")), Some(kind)) => format!("{protocol} {kind} reject"),
        (Some("http-response"), _) => "http-response deny deny_status 503".to_owned(),
        _ => "http-request deny deny_status 503".to_owned(),
    };
    let text = format!("{action} {}", guard.when_missing());
    // Rules of `redirect` and `use_backend` come after those of `http-request`, wherever they stand.
    let early = matches!(rule.line.get(0), Some("use_backend" | "redirect"));
    let fix = if early { Fix::before(rule.line, &text) } else { Fix::after(rule.line, &text) };
    out.add(
        &finding::FAILS_OPEN,
        rule.line,
        format!("requests are refused for what {} says, and let through while it is missing", list(reads.iter().copied())),
        "no rule looks at its absence or at the variable of `option set-on-error`: with the agent away, or its service, everything \
         passes; write down which you mean",
        fix.saying(format!(
            "{text}, where failing closed is worth an outage and the service sets `{name}` in every answer; else ignore this with a comment"
        )),
    );
}

fn closed<'a>(rules: &Rules<'a>, rule: &'a Rule<'a>, reads: &[&'a str], verdicts: &[&'a str], name: &str, out: &mut Findings) {
    let Some(guard) = Guard::new(rules, rule, reads, verdicts) else { return };
    let fix = Fix::replace(rule.line, guard.only_with_verdict());
    let text = format!("{}, to refuse only on a verdict", fix.text);
    out.add(
        &finding::FAILS_CLOSED,
        rule.line,
        format!("requests are refused while `{name}` is missing"),
        "with the agent away nothing passes here: an outage of the agent is one of the site, if that is what you mean",
        fix.saying(text),
    );
}
