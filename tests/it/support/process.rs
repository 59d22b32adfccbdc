//! Child processes of a test: their output kept, their end awaited, and none of them outliving it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Lines that a process has written, by the order of their arrival.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    shared: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Lines {
    fn follow(&self, output: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let (all, changed) = &*lines.shared;
                all.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                changed.notify_all();
            }
        })
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().clone()
    }

    /// The first thing that `pick` finds in the lines so far and to come; `None` after `patience`.
    pub(crate) fn wait_for<T>(&self, patience: Duration, pick: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let (all, changed) = &*self.shared;
        let deadline = Instant::now() + patience;
        let mut lines = all.lock().unwrap();
        loop {
            if let Some(found) = pick(&lines) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = changed.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// A running child. Killed, by its own pid, when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    readers: [JoinHandle<()>; 2],
    /// Standard output and standard error.
    pub(crate) output: Lines,
}

impl Process {
    pub(crate) fn start(name: &str, command: &mut Command) -> Process {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let output = Lines::default();
        let readers = [output.follow(child.stdout.take().unwrap()), output.follow(child.stderr.take().unwrap())];
        Process { name: name.into(), child, readers, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("signal a child of ours");
    }

    /// The exit status if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The exit status; fails the test if it doesn't end in time.
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        let status = super::eventually(patience, || self.ended());
        // What it said last may still be in the pipes; a child of its own may hold them open.
        super::eventually(Duration::from_secs(10), || self.readers.iter().all(JoinHandle::is_finished).then_some(()));
        status.unwrap_or_else(|| panic!("{} still runs after {patience:?}:\n{}", self.name, self.output.all().join("\n")))
    }

    /// The exit code, -1 when a signal ended it.
    pub(crate) fn exit_code(&mut self, patience: Duration) -> i32 {
        self.wait(patience).code().unwrap_or(-1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.output.all();
            let last = lines.len().saturating_sub(60);
            eprintln!("--- last lines of {}:\n{}", self.name, lines[last..].join("\n"));
        }
        let _ended_already = self.child.kill();
        let _nothing_to_add = self.child.wait();
    }
}
