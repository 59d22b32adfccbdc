//! A bridge whose standard output or standard error has a reader that has stalled, or has gone.

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::address::Address;
use crate::support::bridge::{PATIENCE, command};
use crate::support::engine::Engine;
use crate::support::eventually;

/// Who reads a descriptor of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Nobody takes anything out of a pipe that is full.
    Stalled,
    Gone,
}

impl Reader {
    fn pipe(self) -> (Option<PipeReader>, PipeWriter) {
        let (reader, mut writer) = pipe().unwrap();
        match self {
            Self::Gone => (None, writer),
            Self::Stalled => {
                fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
                while writer.write(&[b'-'; 4096]).is_ok() {}
                while writer.write(b"-").is_ok() {}
                fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
                (Some(reader), writer)
            }
        }
    }
}

/// A bridge whose logs nobody reads. Killed when dropped.
struct Unread {
    child: Child,
    directory: TempDir,
    _readers: [Option<PipeReader>; 2],
}

impl Unread {
    /// Runs with this YAML, without a service that is there, and waits until it listens.
    fn start([stdout, stderr]: [Reader; 2], more: &str) -> Unread {
        let mut bridge = Unread::spawn([stdout, stderr], more);
        let socket = bridge.directory.path().join("s.sock");
        let listens = eventually(PATIENCE, || UnixStream::connect(&socket).ok());
        assert!(listens.is_some() && bridge.child.try_wait().unwrap().is_none(), "it listens");
        bridge
    }

    fn spawn([stdout, stderr]: [Reader; 2], more: &str) -> Unread {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bridge.yaml");
        let socket = directory.path().join("s.sock");
        let text = format!(
            "listeners: [{{ name: main, bind: \"unix:{}\" }}]\nadmin: {{ bind: off }}\n\
             backends: {{ a: {{ endpoints: [\"http://127.0.0.1:1\"] }} }}\n{more}",
            socket.display()
        );
        std::fs::write(&file, text).unwrap();
        let ((stdout_reader, stdout), (stderr_reader, stderr)) = (stdout.pipe(), stderr.pipe());
        let child = command().args(["run", "--config"]).arg(&file).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
        Unread { child: child.unwrap(), directory, _readers: [stdout_reader, stderr_reader] }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn engine(&self) -> Engine {
        Engine::open(&Address::Unix(self.directory.path().join("s.sock")))
    }

    /// More lines of the decision log than wait for their reader.
    fn fill_decision_log(&self) {
        let mut engine = self.engine();
        for round in 0..20 {
            let streams = round * 100..(round + 1) * 100;
            streams.clone().for_each(|stream| engine.notify(stream, 1, &[("m", &[])]));
            streams.for_each(|_| drop(engine.expect_ack()));
        }
    }

    /// How it ended; the second value is `None` if it had to be killed.
    fn code(&mut self, patience: Duration) -> Option<i32> {
        let status = eventually(patience, || self.child.try_wait().unwrap())?;
        Some(status.code().unwrap_or(-1))
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _nothing_to_add = self.child.wait();
    }
}

const BUSY: &str =
    "decision_log: { one_in: 1, max_per_second: 100000, max_bytes_per_second: 64MiB, args: true }\nlog: { level: debug }\n";

const READERS: [Reader; 2] = [Reader::Stalled, Reader::Gone];

/// One SIGTERM is enough, whatever becomes of the logs.
#[test]
fn a_stop_ends_in_order() {
    for (stdout, stderr) in READERS.into_iter().flat_map(|stdout| READERS.map(|stderr| (stdout, stderr))) {
        for is_busy in [false, true] {
            let mut bridge = Unread::start([stdout, stderr], &format!("drain: {{ delay: 0s, grace_period: 1s }}\n{BUSY}"));
            if is_busy {
                bridge.fill_decision_log();
            }
            bridge.signal(Signal::SIGTERM);
            let code = bridge.code(PATIENCE);
            assert_eq!(code, Some(0), "stdout {stdout:?}, stderr {stderr:?}, busy {is_busy}");
            assert!(!bridge.directory.path().join("s.sock").exists(), "in order");
        }
    }
}

/// In the middle of a drain, and after it, while the logs are written.
#[test]
fn a_second_signal_ends_it_at_once() {
    let stalled = [Reader::Stalled; 2];
    let mut bridge = Unread::start(stalled, &format!("drain: {{ delay: 10m, grace_period: 10m }}\n{BUSY}"));
    bridge.fill_decision_log();
    bridge.signal(Signal::SIGTERM);
    let address = Address::Unix(bridge.directory.path().join("s.sock"));
    assert!(eventually(PATIENCE, || Engine::connect(&address).health_check().err()).is_some(), "the drain has begun");
    assert_eq!(bridge.code(Duration::from_millis(50)), None, "it waits");
    bridge.signal(Signal::SIGINT);
    assert_eq!(bridge.code(PATIENCE), Some(1));
}

/// What cannot be said ends all the same.
#[test]
fn a_start_that_fails_ends() {
    for reader in READERS {
        let mut bridge = Unread::spawn([reader; 2], "nonsense: 1\n");
        assert_eq!(bridge.code(PATIENCE), Some(3), "{reader:?}: a configuration that is none");
        let mut bridge = Unread::spawn([reader; 2], BUSY);
        let taken = bridge.directory.path().join("s.sock");
        eventually(PATIENCE, || UnixStream::connect(&taken).ok()).expect("the first one listens");
        let file = bridge.directory.path().join("bridge.yaml");
        let ((_stdout_reader, stdout), (_stderr_reader, stderr)) = (reader.pipe(), reader.pipe());
        let second = command().args(["run", "--config"]).arg(file).stdout(stdout).stderr(stderr).spawn().unwrap();
        let mut second = Unread { child: second, directory: tempfile::tempdir().unwrap(), _readers: [None, None] };
        assert_eq!(second.code(PATIENCE), Some(4), "{reader:?}: an address that is taken");
        bridge.signal(Signal::SIGTERM);
        bridge.signal(Signal::SIGINT);
        assert!(bridge.code(PATIENCE).is_some());
    }
}

/// Decisions go on: whoever has a line for the log never waits for its reader.
#[test]
fn decisions_do_not_wait_for_readers() {
    let bridge = Unread::start([Reader::Stalled; 2], BUSY);
    let begin = Instant::now();
    bridge.fill_decision_log();
    bridge.fill_decision_log();
    assert!(begin.elapsed() < PATIENCE);
    bridge.engine().ask(1, "m", &[]);
}
