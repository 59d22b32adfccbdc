//! The bridge reads another configuration while requests are decided.

use std::path::Path;
use std::time::Duration;

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::figure;
use crate::support::load::Load;
use crate::support::service::{Answer, Service, allow};

on_each_line!(reloads_under_load);

const RELOADS: usize = 200;

/// 200 reloads, each with other values and every second one with another backend: every request has its verdict.
fn reloads_under_load(haproxy: &Path) {
    let service = Service::start(|_| Answer::after(Duration::from_millis(2), Answer::Actions(vec![allow()])));
    let config = |number: usize| {
        format!(
            "backends: {{ decisions: {{ endpoints: [\"{}\"], connect_timeout: {}ms }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: {}s }}]\nstatus_variable: txn.status_{}\n",
            service.uri(),
            1000 + number / 2,
            3 + number % 2,
            number % 3,
        )
    };
    let bridge = Bridge::start(&config(0));
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    // Checks as they are deployed: on a machine that is busy with the rest of the suite, 200 ms are sometimes too short for one.
    let proxies = frontend(&reflect(&VERDICT)).replace("inter 200ms fall 1", "inter 1s fall 3");
    let haproxy = start(haproxy, &bridge, proxies, spoe);
    let load = Load::start(8, haproxy.frontend(), super::outcome);
    assert!(load.wait_for(200, "decided"));
    for number in 1..=RELOADS {
        let reload = bridge.reload(&config(number));
        assert_eq!(reload["message"], "configuration reloaded", "{reload}");
    }
    assert!(load.wait_for(200, "decided"));
    let tally = load.stop();
    figure(
        &format!("{RELOADS} reloads of the bridge under load"),
        format!("{tally:?}, {} connections to the service", service.connections()),
    );
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["decided"], "{tally:?}");
    assert_eq!(service.connections(), bridge.workers() * (1 + RELOADS / 2));
}
