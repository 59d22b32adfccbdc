//! `/ready` says what `option spop-check` is told.

use super::{metric, port, text};
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::engine::Engine;
use crate::support::host::Bound;
use crate::support::http::get;
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, free_address};

fn becomes(bridge: &Bridge, ready: bool) -> String {
    let admin = port(bridge);
    let reached = eventually(PATIENCE, || {
        let reply = get("/ready").send(admin);
        (reply.status == if ready { 200 } else { 503 }).then(|| text(&reply))
    });
    let checked = eventually(PATIENCE, || (Engine::connect(bridge.address()).health_check().is_ok() == ready).then_some(()));
    assert!(checked.is_some(), "health checks: not {ready}");
    assert_eq!(metric(bridge, "spop_bridge_ready"), Some(f64::from(u8::from(ready))));
    assert_eq!(get("/live").send(admin).status, 200);
    reached.unwrap_or_else(|| panic!("does not become ready: {ready}\n{:?}", bridge.log()))
}

#[test]
fn a_required_backend_comes_and_goes() {
    let (required, other) = (free_address(), free_address());
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"http://{required}\"], required: true }}, other: {{ endpoints: [\"http://{other}\"] }} }}\n\
         routes: [{{ messages: [m], backend: decisions }}, {{ messages: [\"*\"], backend: other }}]\n"
    ));
    let missing = "backend decisions: it is required, and no server of it takes decisions\n";
    assert_eq!(becomes(&bridge, false), missing);
    for _ in 0..2 {
        let mut service = Service::bound(Bound::at(required), |_| Answer::Actions(vec![allow()]));
        assert_eq!(becomes(&bridge, true), "ready\n");
        service.kill();
        assert_eq!(becomes(&bridge, false), missing);
    }
}

#[test]
fn without_required_backends_it_is_ready_at_once() {
    let bridge = Bridge::simple(&format!("http://{}", free_address()), "50ms");
    assert_eq!(get("/ready").send(port(&bridge)).status, 200);
}
