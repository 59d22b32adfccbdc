//! Every service is gone, and comes back.

use std::time::{Duration, Instant};

use super::{PROTOCOLS, bridge_to, ms};
use crate::failing_services::{assert_fallback, timed};
use crate::support::askers::{Askers, outcome, tally};
use crate::support::host::Bound;
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, figure, free_address};

const TIMEOUT: Duration = Duration::from_secs(8);

#[test]
fn the_fallback_comes_at_once_and_decisions_come_back() {
    for protocol in PROTOCOLS {
        let addresses = [(); 3].map(|()| free_address());
        let start = |address| Service::bound(Bound::at(address), |_| Answer::after(Duration::from_millis(20), answer()));
        let mut services = addresses.map(start);
        let uris = services.each_ref().map(Service::uri);
        let bridge = bridge_to(2, &uris, &format!("protocol: {protocol}"), "8s");
        let load = Askers::start(bridge.address(), 4, 5);
        load.wait_for(200);
        services.iter_mut().for_each(Service::kill);
        let down = Instant::now();
        load.wait_for(500);
        let asked = load.stop();
        let tally = tally(&asked);
        assert!(tally.keys().all(|word| word == "decided" || word == "unavailable"), "{protocol}: {tally:?}");

        // Now everybody knows.
        let mut engine = bridge.engine();
        let mut longest = Duration::ZERO;
        for stream in 0..50 {
            let (ack, took) = timed(&mut engine, stream);
            assert_fallback(&ack, "unavailable");
            longest = longest.max(took);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(longest < TIMEOUT / 2, "{protocol}: nobody waits for a service that is down: {longest:?}");
        let outage = down.elapsed();

        let _reborn = addresses.map(start);
        let (back, mut stream) = (Instant::now(), 1_000);
        let decided = eventually(Duration::from_secs(10), || {
            stream += 1;
            (outcome(&timed(&mut engine, stream).0) == "decided").then_some(())
        });
        let took = back.elapsed();
        figure(
            &format!("all of three down for {} under load ({protocol})", ms(outage)),
            format!(
                "{tally:?}; once it is known, 50 of 50 unavailable, the slowest after {}; first decision {} after the return",
                ms(longest),
                ms(took)
            ),
        );
        // The longest pause between two attempts to connect is a second.
        assert!(decided.is_some() && took < Duration::from_secs(4), "{protocol}: decisions after {took:?}");
        // The other worker may still wait for its next attempt.
        let after = || {
            let load = Askers::start(bridge.address(), 4, 5);
            load.wait_for(200);
            crate::support::askers::tally(&load.stop())
        };
        let all_decided = || after().keys().eq(["decided"]).then_some(());
        eventually(Duration::from_secs(4), all_decided).unwrap_or_else(|| panic!("{protocol}: not every worker is back"));
        let after = after();
        assert_eq!(after.keys().collect::<Vec<_>>(), ["decided"], "{protocol}: {after:?}");
    }
}

fn answer() -> Answer {
    Answer::Actions(vec![allow()])
}
