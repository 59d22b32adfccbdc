//! The lines of the decision log, on standard output. A [thread of its own](super::writer) writes them; when their reader is too slow,
//! lines are left out, and no worker waits.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::event::DecisionNotLogged;
use super::metrics::{Counter, counter, families};
use super::writer::Writer;

/// Lines that may wait to be written: half a mebibyte as a rule, 16 with lines as long as they get.
const LINES: usize = 1_024;

struct Output {
    writer: Writer,
    over_rate: Counter,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();

/// What there has been in a second: the second since 1970 in the upper half, and how much in the lower.
struct Rate(AtomicU64);

static LINES_NOW: Rate = Rate(AtomicU64::new(0));
static BYTES_NOW: Rate = Rate(AtomicU64::new(0));

impl Rate {
    /// Whether `more` is within `limit` in this second, as the first always is.
    fn admit(&self, more: u64, limit: u32) -> bool {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() << 32;
        let next = |rate: u64| match rate & !u64::from(u32::MAX) {
            same if same == second => ((rate - same) + more <= u64::from(limit)).then_some(rate + more),
            _ => Some(second + more.min(u64::from(limit))),
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// Whether another line may be written in this second; if not, it counts as dropped.
pub(crate) fn admit(max_per_second: u32) -> bool {
    let is_admitted = LINES_NOW.admit(1, max_per_second);
    if !is_admitted {
        leave_out();
    }
    is_admitted
}

/// Queues a line, which ends with a newline, unless there have been too many bytes in this second.
pub(crate) fn write(line: &[u8], max_bytes_per_second: u32) {
    if BYTES_NOW.admit(line.len() as u64, max_bytes_per_second) {
        output().writer.push(line);
    } else {
        leave_out();
    }
}

fn leave_out() {
    output().over_rate.increment();
    DecisionNotLogged.record();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_bytes_or_one_line() {
        let full = |more, limit| {
            let rate = Rate(AtomicU64::new(0));
            // All within one second, or the next one's first is let through as well.
            (0..10).filter(|_| rate.admit(more, limit)).count()
        };
        assert!((3..=6).contains(&full(30, 100)), "3 of 30 bytes");
        assert!((1..=2).contains(&full(1_000, 100)), "one that is longer");
        assert_eq!(full(1, 100), 10);
    }
}
