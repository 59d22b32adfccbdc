//! What is wrong with an HAProxy configuration that asks agents, with line, reason and fix.
//!
//! ```text
//! text ──word──▶ words ──line──▶ lines ──proxy──▶ global, proxies with their defaults ─┐
//!                        conditional blocks │                                          ├──▶ case ──checks──▶ findings
//!                                           └──spoe──▶ agent, messages, groups ────────┘
//! ```
//!
//! What can't be told from the text (a value of the environment, a conditional block, Lua) makes no finding: somebody runs
//! this in CI, and a false alarm there is worse than a trap that was overlooked. docs/doctor.md has all findings.

mod case;
mod checks;
mod condition;
mod finding;
mod line;
mod proxy;
mod route;
mod rules;
mod settings;
mod spoe;
mod thing;
mod word;

use std::rc::Rc;

pub(crate) use self::finding::{Finding, Haproxy, Rule, Severity};

use self::case::Case;
use self::finding::Findings;
use self::line::Text;
use self::proxy::Config;
use super::{Version, path, sample};
use crate::config;

/// What the configuration is examined for, and how to read what it names.
pub(crate) struct Context<'a> {
    /// The release of HAProxy that reads it.
    pub(crate) version: Version,
    /// Reads a file that the configuration names; an error says why it can't.
    pub(crate) read: &'a dyn Fn(&str) -> Result<String, String>,
    /// Looks up a variable of the environment, for names of files.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
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
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Examines HAProxy's files, in the order in which HAProxy is given them. SPOE files may be among them.
pub(crate) fn examine(files: &[Source], context: &Context<'_>) -> Report {
    let mut out = Findings::default();
    let mut own = Vec::new();
    let mut loose = Vec::new();
    for Source { name, text } in files {
        let mut text = read_text(name, text, context, &mut out);
        out.ignore(std::mem::take(&mut text.ignored));
        if spoe::is_spoe(&text) {
            loose.push((name.clone(), Rc::new(text)));
        } else {
            own.push(text.lines);
        }
    }
    let case = Case::new(Config::read(own), loose, context, &mut out);
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
            place: line::Place { file: file.into(), line: 1 },
            what: warning.to_string(),
            why: "what lets pass, or is set twice, at the bridge does so whatever HAProxy's rules say".into(),
            fix: "see the warning; `spop-bridge check` says it too".into(),
        }));
    }
}

/// Reads a text; lines that HAProxy refuses are found at once.
fn read_text(name: &str, text: &str, context: &Context<'_>, out: &mut Findings) -> Text {
    let mut text = line::read(name, text, context.version, context.env);
    for (place, error) in text.errors.drain(..) {
        out.add_at(
            &finding::SYNTAX,
            Severity::Error,
            &place,
            error.to_string(),
            "quotes, escapes and `\"${NAME}\"` follow sections 2.2 and 2.3 of HAProxy's manual",
            "close it, or escape it with a backslash",
        );
    }
    text
}

#[cfg(test)]
mod tests;
