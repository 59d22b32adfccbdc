//! A NOTIFY to requests for decision services, their responses to actions. Knows no sockets and no connections.
//!
//! The bridge is a tower [`Service`] that cannot fail: whatever happens to a call, the operator has said what HAProxy gets
//! instead, and an ACK is never empty (d15).

mod answer;
mod decision_log;
mod error;
mod merge;
mod report;
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

use bytes::Bytes;
use request::Origin;
pub(crate) use route::Routes;
use tower::Service;

use crate::config::{Cause, Config, Variable};
use crate::deadline::Deadline;
use crate::grpc::{CallError, Request, Trail};
use crate::spop::frame::ack::ack_len;
use crate::spop::{Actions, Notify, Peer, TypedData};

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
        trail: &Trail,
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
    routes: Arc<Routes>,
    backends: D,
    /// Variables that no service may set.
    own: Vec<Variable>,
    /// Bytes of the longest status.
    status_length: usize,
}

impl<D: Decide> Clone for Bridge<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), sender: None }
    }
}

impl<D: Decide> Bridge<D> {
    /// `routes` are those of `config`.
    pub(crate) fn new(config: Arc<Config>, routes: Arc<Routes>, backends: D) -> Self {
        let own = config.own_variables().cloned().collect();
        let status_length = Cause::ALL.map(|cause| status_actions(&config, cause.as_str()).len_bytes()).into_iter().max();
        let status_length = status_length.unwrap_or_default();
        Self { inner: Arc::new(Inner { config, routes, backends, own, status_length }), sender: None }
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

/// Bytes that the ACK of `notify` has for actions.
fn room(notify: &Notify) -> usize {
    let header = ack_len(notify.stream_id, notify.frame_id, 0);
    usize::try_from(notify.max_frame_size).unwrap_or(usize::MAX).saturating_sub(header)
}

/// What the status variable says, and the actions that go with it on their own.
pub(crate) fn status_actions(config: &Config, status: &str) -> Actions {
    let mut actions = Actions::new();
    let variable = &config.status_variable;
    // The name was checked with the configuration.
    let _ = actions.set_var(variable.scope, &variable.name, TypedData::String(status.as_bytes()));
    actions
}
