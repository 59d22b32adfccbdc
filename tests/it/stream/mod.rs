//! `DecideStream` on the wire: the same promises as with unary calls, and those that only a stream can break.
//!
//! All of these services have the stream, whatever `IT_PROTOCOL` is.

mod backpressure;
mod broken;
mod cancel;
mod choice;
mod endpoints;
mod errors;
mod framing;
mod garbage;
mod items;
mod late;
mod many;
mod rotation;

use std::time::Duration;

use spop_bridge::pb::v1::{DecideRequest, Decision};

use crate::failing_services::fallbacks;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::host::{Bound, FOREVER};
use crate::support::service::{Answer, Methods, Service, allow};
use crate::support::stream::Stream;
use crate::support::stream_server::StreamServer;
use crate::support::wire::{Ack, Data};

/// One backend with these endpoints, reached by this protocol from one worker, so that there is one stream to each.
fn bridge_to(protocol: &str, endpoints: &[&str], timeout: &str) -> Bridge {
    Bridge::start(&config(1, protocol, endpoints, timeout))
}

fn config(workers: usize, protocol: &str, endpoints: &[&str], timeout: &str) -> String {
    format!(
        "workers: {workers}\n\
         backends: {{ decisions: {{ endpoints: {endpoints:?}, protocol: {protocol}, metadata: {{ x-tenant: blue }} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: {timeout} }}]\n{}",
        fallbacks()
    )
}

/// A bridge, the stream that it has opened, and an HAProxy in front: what most of these tests need.
struct Scene {
    bridge: Bridge,
    server: StreamServer,
    stream: Stream,
    engine: Engine,
}

impl Scene {
    fn new(timeout: &str) -> Scene {
        Scene::with(timeout, "")
    }

    /// With more keys for the backend, each followed by a comma.
    fn with(timeout: &str, keys: &str) -> Scene {
        let server = StreamServer::start();
        let config = config(1, "auto", &[server.uri()], timeout);
        let bridge = Bridge::start(&config.replace("metadata:", &format!("{keys} metadata:")));
        let stream = server.stream();
        let engine = bridge.engine();
        Scene { bridge, server, stream, engine }
    }

    /// With one decision made: the service has shown that it has the stream.
    fn proven(timeout: &str) -> Scene {
        Scene::new(timeout).prove()
    }

    /// The same, where what the stream took with it is lost.
    fn without_retries(timeout: &str) -> Scene {
        Scene::with(timeout, "retry: { max_attempts: 1 },").prove()
    }

    fn prove(self) -> Scene {
        let mut scene = self;
        scene.notify(1);
        let id = scene.stream.decision().id;
        scene.stream.allow(id);
        assert_allowed(&scene.engine.expect_ack());
        scene
    }

    fn notify(&mut self, stream: u64) {
        self.engine.notify(stream, 1, &[("check-request", &[])]);
    }

    /// So many NOTIFYs with these stream ids, and the decisions that the service is asked for.
    fn ask(&mut self, streams: &[u64]) -> Vec<Decision> {
        streams.iter().for_each(|stream| self.notify(*stream));
        self.stream.decisions(streams.len())
    }

    /// As many ACKs as `streams`, for these, each with the fallback for `cause`.
    #[track_caller]
    fn expect_fallbacks(&mut self, streams: &[u64], cause: &str) {
        let mut left = streams.to_vec();
        while !left.is_empty() {
            let ack = self.engine.expect_ack();
            assert_eq!(ack.text("txn.status"), cause, "{ack:?}");
            let at = left.iter().position(|stream| *stream == ack.stream);
            left.remove(at.unwrap_or_else(|| panic!("one ACK for each of {streams:?}: {ack:?}")));
        }
    }

    /// The bridge opens another stream, on which decisions are made.
    #[track_caller]
    fn expect_next_stream(&mut self) {
        self.stream = self.server.stream();
        self.notify(10_001);
        let id = self.stream.decision().id;
        self.stream.allow(id);
        assert_allowed(&self.engine.expect_ack());
    }

    /// The bridge's last line, in which it tells what it has counted.
    fn totals(mut self) -> Totals {
        drop(self.engine);
        totals(&mut self.bridge)
    }
}

/// What the bridge has counted, as its last line tells it.
struct Totals(String);

impl Totals {
    fn of(&self, name: &str) -> u64 {
        let counts = self.0.split(' ').filter_map(|count| count.split_once('='));
        counts.filter(|(counted, _)| *counted == name).map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }
}

fn totals(bridge: &mut Bridge) -> Totals {
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let line = eventually(PATIENCE, || bridge.log().into_iter().find(|line| line["message"] == "stopped"));
    Totals(line.expect("a last line")["totals"].as_str().unwrap().into())
}

/// A service with the stream, on a port of its own.
fn service(script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static) -> Service {
    service_at(Bound::tcp(), script)
}

fn service_at(bound: Bound, script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static) -> Service {
    Service::with(Methods::Both, bound, FOREVER, script)
}

fn allowing() -> Answer {
    Answer::Actions(vec![allow()])
}

fn is_allowed(ack: &Ack) -> bool {
    ack.value("txn.allow") == Some(&Data::Bool(true))
}

#[track_caller]
fn assert_allowed(ack: &Ack) {
    assert!(is_allowed(ack), "{ack:?}");
}

/// The stream id of the NOTIFY, which a service sees.
fn stream_id(request: &DecideRequest) -> u64 {
    request.origin.as_ref().expect("an origin").stream_id
}

fn in_ms(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}
