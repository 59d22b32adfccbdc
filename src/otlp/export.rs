//! One signal's way to its receiver: attempts, pauses, and what is said and counted about them.

use std::time::Duration;

use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Client, Refusal, Retry, Taken};
use super::env::Receiver;
use crate::telemetry::event::{ExportFailed, ExportRecovered, ExportRejected};
use crate::telemetry::metrics::{Exported, Signal};

/// Between attempts, doubled from the one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// The longest that a receiver may want to be left alone: more is a slip, or a way to switch telemetry off.
const LONGEST: Duration = Duration::from_secs(300);
/// Between lines about the same trouble.
const LINES: Duration = Duration::from_secs(60);

/// Sends messages of one signal, one after the other.
#[derive(Debug)]
pub(super) struct Export {
    signal: Signal,
    client: Client,
    counts: &'static Exported,
    /// For all attempts at one message.
    timeout: Duration,
    stop: watch::Receiver<bool>,
    /// When the receiver wants to be asked again.
    not_before: Option<Instant>,
    last_line: Option<Instant>,
    /// While there is trouble that the log knows about: how many items it has cost.
    trouble: Option<u64>,
}

impl Export {
    pub(super) fn new(signal: Signal, receiver: Receiver, timeout: Duration, stop: watch::Receiver<bool>) -> Self {
        let client = Client::new(receiver);
        tracing::info!(signal = signal.as_str(), endpoint = client.endpoint(), "telemetry is exported");
        Self { signal, client, counts: Exported::of(signal), timeout, stop, not_before: None, last_line: None, trouble: None }
    }

    /// Sends `message` with its `count` items until it is taken, or judged, or its time is over. `false`: its time was over.
    pub(super) async fn send(&mut self, message: &impl Message, count: u64) -> bool {
        let body = self.client.encode(message);
        if let Some(at) = self.not_before.take() {
            let _ = tokio::time::timeout_at(at, self.stop.wait_for(|stop| *stop)).await;
        }
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSES.0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let refusal = match self.client.send(body.clone(), left).await {
                Ok(taken) => {
                    self.taken(&taken, count);
                    return true;
                }
                Err(refusal) => refusal,
            };
            self.failed(&refusal);
            let due = match refusal.retry {
                Retry::No => {
                    self.lost(count);
                    self.counts.rejected.add(count);
                    return true;
                }
                Retry::Yes => jittered(pause),
                Retry::After(due) => {
                    let due = due.min(LONGEST);
                    self.not_before = Some(Instant::now() + due);
                    due
                }
            };
            pause = (pause * 2).min(PAUSES.1);
            if *self.stop.borrow() || Instant::now() + due >= deadline {
                self.give_up(count);
                return false;
            }
            self.not_before = None;
            // Who stops makes one last attempt.
            let _ = tokio::time::timeout(due, self.stop.wait_for(|stop| *stop)).await;
        }
    }

    /// Items that will not be sent.
    pub(super) fn give_up(&mut self, count: u64) {
        self.lost(count);
        self.counts.failed.add(count);
    }

    fn taken(&mut self, taken: &Taken, count: u64) {
        let (signal, endpoint) = (self.signal.as_str(), self.client.endpoint());
        if let Some(dropped) = self.trouble.take() {
            ExportRecovered { signal, endpoint: &endpoint, dropped }.record();
        }
        let rejected = taken.rejected.min(count);
        self.counts.taken.add(count - rejected);
        self.counts.rejected.add(rejected);
        if *taken != Taken::default() && self.may_speak() {
            ExportRejected { signal, endpoint: &endpoint, rejected, message: &taken.message }.record();
        }
    }

    fn failed(&mut self, refusal: &Refusal) {
        if self.may_speak() {
            self.trouble.get_or_insert(0);
            let (signal, endpoint) = (self.signal.as_str(), self.client.endpoint());
            ExportFailed { signal, endpoint: &endpoint, error: &refusal.error, advice: refusal.advice }.record();
        }
    }

    fn lost(&mut self, count: u64) {
        self.trouble.iter_mut().for_each(|lost| *lost += count);
    }

    fn may_speak(&mut self) -> bool {
        let may = self.last_line.is_none_or(|last| last.elapsed() >= LINES);
        if may {
            self.last_line = Some(Instant::now());
        }
        may
    }
}

/// Half to all of it, so that many bridges do not come at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
