//! Where the admin port is: on TCP, on a Unix socket, nowhere; and how it moves.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{config, port};
use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE, command};
use crate::support::eventually;
use crate::support::http::{Client, get};
use crate::support::process::Process;
use crate::support::service::Service;
use crate::support::wire::Data;

fn by_unix_socket(path: &Path, request: &str) -> String {
    let mut socket = UnixStream::connect(path).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(format!("{request}\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_unix_socket() {
    let service = Service::allowing();
    let mut bridge = Bridge::start(&config(&service, "admin: { bind: \"unix:$DIR/admin.sock\", unix: { mode: \"0600\" } }\n"));
    let path = bridge.directory().join("admin.sock");
    assert_eq!(bridge.admin(), Address::Unix(path.clone()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(by_unix_socket(&path, "GET /ready HTTP/1.1").starts_with("HTTP/1.1 200 "));
    let put = by_unix_socket(&path, "PUT /log-level HTTP/1.1\r\ncontent-length: 0");
    assert!(put.starts_with("HTTP/1.1 400 "), "may change it, but not to nothing: {put}");
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    assert!(!path.exists(), "the socket file is left behind");
}

#[test]
fn off() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, "admin: { bind: off }\n"));
    assert_eq!(bridge.engine().ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
    assert!(!bridge.log().iter().any(|line| line["message"] == "admin listening"));
    bridge.reload(&config(&service, "admin: { bind: \"127.0.0.1:0\" }\n"));
    assert_eq!(get("/live").send(port(&bridge)).status, 200);
    let port = port(&bridge);
    bridge.reload(&config(&service, "admin: { bind: off }\n"));
    assert!(eventually(PATIENCE, || get("/live").try_send(port).is_err().then_some(())).is_some());
}

/// A port that somebody has asked for must be had; the default one need not.
#[test]
fn an_address_in_use() {
    let service = Service::allowing();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["run", "--listen", "127.0.0.1:0", "--backend", service.uri(), "--log-format", "json"];
    let mut process = Process::start("spop-bridge", command().args(arguments).args(["--admin", &address]));
    assert_eq!(process.exit_code(PATIENCE), 4);
    let output = process.output.all().join("\n");
    assert!(output.contains(&format!("admin.bind: cannot listen on {address}")), "{output}");

    // Of this one or of some other bridge on this machine.
    let _default = TcpListener::bind("127.0.0.1:9902");
    let directory = tempfile::tempdir().unwrap();
    let bridge = Bridge::start_command(command().args(arguments), 1, directory);
    let warnings = bridge.lines(1, |line| line["level"] == "WARN");
    let [warning] = warnings.as_slice() else { panic!("one warning: {warnings:?}") };
    assert!(warning["message"].as_str().unwrap().contains("Set admin.bind"), "{warning}");
    assert!(warning["error"].as_str().unwrap().contains("127.0.0.1:9902"), "{warning}");
}

#[test]
fn it_moves_with_a_reload() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let old = port(&bridge);
    let mut client = Client::connect(old).unwrap();
    assert_eq!(client.send(get("/live")).unwrap().status, 200);
    bridge.reload(&config(&service, "status_variable: txn.other\n"));
    assert_eq!((port(&bridge), client.send(get("/live")).unwrap().status), (old, 200), "stays with its connections");
    let reload = bridge.reload(&config(&service, "admin: { bind: \"[::1]:0\" }\nstatus_variable: txn.other\n"));
    assert_eq!(reload["changes"], "admin changed", "{reload}");
    let new = port(&bridge);
    assert!(new.is_ipv6(), "{new}");
    assert_eq!(get("/live").send(new).status, 200);
    assert!(eventually(PATIENCE, || get("/live").try_send(old).is_err().then_some(())).is_some(), "still at {old}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let reload = bridge.reload(&config(&service, &format!("admin: {{ bind: \"{address}\" }}\nstatus_variable: txn.third\n")));
    assert_eq!((reload["message"].as_str(), reload["problems"].as_u64()), (Some(crate::support::bridge::NOT_RELOADED), Some(1)));
    assert!(bridge.problems()[0].starts_with(&format!("admin.bind: cannot listen on {address}")), "{:?}", bridge.problems());
    assert_eq!(get("/live").send(new).status, 200, "goes on where it was");
}
