//! What the figures were measured on and with.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::{Args, Fallible};

#[derive(Serialize, Deserialize)]
pub struct Machine {
    /// How many cores of what kind.
    pub cores: String,
    pub memory_gib: u64,
    /// Kernel and distribution.
    pub system: String,
    /// Name and version of every program.
    pub programs: Vec<String>,
}

impl Machine {
    pub fn look(args: &Args) -> Fallible<Self> {
        let (processors, memory) = (fs::read_to_string("/proc/cpuinfo")?, fs::read_to_string("/proc/meminfo")?);
        let kib: u64 = field(&memory, "MemTotal").trim_end_matches(" kB").parse()?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let distribution =
            release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default().trim_matches('"');
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        // Major and minor: what follows is a builder's own.
        let kernel = kernel.split('.').take(2).collect::<Vec<_>>().join(".");
        let place = if processors.contains(" hypervisor") { "Virtual machine, " } else { "" };
        Ok(Self {
            cores: format!("{place}{} cores of {}", std::thread::available_parallelism()?, field(&processors, "model name")),
            memory_gib: kib.div_ceil(1024 * 1024),
            system: format!("Linux {kernel}, {distribution}"),
            programs: vec![
                first_line(&args.bridge, "--version")?,
                haproxy(&args.haproxy_2_6)?,
                haproxy(&args.haproxy_3_2)?,
                envoy(&args.envoy)?,
                // wrk has no other way to tell, and fails with it.
                first_line(&args.wrk, "-v")?.split(" [").next().unwrap_or_default().to_owned(),
                first_line(Path::new("rustc"), "--version")?,
            ],
        })
    }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    value.unwrap_or_default().trim()
}

fn first_line(program: &Path, flag: &str) -> Fallible<String> {
    let output = Command::new(program).arg(flag).output().map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned())
}

fn haproxy(program: &Path) -> Fallible<String> {
    Ok(first_line(program, "-v")?.split(' ').take(3).collect::<Vec<_>>().join(" ").replace(" version", ""))
}

/// `…/envoy  version: HASH/1.40.0/Clean/RELEASE/BoringSSL`
fn envoy(program: &Path) -> Fallible<String> {
    let line = first_line(program, "--version")?;
    Ok(format!("Envoy {}", line.split('/').rev().nth(3).unwrap_or("of unknown version")))
}
