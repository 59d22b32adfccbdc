//! `haproxy`: what is written for HAProxy must stay one word, one line, one meaning there.

use std::collections::HashSet;

use super::Findings;
use super::own::Own;
use crate::config::condition::Condition;
use crate::config::error::Warning;
use crate::config::haproxy::{HaproxyConfig, Moment, NoVerdict, RouteHaproxy, Verdict};
use crate::config::limits::{self, ByteSize, Limit};
use crate::config::path::Path;
use crate::config::pattern::Pattern;
use crate::config::variable::{Variable, VariablePattern};
use crate::config::words::words;
use crate::config::{raw, suggest};

/// What the top level says.
pub(super) fn check(raw: Option<&raw::Haproxy>, path: &Path, findings: &mut Findings) -> HaproxyConfig {
    let default = raw::Haproxy::default();
    let raw = raw.unwrap_or(&default);
    let ByteSize(bufsize) = findings.quantity(&path.key("bufsize"), raw.bufsize.as_deref(), &limits::BUFSIZE);
    let body_timeout = findings.quantity(&path.key("body_timeout"), raw.body_timeout.as_deref(), &limits::BODY_TIMEOUT);
    let mut name = |key, text: &Option<String>, default: &str| {
        let text = text.as_deref().unwrap_or(default);
        check_section_name(text, &path.key(key), findings);
        text.to_owned()
    };
    HaproxyConfig {
        engine: name("engine", &raw.engine, raw::DEFAULT_ENGINE),
        backend: name("backend", &raw.backend, raw::DEFAULT_HAPROXY_BACKEND),
        bufsize,
        body_timeout,
    }
}

/// What a route at `path` says, if anything.
pub(super) fn route(
    route: &raw::Route,
    allowed: Option<&[VariablePattern]>,
    own: &Own,
    prefix_len: usize,
    path: &Path,
    findings: &mut Findings,
) -> Option<RouteHaproxy> {
    let raw = route.haproxy.as_ref()?;
    check_messages(route.messages.as_deref(), &path.key("messages"), findings);
    let (route_path, path) = (path, path.key("haproxy"));
    let moment = moment(raw, &path, findings);
    let args = args(raw.args.as_deref(), &moment, &path.key("args"), findings);
    warn_of_missing_timeout_arg(route, &args, route_path, findings);
    let variables = variables(raw.variables.as_deref(), own, prefix_len, &path.key("variables"), findings);
    let verdict = verdict(raw, &variables, &path, findings);
    check_allowed(raw, verdict.as_ref(), &variables, allowed, &path, findings);
    Some(RouteHaproxy {
        condition: raw.condition.as_deref().and_then(|text| condition(text, &path.key("condition"), findings)),
        verdict,
        moment,
        args,
        variables,
    })
}

/// HAProxy sends messages by their names.
fn check_messages(messages: Option<&[String]>, path: &Path, findings: &mut Findings) {
    let expected = "exact names of messages beside haproxy, which sends them by their names";
    if messages.is_none() {
        findings.problems.add(path, "nothing", expected);
    }
    for (index, name) in messages.into_iter().flatten().enumerate() {
        if !Pattern::new(name).is_exact() {
            findings.problems.add(&path.index(index), name, expected);
        } else {
            check_section_name(name, &path.index(index), findings);
        }
    }
}

fn check_section_name(name: &str, path: &Path, findings: &mut Findings) {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    if name.is_empty() || name.len() > limits::MAX_NAME || !name.bytes().all(is_name) {
        findings.problems.add(path, name, raw::SECTION_NAME_TITLE);
    }
}

fn moment(raw: &raw::RouteHaproxy, path: &Path, findings: &mut Findings) -> Moment {
    match (&raw.group, raw.event) {
        (None, event) => Moment::Event(event.unwrap_or_default()),
        (Some(group), event) => {
            check_section_name(group, &path.key("group"), findings);
            if let Some(event) = event {
                findings.problems.add(&path.key("event"), format_args!("{event} beside group"), "one of them");
            }
            Moment::Group(group.clone())
        }
    }
}

fn args(raw: Option<&[String]>, moment: &Moment, path: &Path, findings: &mut Findings) -> Vec<String> {
    let Some(raw) = raw else { return moment.default_args().iter().map(|arg| (*arg).to_owned()).collect() };
    for (index, arg) in raw.iter().enumerate() {
        let expected = match words(arg) {
            Ok(words) if words.len() == 1 && !arg.ends_with('=') => continue,
            Ok(_) => "name=sample,converter or a sample alone, without spaces outside quotes",
            Err(expected) => expected,
        };
        findings.problems.add(&path.index(index), arg, expected);
    }
    raw.iter().map(|arg| arg.trim().to_owned()).collect()
}

