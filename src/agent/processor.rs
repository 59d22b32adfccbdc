//! The service that decides, replaceable while connections stay.

use std::convert::Infallible;
use std::sync::Arc;

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

/// A handle to an agent's processor, to replace it while the agent runs.
#[derive(Debug)]
pub struct Processor<P> {
    sender: Arc<watch::Sender<P>>,
}

impl<P> Clone for Processor<P> {
    fn clone(&self) -> Self {
        Self { sender: Arc::clone(&self.sender) }
    }
}

impl<P: Clone> Processor<P> {
    pub(super) fn new(processor: P) -> Self {
        Self { sender: Arc::new(watch::Sender::new(processor)) }
    }

    /// Uses `processor` for every NOTIFY read from now on, on connections old and new. NOTIFYs in flight stay with
    /// the processor that has them.
    pub fn replace(&self, processor: P) {
        self.sender.send_replace(processor);
    }

    pub(super) fn current(&self) -> Current<P> {
        let mut receiver = self.sender.subscribe();
        let service = receiver.borrow_and_update().clone();
        Current { receiver, service, _sender: Arc::clone(&self.sender) }
    }
}

/// One connection's own clone of the processor, renewed when it has been replaced.
#[derive(Debug)]
pub(super) struct Current<P> {
    receiver: watch::Receiver<P>,
    service: P,
    // Keeps `has_changed` meaningful for as long as the connection lives.
    _sender: Arc<watch::Sender<P>>,
}

impl<P: Clone> Current<P> {
    pub(super) fn service(&mut self) -> &mut P {
        if self.receiver.has_changed().unwrap_or(false) {
            self.service = self.receiver.borrow_and_update().clone();
        }
        &mut self.service
    }
}
