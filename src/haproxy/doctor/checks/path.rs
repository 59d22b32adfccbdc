//! Paths as clients write them, where they decide whether a request is asked about or held.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings, Severity};
use super::super::line::Line;
use super::super::path::{Loophole, Spelling, Term, loopholes};
use super::super::proxy::Proxy;
use super::super::rules::{Rule, Rules, Stage};
use super::super::sample;
use super::super::settings::{Setting, Settings};
use super::super::spoe::Section;
use super::super::word::Word;
use super::list;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let used: Vec<_> = case.engines.iter().filter(|engine| !engine.uses.is_empty()).collect();
    for message in used.iter().flat_map(|engine| engine.by_event()) {
        event(case, message, out);
    }
    let prefixes: Vec<_> = used.iter().filter_map(|engine| engine.prefix().known()).collect();
    for proxy in &case.config.proxies {
        let rules = Rules::new(proxy);
        let reads_verdict = |rule: &Rule<'_>| {
            let reads = rules.condition_reads(rule);
            reads.iter().any(|name| prefixes.iter().any(|prefix| name.under(prefix).is_some()))
        };
        let last = rules.list.iter().rposition(|rule| rule.refuses() && reads_verdict(rule));
        for (position, rule) in rules.list.iter().enumerate() {
            let (holds, decides) = if rule.sends().is_some_and(|(engine, _)| is_used(&used, engine)) {
                (true, "whether the service is asked")
            } else if rule.refuses() && reads_verdict(rule) {
                (true, "whether this rule holds")
            } else if rule.action() == "allow" && last.is_some_and(|last| position < last) {
                (false, "whether the rules below are skipped")
            } else {
                continue;
            };
            let Some((unless, words)) = rule.condition() else { continue };
            let found = loopholes(&texts(words), holds != unless, &|term| behind(case, &rules, term));
            report(case, proxy, rule.stage, rule.line, decides, found, out);
        }
    }
}

fn is_used(engines: &[&Engine], name: &Word) -> bool {
    engines.iter().any(|engine| name.known() == Some(&engine.name))
}

/// The condition of a message's event, which knows the message's own ACLs only.
fn event(case: &Case<'_>, message: &Section, out: &mut Findings) {
    let Setting::Known(line) = message.line(&["event"]) else { return };
    let (Some(unless), Some(stage)) = (
        line.get(2).filter(|word| ["if", "unless"].contains(word)).map(|word| word == "unless"),
        line.get(1).and_then(Stage::of_event),
    ) else {
        return;
    };
    let acls = |name: &str| {
        let lines = message.lines().iter().filter(move |line| line.get(0) == Some("acl") && line.get(1) == Some(name));
        lines.map(|line| (false, in_braces(line.from(2)))).collect()
    };
    let found = loopholes(&texts(line.from(3)), !unless, &|term| match term {
        Term::Name(name) => acls(name),
        Term::Test(test) => set_by(case, test),
    });
    let Some(proxy) = case.engines.iter().flat_map(|engine| &engine.uses).find_map(|used| case.config.proxies.get(used.proxy))
    else {
        return;
    };
    report(case, proxy, stage, line, "whether the service is asked", found, out);
}

fn behind(case: &Case<'_>, rules: &Rules<'_>, term: &Term<'_>) -> Vec<(bool, Vec<String>)> {
    match term {
        Term::Name(name) => rules.acls(name).map(|line| (false, in_braces(line.from(2)))).collect(),
        Term::Test(test) => set_by(case, test),
    }
}

/// What a test of a variable comes down to: the test of what it is set to, or the condition under which it is set.
fn set_by(case: &Case<'_>, test: &[String]) -> Vec<(bool, Vec<String>)> {
    let Some((expression, tail)) = test.split_first() else { return Vec::new() };
    let Some(name) = sample::reads(expression).next().filter(|_| expression.starts_with("var(")) else { return Vec::new() };
    let converters = expression.split_once(')').map_or("", |(_, converters)| converters);
    let denied = tail.iter().any(|word| ["false", "0"].contains(&&**word));
    let mut behind = Vec::new();
    for rule in case.config.proxies.iter().flat_map(|proxy| Rules::new(proxy).list) {
        let Some(at) = rule.line.words.iter().position(|word| word.text().starts_with(&format!("set-var({}", name.full))) else {
            continue;
        };
        let value = rule.line.get(at + 1).unwrap_or_default();
        let mut test = vec!["{".to_owned(), format!("{value}{converters}")];
        test.extend(tail.iter().cloned());
        test.push("}".to_owned());
        behind.push((false, test));
        if let Some((unless, words)) = rule.condition().filter(|_| !["bool(false)", "bool(0)", "int(0)"].contains(&value)) {
            behind.push((unless != denied, texts(words)));
        }
    }
    behind
}

