//! How many files the process may have open: each connection, to HAProxy or to a service, is one.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// What is open besides connections: the log, the runtimes' own, listeners, files that are read, the admin port's connections.
const OTHERS: u64 = 128;

/// Raises the soft limit to the hard one. The soft one is low, often 1024, for programs that call select(2), which tokio does not.
pub(super) fn raise_limit(config: &Config) {
    match raised() {
        Ok((before, now)) => {
            tracing::debug!(limit = now, before, "open files");
            let connections: usize = config.listeners.iter().map(|listener| listener.max_connections).sum();
            let endpoints: usize = config.backends.iter().map(|backend| backend.endpoints.len()).sum();
            let needed = u64::try_from(connections.saturating_add(endpoints.saturating_mul(config.workers.get())))
                .map_or(u64::MAX, |needed| needed.saturating_add(OTHERS));
            if needed > now {
                tracing::info!(
                    limit = now,
                    needed,
                    "max_connections is more than the limit of open files allows: connections above that are closed at once"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// The soft limit before and after.
fn raised() -> Result<(u64, u64), Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok((soft, hard))
}
