//! The lines of the decision log, on standard output. A [thread of its own](super::writer) writes them; when their reader is too slow,
//! lines are left out, and no worker waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::metrics::{Counter, counter, families};
use super::writer::Writer;

/// Lines that may wait to be written: half a mebibyte as a rule, 16 with lines as long as they get.
const LINES: usize = 1_024;

struct Output {
    writer: Writer,
    over_rate: Counter,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();

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
    output().writer.push(line);
}

/// Lines that the queue had no room for, and those that could not be written.
pub(super) fn lost() -> (u64, u64) {
    OUTPUT.get().map_or((0, 0), |Output { writer, .. }| (writer.left_out(), writer.failed()))
}

/// Writes what is left, until `end` at the latest.
pub(super) fn flush(end: Instant) {
    OUTPUT.get().into_iter().for_each(|output| output.writer.flush(end));
}

fn output() -> &'static Output {
    OUTPUT.get_or_init(|| Output {
        writer: Writer::start("decision-log", LINES, std::io::stdout()),
        over_rate: counter(&families::TELEMETRY_DROPPED, &["decision_log", "rate"]),
    })
}
