//! What a browser asks for a page of somebody else's is refused; probes, Prometheus, people and `status` are not.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{config, json, port};
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::service::Service;

/// The status of the answer to `head`.
fn status(bridge: &Bridge, head: &str) -> u16 {
    let mut socket = TcpStream::connect(port(bridge)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{head}: {answer}"))
}

#[test]
fn pages_of_others_neither_read_nor_change() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, "admin: { bind: \"127.0.0.1:0\", allowed_hosts: [bridge.example] }"));
    let put = |headers: &str| {
        let mut socket = TcpStream::connect(port(&bridge)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("PUT /log-level HTTP/1.1\r\n{headers}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nerror");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or_else(|| panic!("{answer}"))
    };
    for (headers, expected) in [
        ("host: evil.example\r\norigin: http://evil.example", 421),
        ("host: evil.example", 421),
        ("host: localhost\r\norigin: http://evil.example", 403),
        ("host: localhost\r\norigin: null", 403),
        ("host: localhost\r\nsec-fetch-site: cross-site", 403),
        ("host: localhost\r\nhost: localhost", 400),
        ("x: y", 400),
    ] {
        assert_eq!(put(headers), expected, "{headers}");
        assert_eq!(json(&bridge, "/log-level")["level"], "info", "{headers}");
    }
    for path in ["/", "/config", "/backends", "/connections", "/log-level", "/nothing"] {
        assert_eq!(status(&bridge, &format!("GET {path} HTTP/1.1\r\nhost: evil.example:9902")), 421, "{path}");
    }
    assert_eq!(status(&bridge, "GET http://evil.example/config HTTP/1.1\r\nhost: localhost"), 421);
    assert_eq!(put("host: Bridge.Example:9902"), 200);
}

#[test]
fn who_has_reason_to_ask_is_answered() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, "admin: { bind: \"127.0.0.1:0\", allowed_hosts: [bridge.example] }"));
    for head in [
        // The kubelet by the pod's address, Prometheus by the name of a service, a load balancer with HTTP/1.0.
        "GET /live HTTP/1.1\r\nhost: 10.1.2.3:9902",
        "GET /ready HTTP/1.1\r\nhost: probe.example",
        "GET /live HTTP/1.0",
        "GET /metrics HTTP/1.1\r\nhost: bridge.edge.svc:9902",
        "HEAD /metrics HTTP/1.0",
        // A port-forward, an address, a name that is known.
        "GET /config HTTP/1.1\r\nhost: localhost:18080",
        "GET /config HTTP/1.1\r\nhost: 10.1.2.3:9902",
        "GET /config HTTP/1.1\r\nhost: [::1]:9902",
        "GET /config HTTP/1.1\r\nhost: bridge.example.:9902",
    ] {
        assert_eq!(status(&bridge, head), 200, "{head}");
    }
}
