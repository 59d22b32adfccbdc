//! The signals that end the process, on a thread of their own: they act whatever the control thread is doing.

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What a stop gets beyond the drain before it is cut short: connections are closed, workers end, telemetry and the logs are written.
const MARGIN: Duration = Duration::from_secs(10);

/// For the last lines of the log when the process ends at once.
const LAST_LINES: Duration = Duration::from_millis(200);

/// SIGTERM and SIGINT. The first asks for a stop in order. The second ends the process at once, and so does the end of the time that
/// the stop in order may take.
#[derive(Debug)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
    limit: Limit,
}

/// How long the stop in order may take; until it is said, as long as it likes.
#[derive(Clone, Debug)]
pub(crate) struct Limit(Arc<AtomicU64>);

impl Limit {
    /// A stop takes `drain`, and a little more for what follows.
    pub(crate) fn set(&self, drain: Duration) {
        self.0.store((drain + MARGIN).as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Stop {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// When the operating system has no thread, no descriptors, or no place for a handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let mut signals = Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        drop(entered);
        let (ask, asked) = watch::channel(false);
        let limit = Limit(Arc::new(AtomicU64::new(u64::MAX)));
        let stop = Self { asked, limit: limit.clone() };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                signals.next().await;
                ask.send_replace(true);
                tokio::select! {
                    () = signals.next() => {
                        tracing::warn!("second signal, stopping without draining");
                        crate::telemetry::flush(LAST_LINES);
                        exit(1);
                    }
                    () = tokio::time::sleep(limit.get()) => {
                        tracing::error!("stopping takes longer than it may, a bug: stopping without waiting for the rest");
                        crate::telemetry::flush(LAST_LINES);
                        exit(0);
                    }
                }
            });
        })?;
        Ok(stop)
    }

    /// Waits for the first signal.
    pub(crate) async fn received(&mut self) {
        // An error would mean that the thread is gone, with which the process ends.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }

    /// What a stop may take, for those who know.
    pub(crate) fn limit(&self) -> Limit {
        self.limit.clone()
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
