//! Raw to checked: reads the texts, and holds the parts against each other.
//!
//! What is wrong is recorded, and something harmless stands in for it so that the checks go on. The result may only be
//! used if nothing was recorded.

mod actions;
mod address;
mod backends;
mod base64;
mod endpoints;
mod haproxy;
mod listeners;
mod own;
mod passing;
mod resilience;
mod room;
mod routes;
mod shared;
mod tls;
mod together;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::thread::available_parallelism;

use self::actions::Fallback;
use self::own::Own;
use super::effective::Effective;
use super::error::{Problems, Warning};
use super::limits::{self, Limit, Quantity};
use super::log::LogConfig;
use super::model::{AdminConfig, Bind, Config, DecisionLogConfig, DrainConfig, ListenerConfig, TraceArgs};
use super::path::Path;
use super::pattern::Pattern;
use super::variable::{Variable, VariablePattern};
use super::{raw, suggest};

/// What the checks have to say.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Problems,
    pub(super) warnings: Vec<Warning>,
}

/// Makes a configuration of `raw`.
pub(super) fn check(raw: &raw::Config, findings: &mut Findings) -> Config {
    let root = Path::root();
    let listeners = listeners::check(raw.listeners.as_deref(), &root.key("listeners"), findings);
    let backends = backends::check(raw.backends.as_ref(), &root.key("backends"), findings);
    let ack_margin = findings.quantity(&root.key("ack_margin"), raw.ack_margin.as_deref(), &limits::ACK_MARGIN);
    let own = Own::check(raw, listeners::longest_prefix(&listeners), findings);
    let trace_context = trace_context(raw.trace_context.as_ref(), &root.key("trace_context"), findings);
    let fallback = Fallback::new(&own, &listeners);
    let on_failure = fallback.check(raw.on_failure.as_ref(), &listeners, &root.key("on_failure"), findings);
    let shown = |index, name: &str| listeners::shown_name(&root.key("listeners").index(index), name, &findings.problems);
    let context = routes::Context {
        listeners: &listeners,
        listener_names: Names::new(listeners.iter().map(|listener| &*listener.name), shown),
        backends: &backends,
        // They are keys, which do not come from the environment.
        backend_names: Names::new(backends.iter().map(|backend| &*backend.name), |_, name| name.to_owned()),
        ack_margin,
        own: &own,
        fallback: &fallback,
        on_failure: &on_failure,
    };
    let routes = context.check(raw.routes.as_deref(), &root.key("routes"), findings);
    let haproxy = haproxy::check(raw.haproxy.as_ref(), &root.key("haproxy"), findings);
    let on_failure = actions::resolve(&[&on_failure]);
    shared::warn(&routes, &on_failure, findings);
    room::warn(&routes, &on_failure, &fallback, &listeners, haproxy.bufsize, findings);
    let last_resorts = (0..listeners.len()).map(|index| room::last_resort(&routes, &on_failure, index)).collect();
    let drain = drain(raw.drain.as_ref(), &root.key("drain"), findings);
    Config {
        workers: workers(raw.workers),
        on_failure,
        last_resorts,
        status_variable: own.status,
        decision_variables: own.decision,
        trace_context,
        ack_margin,
        drain,
        log: log(raw.log.as_ref()),
        decision_log: raw.decision_log.as_ref().map(|raw| decision_log(raw, &root.key("decision_log"), findings)),
        admin: admin(raw.admin.as_ref(), &root.key("admin"), &listeners, findings),
        effective: Effective::default(),
        haproxy,
        listeners,
        backends,
        routes,
    }
}

fn workers(raw: Option<usize>) -> NonZeroUsize {
    // Those of the first time: a container may be given more while it runs, which must not make its configuration another one.
    static CORES: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZeroUsize::get));
    let workers = raw.unwrap_or_else(|| *CORES).min(*limits::WORKERS.range.end());
    NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN)
}

fn trace_context(raw: Option<&raw::TraceContext>, path: &Path, findings: &mut Findings) -> TraceArgs {
    let Some(raw) = raw else { return TraceArgs::default() };
    let named = |name: &Option<String>, default: String| name.clone().unwrap_or(default);
    let TraceArgs { traceparent, tracestate, baggage } = TraceArgs::default();
    let args = TraceArgs {
        traceparent: named(&raw.traceparent, traceparent),
        tracestate: named(&raw.tracestate, tracestate),
        baggage: named(&raw.baggage, baggage),
    };
    let all = [("traceparent", &args.traceparent), ("tracestate", &args.tracestate), ("baggage", &args.baggage)];
    for (position, (key, name)) in all.iter().enumerate() {
        if all.iter().take(position).any(|(_, other)| other == name) {
            findings.problems.add(&path.key(key), name, "an arg of its own for each header");
        }
    }
    args
}

fn drain(raw: Option<&raw::Drain>, path: &Path, findings: &mut Findings) -> DrainConfig {
    let text = |of: fn(&raw::Drain) -> &Option<String>| raw.and_then(|raw| of(raw).as_deref());
    DrainConfig {
        delay: findings.quantity(&path.key("delay"), text(|raw| &raw.delay), &limits::DRAIN_DELAY),
        grace_period: findings.quantity(&path.key("grace_period"), text(|raw| &raw.grace_period), &limits::GRACE_PERIOD),
    }
}

fn log(raw: Option<&raw::Log>) -> LogConfig {
    let level = raw.and_then(|raw| raw.level).unwrap_or_default();
    let format = raw.and_then(|raw| raw.format).unwrap_or_default();
    LogConfig { level, format }
}

