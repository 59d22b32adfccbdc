//! The threads that `docs/limits.md` speaks of, and no others.

use std::collections::BTreeSet;

use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::eventually;

/// All but those of tokio, which come and go.
fn threads(bridge: &Bridge) -> BTreeSet<String> {
    bridge.threads().into_iter().filter(|name| name != "tokio-rt-worker").collect()
}

#[test]
fn the_workers_and_four() {
    // Nothing listens there: every decision fails, and the decision log has a line for it.
    let backend = "backends: { decisions: { endpoints: [\"http://127.0.0.1:9\"] } }\n";
    let bridge = Bridge::start(&format!("workers: 3\ndecision_log: {{}}\n{backend}"));
    bridge.engine().ask(1, "check", &[]);
    let expected = ["spop-bridge", "signals", "log", "decision-log", "worker-0", "worker-1", "worker-2"];
    let expected: BTreeSet<_> = expected.into_iter().map(str::to_owned).collect();
    let found = eventually(PATIENCE, || (threads(&bridge) == expected).then_some(()));
    assert!(found.is_some(), "{:?}", threads(&bridge));
}
