//! HAProxy itself, of each release line that the project promises.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::address::Address;
use super::process::Process;
use super::{eventually, free_address, skipped};

/// The release lines that everything runs on.
pub(crate) const LINES: [&str; 4] = ["2.6", "3.0", "3.2", "3.4"];

/// Those, and 2.8, for what tells lines apart: HAProxy's reading of configurations, and verdicts that must hold on each.
pub(crate) const ALL_LINES: [&str; 5] = ["2.6", "2.8", "3.0", "3.2", "3.4"];

/// The binary of a line: `HAPROXY_3_0` and the like, else where the setup script puts it.
pub(crate) fn find(line: &str) -> Option<PathBuf> {
    let variable = format!("HAPROXY_{}", line.replace('.', "_"));
    let path = match std::env::var_os(&variable) {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(".cache/haproxy/{line}/haproxy")),
    };
    path.exists().then_some(path)
}

/// As `find`; a missing one is reported as skipped.
pub(crate) fn find_or_skip(test: &str, line: &str) -> Option<PathBuf> {
    let found = find(line);
    if found.is_none() {
        skipped(test, &format!("HAProxy {line}"));
    }
    found
}

/// Whether it speaks SPOP by the multiplexer of 3.1, not by the applet.
pub(crate) fn has_mux(binary: &Path) -> bool {
    let said = Command::new(binary).arg("-v").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout);
    !["version 2.", "version 3.0."].iter().any(|applet| said.contains(applet))
}

/// What to run HAProxy with.
///
/// In both texts `$DIR` is its directory, `$FE` the address of its frontend, `$BRIDGE` what a server line needs to reach the bridge.
pub(crate) struct Setup {
    /// Of haproxy.cfg, what comes after `global` and `defaults`.
    pub(crate) proxies: String,
    /// spoe.cfg, which the first refers to as `$DIR/spoe.cfg`.
    pub(crate) spoe: String,
    /// More lines for `global`.
    pub(crate) global: String,
    /// With a master process, which SIGUSR2 makes reload.
    pub(crate) master: bool,
}

/// A running HAProxy.
pub(crate) struct Haproxy {
    process: Process,
    directory: TempDir,
    frontend: SocketAddr,
    master: bool,
}

impl Haproxy {
    pub(crate) fn start(binary: &Path, bridge: &Address, setup: &Setup) -> Haproxy {
        // The ports are free when they are chosen; somebody may be faster.
        for _ in 0..5 {
            if let Some(haproxy) = Haproxy::attempt(binary, bridge, setup) {
                return haproxy;
            }
        }
        panic!("no free ports for HAProxy");
    }

    fn attempt(binary: &Path, bridge: &Address, setup: &Setup) -> Option<Haproxy> {
        let directory = tempfile::tempdir().unwrap();
        let frontend = free_address();
        let fill = |text: &str| {
            text.replace("$DIR", directory.path().to_str().unwrap())
                .replace("$FE", &frontend.to_string())
                .replace("$BRIDGE", &bridge.for_haproxy())
        };
        let config = directory.path().join("haproxy.cfg");
        std::fs::write(&config, fill(&format!("{}{}", preamble(&setup.global), setup.proxies))).unwrap();
        std::fs::write(directory.path().join("spoe.cfg"), fill(&setup.spoe)).unwrap();
        let mut command = Command::new(binary);
        command.args(if setup.master { &["-W", "-db"][..] } else { &["-db"] }).arg("-f").arg(&config);
        let process = Process::start("haproxy", &mut command);
        let mut haproxy = Haproxy { process, directory, frontend, master: setup.master };
        enum Start {
            Up,
            Ended,
        }
        let start = eventually(Duration::from_secs(15), || match haproxy.process.ended() {
            Some(_) => Some(Start::Ended),
            None => haproxy.try_command("show info").map(|_| Start::Up),
        });
        let log = haproxy.log();
        match start.unwrap_or_else(|| panic!("HAProxy doesn't answer:\n{log}")) {
            Start::Up => Some(haproxy),
            Start::Ended if log.contains("cannot bind") => None,
            Start::Ended => panic!("HAProxy doesn't start:\n{log}"),
        }
    }

    /// The address of the frontend `$FE`.
    pub(crate) fn frontend(&self) -> SocketAddr {
        self.frontend
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.output.all().join("\n")
    }

    /// A command on the stats socket.
    pub(crate) fn command(&self, command: &str) -> String {
        self.try_command(command).expect("an answer on the stats socket")
    }

    fn try_command(&self, command: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.directory.path().join("stats.sock")).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        writeln!(socket, "{command}").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    }

    /// One column of `show stat` for a server: `status`, `check_status`, `last_chk`, ...
    pub(crate) fn server(&self, backend: &str, server: &str, column: &str) -> String {
        let table = self.command("show stat");
        let mut rows = table.lines().map(|row| row.trim_start_matches("# ").split(',').collect::<Vec<_>>());
        let position = rows.next().unwrap().iter().position(|name| *name == column).expect("a column of that name");
        let row = rows.find(|row| row.len() > position && row[0] == backend && row[1] == server);
        row.unwrap_or_else(|| panic!("no {backend}/{server} in {table}"))[position].to_string()
    }

    /// Waits until the server is in a state such as `UP`; what it was last otherwise.
    pub(crate) fn wait_for_server(&self, backend: &str, server: &str, status: &str) -> Result<(), String> {
        let state = || self.server(backend, server, "status");
        let reached = eventually(Duration::from_secs(10), || state().starts_with(status).then_some(()));
        reached.ok_or_else(|| format!("{} ({})", state(), self.server(backend, server, "last_chk")))
    }

    /// The master starts new workers; the old ones finish what they have.
    pub(crate) fn reload(&self) {
        assert!(self.master, "only with a master process");
        self.process.signal(Signal::SIGUSR2);
    }

    /// Soft stop.
    pub(crate) fn stop_softly(&self) {
        self.process.signal(Signal::SIGUSR1);
    }

    pub(crate) fn wait(&mut self) {
        self.process.wait(Duration::from_secs(15));
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if self.master && self.process.ended().is_none() {
            // Killed, the master could not take its workers along.
            self.process.signal(Signal::SIGTERM);
            eventually(Duration::from_secs(5), || self.process.ended());
        }
    }
}

fn preamble(global: &str) -> String {
    format!(
        "global\n    log stdout format raw local0\n    stats socket $DIR/stats.sock mode 600 level admin expose-fd listeners\n    \
         maxconn 4000\n    {global}\n\
         defaults\n    log global\n    mode http\n    option dontlognull\n    timeout connect 5s\n    timeout client 30s\n    \
         timeout server 30s\n\n"
    )
}
