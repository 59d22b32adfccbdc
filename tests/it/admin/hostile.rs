//! Whatever is done to the admin port, decisions and other requests there go on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{config, metric, port};
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::engine::Engine;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::wire::Data;

struct Harassed {
    bridge: Bridge,
    engine: Engine,
    stream: u64,
    _service: Service,
}

impl Harassed {
    fn new() -> Self {
        let service = Service::allowing();
        let bridge = Bridge::start(&config(&service, ""));
        let engine = bridge.engine();
        Self { bridge, engine, stream: 1, _service: service }
    }

    fn port(&self) -> SocketAddr {
        port(&self.bridge)
    }

    fn goes_on(&mut self, after: &str) {
        self.stream += 2;
        assert_eq!(self.engine.ask(self.stream, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)), "{after}");
        assert_eq!(get("/ready").send(self.port()).status, 200, "{after}");
    }
}

fn connect(port: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(port).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// What the bridge says before it hangs up; a reset is as good.
fn said(mut socket: TcpStream) -> String {
    let mut all = Vec::new();
    let _ = socket.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// More than there is room for: the oldest have to go, and new ones are served.
#[test]
fn more_connections_than_there_is_room_for() {
    let mut harassed = Harassed::new();
    let port = harassed.port();
    let mut slow: Vec<_> = (0..200).map(|_| connect(port)).collect();
    for socket in &mut slow {
        // Half a head, and then nothing.
        let _ = socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nx-slow: ");
    }
    harassed.goes_on("200 connections");
    let files = harassed.bridge.open_files();
    assert!(files < 64 + 64, "{files} open files");
    let first = slow.remove(0);
    assert_eq!(said(first), "", "the oldest is gone, without an answer");
    drop(slow);
    harassed.goes_on("they have gone");
}

/// A head that does not end ends the connection.
#[test]
fn a_slow_head() {
    let mut harassed = Harassed::new();
    let mut slow = connect(harassed.port());
    slow.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    let ended = slow.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock), "still open after 30 s");
    harassed.goes_on("a slow head");
}

#[test]
fn requests_that_are_none() {
    let mut harassed = Harassed::new();
    let port = harassed.port();
    let many: String = (0..10_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = "a".repeat(1 << 20);
    for (what, request) in [
        ("10,000 headers", format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n")),
        ("a long header", format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n")),
        ("a long path", format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("no HTTP", "\u{0}\u{1}\u{2} nonsense\r\n\r\n".to_owned()),
        ("a long word", long.clone()),
        (
            "a lie about the length",
            "PUT /log-level HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n".to_owned() + &long,
        ),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ] {
        let mut socket = connect(port);
        let _ = socket.write_all(request.as_bytes());
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let answer = said(socket);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer:.100}");
        harassed.goes_on(what);
    }
}

/// Asks a hundred times on one connection and reads nothing.
#[test]
fn who_reads_nothing_costs_little() {
    let mut harassed = Harassed::new();
    harassed.goes_on("nothing yet");
    let before = harassed.bridge.resident_kib();
    let mut greedy: Vec<_> = (0..50).map(|_| connect(harassed.port())).collect();
    let requests = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    for socket in &mut greedy {
        socket.set_nonblocking(true).unwrap();
        let _ = socket.write(&requests);
    }
    for _ in 0..20 {
        harassed.goes_on("greedy ones");
    }
    let grown = harassed.bridge.resident_kib().saturating_sub(before);
    crate::support::figure("memory for 50 connections with 1,000 requests each that are not read, KiB", grown);
    assert!(grown < 64 << 10, "{grown} KiB");
    assert!(metric(&harassed.bridge, "spop_bridge_ready").is_some());
}
