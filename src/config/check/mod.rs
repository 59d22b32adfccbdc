//! Raw to checked: reads the texts, and holds the parts against each other.
//!
//! What is wrong is recorded, and something harmless stands in for it so that the checks go on. The result may only be
//! used if nothing was recorded.

mod actions;
mod address;
mod backends;
mod base64;
mod endpoints;
mod listeners;
mod resilience;
mod routes;
mod tls;

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::thread::available_parallelism;

use self::actions::Fallback;
use super::error::{Problems, Warning};
use super::limits::{self, Limit, Quantity};
use super::log::LogConfig;
use super::model::{Config, DrainConfig};
use super::path::Path;
use super::variable::Variable;
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
    let status_variable = status_variable(raw, listeners::longest_prefix(&listeners), findings);
    let fallback = Fallback::new(&status_variable, &listeners);
    let on_failure = fallback.check(raw.on_failure.as_ref(), &listeners, &root.key("on_failure"), findings);
    let context =
        routes::Context { listeners: &listeners, backends: &backends, ack_margin, fallback: &fallback, on_failure: &on_failure };
    let routes = context.check(raw.routes.as_deref(), &root.key("routes"), findings);
    let drain = drain(raw.drain.as_ref(), &root.key("drain"), findings);
    Config {
        workers: workers(raw.workers),
        on_failure: actions::resolve(&[&on_failure]),
        status_variable,
        ack_margin,
        drain,
        log: log(raw.log.as_ref()),
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

fn status_variable(raw: &raw::Config, prefix_len: usize, findings: &mut Findings) -> Variable {
    let text = raw.status_variable.as_deref().unwrap_or(raw::DEFAULT_STATUS_VARIABLE);
    findings.variable(&Path::root().key("status_variable"), text, prefix_len).unwrap_or_else(Variable::stand_in)
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

    /// The position of `name` in `known`, where it is a reference to one of them.
    fn reference<'a>(&mut self, path: &Path, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<usize> {
        let position = known.clone().position(|candidate| candidate == name);
        // Without any there is a problem already, of which this would only be a consequence.
        if position.is_none() && known.clone().next().is_some() {
            let expected = suggest::closest(name, known.clone()).map_or_else(|| suggest::list(known), str::to_owned);
            self.problems.add(path, name, expected);
        }
        position
    }
}