fn warn_of_missing_timeout_arg(route: &raw::Route, args: &[String], route_path: &Path, findings: &mut Findings) {
    let Some(name) = &route.timeout_arg else { return };
    if !args.iter().any(|arg| arg.split_once('=').is_some_and(|(arg, _)| arg == name)) {
        let name = findings.problems.shown(&route_path.key("timeout_arg"), name);
        let path = route_path.key("haproxy").key("args");
        findings.warnings.push(Warning { path, message: format!("none is called {name}, the route's timeout_arg") });
    }
}

fn condition(text: &str, path: &Path, findings: &mut Findings) -> Option<Condition> {
    Condition::parse(text).map_err(|expected| findings.problems.add(path, text, expected)).ok()
}

fn variables(raw: Option<&[String]>, own: &Own, prefix_len: usize, path: &Path, findings: &mut Findings) -> Vec<Variable> {
    let default = raw::DEFAULT_VARIABLES.map(str::to_owned);
    let mut seen = HashSet::new();
    let mut variables = Vec::new();
    for (index, text) in raw.unwrap_or(&default).iter().enumerate() {
        let path = path.index(index);
        if OF_HAPROXY.contains(&text.as_str()) {
            findings.problems.add(&path, text, "another variable: HAProxy sets this one itself");
        } else if !seen.insert(text) {
            findings.problems.add(&path, text, "each variable once");
        }
        if let Some(variable) = findings.variable(&path, text, prefix_len) {
            own.refuse(&variable, &path, findings);
            variables.push(variable);
        }
    }
    variables
}

/// What HAProxy waits for must be among what the service may set.
fn check_allowed(
    raw: &raw::RouteHaproxy,
    verdict: Option<&Verdict>,
    variables: &[Variable],
    allowed: Option<&[VariablePattern]>,
    path: &Path,
    findings: &mut Findings,
) {
    let Some(allowed) = allowed else { return };
    let fits = |variable: &Variable| allowed.iter().any(|pattern| pattern.matches(variable.scope, variable.name.as_bytes()));
    if let Some(Verdict { variable, .. }) = verdict.filter(|verdict| !fits(&verdict.variable)) {
        findings.problems.add(&path.key("verdict"), variable, "a variable that the route's variables let the service set");
    }
    // Those that go without saying are what services of the examples set.
    for (index, variable) in variables.iter().enumerate().filter(|(_, variable)| raw.variables.is_some() && !fits(variable)) {
        let message = format!("the route's variables do not let the service set {variable}");
        findings.warnings.push(Warning { path: path.key("variables").index(index), message });
    }
}

fn verdict(raw: &raw::RouteHaproxy, variables: &[Variable], path: &Path, findings: &mut Findings) -> Option<Verdict> {
    let text = raw.verdict.as_deref().unwrap_or(raw::DEFAULT_VERDICT);
    let deny_status = status(raw.deny_status, &limits::DENY_STATUS, &path.key("deny_status"), findings);
    let no_verdict_status = status(raw.no_verdict_status, &limits::NO_VERDICT_STATUS, &path.key("no_verdict_status"), findings);
    if text == raw::NO_VERDICT_VARIABLE {
        return None;
    }
    let variable = variables.iter().find(|variable| variable.to_string() == text).cloned();
    // If one of the others is wrong it may be this one.
    let all_known = raw.variables.as_ref().is_none_or(|said| said.len() == variables.len());
    if variable.is_none() && all_known {
        let shown = |(index, variable)| findings.problems.shown(&path.key("variables").index(index), variable);
        let known = variables.iter().enumerate().map(shown).chain([raw::NO_VERDICT_VARIABLE.to_owned()]);
        let expected = format!("{}, to deny nothing", suggest::list(known));
        findings.problems.add(&path.key("verdict"), text, expected);
    }
    let no_verdict = raw.no_verdict.unwrap_or(NoVerdict::Deny);
    Some(Verdict { variable: variable?, deny_status, no_verdict, no_verdict_status })
}

fn status(raw: Option<usize>, limit: &Limit<usize>, path: &Path, findings: &mut Findings) -> u16 {
    let status = u16::try_from(raw.unwrap_or_else(|| limit.fallback())).unwrap_or_default();
    if !STATUSES.contains(&status) {
        findings.problems.add(path, status, suggest::list(STATUSES.map(|status| status.to_string())));
    }
    status
}

/// Those of `option set-on-error` and `option set-process-time`, as they are written.
const OF_HAPROXY: [&str; 2] = ["txn.error", "txn.process_ms"];

/// Those for which HAProxy has a response, in every release since 2.4.
const STATUSES: [u16; 18] = [400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503, 504];
