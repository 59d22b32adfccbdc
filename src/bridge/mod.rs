//! A NOTIFY to requests for decision services, their responses to actions. Knows no sockets and no connections.
//!
//! The bridge is a tower [`Service`] that cannot fail: whatever happens to a call, the operator has said what HAProxy gets
//! instead, and an ACK is never empty (d15).

mod error;
pub(crate) mod request;
pub(crate) mod response;
mod route;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use error::NotifyError;
use futures_util::future::join_all;
use request::Origin;
use response::Limits;
use route::{Branch, Branches};
use tower::Service;

use crate::config::{Cause, Config, RESERVED_PREFIX, RouteConfig};
use crate::deadline::Deadline;
use crate::grpc::{CallError, Request};
use crate::spop::frame::ack::ack_len;
use crate::spop::{Actions, Notify, Peer, TypedData};
use crate::telemetry::event;

/// How the bridge reaches backends.
pub(crate) trait Decide: Send + Sync + 'static {
    /// An engine, as the backends know it.
    type Engine: fmt::Debug + Send + Sync;

    /// The engine with this id; kept as long as its connection.
    fn engine(&self, id: &Bytes) -> Self::Engine;

    /// Sends the bytes of a request to the backend at this position of the configuration, and returns those of the response.
    fn decide(
        &self,
        backend: usize,
        engine: &Self::Engine,
        request: Request,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send;
}

/// Turns NOTIFYs into decisions by a configuration.
#[derive(Debug)]
pub(crate) struct Bridge<D: Decide> {
    inner: Arc<Inner<D>>,
    /// Of the NOTIFY before: each connection has its own clone of the bridge.
    sender: Option<Arc<Sender<D::Engine>>>,
}

/// What is the same for all NOTIFYs of a connection.
#[derive(Debug)]
struct Sender<E> {
    peer: Arc<Peer>,
    origin: Origin,
    engine: E,
    /// Bytes that HAProxy's variable prefix takes of a name.
    prefix_length: usize,
}

#[derive(Debug)]
struct Inner<D> {
    config: Arc<Config>,
    backends: D,
}

impl<D: Decide> Clone for Bridge<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), sender: None }
    }
}

impl<D: Decide> Bridge<D> {
    pub(crate) fn new(config: Arc<Config>, backends: D) -> Self {
        Self { inner: Arc::new(Inner { config, backends }), sender: None }
    }
}

impl<D: Decide> Service<Notify> for Bridge<D> {
    type Response = Actions;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Actions, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, notify: Notify) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        let sender = match &self.sender {
            Some(sender) if Arc::ptr_eq(&sender.peer, &notify.peer) => Arc::clone(sender),
            _ => Arc::clone(self.sender.insert(Arc::new(inner.sender(&notify.peer)))),
        };
        Box::pin(async move { Ok(inner.answer(&notify, &sender).await) })
    }
}

impl<E> Sender<E> {
    fn limits(&self, notify: &Notify) -> Limits {
        let header = ack_len(notify.stream_id, notify.frame_id, 0);
        Limits {
            prefix_length: self.prefix_length,
            room: usize::try_from(notify.max_frame_size).unwrap_or(usize::MAX).saturating_sub(header),
        }
    }
}

/// What the status variable says, and the actions that go with it on their own.
pub(crate) fn status_actions(config: &Config, status: &str) -> Actions {
    let mut actions = Actions::new();
    let variable = &config.status_variable;
    // The name was checked with the configuration.
    let _ = actions.set_var(variable.scope, &variable.name, TypedData::String(status.as_bytes()));
    actions
}

impl<D: Decide> Inner<D> {
    /// Answers every message of `notify`, one branch beside the other, in one list of actions.
    async fn answer(&self, notify: &Notify, sender: &Sender<D::Engine>) -> Actions {
        let branches = Branches::of(notify, &self.config);
        let limits = sender.limits(notify);
        let decide = |(position, branch)| self.decide(notify, sender, &branches, position, branch, limits);
        let merged = match branches.branches.as_slice() {
            // d16: some 3.1 and 3.2 releases send NOTIFYs without messages, and wait for the ACK.
            [] => Merged::default(),
            [branch] => self.merge([(branch, decide((0, branch)).await)], limits),
            many => {
                let decisions = many.iter().enumerate().map(decide);
                self.merge(many.iter().zip(join_all(decisions).await), limits)
            }
        };
        self.complete(merged, limits)
    }

