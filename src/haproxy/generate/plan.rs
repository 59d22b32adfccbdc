//! What is to be written, decided: which routes, which servers, which numbers.

use std::time::Duration;

use super::body::{self, LEAST_BODY};
use super::server::{Server, Target};
use super::{GenerateError, Options};
use crate::config::{Cause, Config, Event, ListenerConfig, Moment, OnFailure, RouteConfig, RouteHaproxy, Variable};
use crate::haproxy::path::{Loophole, loopholes};
use crate::spop::{Action, VarScope};

/// A route that HAProxy is to ask, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) route: &'a RouteConfig,
    pub(super) haproxy: &'a RouteHaproxy,
}

/// All that is written, but for the words.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) config: &'a Config,
    pub(super) options: &'a Options,
    /// At least one.
    pub(super) asks: Vec<Ask<'a>>,
    /// `option var-prefix`.
    pub(super) prefix: &'a str,
    /// Bytes of the largest frame that both sides agree to.
    pub(super) frame: u32,
    /// At least one.
    pub(super) servers: Vec<Server<'a>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(config: &'a Config, options: &'a Options) -> Result<Self, GenerateError> {
        let asks: Vec<_> =
            config.routes.iter().filter_map(|route| route.haproxy.as_ref().map(|haproxy| Ask { route, haproxy })).collect();
        if asks.is_empty() {
            let backend = config.backends.first().map_or("decisions", |backend| &backend.name).to_owned();
            return Err(GenerateError::NothingAsked { backend });
        }
        asks.iter().try_for_each(|ask| body::check(*ask))?;
        let listeners = listeners(config, options, &asks)?;
        let frame = listeners.iter().map(|listener| listener.max_frame_size).min().unwrap_or(u32::MAX);
        let plan = Self {
            frame: frame.min(config.haproxy.bufsize.saturating_sub(FRAME_LENGTH)),
            prefix: prefix(&listeners)?,
            servers: servers(&listeners, &options.servers)?,
            config,
            options,
            asks,
        };
        match plan.asks.iter().find(|ask| plan.cut(**ask).is_some_and(|bytes| bytes < LEAST_BODY)) {
            Some(ask) => Err(GenerateError::FrameTooSmall { frame: plan.frame, message: ask.messages().join(", ") }),
            None => Ok(plan),
        }
    }

    /// Those that are sent at one of `events`.
    pub(super) fn at(&self, events: &[Event]) -> impl Iterator<Item = Ask<'a>> {
        let at = |ask: &Ask<'_>| matches!(ask.haproxy.moment, Moment::Event(event) if events.contains(&event));
        self.asks.iter().copied().filter(at)
    }

    /// The groups, in the order of the routes.
    pub(super) fn groups(&self) -> Vec<(&'a str, Vec<Ask<'a>>)> {
        let mut groups: Vec<(&str, Vec<Ask<'_>>)> = Vec::new();
        for ask in &self.asks {
            let Moment::Group(name) = &ask.haproxy.moment else { continue };
            match groups.iter_mut().find(|(group, _)| group == name) {
                Some((_, asks)) => asks.push(*ask),
                None => groups.push((name, vec![*ask])),
            }
        }
        groups
    }

    /// A variable as rules name it.
    pub(super) fn var(&self, variable: &Variable) -> String {
        format!("{}.{}.{}", variable.scope.as_str(), self.prefix, variable.name)
    }

    /// Names of all variables that are set, each once.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut add = |name: &str| {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        };
        self.asks.iter().flat_map(|ask| &ask.haproxy.variables).for_each(|variable| add(&variable.name));
        let fallbacks = self.asks.iter().map(|ask| &ask.route.on_failure).chain([&self.config.on_failure]);
        fallbacks.flat_map(set_by).for_each(|name| add(&name));
        self.bridges_own().for_each(|variable| add(&variable.name));
        names
    }

    /// What the bridge itself sets with an ACK.
    pub(super) fn bridges_own(&self) -> impl Iterator<Item = &'a Variable> {
        let variables = self.config.decision_variables.iter();
        let variables = variables.flat_map(|of| [&of.cause, &of.latency, &of.attempts, &of.source]);
        [&self.config.status_variable].into_iter().chain(variables)
    }

    /// `timeout processing`: its clock starts earlier than the bridge's.
    pub(super) fn processing(&self) -> Duration {
        let millis = self.slowest().as_micros().div_ceil(1_000);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)) + HEAD_START
    }

    /// The longest timeout of the routes.
    pub(super) fn slowest(&self) -> Duration {
        self.asks.iter().map(|ask| ask.route.timeout).max().unwrap_or_default()
    }

    /// The asks that share a frame with `ask`, itself among them.
    pub(super) fn together(&self, ask: Ask<'a>) -> impl Iterator<Item = Ask<'a>> {
        self.asks.iter().copied().filter(move |other| other.haproxy.moment == ask.haproxy.moment)
    }

    /// Whether a client can make the messages of `ask` too big for a frame: where they take the same bytes twice, where an arg makes
    /// more bytes of them than there were, and where frames are smaller than buffers.
    pub(super) fn may_be_too_big(&self, ask: Ask<'a>) -> bool {
        let messages: usize = self.together(ask).map(|other| other.route.messages.len()).sum();
        messages > 1 || self.has_small_frames() || self.together(ask).any(Ask::may_grow)
    }

    /// Whether frames are smaller than what HAProxy's buffers would allow.
    pub(super) fn has_small_frames(&self) -> bool {
        self.frame < self.config.haproxy.bufsize.saturating_sub(FRAME_LENGTH)
    }

    /// What must be put in by hand, each once, and the conditions that a client gets past.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut missing: Vec<_> = self.servers.iter().flat_map(|server| server.missing(&self.options.tls)).collect();
        missing.sort();
        missing.dedup();
        missing.extend(self.asks.iter().flat_map(|ask| ask.loopholes()));
        missing
    }
}

