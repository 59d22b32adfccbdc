//! The tutorial and the pages of docs/how-to, done as they say: their files with a real HAProxy, their requests with curl.
//!
//! A comment `<!-- test: NAME -->` before a block says what it is: a file, which is run if it is a script; `requests`, commands and what they print; `haproxy log`,
//! lines of HAProxy's; `NAME, more`, what comes at the end of a file. `<!-- test: stop NAME -->` kills a service.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::page::Page;
use super::repository;
use crate::same_path::PATHS;
use crate::support::http::get;
use crate::support::process::Process;
use crate::support::{bridge, eventually, free_address, haproxy, skipped};

const PATIENCE: Duration = Duration::from_secs(60);

/// How much longer every timeout of a page is here, where Python may have a core to share with everybody.
const LENIENCE: u32 = 100;

#[test]
fn tutorial() {
    follow("tutorial", "2.6");
}

#[test]
fn authorization() {
    follow("how-to/authorization", "3.4");
}

#[test]
fn body_inspection() {
    follow("how-to/body-inspection", "3.0");
}

#[test]
fn rate_limit() {
    follow("how-to/rate-limit", "2.8");
}

#[test]
fn ab_routing() {
    follow("how-to/ab-routing", "3.4");
}

#[test]
fn shadowing() {
    follow("how-to/shadowing", "3.2");
}

#[test]
fn tls() {
    follow("how-to/tls", "3.0");
}

/// Does what a page says, with HAProxy of that line.
fn follow(page: &str, line: &str) {
    let python = repository().join(".cache/python/bin/python");
    if !python.exists() {
        skipped(&format!("docs::{page}"), "a Python with grpcio (.cache/python)");
        return;
    }
    let Some(binary) = haproxy::find_or_skip(&format!("docs::{page}"), line) else { return };
    let page = Page::read(&repository().join(format!("docs/{page}.md")));
    let mut scene = Scene::default();
    for step in page.steps {
        let code = scene.here(&step.code);
        match step.what.as_str() {
            "requests" => scene.request(&code, &python, &binary),
            "haproxy log" => scene.assert_logged(&code),
            other => match other.strip_prefix("stop ") {
                Some(service) => drop(scene.processes.remove(service).unwrap_or_else(|| panic!("no {service} to stop"))),
                None => match other.strip_suffix(", more") {
                    Some(name) => scene.add_to_file(name, &code),
                    None => scene.add_file(other, &code),
                },
            },
        }
    }
    assert!(!scene.processes.is_empty(), "the page has no requests");
    drop(scene.processes.remove("bridge"));
    scene.assert_one_place("without the bridge");
}

/// The folder that a page's reader works in, and what runs there.
struct Scene {
    folder: TempDir,
    /// Stands for 127.0.0.1, so that pages can be tried side by side on the ports that they name.
    host: String,
    processes: BTreeMap<String, Process>,
    /// Those that were stopped, too.
    started: BTreeSet<String>,
}

impl Default for Scene {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Scene { folder, host: free_address().ip().to_string(), processes: BTreeMap::new(), started: BTreeSet::new() }
    }
}

impl Scene {
    fn here(&self, text: &str) -> String {
        text.replace("127.0.0.1", &self.host)
    }

    fn add_file(&self, name: &str, code: &str) {
        let before = match name {
            "bridge.yaml" => " timeout: ",
            "spoe.cfg" => " timeout processing ",
            _ => "\0",
        };
        fs::write(self.folder.path().join(name), lenient(code, before)).unwrap();
        if name.ends_with(".sh") {
            let output = Command::new("sh").arg(name).current_dir(self.folder.path()).output().unwrap();
            assert!(output.status.success(), "{name}: {output:?}");
        }
    }

