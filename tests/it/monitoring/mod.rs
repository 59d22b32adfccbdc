//! What operators see, with the real parts: Prometheus, promtool, an OpenTelemetry Collector, HAProxy, and services with spans of
//! their own.

mod collector_away;
mod rules;
mod scene;
mod scrape;
mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::address::Address;
use crate::support::bridge::Bridge;

fn repository(path: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where the admin port is.
fn admin(bridge: &Bridge) -> SocketAddr {
    match bridge.admin() {
        Address::Tcp(address) => address,
        Address::Unix(path) => panic!("a socket at {}", path.display()),
    }
}
