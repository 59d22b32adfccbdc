//! What a backend has once per process: who its servers are, and how they are connected to. Lives on the control thread; each worker
//! has a [`Pool`] of it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, watch};
use tokio_rustls::rustls::ClientConfig;

use super::admission::Admission;
use super::connect::Connector;
use super::members::{self, Address, Members};
use super::pool::Pool;
use crate::config::BackendConfig;
use crate::telemetry::metrics::BackendMetrics;

/// A backend. Dropping the last reference ends its discovery.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(super) config: BackendConfig,
    pub(super) connector: Arc<Connector>,
    pub(super) members: watch::Receiver<Members>,
    /// Notified when the members may be out of date.
    pub(super) wanted: Arc<Notify>,
    /// The server that a worker has connected to last.
    pub(super) reached: watch::Sender<Option<Address>>,
    /// The server of which a worker has found last that it answers nothing.
    pub(super) silent: watch::Sender<Option<Address>>,
    pub(super) admission: Admission,
    pub(super) metrics: BackendMetrics,
    /// How many pools have a server that takes decisions.
    pub(super) usable: watch::Sender<usize>,
    /// Of all workers, to look at.
    pools: Mutex<Vec<Weak<Pool>>>,
}

/// What gRFC A66 calls the target. There is one for a backend, however many endpoints it has: then it is called as the backend is.
fn target(config: &BackendConfig) -> String {
    match config.endpoints.as_slice() {
        [only] => only.to_string(),
        _ => config.name.to_string(),
    }
}

impl Backend {
    /// Starts discovery and health checks on the current runtime, that of the control thread. `tls` is what `config.tls` has become.
    pub(crate) fn start(config: &BackendConfig, tls: Option<Arc<ClientConfig>>) -> Arc<Self> {
        let connector = Arc::new(Connector::new(config, tls));
        let (members, wanted) = members::watch(config, &connector);
        let admission = Admission::new(config.max_in_flight);
        Arc::new(Self {
            config: config.clone(),
            connector,
            members,
            wanted,
            reached: watch::Sender::new(None),
            silent: watch::Sender::new(None),
            admission,
            metrics: BackendMetrics::of(&config.name, &target(config)),
            usable: watch::Sender::new(0),
            pools: Mutex::default(),
        })
    }

    /// What it was made from.
    pub(crate) fn config(&self) -> &BackendConfig {
        &self.config
    }

    /// Connections that are made from now on use `tls`: the same names of files, with other contents.
    pub(crate) fn set_tls(&self, tls: Option<Arc<ClientConfig>>) {
        self.connector.set_tls(tls);
    }

    /// Starts a worker's connections on the current runtime, that of the worker. `speaks` is whether this worker tells the log.
    pub(crate) fn pool(self: &Arc<Self>, speaks: bool) -> Arc<Pool> {
        let pool = Arc::new(Pool::start(self, speaks));
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&pool));
        pool
    }

    /// The pools of all workers.
    pub(super) fn pools(&self) -> Vec<Arc<Pool>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    /// The number of workers that have a server to send decisions to.
    pub(crate) fn usable(&self) -> watch::Receiver<usize> {
        self.usable.subscribe()
    }
}
