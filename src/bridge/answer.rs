//! All messages of one NOTIFY, each on its way, and what comes back as one list of actions.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use smallvec::SmallVec;

use super::decision_log;
use super::error::NotifyError;
use super::merge::{LeftOut, Part, merge};
use super::report::{GivenUp, Report};
use super::request::{self, Origin, Tracing};
use super::response::{self, Limits};
use super::route::{Branch, Branches};
use super::{Decide, Inner, Sender, room, status_actions};
use crate::config::{Cause, OnFailure, RESERVED_PREFIX, RouteConfig};
use crate::deadline::Deadline;
use crate::grpc::{Request, Trail};
use crate::spop::{Actions, Notify, Peer, TypedData};
use crate::telemetry::trace::Begun;
use crate::telemetry::{TraceContext, event};

/// What the branches of one NOTIFY have in common.
pub(super) struct Asked<'a, 'b, E> {
    pub(super) notify: &'a Notify,
    pub(super) sender: &'a Sender<E>,
    branches: &'a Branches<'b>,
    /// Bytes that the ACK has for actions.
    room: usize,
    /// As HAProxy has handed it in, or as it was begun here.
    pub(super) trace_id: Option<[u8; 16]>,
    /// If the trace is recorded.
    pub(super) begun: Option<Begun>,
}

/// What became of a branch.
pub(super) struct Decided {
    pub(super) decision: Result<Actions, NotifyError>,
    pub(super) trail: Trail,
    /// From the arrival of the NOTIFY.
    pub(super) latency: Duration,
}

impl<D: Decide> Inner<D> {
    /// Answers every message of `notify`, one branch beside the other, in one list of actions.
    pub(super) async fn answer(&self, notify: &Notify, sender: &Sender<D::Engine>) -> Actions {
        let branches = Branches::of(notify, &self.config, &self.routes);
        let mut trace = Tracing { args: &self.config.trace_context, context: TraceContext::default() };
        let mut requests = self.requests(notify, sender, &branches, &mut trace);
        let mut trace = trace.context;
        let (begun, trace_id) = (trace.begin(), trace.trace_id());
        put_into(&mut requests, &trace);
        let asked = Asked { notify, sender, branches: &branches, room: room(notify), trace_id, begun };
        let given_up = GivenUp::unless_finished(&asked);
        let mut report = Report::default();
        let decide = |(position, (branch, request))| self.decide(&asked, position, branch, request);
        let requests = requests.into_iter().map(|traced| Some(traced?.request));
        let mut errands = branches.branches.iter().zip(requests).enumerate();
        let actions = match (branches.branches.as_slice(), errands.next()) {
            // d16: some 3.1 and 3.2 releases send NOTIFYs without messages, and wait for the ACK.
            (_, None) => Actions::new(),
            ([branch], Some(only)) => self.conclude(&asked, branch, decide(only).await, &mut report),
            (many, Some(first)) => {
                let errands = std::iter::once(first).chain(errands);
                let decided = join_all(errands.map(decide)).await;
                self.conclude_all(&asked, many.iter().zip(decided), &mut report)
            }
        };
        given_up.finished();
        self.complete(&asked, actions, &report)
    }

