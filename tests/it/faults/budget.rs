//! Every service answers UNAVAILABLE: retries do not multiply the load, once the burst that is there for a single server's death is used up.

use tonic::Status;

use super::{PROTOCOLS, bridge_to, counted};
use crate::support::askers::{Askers, tally};
use crate::support::figure;
use crate::support::service::{Answer, Service};

#[test]
fn an_outage_is_not_asked_three_times() {
    for protocol in PROTOCOLS {
        let services = [(); 2].map(|()| Service::start(|_| Answer::Status(Status::unavailable("down"))));
        let uris = services.each_ref().map(Service::uri);
        let keys = format!("protocol: {protocol}, retry_budget: {{ percent: 20%, min_per_second: 0 }}");
        let mut bridge = bridge_to(1, &uris, &keys, "8s");
        let attempts = || services.iter().map(|service| service.calls().len()).sum::<usize>();
        let ask = |count| {
            let before = attempts();
            let load = Askers::start(bridge.address(), 2, 10);
            load.wait_for(count);
            let asked = load.stop();
            assert!(asked.iter().all(|asked| asked.outcome == "unavailable"), "{:?}", tally(&asked));
            (asked.len(), attempts() - before)
        };
        // Three attempts each, as long as there are tokens: 1,000.
        let (first, of_them) = ask(800);
        let (second, of_those) = ask(1_000);
        let ratio = of_those as f64 / second as f64;
        let retries = counted(&mut bridge, "retries");
        figure(
            &format!("all services UNAVAILABLE, budget 20% ({protocol})"),
            format!("{first} decisions with {of_them} attempts, then {second} with {of_those}: x{ratio:.2}; {retries} retries"),
        );
        assert!(of_them >= first + 1_000, "the burst is there: {of_them} for {first}");
        assert!((1.15..1.25).contains(&ratio), "{protocol}: {ratio}");
        assert_eq!(retries as usize, of_them + of_those - first - second, "all are counted");
    }
}
