//! One of two bridges has no file descriptors left.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::limits::descriptors::{config, exhaust};
use crate::support::bridge::Bridge;
use crate::support::confined::with_open_files;
use crate::support::load::Load;
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, figure};

on_each_line!(one_bridge_without_descriptors);

/// HAProxy's checks fail at once, it uses the other bridge, and comes back when there are descriptors again.
fn one_bridge_without_descriptors(haproxy: &Path) {
    let service = Service::start(|_| Answer::Actions(vec![allow()]));
    let first = with_open_files(60, &config(&service));
    let second = Bridge::start(&config(&service));
    let server = format!("    server s2 {} check inter 200ms fall 1 rise 1\n", second.address().for_haproxy());
    let proxies = frontend(&reflect(&VERDICT)).trim_end().to_string() + "\n" + &server;
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let haproxy = start(haproxy, &first, proxies, spoe);
    let load = Load::start(8, haproxy.frontend(), super::outcome);
    assert!(load.wait_for(200, "decided"));

    let begin = Instant::now();
    let mut held = Vec::new();
    // HAProxy closes connections that it no longer needs, which frees descriptors.
    let down = eventually(Duration::from_secs(10), || {
        held.extend(exhaust(&first));
        haproxy.server("bridge", "s1", "status").starts_with("DOWN").then_some(())
    });
    down.expect("its checks fail");
    let (noticed, check) = (begin.elapsed(), haproxy.server("bridge", "s1", "last_chk"));
    assert!(load.wait_for(500, "decided"), "the other bridge decides");
    let lasted = begin.elapsed();
    drop(held);
    haproxy.wait_for_server("bridge", "s1", "UP").expect("it accepts again");
    assert!(load.wait_for(200, "decided"));

    let tally = load.stop();
    let (decided, all) = (tally["decided"], tally.values().sum::<usize>());
    figure(
        "one of two bridges without descriptors, under load",
        format!(
            "for {lasted:.1?}; HAProxy had s1 down after {noticed:.1?} ({check}), and up when they came back; {all} requests: {tally:?}"
        ),
    );
    assert!(!tally.keys().any(|word| word.starts_with("no HTTP answer") || word.starts_with("status")), "{tally:?}");
    assert!((all - decided) * 100 <= decided, "{tally:?}");
}
