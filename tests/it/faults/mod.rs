//! Services that die, stall and drown, and networks that lose what they carry: injected on purpose, under load. Each test tells what was
//! injected, for how long, how many decisions there were, and what the engines saw. What a real HAProxy sees: `real_haproxy::services`.

mod budget;
mod hedging;
mod kill;
mod network;
mod outage;
mod overload;
mod packets;
mod pushback;
mod stall;
mod streams;

use std::time::Duration;

use crate::failing_services::fallbacks;
use crate::support::bridge::Bridge;

/// Both ways to carry a decision.
const PROTOCOLS: [&str; 2] = ["decide_stream", "decide"];

/// One backend with these endpoints and more `keys`.
fn config(workers: usize, endpoints: &[&str], keys: &str, timeout: &str) -> String {
    format!(
        "workers: {workers}\n\
         backends: {{ decisions: {{ endpoints: {endpoints:?}, {keys} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: {timeout} }}]\n{}",
        fallbacks()
    )
}

fn bridge_to(workers: usize, endpoints: &[&str], keys: &str, timeout: &str) -> Bridge {
    Bridge::start(&config(workers, endpoints, keys, timeout))
}

/// What the bridge has counted, from its last line. Ends it.
fn counted(bridge: &mut Bridge, name: &str) -> u64 {
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let log = bridge.log();
    let stopped = log.iter().find(|line| line["message"] == "stopped").expect("a last line");
    let mut counts = stopped["totals"].as_str().unwrap().split(' ').filter_map(|count| count.split_once('='));
    counts.find(|(counted, _)| *counted == name).map_or(0, |(_, count)| count.parse().unwrap())
}

/// How often the bridge has logged `message`.
fn logged(bridge: &Bridge, message: &str) -> usize {
    bridge.log().iter().filter(|line| line["message"] == message).count()
}

fn ms(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}
