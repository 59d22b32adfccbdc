//! A service that can do so much at a time is asked for more than that, and what is too much for it is `overloaded` at once.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{bridge_to, ms};
use crate::support::address::Address;
use crate::support::askers::{Asked, flood, only, outcome, percentile, tally};
use crate::support::engine::Engine;
use crate::support::figure;
use crate::support::service::{Answer, Service, allow};

const TIME: Duration = Duration::from_secs(3);
const PERIOD: Duration = Duration::from_millis(50);

/// Works at `slots` decisions at a time, for so long at each. The others wait; that nobody waits for them any more it does not notice.
fn limited(slots: usize, work: Duration) -> Service {
    let free = Mutex::new(vec![Instant::now(); slots]);
    Service::start(move |_| {
        let mut free = free.lock().unwrap();
        let slot = free.iter_mut().min().expect("a slot");
        let now = Instant::now();
        *slot = now.max(*slot) + work;
        Answer::after(*slot - now, Answer::Actions(vec![allow()]))
    })
}

/// Four times of what a service can do, for three seconds. Without a cap the queue grows until nobody is answered in time.
#[test]
fn a_cap_keeps_answers_in_time() {
    let work = Duration::from_millis(200);
    let flooded = |what: &str, keys: &str| {
        let service = limited(50, work);
        let bridge = bridge_to(1, &[service.uri()], keys, "1s");
        let asked = flood(bridge.address(), "it-engine", 50, PERIOD, TIME);
        report(what, "50 at a time for 200 ms each, 250/s; asked for 1,000/s", &asked, &service);
        (asked, service.most_in_flight())
    };
    let (without, _) = flooded("no cap", "protocol: auto");
    assert!(only(&without, "timeout").len() > without.len() / 4, "the flood is one: {:?}", tally(&without));

    let (capped, most) = flooded("max_in_flight: 50", "max_in_flight: 50");
    assert_eq!(most, 50);
    assert_eq!(only(&capped, "decided").len() + only(&capped, "overloaded").len(), capped.len(), "{:?}", tally(&capped));
    assert!(only(&capped, "decided").len() > only(&without, "decided").len(), "and more of them are answered at all");
    let (decided, shed) = (percentile(only(&capped, "decided"), 50), percentile(only(&capped, "overloaded"), 50));
    assert!(shed < decided, "those that are shed do not wait: {shed:?}");
}

/// The same without being told what the service can do.
#[test]
fn the_adaptive_limit_finds_it() {
    let service = limited(20, Duration::from_millis(100));
    let bridge = bridge_to(1, &[service.uri()], "adaptive_limit: { min: 10 }", "2s");
    let asked = flood(bridge.address(), "it-engine", 40, PERIOD, 2 * TIME);
    report("adaptive_limit", "20 at a time for 100 ms each, 200/s; asked for 800/s", &asked, &service);
    assert_eq!(only(&asked, "decided").len() + only(&asked, "overloaded").len(), asked.len(), "{:?}", tally(&asked));
    assert!(only(&asked, "decided").len() > 200 && only(&asked, "overloaded").len() > 200, "{:?}", tally(&asked));
    // The flood had 4,800, and the timeout would let 400 wait.
    assert!(service.most_in_flight() < 200, "{}", service.most_in_flight());
}

/// One engine floods, another asks one at a time: as an engine of its own it always has room.
#[test]
fn a_flooding_engine_leaves_room_for_a_quiet_one() {
    let run = |quiet: &str| {
        let service = Service::start(|_| Answer::after(Duration::from_millis(100), Answer::Actions(vec![allow()])));
        let bridge = bridge_to(1, &[service.uri()], "max_in_flight: 48", "5s");
        let address = bridge.address().clone();
        let mut engine = Engine::connect(&address);
        engine.hello_with(16380, quiet);
        engine.ask(1, "check-request", &[]);
        let busy = std::thread::spawn({
            let address: Address = address.clone();
            move || flood(&address, "busy", 80, PERIOD, TIME)
        });
        std::thread::sleep(PERIOD * 2);
        let begin = Instant::now();
        let mut got = Vec::new();
        while begin.elapsed() < TIME - PERIOD * 10 {
            got.push(outcome(&engine.ask(got.len() as u64, "check-request", &[])));
            std::thread::sleep(Duration::from_millis(20));
        }
        let (asked, decided) = (got.len(), got.iter().filter(|outcome| *outcome == "decided").count());
        let busy = busy.join().unwrap();
        figure(
            &format!("max_in_flight 48, engine busy asks 1,600/s for {}, engine {quiet} one at a time", ms(TIME)),
            format!("busy: {:?}; {quiet}: {decided} of {asked} decided", tally(&busy)),
        );
        assert!(!only(&busy, "overloaded").is_empty(), "{:?}", tally(&busy));
        (asked, decided)
    };
    let (asked, decided) = run("quiet");
    assert_eq!(decided, asked, "an engine of its own");
    let (asked, decided) = run("busy");
    assert!(decided < asked, "of the same engine: whoever comes first");
}

fn report(what: &str, service: &str, asked: &[Asked], seen: &Service) {
    let of = |outcome: &str, percent| ms(percentile(only(asked, outcome), percent));
    figure(
        &format!("{what} (service: {service})"),
        format!(
            "{:?}; decided: p50 {}, p99 {}; overloaded: p50 {}, p99 {}; most in flight at the service: {}",
            tally(asked),
            of("decided", 50),
            of("decided", 99),
            of("overloaded", 50),
            of("overloaded", 99),
            seen.most_in_flight()
        ),
    );
}