    /// The request of each branch that has a route.
    fn requests<'a>(
        &self,
        notify: &Notify,
        sender: &Sender<D::Engine>,
        branches: &Branches<'_>,
        trace: &mut Tracing<'a>,
    ) -> SmallVec<[Option<Traced>; 2]> {
        let request = |(position, branch): (usize, &Branch<'_>)| {
            if branch.route.is_none() {
                let wanted = |(message, _): &(usize, _)| branches.contains(position, *message);
                notify.messages().enumerate().filter(wanted).for_each(|(_, message)| trace.take(&message));
                trace.context.baggage.clear();
                return None;
            }
            let request = request::encode(notify, &sender.origin, |message| branches.contains(position, message), trace);
            Some(Traced { request, baggage: std::mem::take(&mut trace.context.baggage) })
        };
        branches.branches.iter().enumerate().map(request).collect()
    }

    async fn decide(
        &self,
        asked: &Asked<'_, '_, D::Engine>,
        position: usize,
        branch: &Branch<'_>,
        request: Option<Request>,
    ) -> Decided {
        let trail = Trail::default();
        let decision = match (branch.route, request) {
            (Some(route), Some(request)) => self.ask(asked, (position, branch.position), route, request, &trail).await,
            _ => Err(unrouted(asked.notify, branch)),
        };
        let latency = trail.ended().saturating_duration_since(asked.notify.received_at);
        Decided { decision, trail, latency }
    }

    async fn ask(
        &self,
        asked: &Asked<'_, '_, D::Engine>,
        (branch, position): (usize, usize),
        route: &RouteConfig,
        request: Request,
        trail: &Trail,
    ) -> Result<Actions, NotifyError> {
        let wanted = |message| asked.branches.contains(branch, message);
        let timeout = route.timeout.min(timeout_of(asked.notify, route, wanted));
        let deadline = Deadline::new(asked.notify.received_at, timeout, self.config.ack_margin);
        let response = self.backends.decide(route.backend, &asked.sender.engine, request, deadline, trail).await?;
        let limits = Limits {
            prefix_length: asked.sender.prefix_length,
            room: asked.room,
            own: &self.own,
            allowed: route.variables.as_deref().map(|allowed| (position, allowed)),
        };
        Ok(response::decode(&response, limits)?)
    }

    pub(super) fn sender(&self, peer: &Arc<Peer>) -> Sender<D::Engine> {
        let listener = self.config.listeners.iter().find(|listener| listener.name == peer.listener);
        let prefix = listener.and_then(|listener| listener.var_prefix.as_ref());
        Sender {
            peer: Arc::clone(peer),
            origin: Origin::of(peer),
            engine: self.backends.engine(&peer.engine_id),
            prefix_length: prefix.map_or(RESERVED_PREFIX, String::len),
        }
    }

    /// The actions of the only branch: its answer, or its fallback if that fits beside the status.
    fn conclude<'a>(
        &self,
        asked: &Asked<'_, '_, D::Engine>,
        branch: &Branch<'a>,
        Decided { decision, trail, latency }: Decided,
        report: &mut Report<'a>,
    ) -> Actions {
        let mut left_out = LeftOut::default();
        let (actions, error) = match decision {
            Ok(actions) => (actions, None),
            Err(error) => {
                let fallback = self.on_failure(branch).actions(error.cause());
                let fits = fallback.len_bytes() + self.status_length <= asked.room;
                let actions = if fits { fallback.clone() } else { left_out.without_room(fallback) };
                (actions, Some(error))
            }
        };
        self.record(asked, branch, error.as_ref(), &left_out, latency);
        report.add(branch, error, left_out, &trail, latency);
        actions
    }

    /// The actions of all branches together.
    fn conclude_all<'a>(
        &self,
        asked: &Asked<'_, '_, D::Engine>,
        decided: impl Iterator<Item = (&'a Branch<'a>, Decided)>,
        report: &mut Report<'a>,
    ) -> Actions {
        let (mut parts, mut ends) = (Vec::new(), Vec::new());
        for (branch, Decided { decision, trail, latency }) in decided {
            parts.push(Part::new(decision, self.on_failure(branch)));
            ends.push((branch, trail, latency));
        }
        let merged = merge(&mut parts, asked.room, self.status_length);
        for (part, (branch, trail, latency)) in parts.into_iter().zip(ends) {
            let error = part.decision.err();
            self.record(asked, branch, error.as_ref(), &part.left_out, latency);
            report.add(branch, error, part.left_out, &trail, latency);
        }
        merged
    }

    pub(super) fn on_failure<'a>(&'a self, branch: &Branch<'a>) -> &'a OnFailure {
        branch.route.map_or(&self.config.on_failure, |route| &route.on_failure)
    }

    /// Adds the status variable where something failed or there is nothing else (d15), and what the bridge has to say of itself.
    fn complete(&self, asked: &Asked<'_, '_, D::Engine>, mut actions: Actions, report: &Report<'_>) -> Actions {
        if report.failed().is_some() || actions.is_empty() {
            // Room for it was kept: the smallest frame that there may be holds it.
            actions.append(&status_actions(&self.config, report.failed().map_or("ok", Cause::as_str)));
        }
        // Last: what says why gives way to what says what.
        if let Some(variables) = &self.config.decision_variables {
            let explained = report.variables(variables);
            if actions.len_bytes() + explained.len_bytes() <= asked.room {
                actions.append(&explained);
            } else {
                event::DecisionVariablesLeftOut { count: explained.count() }.record();
            }
        }
        decision_log::record(&self.config, asked, report);
        report.finish(asked);
        actions
    }
}

/// A request, and what its own messages have as baggage: that is for nobody else, while the trace is the whole NOTIFY's.
struct Traced {
    request: Request,
    baggage: String,
}

/// Gives every request its trace.
fn put_into(requests: &mut [Option<Traced>], trace: &TraceContext) {
    for Traced { request, baggage } in requests.iter_mut().flatten() {
        if !trace.is_empty() || !baggage.is_empty() {
            request.set_trace(Box::new(trace.with_baggage(std::mem::take(baggage))));
        }
    }
}

fn unrouted(notify: &Notify, branch: &Branch<'_>) -> NotifyError {
    let message = notify.messages().nth(branch.first).map_or_else(Arc::default, |message| beginning(message.name));
    NotifyError::Unrouted { message }
}

/// What the route's timeout arg says, in milliseconds; no end without one. Who fills the arg must not be able to do without the
/// service: there is a least.
fn timeout_of(notify: &Notify, route: &RouteConfig, wanted: impl Fn(usize) -> bool) -> Duration {
    let Some(name) = &route.timeout_arg else { return Duration::MAX };
    let messages = notify.messages().enumerate().filter(|(position, _)| wanted(*position));
    let milliseconds = messages.filter_map(|(_, message)| match message.arg(name)? {
        TypedData::Int32(value) => Some(i64::from(value)),
        TypedData::Uint32(value) => Some(i64::from(value)),
        TypedData::Int64(value) => Some(value),
        TypedData::Uint64(value) => Some(i64::try_from(value).unwrap_or(i64::MAX)),
        _ => None,
    });
    let shortest = milliseconds.min().map(|shortest| u64::try_from(shortest).unwrap_or(0));
    shortest.map_or(Duration::MAX, |shortest| Duration::from_millis(shortest).max(route.timeout_arg_min))
}

/// As much of a name as identifies it: the peer may send a longer one.
pub(super) fn beginning(name: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(name.get(..64).unwrap_or(name)).into()
}
