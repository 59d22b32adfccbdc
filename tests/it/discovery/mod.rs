//! Servers that are found by DNS: which they are, that they come and go without harm, and what happens when DNS is in trouble.

mod addresses;
mod answers;
mod trouble;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::failing_services::fallbacks;
use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::dns::Dns;
use crate::support::engine::Engine;
use crate::support::host::Bound;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::Data;
use crate::support::{eventually, free_address};

const NAME: &str = "decisions.test";

/// Each has one connection to a server.
const WORKERS: usize = 2;

/// So many loopback addresses with the same port, on which nobody listens.
fn addresses(count: usize) -> Vec<SocketAddr> {
    let first = free_address();
    let others = std::iter::repeat_with(|| SocketAddr::new(free_address().ip(), first.port()));
    std::iter::once(first).chain(others.take(count - 1)).collect()
}

fn ips(addresses: &[SocketAddr]) -> Vec<IpAddr> {
    addresses.iter().map(SocketAddr::ip).collect()
}

fn allowing(address: SocketAddr) -> Service {
    Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]))
}

/// A bridge that asks `dns` for this name every 200 ms, and has `keys` besides.
fn bridge_to(dns: &Dns, name: &str, keys: &str) -> Bridge {
    Bridge::start(&format!(
        "workers: {WORKERS}\nbackends: {{ decisions: {{ endpoints: [\"dns://{}/{name}\"], dns: {{ min_ttl: 200ms, max_ttl: 200ms }}, {keys} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 8s }}]\n{}",
        dns.address,
        fallbacks()
    ))
}

/// One decision.
pub(crate) fn is_decided(engine: &mut Engine, stream: u64) -> bool {
    let ack = engine.ask(stream, "check-request", &[]);
    let decided = ack.value("txn.allow") == Some(&Data::Bool(true));
    assert!(decided || ack.text("txn.status") == "unavailable", "{ack:?}");
    decided
}

/// Decisions one after the other on several connections, until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    engines: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(address: &Address) -> Load {
        let (stop, asked, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let engines = (0..3).map(|_| {
            let mut engine = Engine::open(address);
            let (stop, asked, failed) = (Arc::clone(&stop), Arc::clone(&asked), Arc::clone(&failed));
            std::thread::spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    // Many at once, so that some are on their way whenever something happens.
                    let streams = (0..20).map(|stream| 1 + (round * 20 + stream) * 2);
                    streams.for_each(|stream| engine.notify(stream, 1, &[("check-request", &[])]));
                    for _ in 0..20 {
                        let ack = engine.expect_ack();
                        asked.fetch_add(1, Ordering::SeqCst);
                        if ack.value("txn.allow") != Some(&Data::Bool(true)) {
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            })
        });
        Load { engines: engines.collect(), stop, asked, failed }
    }

    /// How many were asked, and how many of them failed.
    pub(crate) fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        self.engines.into_iter().for_each(|engine| engine.join().unwrap());
        (self.asked.load(Ordering::SeqCst), self.failed.load(Ordering::SeqCst))
    }
}

/// Waits until the service has had more calls than now, whoever asks.
#[track_caller]
fn expect_calls(service: &Service, what: &str) {
    let before = service.calls().len();
    assert!(eventually(PATIENCE, || (service.calls().len() > before).then_some(())).is_some(), "{what}: no decisions");
}

/// Waits for a line of the log.
#[track_caller]
fn expect_line(bridge: &Bridge, message: &str) -> serde_json::Value {
    let line = || bridge.log().into_iter().find(|line| line["message"] == message);
    // The resolver waits for seconds itself, several times.
    eventually(3 * PATIENCE, line).unwrap_or_else(|| panic!("no line {message:?} in {:?}", bridge.log()))
}

fn lines(bridge: &Bridge, message: &str) -> usize {
    bridge.log().iter().filter(|line| line["message"] == message).count()
}
