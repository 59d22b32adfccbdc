//! The service that decides, replaceable while connections stay.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;
use tower::Service;

use crate::spop::{Actions, Notify};

/// What an agent needs of the service that decides: a tower [`Service`] from a NOTIFY to actions that cannot fail, because
/// every NOTIFY is answered. Implemented by every service of that shape.
///
/// Calls of one connection run side by side on the connection's task: a service that computes for long should move
/// the work elsewhere (`tokio::task::spawn_blocking`) and await it. Dropping the future means that nobody waits any more.
pub trait Process:
    Service<Notify, Response = Actions, Error = Infallible, Future: Send> + Clone + Send + Sync + Unpin + 'static
{
}

impl<P> Process for P where
    P: Service<Notify, Response = Actions, Error = Infallible, Future: Send> + Clone + Send + Sync + Unpin + 'static
{
}

/// A handle to the processor of one agent or more, to replace it while they run.
#[derive(Debug)]
pub struct Processor<P> {
    sender: Arc<watch::Sender<P>>,
}

impl<P> Clone for Processor<P> {
    fn clone(&self) -> Self {
        Self { sender: Arc::clone(&self.sender) }
    }
}

impl<P: Process> Processor<P> {
    /// A processor to build agents on with [`Agent::builder_with`](super::Agent::builder_with).
    pub fn new(processor: P) -> Self {
        Self { sender: Arc::new(watch::Sender::new(processor)) }
    }

    /// Uses `processor` for every NOTIFY read from now on, on connections old and new. NOTIFYs in flight stay with
    /// the processor that has them; when the last of them is answered, no connection has a clone of it any more.
    pub fn replace(&self, processor: P) {
        self.sender.send_replace(processor);
    }

    pub(super) fn current(&self) -> Current<P> {
        let mut receiver = self.sender.subscribe();
        let service = receiver.borrow_and_update().clone();
        let replaced = replaced(receiver.clone());
        Current { receiver, service, replaced, registered: None, _sender: Arc::clone(&self.sender) }
    }
}

/// One connection's own clone of the processor, renewed when it has been replaced.
pub(super) struct Current<P> {
    receiver: watch::Receiver<P>,
    service: P,
    /// Wakes the connection.
    replaced: Pin<Box<dyn Future<Output = watch::Receiver<P>> + Send>>,
    /// The task that `replaced` wakes.
    registered: Option<Waker>,
    // Keeps `has_changed` meaningful for as long as the connection lives.
    _sender: Arc<watch::Sender<P>>,
}

impl<P: Process> Current<P> {
    pub(super) fn service(&mut self) -> &mut P {
        if self.is_replaced() {
            self.service = self.receiver.borrow_and_update().clone();
            // What wakes the task has done so, and must be waited for anew.
            self.registered = None;
        }
        &mut self.service
    }

    /// Lets go of a processor that has been replaced, and sees to it that the task is woken when that happens: an idle connection
    /// must not keep what a processor holds.
    pub(super) fn poll_renew(&mut self, cx: &mut Context<'_>) {
        // Nearly always there is nothing to do, and that must cost nothing.
        if !self.is_replaced() && self.registered.as_ref().is_some_and(|registered| registered.will_wake(cx.waker())) {
            return;
        }
        self.service();
        while let Poll::Ready(receiver) = self.replaced.as_mut().poll(cx) {
            self.replaced = replaced(receiver);
        }
        self.registered = Some(cx.waker().clone());
    }

    fn is_replaced(&self) -> bool {
        self.receiver.has_changed().unwrap_or(false)
    }
}

fn replaced<P: Process>(mut receiver: watch::Receiver<P>) -> Pin<Box<dyn Future<Output = watch::Receiver<P>> + Send>> {
    // Unconstrained: tokio's budget would make it pending without having registered the waker.
    Box::pin(tokio::task::unconstrained(async move {
        // The handle lives as long as its connections: there is no error.
        if receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        receiver
    }))
}
