//! Counts that cost nothing to share: one shard per thread, summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// What is counted since the process started.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Count {
            $($(#[$doc])* $name,)*
        }

        impl Count {
            /// Every count, in the order in which they are reported.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in logs, in snake case.
            #[must_use]
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

counts! {
    /// SPOP connections accepted.
    Connections => "connections",
    /// SPOP connections closed at once because the listener's limit was reached.
    ConnectionsRefused => "connections_refused",
    /// SPOP connections closed at once because no file descriptors were left.
    ConnectionsTurnedAway => "connections_turned_away",
    /// Health-check HELLOs answered, ready or not.
    HealthChecks => "health_checks",
    /// SPOP connections ended because the peer broke the protocol or a timeout.
    ProtocolErrors => "protocol_errors",
    /// SPOP connections ended because the peer could not be let in by TLS.
    TlsRefused => "tls_refused",
    /// Configurations that were put into effect while running.
    ConfigReloads => "config_reloads",
    /// Configurations that were refused while running.
    ConfigRefusals => "config_refusals",
    /// NOTIFY frames received.
    Notifies => "notifies",
    /// NOTIFY frames whose processor panicked.
    Panics => "panics",
    /// Decisions that ended in the `timeout` fallback.
    Timeout => "timeout",
    /// Decisions that ended in the `unavailable` fallback.
    Unavailable => "unavailable",
    /// Decisions that ended in the `overloaded` fallback.
    Overloaded => "overloaded",
    /// Decisions that ended in the `rejected` fallback.
    Rejected => "rejected",
    /// Decisions that ended in the `invalid_response` fallback: the whole response was refused.
    InvalidResponse => "invalid_response",
    /// Decisions about messages that no route matches.
    Unrouted => "unrouted",
    /// Decisions that ended in the `internal` fallback.
    Internal => "internal",
    /// Decisions sent once more because an attempt failed.
    Retries => "retries",
    /// Decisions sent to a second endpoint because the first was slow.
    Hedges => "hedges",
    /// Endpoints left out by a worker because they failed.
    Ejections => "ejections",
    /// Actions of fallbacks that gave way to another service's answer about the same variable.
    LeftOutAnswered => "left_out_answered",
    /// Actions that gave way to those of another answer or fallback that comes first.
    LeftOutConflict => "left_out_conflict",
    /// Actions for which a frame had no room.
    LeftOutNoRoom => "left_out_no_room",
    /// Answers on a stream to decisions that had ended: late, or repeated.
    LateAnswers => "late_answers",
    /// Answers on a stream with an id that was never used, or with none that can be read.
    UnknownAnswers => "unknown_answers",
    /// Times that DNS had other addresses for a name than before.
    AddressChanges => "address_changes",
    /// Questions to DNS without a useful answer.
    ResolutionFailures => "resolution_failures",
    /// Times that a server became unhealthy.
    EndpointsUnhealthy => "endpoints_unhealthy",
}

type Shard = [AtomicU64; Count::ALL.len()];

static SHARDS: Mutex<Vec<Arc<Shard>>> = Mutex::new(Vec::new());

thread_local! {
    // A shard outlives its thread in `SHARDS`: threads are few and what they counted stays true.
    static SHARD: Arc<Shard> = {
        let shard = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        SHARDS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shard));
        shard
    };
}

impl Count {
    /// Counts one more, in this thread's shard.
    pub(crate) fn increment(self) {
        SHARD.with(|shard| {
            if let Some(count) = shard.get(self as usize) {
                // Only this thread writes here: no need to lock the bus for it.
                count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            }
        });
    }
}

/// The counts of all threads at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Totals([u64; Count::ALL.len()]);

impl Totals {
    /// Sums all shards. Counts that change meanwhile may or may not be in.
    #[must_use]
    pub(crate) fn now() -> Self {
        let mut totals = [0_u64; Count::ALL.len()];
        for shard in SHARDS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (total, count) in totals.iter_mut().zip(shard.iter()) {
                *total = total.wrapping_add(count.load(Ordering::Relaxed));
            }
        }
        Self(totals)
    }

    /// How often `count` happened.
    #[must_use]
    pub(crate) fn of(&self, count: Count) -> u64 {
        self.0.get(count as usize).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Totals {
    /// `notifies=12 timeout=1`: what happened at all.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for count in Count::ALL.iter().filter(|count| self.of(**count) > 0) {
            write!(f, "{separator}{}={}", count.as_str(), self.of(*count))?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_of_all_threads_are_summed() {
        let before = Totals::now().of(Count::Panics);
        Count::Panics.increment();
        std::thread::spawn(|| Count::Panics.increment()).join().unwrap();
        // Other tests of this process may count meanwhile.
        assert!(Totals::now().of(Count::Panics) >= before + 2);
    }
}
