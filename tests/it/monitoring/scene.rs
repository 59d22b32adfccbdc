//! A bridge to which everything happens that an alert is about.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use spop_bridge::pb::v1::decide_stream_request::Item;
use tonic::Status;

use super::admin;
use crate::support::address::Address;
use crate::support::askers::Askers;
use crate::support::bridge::{Bridge, NOT_RELOADED};
use crate::support::dns::Dns;
use crate::support::engine::Engine;
use crate::support::free_address;
use crate::support::prometheus::Prometheus;
use crate::support::service::{Answer, Service, allow};
use crate::support::stream_server::StreamServer;
use crate::support::tls::Ca;

/// How long Prometheus may take to see something.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Scene {
    // Ends before the bridge does.
    traffic: Traffic,
    bridge: Bridge,
    config: String,
    /// Another bridge, which comes and goes.
    restarting: SocketAddr,
    _held: Engine,
    _services: (Vec<Service>, Dns, Ca),
}

impl Scene {
    /// Everybody is there, and traffic goes on.
    pub(super) fn start() -> Scene {
        let good = [(); 2].map(|()| Service::allowing());
        let bad = [(); 2].map(|()| Service::start(|_| Answer::Status(Status::unavailable("down"))));
        let refusing = Service::start(|_| Answer::Status(Status::permission_denied("not for you")));
        let hanging = [(); 2].map(|()| Service::start(|_| Answer::Never));
        let slow = Service::start(|_| Answer::after(Duration::from_millis(30), Answer::Actions(vec![allow()])));
        let (repeating, dns, ca, dead) = (StreamServer::start(), Dns::start(), Ca::new("CA"), free_address());
        // Ended long ago, which sets off both alerts about it.
        let certificate = ca.issue_expired(&["localhost"]);
        let config = format!(
            "workers: 1\n\
             admin: {{ bind: \"{}\" }}\n\
             listeners:\n\
             - {{ name: main, bind: \"127.0.0.1:0\" }}\n\
             - {{ name: narrow, bind: \"127.0.0.1:0\", max_connections: 1 }}\n\
             - {{ name: spending, bind: \"127.0.0.1:0\" }}\n\
             - {{ name: secure, bind: \"127.0.0.1:0\", tls: {{ certificate: {}, key: {} }} }}\n\
             backends:\n\
             \x20 good: {{ endpoints: [\"{}\"] }}\n\
             \x20 mixed: {{ endpoints: [\"{}\", \"{}\"], \
             outlier_detection: {{ base_ejection_time: 10m, max_ejection_time: 10m }} }}\n\
             \x20 spent: {{ endpoints: [\"{}\"], retry_budget: {{ percent: 0%, min_per_second: 0 }}, \
             outlier_detection: {{ consecutive_failures: 0 }} }}\n\
             \x20 refusing: {{ endpoints: [\"{}\"] }}\n\
             \x20 hanging: {{ endpoints: [\"{}\"] }}\n\
             \x20 full: {{ endpoints: [\"{}\"], max_in_flight: 8 }}\n\
             \x20 hedged: {{ endpoints: [\"{}\", \"{}\"], idempotent: true, hedging: {{ delay: 1ms }} }}\n\
             \x20 repeating: {{ endpoints: [\"{}\"], protocol: decide_stream }}\n\
             \x20 dead: {{ endpoints: [\"http://{dead}\"], required: true }}\n\
             \x20 unnamed: {{ endpoints: [\"dns://{dns}/a.test:1\", \"dns://{dns}/b.test:1\", \"dns://{dns}/c.test:1\"], \
             dns: {{ min_ttl: 200ms, max_ttl: 200ms }} }}\n\
             routes:\n\
             - {{ name: spent, messages: [\"*\"], listeners: [spending], backend: spent, timeout: 5s }}\n\
             - {{ name: good, messages: [good], backend: good, timeout: 5s }}\n\
             - {{ name: mixed, messages: [mixed], backend: mixed, timeout: 5s }}\n\
             - {{ name: refusing, messages: [refusing], backend: refusing, timeout: 5s }}\n\
             - {{ name: hanging, messages: [hanging], backend: hanging, timeout: 60ms }}\n\
             - {{ name: full, messages: [full], backend: full, timeout: 60s }}\n\
             - {{ name: hedged, messages: [hedged], backend: hedged, timeout: 5s }}\n\
             - {{ name: repeating, messages: [repeating], backend: repeating, timeout: 5s }}\n\
             - {{ name: dead, messages: [dead], backend: dead, timeout: 200ms }}\n\
             - {{ name: unnamed, messages: [unnamed], backend: unnamed, timeout: 200ms }}\n",
            free_address(),
            certificate.certificate().display(),
            certificate.key().display(),
            good[0].uri(),
            good[1].uri(),
            bad[0].uri(),
            bad[1].uri(),
            refusing.uri(),
            hanging[0].uri(),
            hanging[1].uri(),
            slow.uri(),
            slow.uri().replace("127.0.0.1", "localhost"),
            repeating.uri(),
            dns = dns.address,
        );
        let nobody = format!("http://{}", free_address());
        let bridge = Bridge::start_with(
            &config,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &nobody),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
                ("OTEL_BSP_SCHEDULE_DELAY", "100"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
                ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
            ],
        );
        spend(bridge.listener("spending"));
        let held = hold(bridge.address());
        let traffic = Traffic::start(bridge.address(), repeating);
        let services = good.into_iter().chain(bad).chain(hanging).chain([refusing, slow]).collect();
        Scene { bridge, config, traffic, restarting: free_address(), _held: held, _services: (services, dns, ca) }
    }

    pub(super) fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    pub(super) fn jobs(&self) -> [(&'static str, SocketAddr); 2] {
        [("bridge", admin(&self.bridge)), ("restarting", self.restarting)]
    }

    /// Once Prometheus has seen how it was before, all that goes wrong, goes wrong.
    pub(super) fn play(&mut self, prometheus: &Prometheus) {
        prometheus.wait_for("count_over_time(spop_bridge_ready[1m]) >= 2", PATIENCE).expect("scrapes of the bridge");
        // Counters must be seen before they grow, so that an increase is one.
        break_rules(self.bridge.address());
        come_in_too_many(self.bridge.listener("narrow"));
        come_in_without_tls(self.bridge.listener("secure"));
        abandon(self.bridge.address());
        assert_eq!(
            self.bridge.reload(&self.config.replace("timeout: 60ms", "timeout: 61ms"))["message"],
            "configuration reloaded"
        );
        assert_eq!(self.bridge.reload(&format!("{}\nnonsense: 1\n", self.config))["message"], NOT_RELOADED);
        self.restart_again_and_again(prometheus);
        let goes_on = "min_over_time(spop_bridge_config_generation{job=\"bridge\"}[10s]) >= 2";
        prometheus.wait_for(goes_on, PATIENCE).expect("some more scrapes");
        self.traffic.check();
    }

    /// A bridge starts three times at one address, and is gone in the end.
    fn restart_again_and_again(&self, prometheus: &Prometheus) {
        let config = format!(
            "admin: {{ bind: \"{}\" }}\nbackends: {{ d: {{ endpoints: [\"http://127.0.0.1:1\"] }} }}\n\
             routes: [{{ backend: d, timeout: 1s }}]",
            self.restarting
        );
        let uptime = "process_uptime_seconds{job=\"restarting\"}";
        for restarts in 0..3 {
            let bridge = Bridge::start(&config);
            // What Prometheus has of the one before is not enough.
            let seen = format!("{uptime} > 2 and resets({uptime}[5m]) >= {restarts}");
            prometheus.wait_for(&seen, PATIENCE).expect("scrapes of a bridge that has just started");
            drop(bridge);
        }
    }
}

