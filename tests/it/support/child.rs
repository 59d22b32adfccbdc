//! A decision service in a process of its own, which a test may kill or freeze: this very binary, told to run one function of its own.

use std::net::SocketAddr;
use std::os::unix::process::parent_id;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::bridge::PATIENCE;
use super::host::Bound;
use super::process::Process;
use super::say;
use super::service::{Answer, Service, allow};

/// Says that this process is a service, and how many milliseconds it takes for an answer.
const DELAY: &str = "SPOP_BRIDGE_TEST_SERVICE_DELAY";

/// Sets `txn.allow` to true, a while after it was asked.
pub(crate) struct ChildService {
    process: Process,
    uri: String,
}

impl ChildService {
    pub(crate) fn start(delay: Duration) -> ChildService {
        ChildService::with(&mut Command::new(program()), delay)
    }

    /// As an argument of `wrapper`, which runs it in its own place.
    pub(crate) fn under(wrapper: &mut Command, delay: Duration) -> ChildService {
        ChildService::with(wrapper.arg(program()), delay)
    }

    fn with(command: &mut Command, delay: Duration) -> ChildService {
        command.args(["support::child::serve", "--exact", "--ignored", "--nocapture"]);
        let process = Process::start("service", command.env(DELAY, delay.as_millis().to_string()));
        // The line has the test's name before it.
        let address = |lines: &[String]| lines.iter().find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()));
        let uri = process.output.wait_for(PATIENCE, address).expect("the address of a service");
        ChildService { process, uri }
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// kill -9.
    pub(crate) fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }

    /// Its connections stay, the kernel takes what comes, nobody answers.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::SIGCONT);
    }
}

fn program() -> std::path::PathBuf {
    std::env::current_exe().expect("the path of this program")
}

#[test]
#[ignore = "no test: what a ChildService runs"]
fn serve() {
    let Some(delay) = std::env::var(DELAY).ok().and_then(|millis| millis.parse().ok()) else { return };
    let delay = Duration::from_millis(delay);
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let service = Service::bound(Bound::at(any), move |_| Answer::after(delay, Answer::Actions(vec![allow()])));
    let parent = parent_id();
    say(format_args!("listening on {}", service.uri()));
    // It does not outlive the test.
    while parent_id() == parent {
        std::thread::sleep(Duration::from_millis(200));
    }
}
