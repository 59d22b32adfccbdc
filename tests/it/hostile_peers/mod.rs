//! Whoever connects to the SPOP port: told what was wrong where SPOP has words for it, and never anybody else's trouble.

mod fairness;
mod floods;
mod frames;
mod hellos;
mod strangers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use spop_bridge::pb::v1::value::Kind;

use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::service::{Answer, Service, allow, set_txn};
use crate::support::wire::Data;

/// More than the bridge may grow by, whatever is thrown at it. Far above noise, far below what an unbounded buffer would take.
const MOST_GROWTH_KIB: u64 = 64 * 1024;

/// A bridge in front of a service that says yes, with a well-behaved HAProxy that asks all the time.
struct Scene {
    bridge: Bridge,
    service: Service,
    stop: Arc<AtomicBool>,
    neighbour: Option<JoinHandle<()>>,
    resident_before: u64,
}

impl Scene {
    fn new() -> Scene {
        Scene::with("")
    }

    /// `listener` are further keys of the listener, such as `, max_connections: 10`.
    fn with(listener: &str) -> Scene {
        let service = Service::start(|request| {
            let mut actions = vec![allow()];
            if request.messages[0].name == "say-much" {
                actions.push(set_txn("much", Kind::BytesValue(vec![7; 8000].into())));
            }
            Answer::Actions(actions)
        });
        let bridge = Bridge::start(&format!(
            "workers: 2\nlisteners: [{{ name: main, bind: \"127.0.0.1:0\"{listener} }}]\n\
             backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
            service.uri()
        ));
        let stop = Arc::new(AtomicBool::new(false));
        let mut engine = bridge.engine();
        assert_allowed(&mut engine, 1);
        let resident_before = bridge.resident_kib();
        let told = Arc::clone(&stop);
        let neighbour = std::thread::spawn(move || ask_until(&told, &mut engine));
        Scene { bridge, service, stop, neighbour: Some(neighbour), resident_before }
    }

    fn address(&self) -> &Address {
        self.bridge.address()
    }

    /// A peer that has said nothing yet.
    fn stranger(&self) -> Engine {
        Engine::connect(self.address())
    }

    fn growth_kib(&self) -> u64 {
        self.bridge.resident_kib().saturating_sub(self.resident_before)
    }

    /// The neighbour was served all the time on one connection, a newcomer is, and memory is bounded.
    fn finish(mut self) {
        assert_allowed(&mut self.bridge.engine(), 1);
        self.stop.store(true, Ordering::SeqCst);
        self.neighbour.take().unwrap().join().expect("the neighbour was served undisturbed");
        assert!(self.bridge.running(), "still there");
        let growth = self.growth_kib();
        assert!(growth < MOST_GROWTH_KIB, "grew by {growth} KiB");
        assert!(!self.bridge.log().iter().any(|line| line["level"] == "ERROR"), "{:?}", self.bridge.log());
        assert_eq!(self.service.cancelled(), 0);
    }
}

/// One NOTIFY after the other, each answered with the service's decision; at least one.
fn ask_until(stop: &AtomicBool, engine: &mut Engine) {
    for stream in (3..).step_by(2) {
        assert_allowed(engine, stream);
        if stop.load(Ordering::SeqCst) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[track_caller]
fn assert_allowed(engine: &mut Engine, stream: u64) {
    let ack = engine.ask(stream, "check-request", &[("path", "/".into())]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)), "{ack:?}");
}

/// Status codes of SPOE §3.5.
mod status {
    pub(super) const TIMEOUT: u32 = 2;
    pub(super) const TOO_BIG: u32 = 3;
    pub(super) const INVALID: u32 = 4;
    pub(super) const NO_VERSION: u32 = 5;
    pub(super) const NO_FRAME_SIZE: u32 = 6;
    pub(super) const NO_CAPABILITIES: u32 = 7;
    pub(super) const BAD_VERSION: u32 = 8;
    pub(super) const BAD_FRAME_SIZE: u32 = 9;
    pub(super) const FRAGMENTATION: u32 = 10;
}
