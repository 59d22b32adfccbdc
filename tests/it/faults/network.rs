//! A bad network between the bridge and its only service: a TCP proxy that delays, stalls, throttles, cuts, resets and forgets connections.
//! While it is bad a decision may time out; afterwards all are decided, and at no time does an engine go without its ACK.

use std::time::{Duration, Instant};

use super::{PROTOCOLS, bridge_to, ms};
use crate::support::askers::{Asked, Askers, only, outcome, percentile, tally};
use crate::support::bridge::Bridge;
use crate::support::proxy::{Fate, Proxy, Weather};
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, figure};

#[test]
fn delay_adds_up_and_costs_nothing_else() {
    for protocol in PROTOCOLS {
        let scene = Scene::new(protocol, "5s");
        let delay = Duration::from_millis(50);
        scene.proxy.set(Weather { delay, ..Weather::default() });
        let asked = scene.ask("50 ms of delay each way", Duration::from_secs(2));
        assert_eq!(only(&asked, "decided").len(), asked.len(), "{:?}", tally(&asked));
        assert!(asked.iter().all(|asked| asked.took >= 2 * delay), "there and back");
        assert_eq!(scene.proxy.accepted(), 1);
    }
}

#[test]
fn a_network_that_stalls_for_a_while() {
    for protocol in PROTOCOLS {
        let scene = Scene::new(protocol, "300ms");
        scene.proxy.set(Weather { stalled: true, ..Weather::default() });
        let asked = scene.ask("nothing passes", Duration::from_secs(2));
        assert_eq!(only(&asked, "timeout").len(), asked.len(), "{:?}", tally(&asked));
        scene.proxy.set(Weather::default());
        scene.recovers("the stall");
    }
}

#[test]
fn a_network_that_drips() {
    for protocol in PROTOCOLS {
        let scene = Scene::new(protocol, "300ms");
        scene.proxy.set(Weather { bytes_per_second: Some(1_000), ..Weather::default() });
        let asked = scene.ask("1,000 bytes a second each way", Duration::from_secs(3));
        assert!(asked.iter().all(|asked| asked.outcome == "decided" || asked.outcome == "timeout"), "{:?}", tally(&asked));
        assert!(!only(&asked, "timeout").is_empty(), "{:?}", tally(&asked));
        scene.proxy.set(Weather::default());
        scene.recovers("the drip");
    }
}

/// The connection is gone with 20 decisions on it: all are decided on the next one. Only a connection that has lasted a second is taken for
/// a good one: when it breaks sooner, the service counts as down for a moment.
#[test]
fn connections_that_end_in_every_way() {
    for protocol in PROTOCOLS {
        let scene = Scene::new(protocol, "5s");
        for what in ["cut in the middle of a frame", "reset", "closed by one side"] {
            let before = scene.proxy.accepted();
            let load = Askers::start(scene.bridge.address(), 4, 5);
            std::thread::sleep(Duration::from_millis(1_500));
            match what {
                "reset" => scene.proxy.seal(Fate::Reset),
                "closed by one side" => scene.proxy.seal(Fate::HalfClose),
                _ => scene.proxy.cut_after(1_001),
            }
            load.wait_for(300);
            let asked = load.stop();
            scene.tell(what, &asked);
            assert_eq!(only(&asked, "decided").len(), asked.len(), "{protocol}, {what}: {:?}", tally(&asked));
            assert_eq!(scene.proxy.accepted(), before + 1, "{protocol}, {what}: one more connection");
        }
    }
}

