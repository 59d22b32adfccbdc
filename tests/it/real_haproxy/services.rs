//! Services die, leave and come back while requests are decided: with retries on, as they are by default, nobody notices.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{VERDICT, engine, frontend, on_each_line, outcome, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::child::ChildService;
use crate::support::haproxy::Haproxy;
use crate::support::host::Bound;
use crate::support::load::{Load, Tally};
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, figure, free_address};

on_each_line!(
    one_of_three_is_killed,
    one_of_three_is_frozen,
    rolling_restart_of_three,
    all_down_and_back,
    more_than_a_service_can_do,
);

/// kill -9 of a process.
fn one_of_three_is_killed(haproxy: &Path) {
    let services = [(); 3].map(|()| ChildService::start(Duration::from_millis(20)));
    let (_bridge, haproxy) = before(haproxy, &services.each_ref().map(ChildService::uri));
    let load = Load::start(8, haproxy.frontend(), outcome);
    assert!(load.wait_for(200, "decided"));
    services[0].kill();
    assert!(load.wait_for(400, "decided"));
    all_decided("kill -9 of one of three services, 8 clients", &load.stop());
}

/// Nobody is told, and its kernel goes on acknowledging: what it has is asked of another one.
fn one_of_three_is_frozen(haproxy: &Path) {
    let services = [(); 3].map(|()| ChildService::start(Duration::from_millis(20)));
    let uris = services.each_ref().map(ChildService::uri);
    let (_bridge, haproxy) = before_with(haproxy, &uris, "idempotent: true, hedging: {}");
    let load = Load::start(8, haproxy.frontend(), outcome);
    assert!(load.wait_for(200, "decided"));
    services[0].freeze();
    assert!(load.wait_for(400, "decided"));
    services[0].thaw();
    assert!(load.wait_for(100, "decided"));
    all_decided("one of three services frozen, 8 clients, hedging", &load.stop());
}

/// One after the other says GOAWAY, ends what it has and starts anew, as a rolling update does it.
fn rolling_restart_of_three(haproxy: &Path) {
    let addresses = [(); 3].map(|()| free_address());
    let start =
        |address| Service::bound(Bound::at(address), |_| Answer::after(Duration::from_millis(5), Answer::Actions(vec![allow()])));
    let mut services = addresses.map(start);
    let (bridge, haproxy) = before(haproxy, &services.each_ref().map(Service::uri));
    let load = Load::start(8, haproxy.frontend(), outcome);
    for (service, address) in services.iter_mut().zip(addresses) {
        assert!(load.wait_for(100, "decided"));
        service.retire();
        let over = || (service.in_flight() == 0 && service.open_streams() == 0).then_some(());
        assert!(eventually(Duration::from_secs(10), over).is_some(), "the bridge leaves it: {:?}", bridge.log());
        service.kill();
        assert!(load.wait_for(50, "decided"));
        *service = start(address);
        let used = eventually(Duration::from_secs(10), || (!service.calls().is_empty()).then_some(()));
        assert!(used.is_some(), "it is used again: {:?}", bridge.log());
    }
    assert!(load.wait_for(100, "decided"));
    all_decided("rolling restart of three services, 8 clients", &load.stop());
}

/// HAProxy gets a fallback for every request, never an error of SPOP's, and verdicts again when there are services again.
fn all_down_and_back(haproxy: &Path) {
    let addresses = [(); 3].map(|()| free_address());
    let start = |address| Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]));
    let mut services = addresses.map(start);
    let (_bridge, haproxy) = before(haproxy, &services.each_ref().map(Service::uri));
    let load = Load::start(8, haproxy.frontend(), outcome);
    assert!(load.wait_for(100, "decided"));
    services.iter_mut().for_each(Service::kill);
    let down = Instant::now();
    assert!(load.wait_for(300, "undecided"));
    let (outage, back) = (down.elapsed(), Instant::now());
    let _reborn = addresses.map(start);
    assert!(load.wait_for(100, "decided"));
    let returned = back.elapsed();
    let tally = load.stop();
    figure(
        &format!("all of three down for {outage:.1?}, 8 clients"),
        format!("{tally:?}, 100 decided {returned:.1?} after the return"),
    );
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["decided", "undecided"], "{tally:?}");
}

/// Four at a time take 100 ms each, and sixteen clients want more: four are decided as quickly as ever, the others have their fallback at once.
fn more_than_a_service_can_do(haproxy: &Path) {
    let service = Service::bound(Bound::tcp(), |_| Answer::after(Duration::from_millis(100), Answer::Actions(vec![allow()])));
    let (_bridge, haproxy) = before_with(haproxy, &[service.uri()], "max_in_flight: 4");
    let begin = Instant::now();
    let load = Load::start(16, haproxy.frontend(), outcome);
    assert!(load.wait_for(80, "decided"));
    let tally = load.stop();
    figure("max_in_flight: 4 at 100 ms each, 16 clients", format!("{tally:?} in {:.1?}", begin.elapsed()));
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["decided", "undecided"], "{tally:?}");
    // Those that are turned away come again at once.
    assert!(tally["undecided"] > tally["decided"], "{tally:?}");
    assert!(service.most_in_flight() <= 4, "{}", service.most_in_flight());
}

fn before(haproxy: &Path, endpoints: &[&str]) -> (Bridge, Haproxy) {
    before_with(haproxy, endpoints, "")
}

/// With more `keys` for the backend.
fn before_with(haproxy: &Path, endpoints: &[&str], keys: &str) -> (Bridge, Haproxy) {
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: {endpoints:?}, {keys} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 4s }}]"
    ));
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let haproxy = start(haproxy, &bridge, frontend(&reflect(&VERDICT)), spoe);
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    (bridge, haproxy)
}

#[track_caller]
fn all_decided(what: &str, tally: &Tally) {
    figure(what, format!("{tally:?}"));
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["decided"], "{tally:?}");
}
