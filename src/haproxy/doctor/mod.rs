//! What is wrong with an HAProxy configuration that asks agents, with line, reason and fix.
//!
//! ```text
//! text ──word──▶ words ──line──▶ lines ──proxy──▶ global, proxies with their defaults ─┐
//!                        conditional blocks │                                          ├──▶ case ──checks──▶ findings
//!                                           └──spoe──▶ agent, messages, groups ────────┘
//! ```
//!
//! What can't be told from the text (a value of the environment, a conditional block) makes a note that it was not checked, and
//! Lua makes none at all: people run this in CI, where a false alarm is worse than a trap that was overlooked. docs/doctor.md has
//! all findings.

mod case;
mod checks;
mod condition;
mod env;
mod finding;
mod fix;
mod guard;
mod line;
mod proxy;
mod route;
mod rules;
mod settings;
mod spoe;
mod thing;
mod verdict;
mod word;

use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) use self::finding::{Finding, Haproxy, Severity};
pub(crate) use self::fix::{Change, Edit};

use self::case::Case;
use self::env::Env;
use self::finding::Findings;
use self::line::{Fault, Text};
use self::proxy::Config;
use super::{Version, path, sample};
use crate::config;

/// What the configuration is examined for, and how to read what it names.
pub(crate) struct Context<'a> {
    /// The release of HAProxy that reads it.
    pub(crate) version: Version,
    /// Reads a file that the configuration names; an error says why it can't.
    pub(crate) read: &'a dyn Fn(&str) -> Result<String, String>,
    /// Looks up a variable of this process's environment, for names of files.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// Variables of HAProxy's environment.
    pub(crate) given: &'a [(String, String)],
    /// The bridge that HAProxy asks.
    pub(crate) bridge: Option<&'a config::Config>,
}

/// A file that was named: its name and what it holds.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    /// By file and line.
    pub(crate) findings: Vec<Finding>,
    /// Findings that comments silenced.
    pub(crate) silenced: usize,
    /// Engines that were looked at.
    pub(crate) engines: usize,
}

impl Report {
    /// How much was not checked, since only HAProxy sees what decides it.
    pub(crate) fn unchecked(&self) -> usize {
        self.findings.iter().filter(|finding| finding.rule == &finding::NOT_CHECKED).count()
    }

    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Examines HAProxy's files, in the order in which HAProxy is given them. SPOE files may be among them.
pub(crate) fn examine(files: &[Source], context: &Context<'_>) -> Report {
    let mut out = Findings::default();
    let mut own = Vec::new();
    let mut loose = Vec::new();
    let mut env = Env::new(context.env, context.given);
    let mut filters = BTreeMap::new();
    for Source { name, text } in files {
        let mut text = read_text(name, text, context, &mut env, &mut out);
        out.ignore(std::mem::take(&mut text.ignored));
        filters.append(&mut text.filters);
        if spoe::is_spoe(&text) {
            loose.push((name.clone(), Rc::new(text)));
        } else {
            own.push(text.lines);
        }
    }
    let case = Case::new(Config::read(own), loose, &filters, context, &mut out);
    checks::all(&case, &mut out);
    let engines = case.engines.len();
    let (findings, silenced) = out.finish();
    Report { findings, silenced, engines }
}

impl Report {
    /// Adds what the bridge warns of in its own configuration, which has no lines.
    pub(crate) fn warn(&mut self, file: &str, warnings: &[config::Warning]) {
        self.findings.extend(warnings.iter().map(|warning| Finding {
            rule: &finding::BRIDGE_WARNING,
            severity: Severity::Warning,
            haproxy: Haproxy::Silent,
            place: line::Place { file: file.into(), line: 1 },
            what: warning.to_string(),
            why: "what lets pass, or is set twice, at the bridge does so whatever HAProxy's rules say".into(),
            fix: "see the warning; `spop-bridge check` says it too".into(),
        }));
    }
}

/// Reads a text; lines that HAProxy refuses as it reads them are found at once.
fn read_text<'a>(name: &str, text: &str, context: &Context<'_>, env: &mut Env<'a>, out: &mut Findings) -> Text<'a> {
    let text = line::read(name, text, context.version, env);
    for (place, fault) in &text.faults {
        let (why, fix) = match fault {
            Fault::Word(_) => (
                "quotes, escapes and `\"${NAME}\"` follow sections 2.2 and 2.3 of HAProxy's manual",
                "close it, or escape it with a backslash",
            ),
            Fault::Mark => ("HAProxy takes it for a part of the first word", "save the file as UTF-8 without a byte order mark"),
            Fault::NoScope | Fault::Scope(_) | Fault::AfterScope(_) => (
                "a scope is a line of its own, and its name has letters, digits, `_`, `-`, `.` and `:`, without spaces around it",
                "[bridge]",
            ),
            Fault::Continued => (
                "HAProxy has no lines that go on in the next: it takes the backslash for a word, and the next line for one of its own",
                "write one long line, or several `args`, `messages` and `groups` lines, which add up",
            ),
        };
        out.add_at(&finding::SYNTAX, Severity::Error, place, fault.to_string(), why, fix);
    }
    text
}

#[cfg(test)]
mod tests;
