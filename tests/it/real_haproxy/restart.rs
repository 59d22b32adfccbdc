//! The bridge is replaced while requests are decided: by a drain, and by a crash.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::figure;
use crate::support::haproxy::{Haproxy, has_mux};
use crate::support::load::{Load, Tally};
use crate::support::service::{Answer, Service, allow};

on_each_line!(restart_under_load, crash_under_load, rolling_restart, rolling_restart_with_maxconn);

/// With a drain delay longer than HAProxy's check interval, what is in flight is finished.
fn restart_under_load(haproxy: &Path) {
    replace_under_load(haproxy, "restart", Signal::SIGTERM);
}

/// Killed: what is in flight fails with a SPOP error in HAProxy's variable, never with an HTTP error.
fn crash_under_load(haproxy: &Path) {
    replace_under_load(haproxy, "crash", Signal::SIGKILL);
}

/// Two bridges, one after the other drained and replaced, as a rolling update does it: every request has its verdict; up to HAProxy 3.0, but
/// for the few that it sends at the very moment of a goodbye.
fn rolling_restart(haproxy: &Path) {
    let tally = roll(haproxy, 1, |_, _| {});
    figure("rolling restart under load", format!("{tally:?}"));
    // Cut off by the goodbye, or given the fallback at the end of the grace period.
    let lost = count(&tally, |word| is_spop_error(word) || word == "undecided");
    assert_eq!(tally["decided"] + lost, count(&tally, |_| true), "nobody was without a bridge: {tally:?}");
    let may_lose = if has_mux(haproxy) { 0 } else { tally["decided"] / 100 };
    assert!(lost <= may_lose, "{tally:?}");
}

/// The same with HAProxy told to leave the bridge that is about to go: every request has its verdict, on every line.
///
/// With `maxconn 1` on a server that is down, HAProxy up to 3.0 ends its own connections to it, each when nothing is in flight on
/// it.
fn rolling_restart_with_maxconn(haproxy: &Path) {
    let tally = roll(haproxy, 3, |haproxy, server| {
        haproxy.wait_for_server("bridge", server, "DOWN").unwrap();
        haproxy.command(&format!("set maxconn server bridge/{server} 1"));
    });
    figure("3 rolling restarts of two bridges under load, maxconn set", format!("{tally:?}"));
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["decided"], "{tally:?}");
}

/// Replaces both bridges `rounds` times, each in the drain of the other's absence; `leave` is called in each drain.
fn roll(haproxy: &Path, rounds: usize, leave: fn(&Haproxy, &str)) -> Tally {
    let service = Service::start(|_| Answer::after(Duration::from_millis(5), Answer::Actions(vec![allow()])));
    let mut bridges = [Bridge::start(&config(&service, "127.0.0.1:0")), Bridge::start(&config(&service, "127.0.0.1:0"))];
    let second = format!("    server s2 {} check inter 200ms fall 1 rise 1\n", bridges[1].address().for_haproxy());
    let proxies = frontend(&reflect(&VERDICT)).trim_end().to_string() + "\n" + &second;
    // One check that is late on a busy machine must not take the only server away.
    let proxies = proxies.replace("inter 200ms fall 1", "inter 500ms fall 2");
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let haproxy = start(haproxy, &bridges[0], proxies, spoe);
    let load = Load::start(8, haproxy.frontend(), super::outcome);
    for _ in 0..rounds {
        for (bridge, server) in bridges.iter_mut().zip(["s1", "s2"]) {
            assert!(load.wait_for(200, "decided"));
            bridge.terminate();
            leave(&haproxy, server);
            assert_eq!(bridge.exit_code(), 0);
            haproxy.command(&format!("set maxconn server bridge/{server} 0"));
            *bridge = Bridge::start(&config(&service, &bridge.address().for_command_line()));
            haproxy.wait_for_server("bridge", server, "UP").unwrap();
        }
    }
    assert!(load.wait_for(200, "decided"));
    load.stop()
}

fn config(service: &Service, bind: &str) -> String {
    format!(
        "listeners: [{{ name: main, bind: \"{bind}\" }}]\n\
         backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 3s }}]\n\
         drain: {{ delay: 2s, grace_period: 5s }}",
        service.uri()
    )
}

fn replace_under_load(haproxy: &Path, what: &str, signal: Signal) {
    let service = Service::start(|_| Answer::after(Duration::from_millis(5), Answer::Actions(vec![allow()])));
    let mut bridge = Bridge::start(&config(&service, "127.0.0.1:0"));
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let haproxy = start(haproxy, &bridge, frontend(&reflect(&VERDICT)), spoe);
    let load = Load::start(8, haproxy.frontend(), super::outcome);
    assert!(load.wait_for(200, "decided"));
    bridge.signal(signal);
    let code = bridge.exit_code();
    let _second = Bridge::start(&config(&service, &bridge.address().for_command_line()));
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    assert!(load.wait_for(200, "decided"), "decisions go on");
    let tally = load.stop();
    figure(&format!("{what} under load"), format!("{tally:?}"));

    assert_eq!(code, if signal == Signal::SIGTERM { 0 } else { -1 });
    assert!(!tally.keys().any(|word| word.starts_with("no HTTP answer") || word.starts_with("status")), "{tally:?}");
    if signal == Signal::SIGTERM {
        // The connection failed with something in flight: hardly anything may be, in a drain.
        assert!(count(&tally, is_spop_error) * 100 <= tally["decided"], "in-flight decisions were lost: {tally:?}");
    }
}

fn count(tally: &Tally, which: impl Fn(&str) -> bool) -> usize {
    tally.iter().filter(|(word, _)| which(word)).map(|(_, count)| count).sum()
}

/// 256 and the SPOP status code. 257 is also how HAProxy 3.1+ says that no server is there; for that older lines have 2.
fn is_spop_error(word: &str) -> bool {
    let code = word.strip_prefix("error=").and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code >= 256 && code != 257)
}
