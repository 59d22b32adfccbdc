//! What decides: a trait, closures that have it, and a way onto tasks of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinHandle;
use tonic::Status;

use super::Context;
use crate::pb::v1::{DecideRequest, DecideResponse};

/// Decides one NOTIFY at a time, many of them side by side. Any `async fn(DecideRequest, Context) -> Result<DecideResponse,
/// Status>` is one.
///
/// A denial is a decision: answer it with an action that says so. A [`Status`] means that there is no decision; the bridge
/// then gives HAProxy the route's actions for that failure. A panic is such a failure too, of this one decision.
pub trait Decider: Send + Sync + 'static {
    /// Decides. The future is dropped when nobody waits for the answer any more.
    fn decide(&self, request: DecideRequest, context: Context) -> impl Future<Output = Result<DecideResponse, Status>> + Send;
}

impl<F, R> Decider for F
where
    F: Fn(DecideRequest, Context) -> R + Send + Sync + 'static,
    R: Future<Output = Result<DecideResponse, Status>> + Send,
{
    fn decide(&self, request: DecideRequest, context: Context) -> impl Future<Output = Result<DecideResponse, Status>> + Send {
        self(request, context)
    }
}

/// A [`Decider`] that runs each decision as a task of its own: `Decisions::new(Spawned::new(decide))`.
///
/// Without it the decisions of a stream take turns on the task of that stream. That is cheapest, and right for handlers that look
/// something up or wait. A handler that computes for more than some ten microseconds holds the others up meanwhile: spawned, they
/// spread over the threads of a multi-threaded runtime. What blocks a thread belongs into `tokio::task::spawn_blocking`, spawned
/// or not.
#[derive(Debug)]
pub struct Spawned<D>(Arc<D>);

impl<D: Decider> Spawned<D> {
    /// Puts each decision of `decider` on a task of its own.
    pub fn new(decider: D) -> Self {
        Self(Arc::new(decider))
    }
}

impl<D: Decider> Decider for Spawned<D> {
    async fn decide(&self, request: DecideRequest, context: Context) -> Result<DecideResponse, Status> {
        let decider = Arc::clone(&self.0);
        let task = Task(tokio::spawn(async move { decider.decide(request, context).await }));
        task.await
    }
}

/// A spawned decision, which ends when nobody waits for it.
struct Task(JoinHandle<Result<DecideResponse, Status>>);

impl Future for Task {
    type Output = Result<DecideResponse, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|joined| match joined {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Status::unavailable("the service stops")),
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
