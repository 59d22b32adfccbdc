//! No peer makes series: labels have closed sets of values.

use std::collections::BTreeSet;

use super::{config, port, text};
use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::http::{Request, get};
use crate::support::service::Service;
use crate::support::wire::{Data, Frame};

/// Every series, without its value.
fn series(bridge: &Bridge) -> BTreeSet<String> {
    let metrics = text(&get("/metrics").send(port(bridge)));
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
}

/// As many as metrics tell apart, those before HELLO and those beyond, for one listener.
const ENGINES: usize = 64 + 2;

#[test]
fn engines_messages_and_frame_types() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    bridge.engine().ask(1, "m", &[]);
    let before = series(&bridge);
    let mut open = Vec::new();
    for number in 0..1_000_u64 {
        let mut engine = Engine::connect(bridge.address());
        engine.hello_with(16_380, &format!("engine-{number}\"\n{{}}"));
        if number % 10 == 0 {
            let name = format!("message-{number}");
            engine.notify(1, 1, &[(&name, &[(&name, Data::from("x"))])]);
            engine.expect_ack();
        }
        // Some stay, so that there are more than slots.
        if number < 100 {
            open.push(engine);
        }
    }
    for kind in 0..=255 {
        let mut engine = bridge.engine();
        let _ = engine.try_send(&Frame::new(kind, 1, 1, Vec::new()).encode());
        engine.finish_writing();
    }
    for number in 0..100 {
        let path = format!("/path-{number}");
        assert_eq!(Request::new("GET", &path).send(port(&bridge)).status, 404);
    }
    let after = series(&bridge);
    let new: Vec<_> = after.difference(&before).collect();
    let engines = new.iter().filter(|series| series.starts_with("spop_server_connections{")).count();
    assert!(engines <= ENGINES, "{engines} series for engines");
    assert_eq!(new.len() - engines, 0, "{:#?}", new.iter().take(20).collect::<Vec<_>>());
    assert!(!after.iter().any(|series| series.contains("engine-") || series.contains("message-")));
}
