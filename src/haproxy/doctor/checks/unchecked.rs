//! Lines about engines that only HAProxy can read: values of its environment, conditional blocks that depend on them.

use super::super::case::Case;
use super::super::finding::{self, Findings, Severity};
use super::super::line::Line;
use super::super::rules::Rules;
use super::super::sample;
use super::super::settings::Settings;
use super::super::word::Word;
use super::backend::backends;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in &case.engines {
        let spoe = &engine.spoe;
        for section in spoe.agents.iter().chain(&spoe.messages).chain(&spoe.groups) {
            let lines: Vec<_> = std::iter::once(&section.head).chain(section.lines()).collect();
            lines_of("the engine", &lines, &|line| line.words.iter().filter(|word| !is_text(word)).collect(), out);
        }
    }
    for (_, backend) in backends(case) {
        let keywords = ["default-server", "mode", "option", "server", "server-template", "timeout"];
        let lines: Vec<_> =
            backend.lines().iter().filter(|line| line.get(0).is_some_and(|word| keywords.contains(&word))).collect();
        lines_of("the agent's backend", &lines, &|line| decisive(case, line), out);
    }
    for proxy in &case.config.proxies {
        let rules = Rules::new(proxy);
        let sends = rules.list.iter().filter_map(|rule| Some((rule.line, rule.sends()?)));
        for (line, (engine, group)) in sends {
            unknown("a group", line, &[engine, group], out);
        }
        for line in proxy.lines() {
            let reads: Vec<_> = line.words.iter().filter(|word| word.text().contains("var(")).collect();
            unknown("a variable", line, &reads, out);
        }
    }
}

/// An arg that is a text says nothing to the doctor.
fn is_text(word: &Word) -> bool {
    let expression = word.text().split_once('=').map_or(word.text(), |(_, expression)| expression);
    sample::parse(expression).fetch.name == "str"
}

/// The words of a backend's line that checks look at. An address matters where it is held against the bridge's.
fn decisive<'l>(case: &Case<'_>, line: &'l Line) -> Vec<&'l Word> {
    let address = match line.get(0) {
        Some("server") => 2,
        Some("server-template") => 3,
        _ => return line.words.iter().collect(),
    };
    line.from(if case.bridge.is_some() { address } else { address + 1 }).iter().collect()
}

/// Several lines of a conditional block make one note.
fn lines_of<'l>(subject: &str, lines: &[&'l Line], words: &dyn Fn(&'l Line) -> Vec<&'l Word>, out: &mut Findings) {
    let mut before = false;
    for line in lines {
        if line.maybe && !before {
            note(line, format!("whether HAProxy reads this line of {subject} is not known: it is not checked"), None, out);
        }
        before = line.maybe;
        unknown(&format!("a value of {subject}"), line, &words(line), out);
    }
}

fn unknown(subject: &str, line: &Line, words: &[&Word], out: &mut Findings) {
    let names: Vec<_> = words.iter().flat_map(|word| word.unknown()).map(|name| format!("--env {name}=VALUE")).collect();
    if !names.is_empty() {
        note(line, format!("{subject} comes from the environment of HAProxy: it is not checked"), Some(names.join(" ")), out);
    }
}

fn note(line: &Line, what: String, fix: Option<String>, out: &mut Findings) {
    let why = "the environment of HAProxy is not that of this command";
    out.add_at(&finding::NOT_CHECKED, Severity::Note, &line.place, what, why, fix.unwrap_or_else(|| finding::GIVE.to_owned()));
}
