//! One of three services is killed with what it has in flight (SIGKILL, in a process of its own).

use std::time::Duration;

use super::{PROTOCOLS, bridge_to, counted};
use crate::support::askers::{Askers, tally};
use crate::support::child::ChildService;
use crate::support::figure;
use crate::support::load::Tally;

/// By default a decision that was in flight there is tried elsewhere: none fails.
#[test]
fn nobody_notices() {
    for protocol in PROTOCOLS {
        let (tally, retries) = kill_one(protocol, "");
        assert_eq!(tally.keys().collect::<Vec<_>>(), ["decided"], "{protocol}: {tally:?}");
        assert!(retries > 0, "{protocol}: something was in flight there");
    }
}

/// Without another attempt what was in flight is lost, and nothing else.
#[test]
fn without_retries_what_was_in_flight_is_lost() {
    for protocol in PROTOCOLS {
        let (tally, retries) = kill_one(protocol, ", retry: { max_attempts: 1 }");
        let lost = tally.get("unavailable").copied().unwrap_or(0);
        assert_eq!(retries, 0);
        assert!((1..=IN_FLIGHT).contains(&lost), "{protocol}: {tally:?}");
        assert_eq!(tally["decided"] + lost, tally.values().sum::<usize>(), "{protocol}: {tally:?}");
    }
}

const IN_FLIGHT: usize = 20;

/// The outcomes, and how often the bridge tried again.
fn kill_one(protocol: &str, keys: &str) -> (Tally, u64) {
    let services = [(); 3].map(|()| ChildService::start(Duration::from_millis(20)));
    let uris = services.each_ref().map(ChildService::uri);
    let mut bridge = bridge_to(2, &uris, &format!("protocol: {protocol}{keys}"), "5s");
    let load = Askers::start(bridge.address(), 4, IN_FLIGHT as u64 / 4);
    load.wait_for(300);
    services[0].kill();
    load.wait_for(600);
    let tally = tally(&load.stop());
    let retries = counted(&mut bridge, "retries");
    figure(
        &format!("kill -9 of one of three ({protocol}{keys}), {IN_FLIGHT} in flight"),
        format!("{tally:?}, {retries} tried again"),
    );
    (tally, retries)
}
