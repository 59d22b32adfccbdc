//! What is told of a NOTIFY besides its answer: counts, a span, and the variables that say why.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use super::answer::{Asked, beginning};
use super::error::NotifyError;
use super::merge::LeftOut;
use super::route::Branch;
use super::{Decide, Inner};
use crate::config::{Cause, DecisionVariables, RouteConfig};
use crate::grpc::Trail;
use crate::spop::{Actions, TypedData};
use crate::telemetry::event;
use crate::telemetry::trace::{Attribute, Span, SpanKind, wall_clock};

/// What became of a NOTIFY, branch by branch.
#[derive(Debug, Default)]
pub(super) struct Report<'a>(SmallVec<[Part<'a>; 1]>);

/// What became of a branch.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) route: Option<&'a RouteConfig>,
    /// Why it ended in the fallback, if it did.
    pub(super) error: Option<NotifyError>,
    /// Who answered, or was asked last.
    pub(super) endpoint: Option<Arc<str>>,
    pub(super) attempts: u32,
    pub(super) left_out: LeftOut,
    /// From the arrival of the NOTIFY to the decision.
    pub(super) latency: Duration,
}

impl<D: Decide> Inner<D> {
    /// Counts a branch's decision, and tells the log if it failed or not all of it is in the ACK.
    pub(super) fn record(
        &self,
        asked: &Asked<'_, '_, D::Engine>,
        branch: &Branch<'_>,
        error: Option<&NotifyError>,
        left_out: &LeftOut,
        latency: Duration,
    ) {
        if let Some(metrics) = self.routes.metrics.get(branch.position) {
            metrics.ended(error.map(NotifyError::cause));
            metrics.duration.observe(latency, asked.begun.as_ref().map(|begun| begun.context));
        }
        if error.is_none() && left_out.is_empty() {
            return;
        }
        let (route, backend) = branch.route.map_or(("", ""), |route| {
            (&*route.name, self.config.backends.get(route.backend).map_or("", |backend| &*backend.name))
        });
        let trace_id = asked.trace_id;
        match error {
            Some(error) => {
                let cause = error.cause();
                let sent = !left_out.is_all_of(self.on_failure(branch), cause);
                let left_out = (!left_out.is_empty()).then_some(left_out as &dyn std::fmt::Display);
                event::DecisionFailed { cause, route, backend, trace_id, detail: error, sent, left_out }.record();
            }
            None => event::AnswerCutShort { route, backend, trace_id, left_out }.record(),
        }
    }
}

impl<'a> Report<'a> {
    /// A branch has ended.
    pub(super) fn add(
        &mut self,
        branch: &Branch<'a>,
        error: Option<NotifyError>,
        left_out: LeftOut,
        trail: &Trail,
        latency: Duration,
    ) {
        let (endpoint, attempts) = (trail.endpoint(), trail.attempts());
        self.0.push(Part { route: branch.route, error, endpoint, attempts, left_out, latency });
    }

    pub(super) fn parts(&self) -> &[Part<'a>] {
        &self.0
    }

    fn problem(&self) -> Option<&NotifyError> {
        self.0.iter().find_map(|part| part.error.as_ref())
    }

    /// The cause of the first branch that failed.
    pub(super) fn failed(&self) -> Option<Cause> {
        self.problem().map(NotifyError::cause)
    }

    /// Until the last decision.
    pub(super) fn latency(&self) -> Duration {
        self.0.iter().map(|part| part.latency).max().unwrap_or_default()
    }

    fn attempts(&self) -> u32 {
        self.0.iter().map(|part| part.attempts).sum()
    }

