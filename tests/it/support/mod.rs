//! Peers of the bridge for black-box tests: HAProxy, real and scripted, decision services that behave or don't, and the binary itself.

pub(crate) mod address;
pub(crate) mod askers;
pub(crate) mod bridge;
pub(crate) mod child;
pub(crate) mod collector;
pub(crate) mod confined;
mod decider;
pub(crate) mod dns;
pub(crate) mod engine;
pub(crate) mod garbage;
pub(crate) mod haproxy;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod late;
pub(crate) mod load;
pub(crate) mod otlp;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod service;
pub(crate) mod stream;
pub(crate) mod stream_server;
pub(crate) mod tls;
pub(crate) mod wire;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Tries until there is a result or `patience` is over.
pub(crate) fn eventually<T>(patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(result) = attempt() {
            return Some(result);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An address on which nobody listens, and that stays free for whoever is started on it now or later: it is in a part of 127/8 that only
/// this process uses, while ports of 127.0.0.1 are given to any connection that is opened meanwhile.
pub(crate) fn free_address() -> SocketAddr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, high.max(1), low, LAST.fetch_add(1, Ordering::Relaxed) % 254 + 1);
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

#[allow(clippy::print_stdout, reason = "for the reader of the test's output")]
fn say(what: std::fmt::Arguments<'_>) {
    println!("{what}");
}

/// What a test needs is not on this machine: says so, and fails in CI, where nothing may be skipped.
pub(crate) fn skipped(what: &str, missing: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}: {missing} is missing, which CI may not skip");
    say(format_args!("skipped: {what}: {missing} is missing"));
}

/// A figure for the reader of the test's output; nothing is asserted about it.
pub(crate) fn figure(what: &str, value: impl std::fmt::Display) {
    say(format_args!("figure: {what}: {value}"));
}
