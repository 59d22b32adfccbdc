//! The backend section whose servers are the bridge.

use std::fmt::Write as _;
use std::time::Duration;

use super::plan::Plan;
use super::server::{RESOLVERS, Target};
use crate::config::format_duration;

pub(super) fn write(plan: &Plan<'_>) -> String {
    let version = plan.options.version;
    let mut text =
        format!("# Where decisions come from: the bridge, for HAProxy {version}.\nbackend {}\n", plan.config.haproxy.backend);
    if version.has_mux() {
        text.push_str("    mode spop\n");
    } else {
        text.push_str("    # `mode spop` is for 3.1 and later.\n    mode tcp\n");
    }
    text.push_str("    # Connections live long and carry many requests each.\n    balance leastconn\n");
    let connect = if plan.servers.iter().any(|server| server.listener.tls.is_some()) { "1s" } else { "200ms" };
    let _ = writeln!(text, "    timeout connect {connect}");
    if !version.has_mux() {
        text.push_str("    # Above `timeout idle` of the SPOE file, which is to close first.\n");
    }
    text.push_str("    timeout server 3m\n");
    text.push_str(&checks(plan.config.drain.delay));
    for (index, server) in plan.servers.iter().enumerate() {
        if matches!(server.target, Target::Unix(_)) {
            text.push_str("    # With `chroot` in `global` the path is looked up inside it.\n");
        }
        text.push_str(&server.line(index + 1, plan));
    }
    if plan.servers.iter().any(|server| matches!(server.target, Target::Dns { .. })) {
        let _ = write!(
            text,
            "\n# Follows the addresses of the bridges as they come and go.\nresolvers {RESOLVERS}\n    parse-resolv-conf\n    \
             accepted_payload_size 8192\n    hold valid 5s\n"
        );
    }
    text
}

/// Health checks that notice a bridge that drains before it has gone.
fn checks(drain: Duration) -> String {
    let inter = if drain < LEAST_DRAIN { USUAL } else { USUAL.min(whole_millis(drain / CHECKS)) };
    let delay = format_duration(drain);
    let why = if drain < LEAST_DRAIN {
        format!("A bridge that stops is noticed when it has gone, since its drain.delay is {delay}: right for a sidecar.")
    } else {
        format!("A bridge that drains refuses them for {delay} (drain.delay) before it goes: time for {CHECKS} checks.")
    };
    format!(
        "    # A real HELLO. Without `check` every request to a dead bridge would wait for the whole `timeout processing`.\n    \
         # {why}\n    \
         option spop-check\n    timeout check 500ms\n    \
         default-server check inter {} fastinter {} downinter 500ms fall 2 rise 1\n",
        format_duration(inter),
        format_duration(inter.min(FAST)),
    )
}

/// HAProxy knows no shorter time.
fn whole_millis(time: Duration) -> Duration {
    time.saturating_sub(Duration::from_nanos((time.subsec_nanos() % 1_000_000).into()))
}

const USUAL: Duration = Duration::from_secs(1);

/// Between checks once one has failed.
const FAST: Duration = Duration::from_millis(200);

/// Checks within the delay: `fall` of them, and one to be safe.
const CHECKS: u32 = 3;

/// Below it there is no use in hurrying.
const LEAST_DRAIN: Duration = Duration::from_millis(300);