fn decision_log(raw: &raw::DecisionLog, path: &Path, findings: &mut Findings) -> DecisionLogConfig {
    // The schema has held the numbers against their ranges.
    let number = |number: Option<usize>, limit: &Limit<usize>| {
        u32::try_from(number.unwrap_or_else(|| limit.fallback())).unwrap_or(u32::MAX)
    };
    let redact = raw.redact.clone().unwrap_or_else(|| DecisionLogConfig::REDACT.map(str::to_owned).to_vec());
    let bytes =
        findings.quantity(&path.key("max_bytes_per_second"), raw.max_bytes_per_second.as_deref(), &limits::LOG_BYTES_PER_SECOND);
    DecisionLogConfig {
        max_bytes_per_second: bytes.0,
        failures: raw.failures.unwrap_or(true),
        one_in: number(raw.one_in, &limits::LOG_ONE_IN),
        max_per_second: number(raw.max_per_second, &limits::LOG_PER_SECOND),
        args: raw.args.unwrap_or(false),
        redact: redact.iter().map(|name| Pattern::new(&name.to_ascii_lowercase())).collect(),
    }
}

fn admin(raw: Option<&raw::Admin>, path: &Path, listeners: &[ListenerConfig], findings: &mut Findings) -> AdminConfig {
    let said = raw.and_then(|raw| raw.bind.as_deref());
    let text = said.unwrap_or(raw::DEFAULT_ADMIN_BIND);
    let unix = raw.and_then(|raw| raw.unix.as_ref());
    let bind = (text != "off").then(|| listeners::bind(text, unix, raw::ADMIN_BIND_TITLE, path, findings));
    if bind.is_none() && unix.is_some() {
        findings.problems.add(&path.key("unix"), "settings of a socket file beside off", "them only beside unix:/path");
    }
    let same = |bind: &Bind| listeners.iter().position(|listener| listener.bind == *bind && !listeners::any_port(bind));
    if let Some(index) = bind.as_ref().and_then(same) {
        let other = Path::root().key("listeners").index(index);
        findings.problems.add(&path.key("bind"), text, format_args!("an address other than that of {other}"));
    }
    let bound = bind.as_ref().and_then(|bind| match bind {
        Bind::Tcp(address) => Some(address::host(address).to_owned()),
        Bind::Unix { .. } => None,
    });
    let allowed = raw.and_then(|raw| raw.allowed_hosts.as_deref()).unwrap_or_default();
    for (index, host) in allowed.iter().enumerate().filter(|(_, host)| !is_host_name(host)) {
        findings.problems.add(&path.key("allowed_hosts").index(index), host, raw::HOST_TITLE);
    }
    let plain = |host: &String| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let hosts = bound.iter().chain(allowed).map(plain).collect();
    AdminConfig { bind, is_default: said.is_none(), hosts }
}

fn is_host_name(text: &str) -> bool {
    address::is_host_port(&format!("{text}:1")) && !text.starts_with('[')
}

/// Names that something may refer to, and their positions.
struct Names<'a> {
    positions: HashMap<&'a str, usize>,
    /// What they are called in problems.
    shown: Vec<String>,
}

impl<'a> Names<'a> {
    fn new(
        names: impl DoubleEndedIterator<Item = &'a str> + ExactSizeIterator + Clone,
        shown: impl Fn(usize, &str) -> String,
    ) -> Self {
        let shown = names.clone().enumerate().map(|(position, name)| shown(position, name)).collect();
        // Of those that are there twice, which is a problem of theirs, the first counts.
        Self { positions: names.enumerate().rev().map(|(position, name)| (name, position)).collect(), shown }
    }
}

/// Problems for which it is looked for what was meant.
const SUGGESTIONS: usize = 100;

impl Findings {
    /// The quantity that stands at `path`, or its default.
    fn quantity<T: Quantity + Clone>(&mut self, path: &Path, text: Option<&str>, limit: &Limit<T>) -> T {
        let Some(text) = text else { return limit.fallback() };
        limit.read(text).unwrap_or_else(|| {
            let unit = if text.parse::<u64>().is_ok() { " without a unit" } else { "" };
            self.problems.add(path, format_args!("{text}{unit}"), limit);
            limit.fallback()
        })
    }

    /// The variable that stands at `path`.
    fn variable(&mut self, path: &Path, text: &str, prefix_len: usize) -> Option<Variable> {
        Variable::check(text, prefix_len).map_err(|expected| self.problems.add(path, text, expected)).ok()
    }

    /// The variables that stand at `path`, each once, and none of the bridge's `own`.
    fn variables(&mut self, path: &Path, texts: &[String], prefix_len: usize, own: &Own) -> Vec<VariablePattern> {
        let (mut patterns, mut seen) = (Vec::new(), HashSet::new());
        for (index, text) in texts.iter().enumerate() {
            let path = path.index(index);
            if !seen.insert(text) {
                self.problems.add(&path, text, "each variable once");
            }
            match VariablePattern::check(text, prefix_len) {
                Ok(pattern) => patterns.push(pattern),
                Err(expected) => self.problems.add(&path, text, expected),
            }
            text.parse().into_iter().for_each(|variable| own.refuse(&variable, &path, self));
        }
        patterns
    }

    /// The position of `name` in `known`, where it is a reference to one of them.
    fn reference(&mut self, path: &Path, name: &str, known: &Names<'_>) -> Option<usize> {
        let position = known.positions.get(name).copied();
        // Without any there is a problem already, of which this would only be a consequence; so there is for one that has no name.
        let candidates = || known.shown.iter().map(String::as_str).filter(|name| !name.is_empty());
        if position.is_none() && candidates().next().is_some() {
            // To find what was meant takes time, and whoever has made so many mistakes knows by then.
            let closest = (self.problems.len() < SUGGESTIONS).then(|| suggest::closest(name, candidates())).flatten();
            self.problems.add(path, name, closest.map_or_else(|| suggest::list(candidates()), str::to_owned));
        }
        position
    }
}
