//! One busy engine beside another on the same worker: whoever asks one thing at a time does not wait for whoever floods.

use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::engine::{Engine, hello_frame, notify_frame};
use crate::support::figure;
use crate::support::wire::{Data, Frame};

/// How long each flood lasts.
const FLOOD: Duration = Duration::from_secs(2);

/// Nothing is routed: what is measured is the bridge's own part, and no service is slow instead of it.
const CONFIG: &str = "workers: 1\nbackends: { decisions: { endpoints: [\"http://127.0.0.1:1\"] } }\n\
                      routes: [{ messages: [none], backend: decisions }]\nlog: { level: info, format: json }";

#[test]
fn neighbours_of_a_flood_of_small_notifies() {
    let flood = (1..=4096u64).flat_map(|stream| notify_frame(stream, 1, &[("m", &[])]).encode()).collect();
    neighbour_of("small NOTIFYs", flood);
}

#[test]
fn neighbours_of_a_flood_of_unknown_frames() {
    neighbour_of("frames to be skipped", Frame::new(77, 0, 0, Vec::new()).encode().repeat(4096));
}

/// As large as HAProxy's default frames.
#[test]
fn neighbours_of_a_flood_of_large_notifies() {
    let body = Data::Binary(vec![7; 16_000]);
    let flood = (1..=64u64).flat_map(|stream| notify_frame(stream, 1, &[("m", &[("body", body.clone())])]).encode()).collect();
    neighbour_of("NOTIFYs of 16 kB", flood);
}

/// As many args as a NOTIFY may have: what takes longest to look at.
#[test]
fn neighbours_of_a_flood_of_args() {
    let args = vec![("", Data::Null); 255];
    let messages: Vec<(&str, &[(&str, Data)])> = vec![("", &args[..]); 16];
    let flood = (1..=64u64).flat_map(|stream| notify_frame(stream, 1, &messages).encode()).collect();
    neighbour_of("NOTIFYs of 4,080 args", flood);
}

/// A NOTIFY is answered only once: HAProxy has given up what it aborts at once.
#[test]
fn neighbours_of_a_flood_of_aborts() {
    let pair = |stream| {
        let mut abort = notify_frame(stream, 1, &[]);
        abort.flags = 3;
        [notify_frame(stream, 1, &[("m", &[])]).encode(), abort.encode()].concat()
    };
    neighbour_of("NOTIFYs aborted at once", (1..=4096u64).flat_map(pair).collect());
}

/// The latency of one who asks one thing at a time, without and beside a peer that repeats `flood` as fast as it can.
fn neighbour_of(what: &str, flood: Vec<u8>) {
    let bridge = Bridge::start(CONFIG);
    let mut neighbour = bridge.engine();
    let quiet = latencies(&mut neighbour, Duration::from_secs(1));
    let Address::Tcp(address) = bridge.address().clone() else { unreachable!() };
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(&hello_frame(131_072, "flood").encode()).unwrap();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let beside = std::thread::scope(|scope| {
        let (mut writer, mut reader) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
        let (stop, rounds) = (&stop, &rounds);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) && writer.write_all(&flood).is_ok() {
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        std::thread::sleep(Duration::from_millis(100));
        let beside = latencies(&mut neighbour, FLOOD);
        stop.store(true, Ordering::Relaxed);
        // Wakes both threads, wherever they are.
        let _closed_already = socket.shutdown(Shutdown::Both);
        beside
    });
    let (rounds, at) = (rounds.into_inner(), |all: &[Duration], share: f64| all[(all.len() as f64 * share) as usize]);
    let ratio = |share| at(&beside, share).as_secs_f64() / at(&quiet, share).as_secs_f64();
    figure(
        &format!("beside a flood of {what} for {FLOOD:?}"),
        format!(
            "{rounds} rounds; {} decisions of the neighbour, {} when it was alone for 1 s; its latency p50 × {:.1} ({:.0?}), \
             p99 × {:.1} ({:.0?}), longest {:.0?}",
            beside.len(),
            quiet.len(),
            ratio(0.5),
            at(&beside, 0.5),
            ratio(0.99),
            at(&beside, 0.99),
            beside.last().unwrap(),
        ),
    );
    // The machine may be busy with other things. That it is a matter of turns, not of luck, is a unit test of the agent.
    assert!(at(&beside, 0.5) < Duration::from_secs(1), "the neighbour starved");
}

/// One NOTIFY after the other; how long each took, in ascending order.
fn latencies(engine: &mut Engine, long: Duration) -> Vec<Duration> {
    let begin = Instant::now();
    let mut all = Vec::new();
    for stream in (1..).step_by(2) {
        let asked = Instant::now();
        assert!(!engine.ask(stream, "m", &[]).actions.is_empty());
        all.push(asked.elapsed());
        if begin.elapsed() > long {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    all.sort();
    all
}
