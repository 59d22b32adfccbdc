//! Other protocols on the SPOP port, and length prefixes that lie.

use std::io::Read;
use std::net::TcpStream;

use super::{Scene, status};
use crate::support::address::Address;
use crate::support::figure;

#[test]
fn d8_an_http_client() {
    let scene = Scene::new();
    for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /x HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut peer = scene.stranger();
        peer.send(request.as_bytes());
        // The first four bytes are a length of about a gigabyte.
        assert_eq!(peer.expect_disconnect().0, status::TOO_BIG, "{request:?}");
        peer.expect_end();
    }
    scene.finish();
}

#[test]
fn a_tls_client() {
    let scene = Scene::new();
    let mut peer = scene.stranger();
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend([0x5a; 506]);
    peer.send(&hello);
    assert_eq!(peer.expect_disconnect().0, status::TOO_BIG);
    peer.expect_end();
    scene.finish();
}

/// d8: the prefix is judged before anything is allocated or waited for.
#[test]
fn d8_length_prefixes() {
    let scene = Scene::new();
    let lengths = [
        (0, status::INVALID),
        (1, status::INVALID),
        (6, status::INVALID),
        (131_073, status::TOO_BIG),
        (0x7fff_ffff, status::TOO_BIG),
        (u32::MAX, status::TOO_BIG),
    ];
    for (length, expected) in lengths {
        // Before HELLO, and after: the offer was 16380.
        for established in [false, true] {
            let mut peer = scene.stranger();
            if established {
                peer.hello();
            }
            peer.send(&u32::to_be_bytes(length));
            assert_eq!(peer.expect_disconnect().0, expected, "length {length}, established {established}");
            peer.expect_end();
        }
    }
    let mut peer = scene.stranger();
    peer.hello();
    peer.send(&u32::to_be_bytes(16_381));
    assert_eq!(peer.expect_disconnect().0, status::TOO_BIG, "over what was negotiated");
    scene.finish();
}

/// Bytes without any sense, from a generator with fixed seeds. Whatever they look like, the connection ends and nothing else.
#[test]
fn random_bytes() {
    let scene = Scene::new();
    for seed in 1..=200u64 {
        let mut peer = scene.stranger();
        let established = seed % 2 == 0;
        if established {
            peer.hello();
        }
        let mut state = seed;
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| next_random(&mut state)).take(600).collect();
        if seed % 3 == 0 {
            // A believable length, so that the rest is looked at.
            bytes[..4].copy_from_slice(&596u32.to_be_bytes());
        }
        // The bridge may close before all is written.
        let _closed_early = peer.try_send(&bytes);
        peer.finish_writing();
        peer.read_to_end();
    }
    scene.finish();
}

/// xorshift64.
fn next_random(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u8
}

/// Connections that say nothing cost a file and little more; the handshake's time limit ends them with code 2.
#[test]
fn two_thousand_silent_connections() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if soft < 5000 {
        // The bridge inherits it.
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).unwrap();
    }
    let scene = Scene::with(", handshake_timeout: 3s");
    let Address::Tcp(address) = scene.address().clone() else { unreachable!() };
    let mut silent: Vec<TcpStream> = (0..2000).map(|_| TcpStream::connect(address).expect("accepted")).collect();
    // Served while they are there.
    super::assert_allowed(&mut scene.bridge.engine(), 1);
    figure("resident memory grown by 2,000 silent connections", format!("{} KiB", scene.growth_kib()));

    let told = silent
        .iter_mut()
        .filter_map(|socket| {
            socket.set_read_timeout(Some(std::time::Duration::from_secs(15))).unwrap();
            let mut goodbye = Vec::new();
            socket.read_to_end(&mut goodbye).expect("the bridge ends it").checked_sub(4)?;
            Some(crate::support::wire::Frame::decode(&goodbye[4..]))
        })
        .filter(|frame| frame.pairs().contains(&("status-code".into(), crate::support::wire::Data::Uint32(status::TIMEOUT))))
        .count();
    assert_eq!(told, 2000, "each is told that its time is over");
    let left = crate::support::eventually(std::time::Duration::from_secs(5), || (scene.bridge.open_files() < 100).then_some(()));
    assert!(left.is_some(), "{} files are still open", scene.bridge.open_files());
    scene.finish();
}

/// HAProxy gets in although others hold all places, as long as they only say HELLO.
#[test]
fn those_that_only_say_hello_keep_nobody_out() {
    let scene = Scene::with(", max_connections: 10");
    // The neighbour is one.
    let idle: Vec<_> = (0..9).map(|_| scene.bridge.engine()).collect();
    let served = crate::support::eventually(std::time::Duration::from_secs(10), || {
        let mut peer = scene.stranger();
        let _refused = peer.try_send(&crate::support::engine::hello_frame(16380, "late").encode());
        (!peer.read_some().is_empty()).then_some(())
    });
    assert!(served.is_some(), "one of those that were never used gave way");
    drop(idle);
    scene.finish();
}

/// Above the limit a connection is closed at once; those below it live on, and a free place is taken again.
#[test]
fn connection_limit() {
    let scene = Scene::with(", max_connections: 10");
    // The neighbour is one.
    let mut kept: Vec<_> = (0..9).map(|_| scene.bridge.engine()).collect();
    // Connections in use do not give way.
    kept.iter_mut().for_each(|engine| super::assert_allowed(engine, 1));
    let mut refused = scene.stranger();
    refused.finish_writing();
    refused.read_to_end();
    kept.iter_mut().for_each(|engine| super::assert_allowed(engine, 3));
    drop(kept);
    let place = crate::support::eventually(std::time::Duration::from_secs(10), || {
        let mut peer = scene.stranger();
        let _refused = peer.try_send(&crate::support::engine::hello_frame(16380, "late").encode());
        (!peer.read_some().is_empty()).then_some(())
    });
    assert!(place.is_some(), "a place that became free is used again");
    scene.finish();
}
