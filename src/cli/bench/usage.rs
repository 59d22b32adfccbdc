//! CPU time and memory of a process, from /proc.

use std::collections::HashMap;
use std::fs::read_to_string;
use std::io;

/// Processes when the measured round began: this one, which is `None` without a Linux /proc, and those that were asked about.
#[derive(Debug)]
pub(super) struct Meter {
    own: Option<Usage>,
    others: Vec<(u32, Usage)>,
}

/// What they have spent since.
#[derive(Debug)]
pub(super) struct Spent {
    pub(super) own: Option<ProcessSpent>,
    /// `None` for one that has ended.
    pub(super) others: Vec<(u32, Option<ProcessSpent>)>,
}

/// What one process has spent.
#[derive(Debug)]
pub(super) struct ProcessSpent {
    pub(super) cpu_nanos: u64,
    pub(super) memory: Memory,
}

impl Meter {
    /// # Errors
    /// When a process cannot be read: what to tell the user.
    pub(super) fn start(pids: &[u32]) -> Result<Self, String> {
        let read = |pid: &u32| match Usage::now(&pid.to_string()) {
            Ok(usage) => Ok((*pid, usage)),
            Err(error) => Err(format!("--pid {pid}: cannot read /proc/{pid}: {error}. Is it a process on this machine?")),
        };
        Ok(Self { own: Usage::now("self").ok(), others: pids.iter().map(read).collect::<Result<_, _>>()? })
    }

    pub(super) fn read(&self) -> Spent {
        let others = self.others.iter().map(|(pid, before)| (*pid, before.spent(&pid.to_string()))).collect();
        Spent { own: self.own.as_ref().and_then(|before| before.spent("self")), others }
    }
}

/// A process at one moment.
#[derive(Debug)]
struct Usage {
    /// Nanoseconds on a CPU by thread.
    threads: HashMap<String, u64>,
    memory: Memory,
}

/// Memory of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Now.
    pub(super) resident_kib: u64,
    /// The most since the process started.
    pub(super) peak_resident_kib: u64,
}

impl Usage {
    /// Of all threads of a process, by its number or `self`.
    ///
    /// # Errors
    /// When there is no such process, or no Linux /proc.
    fn now(pid: &str) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = entry?.path();
            // A thread may end while we read.
            let Ok(text) = read_to_string(path.join("schedstat")) else { continue };
            let time = text.split_whitespace().next().and_then(|time| time.parse().ok());
            let thread = path.file_name().map(|name| name.to_string_lossy().into_owned());
            threads.extend(thread.zip(time));
        }
        let status = read_to_string(format!("/proc/{pid}/status"))?;
        let memory = Memory { resident_kib: field(&status, "VmRSS:"), peak_resident_kib: field(&status, "VmHWM:") };
        if threads.is_empty() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel gives no schedstat of its threads"));
        }
        Ok(Self { threads, memory })
    }

    /// What it has spent since; the CPU time of threads that have ended is not known.
    fn spent(&self, pid: &str) -> Option<ProcessSpent> {
        let now = Self::now(pid).ok()?;
        let before = |thread| self.threads.get(thread).copied().unwrap_or_default();
        let cpu_nanos = now.threads.iter().map(|(thread, time)| time.saturating_sub(before(thread))).sum();
        Some(ProcessSpent { cpu_nanos, memory: now.memory })
    }
}

/// A line of /proc/PID/status in kB, 0 when it is not there: a process that has ended but is not reaped has no memory.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn work_is_seen() {
        let own = std::process::id();
        let meter = Meter::start(&[own]).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        // The time of a running thread is brought up to date when it is scheduled anew.
        std::thread::sleep(Duration::from_millis(1));
        let Spent { others, .. } = meter.read();
        let [(pid, Some(ProcessSpent { cpu_nanos, memory }))] = &others[..] else { panic!("{others:?}") };
        assert!(*pid == own && *cpu_nanos > 0);
        assert!(memory.resident_kib > 100 && memory.peak_resident_kib >= memory.resident_kib);
    }

    #[test]
    fn a_process_that_is_not_there() {
        let error = Meter::start(&[0]).unwrap_err();
        assert!(error.starts_with("--pid 0: cannot read /proc/0: "), "{error}");
    }
}