    fn outcome(&self) -> &'static str {
        self.failed().map_or("ok", Cause::as_str)
    }

    /// Set-var actions that say how the decision came about.
    pub(super) fn variables(&self, variables: &DecisionVariables) -> Actions {
        let source =
            |part: &Part<'_>| part.endpoint.clone().filter(|_| part.error.is_none()).unwrap_or_else(|| "fallback".into());
        let sources: Vec<_> = self.0.iter().map(source).collect();
        let sources = sources.join(",");
        let latency = u64::try_from(self.latency().as_micros()).unwrap_or(u64::MAX);
        let mut actions = Actions::new();
        for (variable, value) in [
            (&variables.cause, TypedData::String(self.outcome().as_bytes())),
            (&variables.latency, TypedData::Uint64(latency)),
            (&variables.attempts, TypedData::Uint32(self.attempts())),
            (&variables.source, TypedData::String(sources.as_bytes())),
        ] {
            // The names were checked with the configuration.
            let _ = actions.set_var(variable.scope, &variable.name, value);
        }
        actions
    }

    /// Ends the span of the NOTIFY, if the trace is recorded.
    pub(super) fn finish<E>(&self, asked: &Asked<'_, '_, E>) {
        if asked.begun.is_some() {
            let routes = self.0.iter().filter_map(|part| part.route).map(|route| Arc::clone(&route.name)).collect();
            let attributes = vec![
                ("spop_bridge.routes", Attribute::Texts(routes)),
                ("spop_bridge.attempts", Attribute::Integer(self.attempts().into())),
            ];
            finish(asked, self.outcome(), self.problem().map(|problem| problem.to_string().into()), attributes);
        }
    }
}

/// Ends the span of a NOTIFY that nobody waits for any more, unless that has been done: its attempts must not be orphans.
pub(super) struct GivenUp<'a, 'b, 'c, E>(Option<&'a Asked<'b, 'c, E>>);

impl<'a, 'b, 'c, E> GivenUp<'a, 'b, 'c, E> {
    pub(super) fn unless_finished(asked: &'a Asked<'b, 'c, E>) -> Self {
        Self(asked.begun.is_some().then_some(asked))
    }

    pub(super) fn finished(mut self) {
        self.0 = None;
    }
}

impl<E> Drop for GivenUp<'_, '_, '_, E> {
    fn drop(&mut self) {
        if let Some(asked) = self.0 {
            finish(
                asked,
                "given_up",
                Some("nobody waits any more: HAProxy aborted it, or the connection ended".into()),
                Vec::new(),
            );
        }
    }
}

fn finish<E>(
    asked: &Asked<'_, '_, E>,
    outcome: &'static str,
    error: Option<Box<str>>,
    mut attributes: Vec<(&'static str, Attribute)>,
) {
    let Some(begun) = &asked.begun else { return };
    let (notify, peer) = (asked.notify, &asked.sender.peer);
    let messages = notify.messages().take(MOST_MESSAGES).map(|message| beginning(message.name)).collect();
    let id = |id: u64| Attribute::Integer(i64::try_from(id).unwrap_or(i64::MAX));
    attributes.extend([
        ("spop.listener", Attribute::Text(Arc::clone(&peer.listener))),
        ("spop.engine.id", Attribute::Text(beginning(&peer.engine_id))),
        ("spop.stream.id", id(notify.stream_id)),
        ("spop.frame.id", id(notify.frame_id)),
        ("spop.messages", Attribute::Texts(messages)),
        ("spop_bridge.outcome", Attribute::Static(outcome)),
    ]);
    match peer.address.parse::<SocketAddr>() {
        Ok(address) => {
            attributes.push(("network.peer.address", Attribute::Text(address.ip().to_string().into())));
            attributes.push(("network.peer.port", Attribute::Integer(address.port().into())));
        }
        Err(_) => attributes.push(("network.peer.address", Attribute::Text(Arc::clone(&peer.address)))),
    }
    if error.is_some() {
        attributes.push(("error.type", Attribute::Static(outcome)));
    }
    Span {
        context: begun.context,
        parent: begun.parent,
        parent_is_remote: begun.parent.is_some(),
        trace_state: begun.trace_state.clone(),
        kind: SpanKind::Server,
        name: "NOTIFY".into(),
        start: wall_clock(notify.received_at),
        end: SystemTime::now(),
        attributes,
        error,
    }
    .finish();
}

/// Names of messages in a span.
const MOST_MESSAGES: usize = 16;
