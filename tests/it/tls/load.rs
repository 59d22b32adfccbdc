//! What TLS costs, for the reader of the output: nothing is asserted about it.

use std::time::Instant;

use super::assert_allowed;
use crate::support::bridge::Bridge;
use crate::support::engine::{Engine, notify_frame};
use crate::support::figure;
use crate::support::host::Bound;
use crate::support::service::{Answer, Service, allow};
use crate::support::tls::{Ca, client};
use crate::support::wire::Data;

const NOTIFIES: u64 = 20_000;
/// At a time.
const WINDOW: u64 = 40;

/// CPU of the bridge a decision, in microseconds, and its memory after all.
fn cost(bridge: &Bridge, mut engine: Engine) -> f64 {
    engine.hello();
    assert_allowed(&mut engine, 1);
    let path = [("path", Data::from("/some/path?with=a&query=string")), ("method", "GET".into())];
    let before = bridge.cpu_ticks();
    let started = Instant::now();
    for round in 0..NOTIFIES / WINDOW {
        let notifies: Vec<u8> =
            (0..WINDOW).flat_map(|n| notify_frame(round * WINDOW + n + 2, 1, &[("m", &path)]).encode()).collect();
        engine.send(&notifies);
        (0..WINDOW).for_each(|_| drop(engine.expect_ack()));
    }
    let ticks = bridge.cpu_ticks() - before;
    figure(
        "decisions a second, one connection, 40 in flight",
        format!("{:.0}", NOTIFIES as f64 / started.elapsed().as_secs_f64()),
    );
    ticks as f64 * 10_000.0 / NOTIFIES as f64
}

#[test]
fn cpu_of_a_decision_with_and_without() {
    let ca = Ca::new("ca");
    let issued = ca.issue(&["localhost", "127.0.0.1"]);
    let plain = Service::allowing();
    let (bound, _) = Bound::tls(issued.grpc_server(None));
    let secured = Service::bound(bound, |_| Answer::Actions(vec![allow()]));
    let config = |service: &Service, backend: &str| {
        format!(
            "listeners:\n- {{ name: plain, bind: \"127.0.0.1:0\" }}\n- {{ name: tls, bind: \"127.0.0.1:0\", tls: {{ {} }} }}\n\
             workers: 1\nbackends: {{ decisions: {{ endpoints: [\"{}\"] {backend} }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
            issued.yaml(),
            service.uri()
        )
    };
    let trusted = client(&ca, None, spop_bridge::agent::rustls::DEFAULT_VERSIONS);
    let mut costs = Vec::new();
    for (service, backend) in [(&plain, String::new()), (&secured, format!(", tls: {{ ca: {} }}", ca.file().display()))] {
        let bridge = Bridge::start(&config(service, &backend));
        costs.push(cost(&bridge, Engine::connect(bridge.listener("plain"))));
        costs.push(cost(&bridge, Engine::connect_tls(bridge.listener("tls"), &trusted)));
    }
    let names = ["neither", "SPOP", "gRPC", "both"];
    for (name, cost) in names.iter().zip(&costs) {
        figure(&format!("bridge CPU a decision with TLS on {name}"), format!("{cost:.1} us, {:.2} x", cost / costs[0]));
    }
}

/// A connection that is open and does nothing.
#[test]
fn memory_of_an_idle_connection() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let issued = ca.issue(&["localhost"]);
    let trusted = client(&ca, None, spop_bridge::agent::rustls::DEFAULT_VERSIONS);
    for tls in [false, true] {
        let key = if tls { format!(", tls: {{ {} }}", issued.yaml()) } else { String::new() };
        let bridge = Bridge::start(&format!(
            "listeners: [{{ name: main, bind: \"127.0.0.1:0\" {key} }}]\nbackends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
            service.uri()
        ));
        let open = || {
            let mut engine =
                if tls { Engine::connect_tls(bridge.address(), &trusted) } else { Engine::connect(bridge.address()) };
            engine.hello();
            assert_allowed(&mut engine, 1);
            engine
        };
        let _warm: Vec<_> = (0..20).map(|_| open()).collect();
        let before = bridge.resident_kib();
        let _idle: Vec<_> = (0..300).map(|_| open()).collect();
        let grown = bridge.resident_kib().saturating_sub(before);
        figure(&format!("memory of an idle connection, TLS {tls}"), format!("{:.1} KiB", grown as f64 / 300.0));
    }
}
