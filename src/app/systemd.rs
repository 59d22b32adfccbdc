//! What systemd is told, if it has started us and wants to know (`Type=notify`): sd_notify(3).

use std::io;
use std::time::Duration;

use sd_notify::NotifyState::{self, ExtendTimeoutUsec, Ready, Reloading, Status, Stopping};
use tokio::sync::Mutex;

use crate::aside::{Aside, asking};

/// What is left to do when the drain is over: workers end, telemetry is sent.
const MARGIN: Duration = Duration::from_secs(10);

/// Serves, at the start and after each reload.
pub(super) fn ready(status: String) {
    tell(move || notify(&[Ready, Status(&status)]));
}

/// Reads its configuration again; [`ready`] must follow.
pub(super) fn reloading() {
    // Without the time systemd 253 and later take the reload for failed.
    let now = NotifyState::monotonic_usec_now();
    tell(move || notify(&[Reloading, now.unwrap_or(NotifyState::MonotonicUsec(0))]));
}

/// Drains, for `longest` at most. The unit's TimeoutStopSec need not know how long that is.
pub(super) fn stopping(longest: Duration) {
    let extension = (longest + MARGIN).as_micros().try_into().unwrap_or(u32::MAX);
    tell(move || notify(&[Stopping, ExtendTimeoutUsec(extension), Status("draining")]));
}

/// Does nothing where there is no NOTIFY_SOCKET. Whoever listens there may be asleep: it is told by a thread aside, one message after the other.
fn tell(job: impl FnOnce() -> io::Result<()> + Send + 'static) {
    static TELLER: Mutex<Aside> = Mutex::const_new(Aside::new());
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    tokio::spawn(async move {
        let told = TELLER.lock().await.run(job).await;
        if let Err(error) = told.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "cannot tell systemd, which waits for it if the unit has Type=notify");
        }
    });
}

fn notify(state: &[NotifyState<'_>]) -> io::Result<()> {
    let _asking = asking("systemd (NOTIFY_SOCKET)");
    sd_notify::notify(state)
}
