//! What the kernel knows about a process.

use std::time::Duration;
use std::{fs, io};

/// CPU time of all threads, to the nanosecond. Threads that have ended are not in it.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// CPU time of children that have ended and were waited for, to a hundredth of a second.
pub fn cpu_of_ended_children() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // After the name, which is in parentheses and may hold anything; cutime and cstime are fields 16 and 17.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|word| word.parse::<u64>().ok()).ok_or(io::ErrorKind::InvalidData);
    Ok(Duration::from_millis((ticks(16)? + ticks(17)?) * 10))
}

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or(io::ErrorKind::InvalidData)?;
    line.trim().trim_end_matches(" kB").parse().map_err(|_| io::ErrorKind::InvalidData.into())
}
