//! While the bridge stops, it still says how it is.

use std::time::Duration;

use super::{config, json, metric, port, text};
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::eventually;
use crate::support::http::get;
use crate::support::service::{Answer, Service, allow};

#[test]
fn everything_answers_until_the_end() {
    let service = Service::start(|_| Answer::after(Duration::from_secs(6), Answer::Actions(vec![allow()])));
    let mut bridge = Bridge::start(&config(&service, "drain: { delay: 500ms, grace_period: 30s }\n"));
    let admin = port(&bridge);
    let mut engine = bridge.engine();
    engine.notify(1, 1, &[("m", &[])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 1).then_some(())).is_some());
    bridge.terminate();
    let not_ready = || Some(get("/ready").send(admin)).filter(|reply| reply.status == 503);
    let reply = eventually(PATIENCE, not_ready).expect("not ready");
    assert_eq!(text(&reply), "draining: the bridge is stopping\n");
    // Beyond the delay, with a decision in flight.
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(service.in_flight(), 1);
    for path in ["/", "/live", "/metrics", "/config", "/backends", "/connections", "/log-level"] {
        assert_eq!(get(path).send(admin).status, 200, "{path}");
    }
    assert_eq!(metric(&bridge, "spop_bridge_ready"), Some(0.0));
    assert_eq!(json(&bridge, "/backends")["backends"][0]["in_flight"], 1);
    engine.expect_ack();
    assert_eq!(bridge.exit_code(), 0);
    assert!(get("/live").try_send(admin).is_err());
}
