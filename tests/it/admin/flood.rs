//! Probes are answered however many others are there, and with no descriptors left.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{config, port};
use crate::limits::descriptors::{config as small, exhaust};
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::confined::with_open_files;
use crate::support::http::{Client, get};
use crate::support::service::Service;

fn connections(port: SocketAddr, count: usize, say: &[u8]) -> Vec<TcpStream> {
    let connection = |_| {
        let mut socket = TcpStream::connect(port).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // Some are closed before.
        let _ = socket.write_all(say);
        socket
    };
    (0..count).map(connection).collect()
}

#[test]
fn who_has_asked_does_not_make_way_for_who_has_not() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let mut scraper = Client::connect(port(&bridge)).unwrap();
    assert_eq!(scraper.send(get("/metrics")).unwrap().status, 200);
    let held = [connections(port(&bridge), 200, b""), connections(port(&bridge), 200, b"GET /live HTTP/1.1\r\n")];
    assert_eq!(scraper.send(get("/metrics")).unwrap().status, 200);
    assert_eq!(get("/live").send(port(&bridge)).status, 200);
    drop(held);
}

/// Each waits for an answer, which waits for the rest of what was asked.
#[test]
fn probes_need_no_place_among_those_who_wait() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let half = b"PUT /log-level HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n";
    let mut held = connections(port(&bridge), 64, half);
    // Not all may have been read yet, and each is given up after 5 s; by then others have taken its place.
    let (mut turned_away, mut tries) = (false, 0);
    while !turned_away && tries < 200 {
        turned_away = get("/config").send(port(&bridge)).status == 503;
        held.extend(connections(port(&bridge), 4, half));
        tries += 1;
        for path in ["/live", "/ready"] {
            assert_eq!(get(path).send(port(&bridge)).status, 200, "{path}");
        }
    }
    assert!(turned_away, "more than 64 wait");
}

#[test]
fn probes_are_answered_without_descriptors() {
    let service = Service::allowing();
    let bridge = with_open_files(48, &format!("{}\nadmin: {{ \"bind\": \"127.0.0.1:0\" }}", small(&service)));
    let port = port(&bridge);
    let spop = exhaust(&bridge);
    for round in 0..20 {
        for path in ["/live", "/ready"] {
            assert_eq!(get(path).send(port).status, 200, "{path}, round {round}");
        }
    }
    // And those that are kept for it are held by somebody who says nothing.
    let mut held = connections(port, 50, b"");
    for round in 0..20 {
        assert_eq!(get("/live").send(port).status, 200, "round {round}");
    }
    assert!(matches!(held[0].read(&mut [0; 1]), Ok(0) | Err(_)), "the oldest had to go");
    drop((spop, held));
}
