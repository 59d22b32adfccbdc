//! Configuration: from a YAML file, flags and the environment to a [`Config`] that cannot be wrong.
//!
//! ```text
//! text ──tree──▶ tree ──shape──▶ tree that fits the schema ──serde──▶ raw ──check──▶ Config
//!                 ▲                 │ unknown keys, types,                │ units, addresses, names,
//!           flags │ overrides       ▼ ${NAME}                             ▼ what contradicts each other
//!                                 Problems, all at once, each with its path and what was expected
//! ```
//!
//! Only YAML that is not YAML ends this early. Nothing here touches the file system, the network or the process's
//! environment: callers hand in the text, and a function for the environment.

mod cause;
mod check;
mod condition;
mod effective;
mod env;
mod error;
mod haproxy;
mod limits;
mod log;
mod model;
mod names;
mod on_failure;
mod overrides;
mod path;
mod pattern;
mod protocol;
mod raw;
mod reference;
mod route_index;
mod schema;
mod shape;
mod status_code;
mod suggest;
mod tls;
mod tree;
mod units;
mod variable;
mod words;

use std::time::Duration;

use serde_json::{Value, json};

use self::check::Findings;
use self::overrides::Flags;

pub use self::cause::Cause;
pub use self::condition::{Condition, Term};
pub use self::effective::Effective;
pub use self::error::{ConfigError, Problem, Warning};
pub use self::haproxy::{Event, HaproxyConfig, Moment, NoVerdict, RouteHaproxy, Verdict};
pub(crate) use self::limits::RESERVED_PREFIX;
pub use self::log::{LogConfig, LogFormat, LogLevel};
pub use self::model::{
    AdaptiveLimitConfig, AdminConfig, BackendConfig, Bind, BudgetConfig, Config, DecisionLogConfig, DecisionVariables, DnsConfig,
    DnsName, DrainConfig, EndpointConfig, HealthConfig, HedgingConfig, HedgingDelay, ListenerConfig, OutlierConfig, RetryConfig,
    RouteConfig, SuccessRateConfig, TraceArgs,
};
pub use self::on_failure::OnFailure;
pub use self::overrides::Overrides;
pub use self::path::Path;
pub use self::pattern::Pattern;
pub use self::protocol::Protocol;
pub use self::reference::reference;
pub(crate) use self::route_index::RouteIndex;
pub use self::schema::schema;
pub use self::status_code::StatusCode;
pub use self::tls::{BackendTls, Clients, Identity, ListenerTls, San, TlsVersion};
pub use self::units::{UnitError, format_duration, format_size, parse_duration, parse_size};
pub use self::variable::{NotAVariable, Variable, VariablePattern};

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads the file named `file` with the content `text`, without flags.
    ///
    /// # Errors
    ///
    /// If the file is not YAML, or has problems: then all of them at once.
    pub fn from_yaml(text: &str, file: &str, env: Env<'_>) -> Result<(Self, Vec<Warning>), ConfigError> {
        Self::from_yaml_with(text, file, env, &Overrides::default())
    }

    /// As [`Config::from_yaml`], with flags that replace what the file says.
    ///
    /// # Errors
    ///
    /// As [`Config::from_yaml`]. Problems with flags name the flag.
    pub fn from_yaml_with(
        text: &str,
        file: &str,
        env: Env<'_>,
        overrides: &Overrides,
    ) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut tree = tree::read(text, file)?;
        let flags = overrides.apply(&mut tree);
        from_tree(tree, file, env, &flags)
    }

    /// The part of the file that HAProxy's side is written from, as [`Config::from_yaml`] reads it.
    ///
    /// What is only for the bridge is not looked at, so that secrets are not asked for where nothing needs them: of backends only the
    /// names are there.
    ///
    /// # Errors
    ///
    /// As [`Config::from_yaml`].
    pub fn for_haproxy(text: &str, file: &str, env: Env<'_>) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut tree = tree::read(text, file)?;
        if let Some(tree) = tree.as_object_mut() {
            tree.retain(|key, _| !matches!(key.as_str(), "admin" | "log" | "decision_log"));
            let backends = tree.get_mut("backends").and_then(Value::as_object_mut);
            let bare = json!({ "endpoints": ["unix:/not-looked-at"] });
            backends.into_iter().flatten().for_each(|(_, backend)| *backend = bare.clone());
        }
        from_tree(tree, file, env, &Flags::default())
    }

    /// A configuration without a file: everything that comes in on `listen` goes to the endpoints `backend`.
    ///
    /// # Errors
    ///
    /// If a flag has a problem; all of them at once.
    pub fn quick(listen: &[String], backend: &[String], timeout: Option<Duration>) -> Result<Self, ConfigError> {
        let overrides = Overrides { listen: listen.to_vec(), ..Overrides::default() };
        Self::quick_with(backend, timeout, &overrides)
    }

    /// As [`Config::quick`], with all flags; the addresses to listen on are among them.
    ///
    /// # Errors
    ///
    /// As [`Config::quick`].
    pub fn quick_with(backend: &[String], timeout: Option<Duration>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let (mut tree, mut flags) = overrides::quick_tree(backend, timeout);
        flags.extend(overrides.apply(&mut tree));
        from_tree(tree, "command line", &|_| None, &flags).map(|(config, _)| config)
    }
}

fn from_tree(mut tree: Value, file: &str, env: Env<'_>, flags: &Flags) -> Result<(Config, Vec<Warning>), ConfigError> {
    let mut findings = Findings::default();
    shape::fit(&mut tree, &schema::shape(), env, &mut findings.problems);
    let raw = serde_json::from_value(tree.clone()).unwrap_or_else(|_| {
        // A bug, but no reason to take an unchecked file. The error may repeat a value.
        findings.problems.add(&Path::root(), "what the schema allows and the program does not", "a configuration");
        raw::Config::default()
    });
    let mut config = check::check(&raw, &mut findings);
    let (mut problems, shown) = findings.problems.finish(&mut findings.warnings);
    if problems.is_empty() {
        findings.warnings.sort();
        config.effective = Effective::new(tree, &config, shown);
        return Ok((config, findings.warnings));
    }
    problems.iter_mut().for_each(|problem| flags.attribute(problem));
    problems.sort();
    Err(ConfigError::Invalid { file: file.to_owned(), problems })
}

#[cfg(test)]
mod tests;