/// Decisions of all kinds, some each second.
struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    fn start(address: &Address, repeating: StreamServer) -> Traffic {
        let stop = Arc::<AtomicBool>::default();
        let mut engine = Engine::open(address);
        let stopped = Arc::clone(&stop);
        let asking = std::thread::spawn(move || {
            let messages = ["good", "good", "mixed", "refusing", "hanging", "hedged", "repeating", "dead", "unnamed", "unknown"];
            for round in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                for (index, message) in (0..).zip(messages) {
                    engine.notify(round * 10 + index, 1, &[(message, &[])]);
                }
                messages.iter().for_each(|_| _ = engine.expect_ack());
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let stopped = Arc::clone(&stop);
        let answering = std::thread::spawn(move || repeat(&repeating, &stopped));
        Traffic { stop, threads: vec![asking, answering] }
    }

    /// Still under way: none of the threads has met something that it did not expect.
    fn check(&self) {
        assert!(self.threads.iter().all(|thread| !thread.is_finished()), "traffic has ended");
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _it_has_told_why = thread.join();
        }
    }
}

/// Answers each decision twice: the second answer is late. And one that nobody asked for.
fn repeat(server: &StreamServer, stop: &AtomicBool) {
    let mut stream = server.stream();
    while !stop.load(Ordering::Relaxed) {
        match stream.next_within(Duration::from_millis(200)) {
            Ok(Some(Item::Decision(decision))) => {
                [0, 0, 1_000_000].iter().for_each(|beyond| stream.allow(decision.id + beyond));
            }
            Ok(Some(Item::Cancel(_))) | Err(_) => {}
            Ok(None) => return,
        }
    }
}

/// Uses up a budget that is not refilled.
fn spend(address: &Address) {
    let load = Askers::start(address, 2, 20);
    load.wait_for(700);
    load.stop();
}

/// Decisions that stay in flight for a minute.
fn hold(address: &Address) -> Engine {
    let mut engine = Engine::open(address);
    (0..8).for_each(|stream| engine.notify(stream, 1, &[("full", &[])]));
    engine
}

/// Peers that do not keep to SPOP, one after the other.
fn break_rules(address: &Address) {
    for _ in 0..20 {
        let mut engine = Engine::open(address);
        engine.send(b"\0\0\0\x05\x03\0\0\0\x01");
        engine.expect_disconnect();
    }
    // And one that says good-bye, one that asks for health.
    let mut engine = Engine::open(address);
    engine.disconnect();
    engine.expect_disconnect();
    let _refused = Engine::connect(address).health_check();
}

fn come_in_too_many(address: &Address) {
    let mut first = Engine::open(address);
    // A connection that has asked something gives its place to nothing.
    first.ask(1, "good", &[]);
    for _ in 0..5 {
        Engine::connect(address).expect_end();
        // The increase must not be over before it is seen.
        std::thread::sleep(Duration::from_millis(400));
    }
}

/// Says something to a listener with TLS that is no TLS.
fn come_in_without_tls(address: &Address) {
    let Address::Tcp(address) = address else { panic!("{address:?} is no TCP") };
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let _closed_or_reset = socket.read_to_end(&mut Vec::new());
}

/// NOTIFYs whose connection ends before their ACKs.
fn abandon(address: &Address) {
    for _ in 0..10 {
        let mut engine = Engine::open(address);
        (0..10).for_each(|stream| engine.notify(stream, 1, &[("hanging", &[])]));
    }
}
