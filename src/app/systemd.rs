//! What systemd is told, if it has started us and wants to know (`Type=notify`): sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState::{self, ExtendTimeoutUsec, Ready, Reloading, Status, Stopping};

/// What is left to do when the drain is over: workers end, telemetry is sent.
const MARGIN: Duration = Duration::from_secs(10);

/// Serves, at the start and after each reload.
pub(super) fn ready(status: &str) {
    tell(&[Ready, Status(status)]);
}

/// Reads its configuration again; [`ready`] must follow.
pub(super) fn reloading() {
    // Without the time systemd 253 and later take the reload for failed.
    let now = NotifyState::monotonic_usec_now();
    tell(&[Reloading, now.unwrap_or(NotifyState::MonotonicUsec(0))]);
}

/// Drains, for `longest` at most. The unit's TimeoutStopSec need not know how long that is.
pub(super) fn stopping(longest: Duration) {
    let extension = (longest + MARGIN).as_micros().try_into().unwrap_or(u32::MAX);
    tell(&[Stopping, ExtendTimeoutUsec(extension), Status("draining")]);
}

/// Does nothing where there is no NOTIFY_SOCKET.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd, which waits for it if the unit has Type=notify");
    }
}
