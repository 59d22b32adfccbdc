//! Whether health checks are answered: every backend that the operator marked as required has a server that takes decisions.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::State;
use crate::agent::Readiness;
use crate::config::Config;
use crate::grpc::Backend;
use crate::telemetry::event;

/// A required backend.
#[derive(Clone, Debug)]
struct Required {
    name: Arc<str>,
    /// How many workers have a server of it.
    usable: watch::Receiver<usize>,
    /// It is missing when no worker has a server, and back when all have: what HAProxy sends again goes to any of them.
    is_missing: bool,
    /// Since when no worker has had one, if it is not missing yet.
    gone: Option<Instant>,
}

/// For how long no worker may have a server before health checks fail: a connection that is replaced is no news.
const PATIENCE: Duration = Duration::from_millis(500);

/// Keeps the readiness of all agents true, on the control thread. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Requirements(watch::Sender<Vec<Required>>);

impl Required {
    fn look(&mut self, workers: usize) {
        let usable = *self.usable.borrow_and_update();
        self.gone = (usable == 0).then(|| self.gone.unwrap_or_else(Instant::now));
        let too_long = self.gone.is_some_and(|since| since.elapsed() >= PATIENCE);
        self.is_missing = too_long || (self.is_missing && usable < workers);
    }
}

impl Requirements {
    /// From now on `readiness` depends on those of `backends` that `config` marks as required, and `state` says which are missing.
    pub(super) fn start(config: &Config, backends: &[Arc<Backend>], readiness: &Readiness, state: &Arc<State>) -> Self {
        let required = required(config, backends);
        // Before the first listener accepts, and not only when the task has its turn.
        readiness.set(required.is_empty());
        state.set_missing(required.iter().map(|one| Arc::clone(&one.name)).collect());
        let (sender, receiver) = watch::channel(required);
        tokio::spawn(keep(receiver, config.workers.get(), readiness.clone(), Arc::clone(state)));
        Self(sender)
    }

    /// From now on it depends on those of other backends.
    pub(super) fn replace(&self, config: &Config, backends: &[Arc<Backend>]) {
        self.0.send_replace(required(config, backends));
    }
}

fn required(config: &Config, backends: &[Arc<Backend>]) -> Vec<Required> {
    let required = config.backends.iter().zip(backends).filter(|(config, _)| config.required);
    let required = required.map(|(config, backend)| {
        let usable = backend.usable();
        let is_missing = *usable.borrow() == 0;
        Required { name: Arc::clone(&config.name), usable, is_missing, gone: None }
    });
    required.collect()
}

async fn keep(mut lists: watch::Receiver<Vec<Required>>, workers: usize, readiness: Readiness, state: Arc<State>) {
    let mut said: Option<Vec<Arc<str>>> = None;
    loop {
        let mut required = lists.borrow_and_update().clone();
        loop {
            required.iter_mut().for_each(|one| one.look(workers));
            let missing: Vec<_> = required.iter().filter(|one| one.is_missing).map(|one| Arc::clone(&one.name)).collect();
            readiness.set(missing.is_empty());
            state.set_missing(missing.clone());
            if said.as_ref().unwrap_or(&Vec::new()) != &missing {
                let names: Vec<_> = missing.iter().map(|name| &**name).collect();
                event::ReadinessChanged { missing: &names, at_start: said.is_none() }.record();
            }
            said = Some(missing);
            let is_doubtful = required.iter().any(|one| one.gone.is_some() && !one.is_missing);
            tokio::select! {
                list = lists.changed() => match list {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = any_changed(&mut required) => {}
                () = tokio::time::sleep(PATIENCE), if is_doubtful => {}
            }
        }
    }
}

async fn any_changed(required: &mut [Required]) {
    if required.is_empty() {
        return pending().await;
    }
    let changed = required.iter_mut().map(|Required { usable, .. }| {
        Box::pin(async {
            // Without a sender the backend is gone, and the list is about to be replaced.
            if usable.changed().await.is_err() {
                pending().await
            }
        })
    });
    select_all(changed).await;
}
