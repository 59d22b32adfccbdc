//! Lines that HAProxy refuses for their words. It is HAProxy that knows its language; this has what SPOE adds to it.

use super::super::case::{Case, is_name};
use super::super::finding::{self, Findings};
use super::super::fix::Fix;
use super::super::line::{Line, Modifier};
use super::super::settings::{Settings, milliseconds};
use super::super::spoe::{Name, Section};

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for line in case.config.proxies.iter().flat_map(|proxy| proxy.lines()).filter(|line| line.is(&["filter", "spoe"])) {
        filter(line, out);
    }
    for engine in &case.engines {
        let spoe = &engine.spoe;
        for section in spoe.agents.iter().chain(&spoe.messages).chain(&spoe.groups) {
            head(&section.head, out);
            repeated(section, out);
        }
        spoe.agents.iter().flat_map(|agent| agent.lines()).for_each(|line| agent(line, out));
        spoe.messages.iter().flat_map(|message| message.lines()).for_each(|line| message(line, out));
    }
}

fn refused(line: &Line, what: String, why: &str, fix: impl Into<Fix>, out: &mut Findings) {
    out.add(&finding::ARGUMENTS, line, what, why, fix);
}

/// `filter spoe [engine NAME] config FILE`.
fn filter(line: &Line, out: &mut Findings) {
    let mut words = line.from(2).chunks(2);
    let wrong = words.find(|pair| match pair {
        [keyword, _] => keyword.known().is_some_and(|keyword| !["engine", "config"].contains(&keyword)),
        _ => true,
    });
    let Some(word) = wrong.and_then(|pair| pair.first()?.known()) else { return };
    let fix = if matches!(word, "if" | "unless") {
        "a condition goes to the event of a message, `event NAME if ...`, or to the rule that sends a group"
    } else {
        "filter spoe engine NAME config FILE"
    };
    let what = match word {
        "engine" | "config" => format!("`{word}` of `filter spoe` without a value"),
        _ => format!("`filter spoe` has no `{word}`"),
    };
    refused(line, what, "a filter has `engine NAME` and `config FILE`, and is there for all requests of its proxy", fix, out);
}

/// `spoe-agent NAME` and its like.
fn head(line: &Line, out: &mut Findings) {
    let kind = line.get(0).unwrap_or_default();
    let name = line.get(1).unwrap_or_default();
    let wrong = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"_:.-".contains(*c));
    let what = match (line.words.len(), wrong) {
        (2, None) => return,
        (2, Some(c)) => format!("`{c}` in the name of a {kind}"),
        (1, _) => format!("{kind} without a name"),
        _ => format!("{kind} with more than a name"),
    };
    refused(line, what, "a section has one name, of letters, digits, `_`, `-`, `.` and `:`", format!("{kind} NAME"), out);
}

/// A name that is in a list of its section twice.
fn repeated(section: &Section, out: &mut Findings) {
    for keyword in ["messages", "groups"] {
        let names = section.names(keyword);
        for (position, name) in names.iter().enumerate() {
            if names.iter().take(position).any(|earlier: &Name<'_>| earlier.text == name.text) {
                out.add(
                    &finding::DUPLICATE,
                    name.line,
                    format!("`{}` is in `{keyword}` twice", name.text),
                    "each name is listed once",
                    "name it once",
                );
            }
        }
    }
}

/// Options that are on or off, and may be taken back by `no`.
const SWITCHES: [&str; 4] = ["async", "dontlog-normal", "pipelining", "send-frag-payload"];
/// Options that are on.
const FLAGS: [&str; 2] = ["continue-on-error", "force-set-var"];
/// Options with the name of a variable.
const NAMES: [&str; 4] = ["set-on-error", "set-process-time", "set-total-time", "var-prefix"];

fn agent(line: &Line, out: &mut Findings) {
    if line.words.iter().any(|word| word.known().is_none()) {
        return;
    }
    let (Some(keyword), count) = (line.get(0), line.words.len()) else { return };
    let value = line.get(1).unwrap_or_default();
    let argument = line.get(2);
    let text = line.text(0..count);
    match keyword {
        "option" => option(line, value, argument, out),
        "timeout" => {
            let known = ["hello", "idle", "processing"].contains(&value);
            if !known || count != 3 || argument.and_then(milliseconds).is_none() {
                let why = "an agent has the timeouts hello, idle and processing, each with one time";
                refused(line, format!("`{text}` is no timeout"), why, "timeout processing 100ms", out);
            }
        }
        "use-backend" if count != 2 => {
            refused(line, format!("`{text}` names not one backend"), "an agent has one backend", "use-backend spop-bridge", out);
        }
        "max-frame-size" if count != 2 || value.parse::<u64>().is_err() => {
            refused(line, format!("`{text}` has not one number"), "it takes one number of bytes", "no max-frame-size", out);
        }
        "maxconnrate" | "maxerrrate" | "max-waiting-frames" if count < 2 => {
            refused(line, format!("`{keyword}` without a number"), "it takes one number", "remove it", out);
        }
        "register-var-names" if count < 2 => {
            refused(line, format!("`{keyword}` without a name"), "it takes one name or more", "register-var-names NAME...", out);
        }
        _ => {}
    }
}

fn option(line: &Line, option: &str, argument: Option<&str>, out: &mut Findings) {
    let count = line.words.len();
    if line.modifier == Modifier::No && (FLAGS.contains(&option) || NAMES.contains(&option)) {
        let why = "`no` is for the options async, dontlog-normal, pipelining and send-frag-payload";
        refused(line, format!("`no` before `option {option}`"), why, Fix::remove(line), out);
    } else if (SWITCHES.contains(&option) || FLAGS.contains(&option)) && count > 2 {
        let fix = Fix::replace(line, line.with(2..count, ""));
        refused(line, format!("`option {option}` with a value"), "it is on where it stands", fix, out);
    } else if NAMES.contains(&option) {
        let name = argument.unwrap_or_default();
        let why = "it takes one name, of letters, digits, `_` and `.`; HAProxy itself knows what it sets the variable to";
        match (count, name.chars().find(|c| !is_name(*c))) {
            (3, None) => {}
            (3, Some(_)) if option == "var-prefix" => {}
            (3, Some(c)) => {
                refused(line, format!("`{c}` in the name of `option {option}`"), why, format!("option {option} error"), out)
            }
            (0..=2, _) => refused(line, format!("`option {option}` without a name"), why, format!("option {option} error"), out),
            _ => {
                let fix = Fix::replace(line, line.with(3..count, ""));
                refused(line, format!("`option {option}` with more than a name"), why, fix, out);
            }
        }
    }
}

fn message(line: &Line, out: &mut Findings) {
    match line.get(0) {
        Some("args") => {
            for word in line.from(1).iter().filter_map(|word| word.known()) {
                let expression = word.split_once('=').map_or(word, |(_, expression)| expression);
                if expression.trim().is_empty() {
                    let why = "an arg is NAME=FETCH, or a FETCH alone";
                    refused(line, format!("the arg `{word}` has no fetch"), why, "args path=path", out);
                }
            }
        }
        Some("event") if line.words.len() < 2 => {
            refused(
                line,
                "`event` without a name".to_owned(),
                "a message leaves at an event",
                "event on-frontend-http-request",
                out,
            );
        }
        Some("event") => {
            let after = line.get(2).filter(|word| !["if", "unless"].contains(word));
            if let Some(word) = after {
                let why = "after its name an event may have a condition";
                refused(line, format!("`{word}` after the event"), why, "event on-frontend-http-request if ...", out);
            }
        }
        _ => {}
    }
}