impl<'a> Ask<'a> {
    pub(super) fn messages(self) -> Vec<&'a str> {
        self.route.messages.iter().map(|message| message.as_str()).collect()
    }

    /// Its verdict, if that is asked for at each request and lives longer than one.
    pub(super) fn stale_verdict(self) -> Option<&'a Variable> {
        let variable = &self.haproxy.verdict.as_ref()?.variable;
        let at_each = !matches!(self.haproxy.moment, Moment::Event(Event::OnClientSession | Event::OnFrontendTcpRequest));
        (at_each && outlives_requests(variable)).then_some(variable)
    }

    fn loopholes(self) -> impl Iterator<Item = String> {
        let found = self.haproxy.condition.iter().flat_map(|condition| loopholes(&condition.words(), true, &|_| Vec::new()));
        found.map(move |Loophole { test, examples, instead, .. }| {
            // As it stands in the bridge's file, where one $ begins a reference.
            let instead = instead.map(|instead| format!("; write {{ {} }}", instead.replace('$', "$$"))).unwrap_or_default();
            let (messages, examples) = (self.messages().join(", "), examples.join(", "));
            format!(
                "{messages}: the condition `{test}` is got past by {examples}, and those requests are not asked about{instead}"
            )
        })
    }

    /// Whether its args can have more bytes than a request.
    fn may_grow(self) -> bool {
        let sample = |arg: &'a str| arg.split_once('=').map_or(arg, |(_, sample)| sample);
        let mut fetches: Vec<_> = self.haproxy.args.iter().map(|arg| sample(arg).split(',').next().unwrap_or_default()).collect();
        let count = fetches.len();
        fetches.sort_unstable();
        fetches.dedup();
        let longer = |arg: &String| ["hex", "base64", "ub64enc"].iter().any(|converter| arg.contains(converter));
        let overlap =
            |fetch: &&str| ["url", "pathq", "base", "req.hdrs", "req.hdrs_bin", "res.hdrs", "res.hdrs_bin"].contains(fetch);
        fetches.len() < count || fetches.iter().any(overlap) || self.haproxy.args.iter().any(longer)
    }
}

