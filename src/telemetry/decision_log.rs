//! The lines of the decision log, on standard output. A thread of its own writes them; when whoever reads them is too slow, lines are left
//! out, and no worker waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::metrics::{Counter, counter, families};

/// Lines that may wait to be written: half a mebibyte as a rule, 16 with lines as long as they get.
const LINES: usize = 1_024;

struct Output {
    writer: NonBlocking,
    lost: ErrorCounter,
    over_rate: Counter,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();
static REST: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// The second since 1970 in the upper half, and the lines of that second in the lower.
static RATE: AtomicU64 = AtomicU64::new(0);

/// Whether another line may be written in this second; if not, it counts as dropped.
pub(crate) fn admit(max_per_second: u32) -> bool {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() << 32;
    let next = |rate: u64| match rate & !u64::from(u32::MAX) {
        same if same == second => ((rate - same) < u64::from(max_per_second)).then_some(rate + 1),
        _ => Some(second + 1),
    };
    let admitted = RATE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok();
    if !admitted {
        output().over_rate.increment();
    }
    admitted
}

/// Queues a line, which ends with a newline.
pub(crate) fn write(line: &[u8]) {
    // Only a queue: it cannot fail, and what it has no room for it counts.
    let _ = std::io::Write::write(&mut output().writer.clone(), line);
}

/// Lines that the queue had no room for.
pub(super) fn lost() -> usize {
    OUTPUT.get().map_or(0, |output| output.lost.dropped_lines())
}

/// Writes what is left, before the process ends; for a second at most.
pub(super) fn flush() {
    drop(REST.lock().unwrap_or_else(PoisonError::into_inner).take());
}

fn output() -> &'static Output {
    OUTPUT.get_or_init(|| {
        let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES).lossy(true).thread_name("decision-log");
        let (writer, rest) = builder.finish(std::io::stdout());
        *REST.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        let lost = writer.error_counter();
        Output { writer, lost, over_rate: counter(&families::TELEMETRY_DROPPED, &["decision_log", "rate"]) }
    })
}
