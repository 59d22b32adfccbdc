//! What the operating system knows of the process, and the totals that have no labels.

use std::fs::{read_dir, read_to_string};
use std::time::{Duration, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::families as f;
use super::snapshot::{Batch, started};
use crate::telemetry::{Count, Totals, decision_log, log};

/// Of the times in `/proc/PID/stat`, in a second. The kernel has others inside, and this for programs on all architectures.
const TICKS: f64 = 100.0;

pub(super) fn observe(batch: &mut Batch) {
    let totals = Totals::now();
    for (family, count) in [
        (&f::LATE_ANSWERS, Count::LateAnswers),
        (&f::UNKNOWN_ANSWERS, Count::UnknownAnswers),
        (&f::ADDRESS_CHANGES, Count::AddressChanges),
        (&f::RESOLUTION_FAILURES, Count::ResolutionFailures),
    ] {
        batch.add(family, &[], totals.of(count) as f64);
    }
    for (reason, count) in
        [("answered", Count::LeftOutAnswered), ("conflict", Count::LeftOutConflict), ("no_room", Count::LeftOutNoRoom)]
    {
        batch.add(&f::ACTIONS_LEFT_OUT, &[reason], totals.of(count) as f64);
    }
    batch.add(&f::CONFIG_RELOADS, &["applied"], totals.of(Count::ConfigReloads) as f64);
    batch.add(&f::CONFIG_RELOADS, &["refused"], totals.of(Count::ConfigRefusals) as f64);
    for (signal, (left_out, failed)) in [("log", log::lost()), ("decision_log", decision_log::lost())] {
        batch.add(&f::TELEMETRY_DROPPED, &[signal, "queue_full"], left_out as f64);
        batch.add(&f::TELEMETRY_DROPPED, &[signal, "failed"], failed as f64);
    }
    batch.add(&f::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    batch.add(&f::UPTIME, &[], started().elapsed().unwrap_or_default().as_secs_f64());
    observe_usage(batch);
}

/// What cannot be read, as without a Linux `/proc` or without a file descriptor for it, is left out.
fn observe_usage(batch: &mut Batch) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        batch.add(&f::CPU_TIME, &["user"], seconds(usage.user_time()));
        batch.add(&f::CPU_TIME, &["system"], seconds(usage.system_time()));
    }
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    if let Some(kib) = field("VmRSS:") {
        batch.add(&f::MEMORY_USAGE, &[], kib * 1024.0);
    }
    if let Some(threads) = field("Threads:") {
        batch.add(&f::THREADS, &[], threads);
    }
    if let Ok(descriptors) = read_dir("/proc/self/fd") {
        // One of them is for reading the folder.
        batch.add(&f::FILE_DESCRIPTORS, &[], descriptors.count().saturating_sub(1) as f64);
    }
}

/// When the process started, if the kernel says so.
pub(super) fn start_time() -> Option<SystemTime> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    // The name of the program, which may hold anything, is in parentheses; the start is the 20th field behind it.
    let since_boot: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let age = Duration::try_from_secs_f64(uptime - since_boot / TICKS).ok()?;
    SystemTime::now().checked_sub(age)
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::{Snapshot, Value};

    #[test]
    fn the_process_is_observed() {
        let snapshot = Snapshot::now();
        let value = |name: &str, label: Option<&str>| {
            let (_, points) = snapshot.families.iter().find(|(family, _)| family.name == name).expect(name);
            let point = points.iter().find(|point| label.is_none_or(|label| point.labels.iter().any(|known| **known == *label)));
            match point.expect(name).value {
                Value::Sum(value) | Value::Gauge(value) => value,
                Value::Histogram(_) => panic!("{name} is a histogram"),
            }
        };
        assert!(value("process.cpu.time", Some("user")) >= 0.0 && value("process.cpu.time", Some("system")) >= 0.0);
        assert!(value("process.memory.usage", None) > 1e6);
        assert!(value("process.thread.count", None) >= 2.0, "this test's and the main one");
        assert!(value("process.unix.file_descriptor.count", None) >= 3.0);
        assert!((0.0..3_600.0).contains(&value("process.uptime", None)), "{}", value("process.uptime", None));
    }
}