/// The listeners that HAProxy may use for all of `asks`.
fn listeners<'a>(config: &'a Config, options: &Options, asks: &[Ask<'_>]) -> Result<Vec<&'a ListenerConfig>, GenerateError> {
    let known = || config.listeners.iter().map(|listener| &*listener.name);
    if let Some(name) = options.listeners.iter().find(|name| !known().any(|known| known == name.as_str())) {
        return Err(GenerateError::UnknownListener { name: name.clone(), known: known().collect::<Vec<_>>().join(", ") });
    }
    let takes = |index: usize| asks.iter().all(|ask| ask.route.listeners.is_empty() || ask.route.listeners.contains(&index));
    let wanted = |name: &str| options.listeners.is_empty() || options.listeners.iter().any(|wanted| wanted == name);
    let all = config.listeners.iter().enumerate();
    let usable: Vec<_> = all.filter(|(index, listener)| takes(*index) && wanted(&listener.name)).map(|(_, one)| one).collect();
    if usable.is_empty() { Err(GenerateError::NoListener) } else { Ok(usable) }
}

fn names(listeners: &[&ListenerConfig]) -> String {
    listeners.iter().map(|listener| &*listener.name).collect::<Vec<_>>().join(", ")
}

fn prefix<'a>(listeners: &[&'a ListenerConfig]) -> Result<&'a str, GenerateError> {
    let mut prefixes = listeners.iter().filter_map(|listener| listener.var_prefix.as_deref());
    let first = prefixes.next();
    if prefixes.any(|prefix| Some(prefix) != first) {
        return Err(GenerateError::Prefixes { listeners: names(listeners) });
    }
    Ok(first.unwrap_or(DEFAULT_PREFIX))
}

fn servers<'a>(listeners: &[&'a ListenerConfig], targets: &[Target]) -> Result<Vec<Server<'a>>, GenerateError> {
    if targets.is_empty() {
        let server = |listener: &&'a ListenerConfig| {
            let target = Target::of(&listener.bind);
            let unknown = || GenerateError::UnknownPort { name: listener.name.to_string(), bind: listener.bind.to_string() };
            Ok(Server { target: target.ok_or_else(unknown)?, listener })
        };
        return listeners.iter().map(server).collect();
    }
    let tls = |listener: &ListenerConfig| listener.tls.as_ref().map(|tls| (tls.clients.is_some(), tls.min_version));
    let (Some(listener), true) = (listeners.first(), listeners.windows(2).all(|pair| matches!(pair, [a, b] if tls(a) == tls(b))))
    else {
        return Err(GenerateError::MixedTls { listeners: names(listeners) });
    };
    Ok(targets.iter().map(|target| Server { target: target.clone(), listener }).collect())
}

/// Whether an earlier request may have set it.
pub(super) fn outlives_requests(variable: &Variable) -> bool {
    matches!(variable.scope, VarScope::Process | VarScope::Session)
}

/// Names of the variables that a fallback changes.
fn set_by(on_failure: &OnFailure) -> impl Iterator<Item = String> {
    let name = |action: Action<'_>| match action {
        Action::SetVar { name, .. } | Action::UnsetVar { name, .. } => String::from_utf8_lossy(name).into_owned(),
    };
    Cause::ALL.iter().flat_map(move |cause| on_failure.actions(*cause).iter().map(name).collect::<Vec<_>>())
}

const DEFAULT_PREFIX: &str = "br";

/// Time for queueing, connecting and HELLO, which `timeout processing` counts and the bridge cannot.
pub(super) const HEAD_START: Duration = Duration::from_millis(50);

/// The length before each frame, which is in HAProxy's buffer too.
const FRAME_LENGTH: u32 = 4;
