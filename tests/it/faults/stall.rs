//! One of three services stalls: its process is frozen (SIGSTOP), so the kernel goes on accepting and acknowledging for it, and nobody answers.

use std::time::{Duration, Instant};

use super::{PROTOCOLS, bridge_to, counted, logged, ms};
use crate::support::askers::{Asked, Askers, only, percentile, tally};
use crate::support::bridge::Bridge;
use crate::support::child::ChildService;
use crate::support::{eventually, figure};

const TIMEOUT: Duration = Duration::from_secs(1);
const STALL: Duration = Duration::from_secs(4);
const IN_FLIGHT: usize = 20;
const WORKERS: usize = 2;

/// A second endpoint answers what the first one has not.
#[test]
fn with_hedging_nobody_waits_for_it() {
    for protocol in PROTOCOLS {
        let mut scene = Scene::new(protocol, ", idempotent: true, hedging: {}");
        let during = scene.stall();
        let hedges = counted(&mut scene.bridge, "hedges");
        figure("decisions sent to a second endpoint", hedges);
        assert!(hedges > 0, "{protocol}");
        // On a machine that stands still for a while so does the second endpoint.
        let timeouts = only(&during, "timeout").len();
        assert!(timeouts * 100 <= during.len(), "{protocol}: {timeouts} of {}", during.len());
        assert!(percentile(&during, 99) < TIMEOUT, "{protocol}");
    }
}

/// Without it, only those wait that were sent there before it was known, and single probes afterwards.
#[test]
fn without_it_the_endpoint_is_left_out() {
    for protocol in PROTOCOLS {
        let mut scene = Scene::new(protocol, "");
        let during = scene.stall();
        let timeouts = only(&during, "timeout").len();
        // Five in a row put it out; while nobody knows yet, all that is in flight may be there. Then a probe after one second, and after three.
        let bound = IN_FLIGHT + WORKERS * (5 + 2);
        assert!(timeouts <= bound, "{protocol}: {timeouts} of {}", during.len());
        assert!(tally(&during).keys().all(|word| word == "decided" || word == "timeout"), "{protocol}");

        // Each worker finds out by itself that it answers again.
        let ejected = logged(&scene.bridge, "endpoint ejected");
        if ejected > 0 {
            let load = Askers::start(scene.bridge.address(), 4, 5);
            let back = || (logged(&scene.bridge, "endpoint answers again") > 0).then_some(());
            assert!(eventually(Duration::from_secs(10), back).is_some(), "{protocol}: {:?}", scene.bridge.log());
            load.stop();
        }
    }
}

struct Scene {
    what: String,
    services: [ChildService; 3],
    bridge: Bridge,
}

impl Scene {
    fn new(protocol: &str, keys: &str) -> Scene {
        let services = [(); 3].map(|()| ChildService::start(Duration::from_millis(20)));
        let uris = services.each_ref().map(ChildService::uri);
        let bridge = bridge_to(WORKERS, &uris, &format!("protocol: {protocol}{keys}"), "1s");
        Scene { what: format!("{protocol}{keys}"), services, bridge }
    }

    /// What was asked while one stalled; then it goes on.
    fn stall(&mut self) -> Vec<Asked> {
        let load = Askers::start(self.bridge.address(), 4, IN_FLIGHT as u64 / 4);
        load.wait_for(500);
        let begin = Instant::now();
        self.services[0].freeze();
        std::thread::sleep(STALL);
        let asked = load.stop();
        self.services[0].thaw();
        let (before, during): (Vec<_>, Vec<_>) = asked.into_iter().partition(|asked| asked.at + asked.took < begin);
        let (healthy, stalled) = (percentile(&before, 99), percentile(&during, 99));
        figure(
            &format!("one of three frozen for {} ({})", ms(STALL), self.what),
            format!(
                "{} before: p99 {}; {:?} meanwhile: p50 {}, p99 {}, x{:.1} of the healthy p99; {} ejections",
                before.len(),
                ms(healthy),
                tally(&during),
                ms(percentile(&during, 50)),
                ms(stalled),
                stalled.as_secs_f64() / healthy.as_secs_f64(),
                logged(&self.bridge, "endpoint ejected"),
            ),
        );
        during
    }
}
