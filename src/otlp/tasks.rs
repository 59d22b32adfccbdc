//! What each signal's task does.

use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::encode;
use super::env::{Batched, Periodic};
use super::export::Export;
use crate::telemetry::metrics::{Signal, Snapshot};
use crate::telemetry::queue::Queue;

/// Exports what comes into `queue`: when a batch is full, and what there is when the delay is over.
pub(super) fn batches<T, M: Message>(
    signal: Signal,
    queue: &'static Queue<T>,
    settings: Batched,
    mut stop: watch::Receiver<bool>,
    encode: impl Fn(&[T]) -> M,
) -> impl Future<Output = ()> {
    // Before the task has its first turn: what happens meanwhile belongs to it.
    queue.open(settings.queue, settings.batch);
    let mut export = Export::new(signal, settings.receiver, settings.timeout, stop.clone());
    async move {
        loop {
            let is_stopping = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => true,
                () = queue.batch_is_full() => false,
                () = tokio::time::sleep(settings.delay) => false,
            };
            loop {
                let items = queue.take(settings.batch);
                let count = items.len() as u64;
                if count > 0 && !export.send(&encode(&items), count).await && is_stopping {
                    // Nor will the others get there.
                    return export.give_up(queue.len() as u64);
                }
                // Half a batch waits for more, unless there is nothing to wait for.
                if queue.len() < if is_stopping { 1 } else { settings.batch } {
                    break;
                }
            }
            if is_stopping {
                return;
            }
        }
    }
}

/// Exports all metrics at each interval, and at the end.
pub(super) fn metrics(
    settings: Periodic,
    resource: Resource,
    exemplars: bool,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> {
    let mut export = Export::new(Signal::Metrics, settings.receiver, settings.timeout, stop.clone());
    let mut interval = interval_at(Instant::now() + settings.interval, settings.interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    async move {
        loop {
            let is_stopping = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => true,
                _ = interval.tick() => false,
            };
            let resource = resource.clone();
            // Takes as long as there are series, and this thread has other things to do.
            let encode = move || encode::metrics(&resource, &Snapshot::now(), exemplars);
            if let Ok((message, points)) = tokio::task::spawn_blocking(encode).await {
                export.send(&message, points).await;
            }
            if is_stopping {
                return;
            }
        }
    }
}