    async fn decide(
        &self,
        notify: &Notify,
        sender: &Sender<D::Engine>,
        branches: &Branches<'_>,
        position: usize,
        branch: &Branch<'_>,
        limits: Limits,
    ) -> Result<Actions, NotifyError> {
        let Some(route) = branch.route else {
            let message = notify.messages().nth(branch.first).map(|message| String::from_utf8_lossy(message.name).into_owned());
            return Err(NotifyError::Unrouted { message: message.unwrap_or_default() });
        };
        let wanted = |message| branches.contains(position, message);
        let timeout = route.timeout.min(self.timeout_of(notify, route, wanted));
        let deadline = Deadline::new(notify.received_at, timeout, self.config.ack_margin);
        let request = request::encode(notify, &sender.origin, wanted);
        let response = self.backends.decide(route.backend, &sender.engine, request, deadline).await?;
        Ok(response::decode(&response, limits)?)
    }

    /// What the route's timeout arg says, in milliseconds; no end without one. Zero and less mean that no time is left.
    fn timeout_of(&self, notify: &Notify, route: &RouteConfig, wanted: impl Fn(usize) -> bool) -> Duration {
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
        shortest.map_or(Duration::MAX, Duration::from_millis)
    }

    fn sender(&self, peer: &Arc<Peer>) -> Sender<D::Engine> {
        let listener = self.config.listeners.iter().find(|listener| listener.name == peer.listener);
        let prefix = listener.and_then(|listener| listener.var_prefix.as_ref());
        Sender {
            peer: Arc::clone(peer),
            origin: Origin::of(peer),
            engine: self.backends.engine(&peer.engine_id),
            prefix_length: prefix.map_or(RESERVED_PREFIX, String::len),
        }
    }

    /// Puts the branches' actions together in their order. A branch that failed, or whose actions no longer fit, gives its
    /// fallback: each branch's actions are in whole or not at all.
    fn merge<'a>(
        &self,
        decisions: impl IntoIterator<Item = (&'a Branch<'a>, Result<Actions, NotifyError>)>,
        limits: Limits,
    ) -> Merged {
        let mut merged = Merged::default();
        for (branch, decision) in decisions {
            let used = merged.actions.len_bytes();
            let fits = |actions: &Actions| used + actions.len_bytes() <= limits.room;
            let error = match decision {
                Ok(actions) if fits(&actions) => {
                    merged.append(actions);
                    continue;
                }
                Ok(actions) => NotifyError::NoRoom { length: used + actions.len_bytes(), room: limits.room },
                Err(error) => error,
            };
            let fallback = self.fallback(branch.route, &error);
            merged.failed.get_or_insert(error.cause());
            if fits(fallback) {
                merged.append(fallback.clone());
            }
        }
        merged
    }

    fn fallback<'a>(&'a self, route: Option<&'a RouteConfig>, error: &NotifyError) -> &'a Actions {
        let cause = error.cause();
        let (name, backend) = route.map_or(("", ""), |route| {
            (&*route.name, self.config.backends.get(route.backend).map_or("", |backend| &*backend.name))
        });
        event::DecisionFailed { cause, route: name, backend, detail: error }.record();
        route.map_or(&self.config.on_failure, |route| &route.on_failure).actions(cause)
    }

    /// Adds the status variable where something failed or there is nothing else (d15).
    fn complete(&self, merged: Merged, limits: Limits) -> Actions {
        let mut actions = merged.actions;
        if merged.failed.is_some() || actions.is_empty() {
            let status = status_actions(&self.config, merged.failed.map_or("ok", Cause::as_str));
            if actions.len_bytes() + status.len_bytes() <= limits.room {
                actions.append(&status);
            }
        }
        actions
    }
}

/// The branches' actions, and the cause of the first that failed.
#[derive(Debug, Default)]
struct Merged {
    actions: Actions,
    failed: Option<Cause>,
}

impl Merged {
    fn append(&mut self, actions: Actions) {
        if self.actions.is_empty() {
            self.actions = actions;
        } else {
            self.actions.append(&actions);
        }
    }
}
