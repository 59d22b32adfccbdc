//! `spop-bridge haproxy doctor`: the traps that an HAProxy configuration has walked into.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use serde_json::json;

use crate::cli::exit::{Exit, Failure};
use crate::cli::run::load;
use crate::config::Overrides;
use crate::control::{Loaded, MAX_CONFIG, Source as Config};
use crate::files::{self, Unreadable};
use crate::haproxy::Version;
use crate::haproxy::doctor::{Change, Context, Edit, Finding, Haproxy, Report, Severity, Source, examine};

/// Find mistakes in HAProxy's configuration and SPOE files, with line, reason and fix.
///
/// It says what `haproxy -c` does not: groups that nobody sends, variables that nobody sets, bodies that no frame takes, rules
/// that let everything through when there is no verdict. A comment `# spop-bridge: ignore ID` on a line or before it silences
/// a finding. docs/doctor.md explains all of them.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// HAProxy's configuration files and folders, as `haproxy -f` takes them. The SPOE files that they name are read as well.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The release of HAProxy that reads them: a line from 2.4 to 3.4, or what `haproxy -v` says.
    #[arg(long, value_name = "VERSION", default_value_t = Version::DEFAULT)]
    haproxy_version: Version,
    /// The bridge's configuration file, to hold both against each other.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder that is `/` for HAProxy: absolute names of SPOE files are looked up below it.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// A variable of HAProxy's environment, for `"${NAME}"`; may be repeated. What the configuration itself sets is known.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// How to print findings.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// End with code 1 on warnings and on what could not be checked too, not only on errors.
    #[arg(long)]
    deny_warnings: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people, as compilers have it.
    Text,
    /// One JSON document.
    Json,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let bridge = match &args.config {
        Some(path) => {
            let Loaded { config, warnings, .. } = load(&Config::Once { path: path.clone(), overrides: Overrides::default() })?;
            Some((config, path.display().to_string(), warnings))
        }
        None => None,
    };
    args.haproxy_version.warning().iter().for_each(|warning| super::warn(warning));
    let sources = sources(&args.files)?;
    let read = |name: &str| text(files::read(&below(args.root.as_deref(), name), MAX_CONFIG)).map_err(|error| error.to_string());
    let env = |name: &str| std::env::var(name).ok();
    let context = Context {
        version: args.haproxy_version,
        read: &read,
        env: &env,
        given: &args.env,
        bridge: bridge.as_ref().map(|(config, ..)| config),
    };
    let mut report = examine(&sources, &context);
    if let Some((_, file, warnings)) = &bridge {
        report.warn(file, warnings);
    }
    match args.format {
        Format::Text => print_text(&report),
        Format::Json => print_json(&report, args.haproxy_version),
    }
    let warnings = if args.deny_warnings { report.count(Severity::Warning) + report.unchecked() } else { 0 };
    if report.count(Severity::Error) + warnings > 0 { Err(Failure::silent(Exit::Failed)) } else { Ok(()) }
}

/// All files, in the order in which HAProxy takes them: of a folder those that end with `.cfg`, by name.
fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let unreadable = |path: &Path, error: std::io::Error| Failure::new(Exit::Config, format!("{}: {error}", path.display()));
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, error))?;
        let mut below: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_config(path)).collect();
        below.sort();
        files.extend(below);
    }
    let source = |path: PathBuf| match text(files::read_once(&path, MAX_CONFIG)) {
        Ok(text) => Ok(Source { name: path.display().to_string(), text }),
        Err(error) => Err(unreadable(&path, error)),
    };
    files.into_iter().map(source).collect()
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("{name:?} is no name of a variable that HAProxy reads"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn is_config(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    path.extension().is_some_and(|end| end == "cfg") && !hidden && path.is_file()
}

/// HAProxy takes bytes that are no UTF-8; what we look for has none.
fn text(read: Result<Vec<u8>, Unreadable>) -> std::io::Result<String> {
    match read {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(Unreadable::Io(error)) => Err(error),
        Err(error) => Err(std::io::Error::other(error)),
    }
}

fn below(root: Option<&Path>, name: &str) -> PathBuf {
    match (root, name.strip_prefix('/')) {
        (Some(root), Some(name)) => root.join(name),
        _ => PathBuf::from(name),
    }
}

fn print_text(report: &Report) {
    for Finding { rule, severity, haproxy, place, what, why, fix } in &report.findings {
        say!("{}:{}: {severity}: {what} [{}]", place.file, place.line, rule.id);
        say!("    why:  {why}");
        say!("    fix:  {}", fix.text);
        if let Some(says) = says(*haproxy) {
            say!("    `haproxy -c` {says}");
        }
    }
    say!("{}", summary(report));
}

/// What HAProxy itself says of it, if it says anything.
fn says(haproxy: Haproxy) -> Option<&'static str> {
    match haproxy {
        Haproxy::Refuses => Some("refuses it"),
        Haproxy::Warns => Some("warns"),
        Haproxy::WarnsOfMilder | Haproxy::Silent => None,
    }
}

fn summary(report: &Report) -> String {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| report.count(severity));
    let unchecked = if report.unchecked() == 0 { String::new() } else { format!(", {} not checked", report.unchecked()) };
    let silenced = if report.silenced == 0 { String::new() } else { format!(", {} silenced", report.silenced) };
    format!(
        "{}: {}, {}, {}{unchecked}{silenced}",
        count(report.engines, "engine"),
        count(errors, "error"),
        count(warnings, "warning"),
        count(notes, "note")
    )
}

fn print_json(report: &Report, version: Version) {
    let finding = |finding: &Finding| {
        json!({
            "id": finding.rule.id,
            "severity": finding.severity.to_string(),
            "file": &*finding.place.file,
            "line": finding.place.line,
            "what": finding.what,
            "why": finding.why,
            "fix": finding.fix.text,
            "edits": finding.fix.edits.iter().map(edit).collect::<Vec<_>>(),
            "haproxy": says(finding.haproxy).unwrap_or("says nothing"),
        })
    };
    let document = json!({
        "haproxy_version": version.to_string(),
        "engines": report.engines,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "notes": report.count(Severity::Note),
        "not_checked": report.unchecked(),
        "silenced": report.silenced,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    });
    crate::cli::output::say_json(format_args!("{document:#}"));
}

fn edit(Edit { place, change }: &Edit) -> serde_json::Value {
    let (change, text) = match change {
        Change::Before(text) => ("before", Some(text)),
        Change::After(text) => ("after", Some(text)),
        Change::Replace(text) => ("replace", Some(text)),
        Change::Remove => ("remove", None),
    };
    json!({ "file": &*place.file, "line": place.line, "change": change, "text": text })
}
