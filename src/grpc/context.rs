//! What the endpoints of one pool share.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::backend::Backend;
use super::channel::Channel;
use super::log::Log;
use super::target::Target;

#[derive(Debug)]
pub(super) struct Context {
    pub(super) backend: Arc<Backend>,
    /// Some channel's state has changed.
    pub(super) changed: Notify,
    /// Whether this worker tells the log what all workers see.
    pub(super) speaks: bool,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Context {
    pub(super) fn new(backend: &Arc<Backend>, speaks: bool) -> Arc<Self> {
        Arc::new(Self {
            backend: Arc::clone(backend),
            changed: Notify::new(),
            speaks,
            stop: watch::Sender::new(false),
            tasks: Mutex::default(),
        })
    }

    /// Starts a channel to `target`.
    pub(super) fn open(self: &Arc<Self>, target: &Arc<Target>, speaks: bool) -> Arc<Channel> {
        let channel = Arc::new(Channel::new(target));
        let (context, kept) = (Arc::clone(self), Arc::clone(&channel));
        let log = Log::new(&self.backend.config.name, speaks);
        self.spawn(async move { kept.keep(&context.changed, log, context.stop.subscribe()).await });
        channel
    }

    /// Runs a task until the pool is shut down.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(super) async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Lets all tasks end, and waits for them.
    pub(super) async fn shut_down(&self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }

    /// Ends all tasks where they are.
    pub(super) fn abort(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