/// Nothing passes on the old connection, while a new one would be served: as behind a balancer whose server has died without a word. A second of
/// silence, a PING that nobody acknowledges, and it is left.
#[test]
fn a_connection_that_is_forgotten() {
    for protocol in PROTOCOLS {
        let scene = Scene::with(protocol, ", keepalive_timeout: 500ms", "300ms");
        scene.proxy.seal(Fate::Forgotten);
        let begin = Instant::now();
        let mut engine = scene.bridge.engine();
        let (mut asked, mut timeouts) = (0, 0);
        let back = eventually(Duration::from_secs(20), || {
            asked += 1;
            let outcome = outcome(&engine.ask(asked, "check-request", &[]));
            timeouts += usize::from(outcome == "timeout");
            (outcome == "decided").then_some(())
        });
        figure(
            &format!("the only connection is forgotten by the network ({protocol})"),
            format!("{timeouts} timeouts, decided after {}", ms(begin.elapsed())),
        );
        assert!(back.is_some(), "{protocol}: {timeouts} timeouts of {asked}");
        assert!(begin.elapsed() > Duration::from_millis(1_500), "{protocol}: it had time to answer");
        assert_eq!(scene.proxy.accepted(), 2, "{protocol}: one more connection");
        assert!(
            asked as usize - timeouts <= 10,
            "{protocol}: {timeouts} timeouts of {asked}, the rest is one moment without a connection"
        );
    }
}

/// A service that is there and answers no decision for seconds keeps its connection: it acknowledges the PING.
#[test]
fn a_service_that_is_only_slow_keeps_its_connection() {
    for protocol in PROTOCOLS {
        let service = Service::start(|_| Answer::after(Duration::from_secs(60), Answer::Actions(vec![allow()])));
        let proxy = Proxy::to(service.uri());
        let bridge = bridge_to(1, &[&proxy.uri()], &format!("protocol: {protocol}, keepalive_timeout: 1s"), "300ms");
        let load = Askers::start(bridge.address(), 1, 1);
        std::thread::sleep(Duration::from_secs(4));
        let asked = load.stop();
        figure(&format!("a service that answers nothing for 4 s ({protocol})"), format!("{:?}", tally(&asked)));
        assert_eq!(only(&asked, "timeout").len(), asked.len(), "{protocol}: {:?}", tally(&asked));
        assert_eq!((proxy.accepted(), proxy.open()), (1, 1), "{protocol}");
    }
}

struct Scene {
    proxy: Proxy,
    _service: Service,
    bridge: Bridge,
    protocol: &'static str,
}

impl Scene {
    fn new(protocol: &'static str, timeout: &str) -> Scene {
        Scene::with(protocol, "", timeout)
    }

    fn with(protocol: &'static str, keys: &str, timeout: &str) -> Scene {
        let service = Service::start(|_| Answer::after(Duration::from_millis(5), Answer::Actions(vec![allow()])));
        let proxy = Proxy::to(service.uri());
        let bridge = bridge_to(1, &[&proxy.uri()], &format!("protocol: {protocol}{keys}"), timeout);
        let scene = Scene { proxy, _service: service, bridge, protocol };
        scene.recovers("the start");
        scene
    }

    /// 20 in flight for so long.
    fn ask(&self, what: &str, time: Duration) -> Vec<Asked> {
        let load = Askers::start(self.bridge.address(), 4, 5);
        std::thread::sleep(time);
        let asked = load.stop();
        self.tell(&format!("{what} for {}", ms(time)), &asked);
        asked
    }

    fn tell(&self, what: &str, asked: &[Asked]) {
        figure(
            &format!("{what} ({}), 20 in flight", self.protocol),
            format!("{:?}, p50 {}, p99 {}", tally(asked), ms(percentile(asked, 50)), ms(percentile(asked, 99))),
        );
    }

    /// Decisions are made again, and go on being made.
    #[track_caller]
    fn recovers(&self, what: &str) {
        let (begin, mut engine, mut stream) = (Instant::now(), self.bridge.engine(), 0);
        let mut ask = || {
            stream += 1;
            outcome(&engine.ask(stream, "check-request", &[]))
        };
        let decided = eventually(Duration::from_secs(10), || (ask() == "decided").then_some(()));
        assert!(decided.is_some(), "{}: after {what}", self.protocol);
        let took = begin.elapsed();
        // A busy machine may be slow now and then.
        let again = (0..20).filter(|_| ask() == "decided").count();
        figure(&format!("after {what} ({})", self.protocol), format!("decided after {}, then {again} of 20", ms(took)));
        assert!(again >= 15, "{}: {again} of 20 after {what}", self.protocol);
    }
}
