//! SPOP by TLS, from a scripted HAProxy: what gets in, and how it ends.

use std::io::Read;
use std::time::Duration;

use spop_bridge::agent::rustls::version::{TLS12, TLS13};
use spop_bridge::agent::rustls::{ClientConnection, HandshakeKind};
use spop_bridge::pb::v1::value::Kind;

use super::{assert_allowed, listening};
use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::engine::{Engine, hello_frame, notify_frame};
use crate::support::service::{Answer, Service, set_txn};
use crate::support::tls::{Ca, client};
use crate::support::wire::{self, Data, Frame};

#[test]
fn decisions_by_each_version() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), "");
    for version in [&TLS12, &TLS13] {
        let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, None, &[version]));
        engine.hello();
        assert_allowed(&mut engine, 1);
        assert_eq!(engine.tls().conn.protocol_version(), Some(version.version));
        let mut check = Engine::connect_tls(bridge.address(), &client(&ca, None, &[version]));
        assert!(check.health_check().is_ok());
        check.expect_end();
    }
}

#[test]
fn a_certificate_and_its_key_in_one_file() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let issued = ca.issue(&["localhost"]);
    let pem = issued.pem();
    let bridge = listening(&service, &format!("certificate: {}, key: {}", pem.display(), pem.display()), "");
    let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, None, &[&TLS13]));
    engine.hello();
    assert_allowed(&mut engine, 1);
}

#[test]
fn on_a_unix_socket_too() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let issued = ca.issue(&["localhost"]);
    let bridge = Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"unix:$DIR/spop.sock\", tls: {{ {} }} }}]\n\
         backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n",
        issued.yaml(),
        service.uri()
    ));
    let Address::Unix(path) = bridge.address() else { unreachable!() };
    let mut socket = std::os::unix::net::UnixStream::connect(path).unwrap();
    let mut connection = ClientConnection::new(client(&ca, None, &[&TLS13]), "localhost".try_into().unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
}

/// HAProxy keeps sessions: with them a connection costs no signature.
#[test]
fn sessions_are_resumed() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), "");
    for version in [&TLS12, &TLS13] {
        let config = client(&ca, None, &[version]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut engine = Engine::connect_tls(bridge.address(), &config);
            engine.hello();
            assert_allowed(&mut engine, 1);
            assert_eq!(engine.tls().conn.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

/// d1: HAProxy 3.2 resets a connection whose AGENT-HELLO comes in pieces, and a read of HAProxy's brings one record.
#[test]
fn d1_a_frame_is_one_record() {
    let filler = |_: &_| Answer::Actions(vec![set_txn("filler", Kind::BytesValue(vec![7; 16_000].into()))]);
    let (service, ca) = (Service::start(filler), Ca::new("ca"));
    let bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), "");
    for version in [&TLS12, &TLS13] {
        let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, None, &[version]));
        engine.send_frame(&hello_frame(16380, "records"));
        // `Read` of rustls gives out at most a record's content at a time.
        for kind in [wire::AGENT_HELLO, wire::ACK] {
            let content = engine.read_some();
            let length = u32::from_be_bytes(content[..4].try_into().unwrap()) as usize;
            assert_eq!(content.len(), 4 + length, "one record brings the whole frame");
            assert_eq!(Frame::decode(&content[4..]).kind, kind);
            engine.send_frame(&notify_frame(1, 1, &[("m", &[])]));
        }
    }
}

/// More than socket and rustls hold: what could not be written at once is written later, whole and in order.
#[test]
fn d2_a_slow_reader_gets_all_of_it() {
    let answer = |request: &spop_bridge::pb::v1::DecideRequest| {
        let stream = request.origin.as_ref().unwrap().stream_id;
        let filler = set_txn("filler", Kind::BytesValue(vec![stream as u8; 8000].into()));
        Answer::Actions(vec![filler, set_txn("stream", Kind::Uint64Value(stream))])
    };
    let (service, ca) = (Service::start(answer), Ca::new("ca"));
    let bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), "");
    let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, None, &[&TLS13]));
    engine.hello();
    for round in 0..3u64 {
        let notifies: Vec<u8> = (1..=800).flat_map(|n| notify_frame(round * 1000 + n, 1, &[("m", &[])]).encode()).collect();
        engine.send(&notifies);
        // 6 MiB of answers in the meantime.
        std::thread::sleep(Duration::from_millis(500));
        for _ in 0..800 {
            let ack = engine.expect_ack();
            assert_eq!(ack.value("txn.stream"), Some(&Data::Uint64(ack.stream)));
            assert_eq!(ack.value("txn.filler"), Some(&Data::Binary(vec![ack.stream as u8; 8000])));
        }
    }
}

/// An end without close_notify is one that somebody else may have made: rustls reports it to the engine as an error.
#[test]
fn every_end_of_ours_says_so() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let mut bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), ", idle_timeout: 1s");
    let config = client(&ca, None, &[&TLS13]);
    // A fault of the engine's.
    let mut engine = Engine::connect_tls(bridge.address(), &config);
    engine.send(&u32::MAX.to_be_bytes());
    engine.expect_disconnect();
    engine.expect_end();
    // Its goodbye.
    let mut engine = Engine::connect_tls(bridge.address(), &config);
    engine.hello();
    engine.disconnect();
    assert_eq!(engine.expect_disconnect().0, 0);
    engine.expect_end();
    // Nothing to do.
    let mut engine = Engine::connect_tls(bridge.address(), &config);
    engine.hello();
    assert_eq!(engine.expect_disconnect().0, 0);
    engine.expect_end();
    // A drain.
    let mut engine = Engine::connect_tls(bridge.address(), &config);
    engine.hello();
    bridge.terminate();
    assert_eq!(engine.expect_disconnect().0, 0);
    engine.expect_end();
    assert_eq!(bridge.exit_code(), 0);
}

/// Whoever does not come through the handshake costs a file until `handshake_timeout` is over, and keeps nobody else waiting.
#[test]
fn silent_and_slow_peers_are_left() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), ", handshake_timeout: 1s");
    let Address::Tcp(address) = bridge.address().clone() else { unreachable!() };
    let mut silent: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    // Begins a record and does not go on.
    silent.iter_mut().step_by(2).for_each(|socket| std::io::Write::write_all(socket, &[0x16, 3, 1, 2]).unwrap());
    // Through the handshake, and then nothing: the HELLO is due in the same time.
    let mut mute = Engine::connect_tls(bridge.address(), &client(&ca, None, &[&TLS13]));
    let stream = mute.tls();
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, None, &[&TLS13]));
    engine.hello();
    assert_allowed(&mut engine, 1);

    // Code 2: a timeout.
    assert_eq!(mute.expect_disconnect().0, 2);
    mute.expect_end();
    for socket in &mut silent {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let ended = socket.read(&mut [0; 64]);
        assert!(matches!(ended, Ok(0)) || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    }
    assert_allowed(&mut engine, 3);
}
