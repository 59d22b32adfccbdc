//! What is said on the admin port, and by metrics about the bridge as a whole. Written by who composed it, read by whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::MutexGuard;

use crate::config::{Config, LogLevel};
use crate::grpc::Backend;
use crate::telemetry::metrics::{Batch, Observe, families as f};
use crate::telemetry::set_level;

/// What runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// 1 for the configuration of the start, one more with each reload.
    pub(crate) generation: u64,
    pub(crate) config: Arc<Config>,
    /// What the configuration was read from.
    pub(crate) source: Arc<str>,
    pub(crate) loaded: SystemTime,
    pub(crate) backends: Vec<Arc<Backend>>,
    /// Names and addresses as bound.
    pub(crate) listeners: Vec<(Arc<str>, String)>,
    /// When certificates end, by their place in the configuration.
    pub(crate) expiries: Vec<(String, SystemTime)>,
}

/// A configuration that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) at: SystemTime,
    /// A line each.
    pub(crate) problems: Vec<String>,
}

/// All that is known. Nothing in it is written by workers.
#[derive(Debug)]
pub(crate) struct State {
    running: ArcSwap<Running>,
    /// The configuration that was read last, if it was refused.
    refused: ArcSwapOption<Refused>,
    /// Required backends without a server that takes decisions.
    missing: ArcSwap<Vec<Arc<str>>>,
    /// Places of listeners whose socket file is gone, and why.
    unreachable: Mutex<BTreeMap<String, String>>,
    is_draining: AtomicBool,
    level: Mutex<LogLevel>,
    turn: tokio::sync::Mutex<()>,
}

/// Before each answer, and they are given one at a time: whoever asks without end must not keep this thread from its work, which is to
/// look after health checks, names and reloads.
const PACE: Duration = Duration::from_millis(1);

impl State {
    pub(crate) fn new(running: Running) -> Arc<Self> {
        Arc::new(Self {
            level: Mutex::new(running.config.log.level),
            running: ArcSwap::from_pointee(running),
            refused: ArcSwapOption::empty(),
            missing: ArcSwap::default(),
            unreachable: Mutex::default(),
            is_draining: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Another configuration is in effect, with its log level.
    pub(crate) fn replace(&self, running: Running) {
        self.set_log_level(running.config.log.level);
        self.running.store(Arc::new(running));
        self.refused.store(None);
    }

    /// A configuration was refused, and the one before goes on.
    pub(crate) fn refuse(&self, refused: Refused) {
        self.refused.store(Some(Arc::new(refused)));
    }

    /// Certificates were renewed.
    pub(crate) fn set_expiries(&self, expiries: Vec<(String, SystemTime)>) {
        let running = Running { expiries, ..Running::clone(&self.running()) };
        self.running.store(Arc::new(running));
    }

    /// These required backends have no server that takes decisions.
    pub(crate) fn set_missing(&self, missing: Vec<Arc<str>>) {
        self.missing.store(Arc::new(missing));
    }

    /// Why the listener at this place of the configuration cannot be connected to; `None`: it can.
    pub(crate) fn set_unreachable(&self, listener: &str, reason: Option<String>) {
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => _ = unreachable.insert(listener.to_owned(), reason),
            None => _ = unreachable.remove(listener),
        }
    }

    /// The bridge stops: it will not be ready again.
    pub(crate) fn set_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Logs at this level until the next reload.
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        set_level(level);
    }

    pub(super) fn log_level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn running(&self) -> Arc<Running> {
        self.running.load_full()
    }

    pub(super) fn refused(&self) -> Option<Arc<Refused>> {
        self.refused.load_full()
    }

    /// Waits for the turn to answer, which lasts until the guard is dropped. Turns are given in order.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        tokio::time::sleep(PACE).await;
        turn
    }

    /// Why health checks are refused, a line each; none if they are answered well.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let draining = self.is_draining.load(Ordering::Relaxed).then(|| "draining: the bridge is stopping".to_owned());
        let missing = self.missing.load();
        let missing = missing.iter().map(|name| format!("backend {name}: it is required, and no server of it takes decisions"));
        let unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner).clone().into_values();
        draining.into_iter().chain(missing).chain(unreachable).collect()
    }
}

impl Observe for State {
    fn observe(&self, batch: &mut Batch) {
        let running = self.running();
        let since_1970 = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        batch.add(&f::READY, &[], f64::from(u8::from(self.obstacles().is_empty())));
        batch.add(&f::CONFIG_GENERATION, &[], running.generation as f64);
        batch.add(&f::CONFIG_REFUSED, &[], f64::from(u8::from(self.refused().is_some())));
        for route in &running.config.routes {
            batch.add(&f::ROUTE_TIMEOUT, &[&*route.name], route.timeout.as_secs_f64());
        }
        for (place, end) in &running.expiries {
            batch.add(&f::CERTIFICATE_EXPIRY, &[&**place], since_1970(*end));
        }
        // Those of the running configuration, each once: what they have replaced may still have its last decisions.
        running.backends.iter().for_each(|backend| backend.observe(batch));
    }
}