/// What can't be told is no pattern of anything.
fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.known().unwrap_or_default().to_owned()).collect()
}

fn in_braces(words: &[Word]) -> Vec<String> {
    let mut test = vec!["{".to_owned()];
    test.extend(texts(words));
    test.push("}".to_owned());
    test
}

fn report(case: &Case<'_>, proxy: &Proxy, stage: Stage, line: &Line, decides: &str, found: Vec<Loophole>, out: &mut Findings) {
    let handled = handled(case, stage, line);
    for Loophole { test, by, examples, instead } in found {
        let open = by.iter().zip(&examples).filter(|(spelling, _)| !handled.contains(spelling));
        let (by, examples): (Vec<_>, Vec<_>) = open.map(|(spelling, example)| (*spelling, &**example)).unzip();
        if by.is_empty() {
            continue;
        }
        let dots = by == [Spelling::Dots];
        let fix = match instead {
            Some(instead) => format!("{{ {instead} }}"),
            None if dots => {
                format!(r"http-request deny deny_status 400 if {{ path,url_dec -m reg (^|/)\.\.?(/|$) }}, in {}", proxy.title())
            }
            None => "no condition on the path; or a test of `path,url_dec` that more slashes don't change".to_owned(),
        };
        out.add_as(
            &finding::RAW_PATH,
            if dots { Severity::Note } else { Severity::Warning },
            line,
            format!("`{test}` decides {decides}, and is got past by {}", list(examples)),
            "HAProxy compares the path as the client writes it; for most applications it is the same place in other words",
            fix,
        );
    }
}

/// The spellings that never get as far: other rules have refused or rewritten them.
fn handled(case: &Case<'_>, stage: Stage, line: &Line) -> Vec<Spelling> {
    let mut handled = Vec::new();
    for rules in case.config.proxies.iter().filter(|proxy| proxy.has_frontend()).map(Rules::new) {
        for rule in &rules.list {
            let earlier = rule.stage < stage || (rule.stage == stage && rule.line.place < line.place);
            match rule.action() {
                "normalize-uri" if earlier => handled.extend(match rule.line.get(2) {
                    Some("percent-decode-unreserved") => Some(Spelling::Encoded),
                    Some("path-merge-slashes") => Some(Spelling::Slashes),
                    Some("path-strip-dotdot") => Some(Spelling::Dots),
                    _ => None,
                }),
                "set-path" | "replace-path" | "set-pathq" | "replace-pathq" | "set-uri" | "replace-uri" if earlier => {
                    handled.extend([Spelling::Encoded, Spelling::Slashes, Spelling::Absolute, Spelling::Dots]);
                }
                _ if rule.refuses() => handled.extend(refused(&rules, rule)),
                _ => {}
            }
        }
    }
    handled
}

/// The spellings that a rule refuses, such as `deny if { path_sub // }`.
fn refused(rules: &Rules<'_>, rule: &Rule<'_>) -> Vec<Spelling> {
    let words: Vec<_> = rules.condition_words(rule).map(Word::text).collect();
    let looks = |word: &&str| ["path", "url", "base", "capture.req.uri"].iter().any(|fetch| word.starts_with(fetch));
    if !words.iter().any(looks) {
        return Vec::new();
    }
    let sought = |texts: &[&str]| words.iter().any(|word| texts.iter().any(|text| word.contains(text)));
    let mut refused = Vec::new();
    if sought(&["%"]) {
        refused.push(Spelling::Encoded);
    }
    if sought(&["//", "/{2"]) && !sought(&["//*", "//?"]) {
        refused.push(Spelling::Slashes);
    }
    if sought(&["..", r"\.\.", r"\.{", r"/\."]) {
        refused.push(Spelling::Dots);
    }
    refused
}
