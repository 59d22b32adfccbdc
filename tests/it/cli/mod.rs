//! The command line: what each command prints and with which code it ends.

mod bench;
mod check;
mod demo;
mod generate;
mod man;
mod notify;
mod run;
mod status;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::bridge::command;

/// Exit codes, as `--help` lists them.
mod code {
    pub(super) const SUCCESS: i32 = 0;
    pub(super) const FAILED: i32 = 1;
    pub(super) const USAGE: i32 = 2;
    pub(super) const CONFIG: i32 = 3;
    pub(super) const START: i32 = 4;
    pub(super) const REFUSED: i32 = 5;
    pub(super) const NO_ANSWER: i32 = 6;
    pub(super) const MISMATCH: i32 = 7;
}

/// A command that ends by itself: its exit code, standard output and standard error.
fn ended(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("run spop-bridge");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn spop_bridge(arguments: &[&str]) -> (i32, String, String) {
    ended(command().args(arguments))
}

fn file(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("bridge.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn help_and_version_are_no_errors() {
    let (exit, out, _) = spop_bridge(&["--help"]);
    assert_eq!(exit, code::SUCCESS);
    for word in ["run", "check", "schema", "haproxy", "demo", "notify", "status", "bench", "completions", "man", "Exit codes"] {
        assert!(out.contains(word), "{word} in {out}");
    }
    let (exit, out, _) = spop_bridge(&["--version"]);
    assert_eq!((exit, out.trim()), (code::SUCCESS, &format!("spop-bridge {}", env!("CARGO_PKG_VERSION"))[..]));
    for command in ["run", "check", "schema", "haproxy", "demo", "notify", "status", "bench", "completions", "man"] {
        assert_eq!(spop_bridge(&[command, "--help"]).0, code::SUCCESS, "{command}");
    }
}

#[test]
fn wrong_use() {
    let uses: [&[&str]; 16] = [
        &[],
        &["fly"],
        &["run"],
        &["run", "--what"],
        &["run", "--backend", "http://127.0.0.1:1", "--timeout", "50"],
        &["check"],
        &["notify", "--agent", "127.0.0.1:1"],
        &["notify", "--agent", "127.0.0.1:1", "--message", "m", "--arg", "ip=ipv4:300.0.0.1"],
        &["status", "--admin", "off"],
        &["status", "--watch=1"],
        &["status", "--watch=1ms"],
        &["bench"],
        &["bench", "--agent", "127.0.0.1:1", "--arg", "path"],
        &["bench", "--agent", "127.0.0.1:1", "--expect", "allow=bool:true"],
        &["bench", "--agent", "127.0.0.1:1", "--requests", "1", "--duration", "1s"],
        &["bench", "--agent", "127.0.0.1:1", "--pid", "0"],
    ];
    for arguments in uses {
        let (exit, out, err) = spop_bridge(arguments);
        assert_eq!(exit, code::USAGE, "{arguments:?}: {out}{err}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}
