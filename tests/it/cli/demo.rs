//! `demo`: the whole way on one machine, with HAProxy and without.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{code, ended};
use crate::same_path::PATHS;
use crate::support::bridge::command;
use crate::support::haproxy;
use crate::support::http::get;
use crate::support::process::Process;
use crate::support::skipped;

fn with_haproxy(line: &str) {
    let Some(binary) = haproxy::find_or_skip("demo", line) else { return };
    let (exit, out, err) = ended(command().args(["demo", "--once", "--haproxy"]).arg(binary));
    assert_eq!(exit, code::SUCCESS, "{out}{err}");
    assert!(out.contains(&format!("HAProxy {line}")) || out.contains(&format!(" {line}.")), "{out}");
    let statuses: Vec<_> = out.lines().filter_map(|line| line.trim().get(..3)?.parse::<u16>().ok()).collect();
    assert_eq!(statuses, [200, 403, 200], "{out}");
    assert!(out.contains("curl "), "something to try: {out}");
}

#[test]
fn with_haproxy_2_6() {
    with_haproxy("2.6");
}

#[test]
fn with_haproxy_3_0() {
    with_haproxy("3.0");
}

#[test]
fn with_haproxy_3_2() {
    with_haproxy("3.2");
}

#[test]
fn with_haproxy_3_4() {
    with_haproxy("3.4");
}

/// Also `//admin` is guarded, with rules that are the demo's own.
#[test]
fn the_guarded_page_is_guarded_however_its_path_is_written() {
    let Some(binary) = haproxy::find_or_skip("demo", "3.4") else { return };
    let demo = Process::start("demo", command().args(["demo", "--haproxy"]).arg(binary));
    let address = demo.output.wait_for(Duration::from_secs(30), |lines| {
        let line = lines.iter().find_map(|line| line.trim().strip_prefix("curl -i http://"))?;
        line.split('/').next()?.parse::<SocketAddr>().ok()
    });
    let address = address.unwrap_or_else(|| panic!("{:?}", demo.output.all()));
    assert_eq!(PATHS.map(|path| get(path).send(address).status), [403; 5]);
    assert_eq!(get("/administrator").send(address).status, 200);
}

/// It plays HAProxy's part itself.
#[test]
fn without_haproxy() {
    if Path::new("/usr/sbin/haproxy").exists() {
        // The demo looks there too, because Debian's HAProxy isn't on everybody's path.
        return;
    }
    let (exit, out, err) = ended(command().args(["demo", "--once"]).env("PATH", "/nonexistent"));
    assert_eq!(exit, code::SUCCESS, "{out}{err}");
    assert!(out.contains("set-var txn.allow = bool:true"), "{out}");
    assert!(out.contains("set-var txn.allow = bool:false"), "{out}");
}

#[test]
fn a_haproxy_that_is_none() {
    if !Path::new("/bin/false").exists() {
        skipped("demo with a broken HAProxy", "/bin/false");
        return;
    }
    for program in ["/no/such/haproxy", "/bin/false"] {
        let (exit, _, err) = ended(command().args(["demo", "--once", "--haproxy", program]));
        assert_ne!(exit, code::SUCCESS);
        assert!(err.contains(program), "{err}");
    }
}
