//! Steady traffic of NOTIFYs from scripted engines, while a test does something to the services.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::address::Address;
use super::engine::Engine;
use super::load::Tally;
use super::wire::{Ack, Data};

/// One NOTIFY and its ACK.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    /// `decided`, else the cause in `txn.status`.
    pub(crate) outcome: String,
}

/// Engines that keep NOTIFYs in flight, each on its own connection.
pub(crate) struct Askers {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Asked>>>,
}

impl Askers {
    /// `in_flight` at a time on each of so many connections.
    pub(crate) fn start(address: &Address, connections: usize, in_flight: u64) -> Askers {
        let (stop, acked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let connection = |_| {
            let (stop, acked, mut engine) = (Arc::clone(&stop), Arc::clone(&acked), Engine::open(address));
            std::thread::spawn(move || run(&mut engine, in_flight, &stop, &acked))
        };
        Askers { threads: (0..connections).map(connection).collect(), stop, acked }
    }

    /// Waits for so many more ACKs.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) {
        let goal = self.acked.load(Ordering::Relaxed) + count;
        let reached = || (self.acked.load(Ordering::Relaxed) >= goal).then_some(());
        super::eventually(Duration::from_secs(20), reached).expect("ACKs keep coming");
    }

    /// Waits for what is in flight. Every NOTIFY had its ACK, or this panics.
    pub(crate) fn stop(self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("an engine of the load")).collect()
    }
}

fn run(engine: &mut Engine, in_flight: u64, stop: &AtomicBool, acked: &AtomicUsize) -> Vec<Asked> {
    let (mut sent, mut done) = (HashMap::new(), Vec::new());
    for stream in 0..in_flight {
        send(engine, stream, &mut sent);
    }
    while !sent.is_empty() {
        let ack = engine.expect_ack();
        done.push(asked(&ack, &mut sent));
        acked.fetch_add(1, Ordering::Relaxed);
        if !stop.load(Ordering::Relaxed) {
            send(engine, ack.stream + in_flight, &mut sent);
        }
    }
    done
}

/// Sends `batch` NOTIFYs at a time on a connection with this engine id, every `period` for `time`, however they are answered.
pub(crate) fn flood(address: &Address, id: &str, batch: u64, period: Duration, time: Duration) -> Vec<Asked> {
    let mut engine = Engine::connect(address);
    engine.hello_with(16380, id);
    let mut writer = engine.writer();
    let (announce, announced) = std::sync::mpsc::channel();
    let begin = Instant::now();
    let sending = std::thread::spawn(move || {
        let mut next = 0;
        for round in 0.. {
            let due = period * round;
            if due >= time {
                return;
            }
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            for stream in next..next + batch {
                let frame = super::engine::notify_frame(stream, 1, &[("check-request", &[])]);
                announce.send((stream, Instant::now())).unwrap();
                writer.write_all(&frame.encode()).unwrap();
            }
            next += batch;
        }
    });
    let (mut sent, mut done) = (HashMap::new(), Vec::new());
    loop {
        // Whoever is acked has been announced; with nothing in flight the next one is waited for.
        if sent.is_empty() {
            match announced.recv() {
                Ok((stream, at)) => _ = sent.insert(stream, at),
                Err(_) => break,
            }
        }
        let ack = engine.expect_ack();
        sent.extend(announced.try_iter());
        done.push(asked(&ack, &mut sent));
    }
    sending.join().unwrap();
    done
}

fn send(engine: &mut Engine, stream: u64, sent: &mut HashMap<u64, Instant>) {
    sent.insert(stream, Instant::now());
    engine.notify(stream, 1, &[("check-request", &[])]);
}

fn asked(ack: &Ack, sent: &mut HashMap<u64, Instant>) -> Asked {
    let at = sent.remove(&ack.stream).expect("one ACK for each NOTIFY");
    Asked { at, took: at.elapsed(), outcome: outcome(ack) }
}

/// `decided`, else the cause in `txn.status`.
pub(crate) fn outcome(ack: &Ack) -> String {
    let decided = ack.value("txn.allow") == Some(&Data::Bool(true));
    if decided { "decided".into() } else { ack.text("txn.status") }
}

/// How often each outcome was.
pub(crate) fn tally<'a>(asked: impl IntoIterator<Item = &'a Asked>) -> Tally {
    let mut tally = Tally::new();
    for asked in asked {
        *tally.entry(asked.outcome.clone()).or_default() += 1;
    }
    tally
}

/// Those with this outcome.
pub(crate) fn only<'a>(asked: &'a [Asked], outcome: &str) -> Vec<&'a Asked> {
    asked.iter().filter(|asked| asked.outcome == outcome).collect()
}

/// So many of a hundred took no longer; zero if there are none.
pub(crate) fn percentile<'a>(asked: impl IntoIterator<Item = &'a Asked>, percent: usize) -> Duration {
    let mut took: Vec<_> = asked.into_iter().map(|asked| asked.took).collect();
    took.sort_unstable();
    let at = (took.len() * percent).div_ceil(100).saturating_sub(1);
    took.get(at).copied().unwrap_or_default()
}