    /// Runs the commands of a block, each after `$ `, and compares what they print with the lines below.
    fn request(&mut self, code: &str, python: &Path, haproxy: &Path) {
        self.start(python, haproxy);
        for part in format!("\n{code}").split("\n$ ").skip(1) {
            let (command, printed) = part.split_once('\n').unwrap_or((part, ""));
            let mut bash = Command::new("bash");
            bash.args(["-c", command]).current_dir(self.folder.path()).env("PATH", with_the_bridge());
            let output = bash.output().unwrap();
            let output = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.trim_end(), printed.trim_end(), "{command}\n{}", self.logs());
        }
        self.assert_one_place(code);
    }

    /// The page's service and rules, in whatever state the page has brought them to, have one answer for one place.
    fn assert_one_place(&self, state: &str) {
        let spoe = fs::read_to_string(self.folder.path().join("spoe.cfg")).unwrap_or_default();
        if !self.processes.contains_key("haproxy") || !spoe.contains("path=") {
            return;
        }
        let address = format!("{}:8080", self.host).parse().unwrap();
        let statuses = PATHS.map(|path| get(path).send(address).status);
        assert!(statuses.iter().all(|status| *status == statuses[0]), "{statuses:?} for {PATHS:?}\n{state}\n{}", self.logs());
    }

    /// Adds to a file that the bridge reads again, and waits until it has.
    fn add_to_file(&self, name: &str, code: &str) {
        let file = self.folder.path().join(name);
        let text = fs::read_to_string(&file).unwrap() + code;
        fs::write(file, text).unwrap();
        let output = &self.processes["bridge"].output;
        let taken =
            output.wait_for(PATIENCE, |lines| lines.iter().any(|line| line.contains("configuration reloaded")).then_some(()));
        assert!(taken.is_some(), "{}", self.logs());
    }

    /// Starts what has files by now and was not started before: services first, so that no decision has to wait for one.
    fn start(&mut self, python: &Path, haproxy: &Path) {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let (services, others): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with(".py"));
        for name in &services {
            let text = fs::read_to_string(self.folder.path().join(name)).unwrap();
            let (_, port) = text.split_once(&format!("\"{}:", self.host)).expect("the service's address");
            let port = port.split('"').next().unwrap().parse().unwrap();
            let mut command = Command::new(python);
            command.arg(name).env("PYTHONPATH", repository().join("examples/python/gen"));
            self.run(name, &mut command, port);
        }
        let mut command = bridge::command();
        command.args(["run", "--config", "bridge.yaml", "--admin", &format!("{}:9902", self.host)]);
        if self.run("bridge", &mut command, 9000) {
            let connected = self.processes["bridge"].output.wait_for(PATIENCE, |lines| {
                let connected = lines.iter().filter(|line| line.contains("endpoint connected")).count();
                (connected >= services.len()).then_some(())
            });
            assert!(connected.is_some(), "the bridge has not connected:\n{}", self.logs());
        }
        if others.iter().any(|name| name == "haproxy.cfg") {
            self.run("haproxy", Command::new(haproxy).args(["-db", "-f", "haproxy.cfg"]), 8080);
        }
    }

    /// Starts a program in the folder and waits until it listens, unless it was started before.
    fn run(&mut self, name: &str, command: &mut Command, port: u16) -> bool {
        if !self.started.insert(name.to_owned()) {
            return false;
        }
        let mut process = Process::start(name, command.current_dir(self.folder.path()));
        let up = || (process.ended().is_some() || TcpStream::connect((self.host.as_str(), port)).is_ok()).then_some(());
        let waited = eventually(PATIENCE, up);
        assert!(waited.is_some() && process.ended().is_none(), "{name}:\n{}", process.output.all().join("\n"));
        self.processes.insert(name.to_owned(), process);
        true
    }

    fn assert_logged(&self, code: &str) {
        for line in code.lines() {
            let logged =
                self.processes["haproxy"].output.wait_for(PATIENCE, |lines| lines.iter().any(|own| own == line).then_some(()));
            assert!(logged.is_some(), "not in HAProxy's log: {line}\n{}", self.logs());
        }
    }

    fn logs(&self) -> String {
        let logs = self.processes.iter().map(|(name, process)| format!("--- {name}\n{}\n", process.output.all().join("\n")));
        logs.collect()
    }
}

/// `PATH` with the bridge's folder before the others.
fn with_the_bridge() -> OsString {
    let bridge = Path::new(bridge::command().get_program()).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(bridge).chain(std::env::split_paths(&path))).unwrap()
}

/// The milliseconds that follow each `before`, times `LENIENCE`.
fn lenient(code: &str, before: &str) -> String {
    let mut parts = code.split(before);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        if number.is_empty() {
            // The cause, not a time.
            text.push_str(before);
            text.push_str(part);
            continue;
        }
        assert!(rest.starts_with("ms"), "milliseconds expected in {before}{part}");
        let number: u32 = number.parse().unwrap();
        text.push_str(&format!("{before}{}{rest}", number * LENIENCE));
    }
    text
}
