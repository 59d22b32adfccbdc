//! What one-shot commands print, and a reader that has seen enough, a disk that is full, a descriptor that is closed.

use std::process::{Command, Stdio};

use crate::support::bridge::{Bridge, binary, command};
use crate::support::service::Service;

/// Every command that prints something and ends by itself.
fn commands(bridge: &Bridge) -> Vec<Vec<String>> {
    let agent = bridge.address().for_command_line();
    let admin = bridge.admin().for_command_line();
    let file = bridge.directory().join("bridge.yaml").display().to_string();
    let haproxy = bridge.directory().join("haproxy.cfg");
    std::fs::write(&haproxy, "frontend f\n    filter spoe engine e config /nowhere\n").unwrap();
    let haproxy = haproxy.display().to_string();
    let command = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    vec![
        command("--help"),
        command("--version"),
        command("schema"),
        command("schema --format markdown"),
        command("completions bash"),
        command("man"),
        command(&format!("check --config {file}")),
        command(&format!("haproxy generate --server 127.0.0.1:9000 --config {file}")),
        command(&format!("haproxy doctor {haproxy}")),
        command(&format!("haproxy doctor --format json {haproxy}")),
        command(&format!("notify --agent {agent} --message m")),
        command(&format!("status --admin {admin}")),
        command(&format!("status --json --admin {admin}")),
        command(&format!("bench --agent {agent} --requests 10 --warmup 0s")),
        // Complaints.
        command("check --config /nowhere"),
        command("fly"),
    ]
}

fn bridge(service: &Service) -> Bridge {
    Bridge::start(&format!(
        "backends: {{ a: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [m, check-request], backend: a, timeout: 5s, haproxy: {{ event: on-frontend-http-request }} }}]",
        service.uri()
    ))
}

/// Runs it with descriptors as the shell says.
fn shell(redirection: &str, arguments: &[String]) -> i32 {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$@\" {redirection}"), "sh"]).arg(binary()).args(arguments);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().unwrap().code().unwrap_or(-1)
}

/// As `| head -1` does. No panic (101), no signal.
#[test]
fn a_reader_that_has_gone() {
    let service = Service::allowing();
    let bridge = bridge(&service);
    for arguments in commands(&bridge) {
        let usual = command().args(&arguments).output().unwrap().status.code().unwrap();
        let ((out, stdout), (err, stderr)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        drop((out, err));
        let status = command().args(&arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(usual), "{arguments:?}");
    }
}

#[test]
fn descriptors_that_are_closed() {
    let service = Service::allowing();
    let bridge = bridge(&service);
    for arguments in commands(&bridge) {
        let usual = command().args(&arguments).output().unwrap().status.code().unwrap();
        assert_eq!(shell("<&- >&- 2>&-", &arguments), usual, "{arguments:?}");
    }
}

/// Half a file is no success: `spop-bridge haproxy generate > spoe.cfg` on a full disk.
#[test]
fn output_that_is_lost_is_a_failure() {
    let service = Service::allowing();
    let bridge = bridge(&service);
    for arguments in commands(&bridge).into_iter().filter(|arguments| !arguments[0].starts_with("--")) {
        let usual = command().args(&arguments).output().unwrap().status.code().unwrap();
        let expected = if usual == 0 { 1 } else { usual };
        assert_eq!(shell(">/dev/full", &arguments), expected, "{arguments:?}");
    }
}
