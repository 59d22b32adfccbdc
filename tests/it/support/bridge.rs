//! The real binary, started with a configuration of the test's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::address::Address;
use super::engine::Engine;
use super::process::Process;

/// How long starting or stopping may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A running `spop-bridge run`.
pub(crate) struct Bridge {
    process: Process,
    addresses: HashMap<String, Address>,
    directory: TempDir,
}

impl Bridge {
    /// Runs with this YAML, in which `$DIR` is a directory of the bridge's own, and waits until it listens everywhere.
    ///
    /// Without `listeners` in it there is one, `main`, on a port of the system's choice, and so is the admin port without `admin`. With
    /// `log` left out, JSON at info.
    pub(crate) fn start(config: &str) -> Bridge {
        Bridge::start_with(config, &[])
    }

    /// With these environment variables.
    pub(crate) fn start_with(config: &str, variables: &[(&str, &str)]) -> Bridge {
        let directory = tempfile::tempdir().unwrap();
        let config = completed(config, directory.path());
        let file = directory.path().join("bridge.yaml");
        std::fs::write(&file, &config).unwrap();
        // One of them is the admin port's.
        let listeners = config.matches("bind:").count() - 1;
        let mut command = command();
        command.envs(variables.iter().copied());
        Bridge::start_command(command.arg("run").arg("--config").arg(&file), listeners, directory)
    }

    /// One listener in front of one backend, with a route for every message.
    pub(crate) fn simple(service: &str, timeout: &str) -> Bridge {
        Bridge::start(&format!(
            "backends: {{ decisions: {{ endpoints: [\"{service}\"] }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: {timeout} }}]"
        ))
    }

    /// Any `run` command whose log is JSON.
    pub(crate) fn start_command(command: &mut Command, listeners: usize, directory: TempDir) -> Bridge {
        let process = Process::start("spop-bridge", command);
        let mut bridge = Bridge { process, addresses: HashMap::new(), directory };
        let addresses = bridge.process.output.wait_for(PATIENCE, |lines| {
            let bound = listening(lines);
            (bound.len() == listeners).then_some(bound)
        });
        let lines = || bridge.process.output.all().join("\n");
        bridge.addresses = addresses.unwrap_or_else(|| panic!("spop-bridge doesn't listen:\n{}", lines()));
        bridge
    }

    /// Where the listener `main` is.
    pub(crate) fn address(&self) -> &Address {
        self.listener("main")
    }

    pub(crate) fn listener(&self, name: &str) -> &Address {
        self.addresses.get(name).unwrap_or_else(|| panic!("no listener {name} in {:?}", self.addresses))
    }

    /// Where its admin port is, as of its last change.
    pub(crate) fn admin(&self) -> Address {
        let address = self.process.output.wait_for(PATIENCE, |lines| {
            let mut events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let last = events.rfind(|event| event["message"] == "admin listening")?;
            Some(Address::parse(last["address"].as_str()?))
        });
        address.unwrap_or_else(|| panic!("no admin port:\n{}", self.process.output.all().join("\n")))
    }

    /// A scripted HAProxy that is through HELLO.
    pub(crate) fn engine(&self) -> Engine {
        Engine::open(self.address())
    }

    /// The log so far, one object a line.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.process.output.all().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The lines of the log that are `wanted`, when there are `count` of them or more: what has happened is often seen before its line is.
    #[track_caller]
    pub(crate) fn lines(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let found = super::eventually(PATIENCE, || {
            let lines: Vec<_> = self.log().into_iter().filter(&wanted).collect();
            (lines.len() >= count).then_some(lines)
        });
        found.unwrap_or_else(|| panic!("no {count} such lines in {:#?}", self.log()))
    }

    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub(crate) fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// The exit code once it has ended; -1 when a signal ended it.
    pub(crate) fn exit_code(&mut self) -> i32 {
        self.process.exit_code(PATIENCE)
    }

    /// The directory that is `$DIR` in its configuration, which is the file `bridge.yaml` in it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Puts another configuration in the place of its file, as `start` writes it, in one step.
    pub(crate) fn write(&self, config: &str) {
        let new = self.directory.path().join("bridge.yaml.new");
        std::fs::write(&new, completed(config, self.directory.path())).unwrap();
        std::fs::rename(new, self.directory.path().join("bridge.yaml")).unwrap();
    }

    /// Lets it read another configuration, and returns the line that says what became of it.
    pub(crate) fn reload(&self, config: &str) -> Value {
        self.write(config);
        let before = self.reloads().len();
        self.signal(Signal::SIGHUP);
        self.wait_for_reload(before)
    }

    /// The lines that say what became of each reload so far.
    pub(crate) fn reloads(&self) -> Vec<Value> {
        self.log().into_iter().filter(is_reload).collect()
    }

    /// The line of a reload that comes after `before` others.
    pub(crate) fn wait_for_reload(&self, before: usize) -> Value {
        let reload = self.process.output.wait_for(PATIENCE, |lines| {
            let told = lines.iter().filter(|line| line.contains("reloaded"));
            told.filter_map(|line| serde_json::from_str(line).ok()).filter(is_reload).nth(before)
        });
        reload.unwrap_or_else(|| panic!("no reload:\n{}", self.process.output.all().join("\n")))
    }

    /// Where a listener is that a reload has added.
    pub(crate) fn added_listener(&self, name: &str) -> Address {
        let address = self.process.output.wait_for(PATIENCE, |lines| listening(lines).remove(name));
        address.unwrap_or_else(|| panic!("no listener {name}"))
    }

    /// What was wrong with the configurations that were refused so far.
    pub(crate) fn problems(&self) -> Vec<String> {
        let lines = self.log().into_iter().filter(|line| line["level"] == "ERROR" && line["message"] == "configuration");
        lines.map(|line| line["problem"].as_str().unwrap().to_owned()).collect()
    }

    /// Its worker threads.
    pub(crate) fn workers(&self) -> usize {
        self.threads().iter().filter(|name| name.starts_with("worker-")).count()
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.pid())).unwrap();
        // One that ends meanwhile has no name any more.
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// Resident memory.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// CPU time so far, user and system, in clock ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A file of `/proc/PID`.
    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.pid())).unwrap()
    }

    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap().count()
    }
}

/// With what tests leave out.
fn completed(config: &str, directory: &Path) -> String {
    let mut config = config.replace("$DIR", directory.to_str().unwrap());
    if !config.contains("listeners:") {
        config.push_str("\nlisteners: [{ name: main, bind: \"127.0.0.1:0\" }]\n");
    }
    // Nobody has to be warned, and no test waits for it.
    if !config.contains("drain:") {
        config.push_str("\ndrain: { delay: 0s }\n");
    }
    if !config.contains("admin:") {
        config.push_str("\nadmin: { bind: \"127.0.0.1:0\" }\n");
    }
    if !config.contains("\nlog:") {
        config.push_str("\nlog: { level: info, format: json }\n");
    }
    config
}

/// The binary under test, with nothing of the caller's environment that configures it.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPOP_BRIDGE_") || name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_spop-bridge").into()
}

fn is_reload(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|message| ["configuration reloaded", NOT_RELOADED].contains(&message))
}

/// What the last line of a refused configuration says.
pub(crate) const NOT_RELOADED: &str = "configuration not reloaded, the old one goes on";

/// Listener names and their addresses, from the lines that tell them.
fn listening(lines: &[String]) -> HashMap<String, Address> {
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let listening = events.filter(|event| event["message"] == "listening");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    listening.map(|event| (text(&event["listener"]), Address::parse(&text(&event["address"])))).collect()
}
