//! Too much, too fast, or with nobody reading the answers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Scene;
use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::engine::{hello_frame, notify_frame};
use crate::support::figure;
use crate::support::service::{Answer, Service};
use crate::support::wire::{Data, Frame};

/// 100,000 frames of the smallest kind in one write: each gets its ACK.
#[test]
fn a_hundred_thousand_tiny_frames_in_one_write() {
    let scene = Scene::new();
    let mut flood = Vec::new();
    for stream in 1..=100_000u64 {
        flood.extend(notify_frame(stream, 1, &[]).encode());
    }
    let mut peer = scene.stranger();
    peer.hello();
    let begin = Instant::now();
    let mut most_growth = 0;
    // Reading while writing: the bridge need not buffer what its peer doesn't take.
    std::thread::scope(|scope| {
        let mut writer = peer.writer();
        scope.spawn(move || writer.write_all(&flood).unwrap());
        let mut seen = vec![false; 100_001];
        for count in 0..100_000 {
            let ack = peer.expect_ack();
            assert!(!std::mem::replace(&mut seen[ack.stream as usize], true), "two ACKs for {}", ack.stream);
            if count % 10_000 == 0 {
                most_growth = most_growth.max(scene.growth_kib());
            }
        }
    });
    figure(
        "100,000 tiny frames in one write",
        format!("{:.0} ms, resident grown by at most {most_growth} KiB", begin.elapsed().as_secs_f64() * 1e3),
    );
    scene.finish();
}

/// The same with frames that are to be skipped, which cost an answer to nobody.
#[test]
fn a_hundred_thousand_unknown_frames_in_one_write() {
    let scene = Scene::new();
    let mut flood = Vec::new();
    for _ in 0..100_000 {
        flood.extend(Frame::new(77, 0, 0, Vec::new()).encode());
    }
    let mut peer = scene.bridge.engine();
    peer.send(&flood);
    super::assert_allowed(&mut peer, 1);
    scene.finish();
}

/// A peer that asks and never reads: what it's owed stays bounded, it's cut off, and nobody else waits for it.
#[test]
fn a_peer_that_never_reads() {
    let scene = Scene::with(", write_timeout: 1s");
    let Address::Tcp(address) = scene.address().clone() else { unreachable!() };
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.write_all(&hello_frame(16380, "deaf").encode()).unwrap();
    let begin = Instant::now();
    let (mut written, mut most_growth, mut streams) = (0, 0, 1..);
    let mut unsent: Vec<u8> = Vec::new();
    let cut_off = loop {
        if unsent.is_empty() {
            // Each answer has 8,000 bytes.
            let notify = |stream| notify_frame(stream, 1, &[("say-much", &[])]).encode();
            unsent = streams.by_ref().take(100).flat_map(notify).collect();
        }
        match socket.write(&unsent) {
            Ok(count) => {
                unsent.drain(..count);
                written += count;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break true,
        }
        most_growth = most_growth.max(scene.growth_kib());
        if begin.elapsed() > Duration::from_secs(15) {
            break false;
        }
    };
    figure(
        "peer that never reads",
        format!(
            "cut off: {cut_off} after {:.1} s and {} KiB, resident grown by at most {most_growth} KiB",
            begin.elapsed().as_secs_f64(),
            written / 1024
        ),
    );
    assert!(cut_off, "nobody reads: write_timeout ends the connection");
    assert!(most_growth < super::MOST_GROWTH_KIB, "grew by {most_growth} KiB");
    scene.finish();
}

/// Connections that come and go as fast as they can (d28).
#[test]
fn d28_a_storm_of_connections() {
    let scene = Scene::new();
    let Address::Tcp(address) = scene.address().clone() else { unreachable!() };
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let mut socket = TcpStream::connect(address).expect("accepted");
                    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    socket.write_all(&hello_frame(16380, "storm").encode()).unwrap();
                    let mut prefix = [0; 4];
                    socket.read_exact(&mut prefix).expect("AGENT-HELLO");
                }
            });
        }
    });
    figure("1,000 connections with HELLO", format!("{:.0} ms", begin.elapsed().as_secs_f64() * 1e3));
    scene.finish();
}

/// Pages of huge NOTIFYs, one after the other, as big as the frame may be.
#[test]
fn the_biggest_frames() {
    let scene = Scene::new();
    let mut peer = scene.stranger();
    peer.hello_with(131_072, "big");
    let body = Data::Binary(vec![0xa5; 131_072 - 64]);
    for n in 0..50 {
        let ack = peer.ask(n * 2 + 1, "m", &[("body", body.clone())]);
        assert!(!ack.actions.is_empty());
    }
    figure("resident memory grown by 50 frames of 128 KiB", format!("{} KiB", scene.growth_kib()));
    scene.finish();
}

/// More messages or args than any HAProxy sends, each of which costs time, are refused; as many as are allowed are answered.
#[test]
fn a_notify_of_sixty_thousand_messages() {
    let scene = Scene::new();
    let args = |count| vec![("", Data::Null); count];
    let cases = [("65,500 messages", 65_500, args(0)), ("257 messages", 257, args(0)), ("4,335 args", 17, args(255))];
    for (what, messages, args) in cases {
        let mut peer = scene.stranger();
        peer.hello_with(131_072, "many");
        peer.notify(1, 1, &vec![("", &args[..]); messages]);
        let (code, text) = peer.expect_disconnect();
        assert_eq!(code, super::status::TOO_BIG, "{what}: {text}");
        assert!(text.starts_with("SPOP broken: NOTIFY of more than "), "{what}: {text}");
        peer.expect_end();
    }
    let unrouted = Bridge::start(
        "workers: 1\nbackends: { decisions: { endpoints: [\"http://127.0.0.1:1\"] } }\n\
         routes: [{ messages: [none], backend: decisions }]",
    );
    for bridge in [&scene.bridge, &unrouted] {
        for (messages, args) in [(256, args(0)), (16, args(255))] {
            let mut peer = bridge.engine();
            let begin = Instant::now();
            peer.notify(1, 1, &vec![("", &args[..]); messages]);
            assert!(!peer.expect_ack().actions.is_empty());
            let what = format!("NOTIFY of {messages} messages of {} args", args.len());
            figure(&what, format!("ACK after {:.0?}", begin.elapsed()));
        }
    }
    scene.finish();
}

/// Peers that wait don't make the bridge turn in circles.
#[test]
fn waiting_costs_no_cpu() {
    let service = Service::start(|_| Answer::Never);
    let bridge = Bridge::simple(service.uri(), "60s");
    let mut engines: Vec<_> = (0..100).map(|_| bridge.engine()).collect();
    for engine in &mut engines[..50] {
        engine.notify(1, 1, &[("m", &[])]);
    }
    engines[99].send(&notify_frame(1, 1, &[("m", &[])]).encode()[..9]);
    std::thread::sleep(Duration::from_millis(300));
    let before = bridge.cpu_ticks();
    std::thread::sleep(Duration::from_secs(2));
    let used = bridge.cpu_ticks() - before;
    figure("CPU of 100 waiting connections in 2 s", format!("{} ms", used * 10));
    assert!(used < 50, "{used} ticks of 10 ms in 2 s");
}
