//! No file descriptors left: connections that are there go on, newcomers are turned away at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::confined::with_open_files;
use crate::support::engine::{Engine, hello_frame};
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::Data;
use crate::support::{eventually, figure};

/// Enough to start with, and soon used up.
const LIMIT: usize = 48;

pub(crate) fn config(service: &Service) -> String {
    format!(
        "workers: 1\nlisteners: [{{ name: main, bind: \"127.0.0.1:0\" }}]\n\
         backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
        service.uri()
    )
}

/// Connections that hold the descriptors of a bridge.
pub(crate) fn exhaust(bridge: &Bridge) -> Vec<TcpStream> {
    let Address::Tcp(address) = bridge.address().clone() else { unreachable!() };
    let mut held = Vec::new();
    loop {
        match newcomer(address) {
            Ok(socket) => held.push(socket),
            Err(_) => return held,
        }
        assert!(held.len() < 1000, "the limit of open files is not what it should be");
    }
}

/// Says HELLO; on being turned away, how long that took.
fn newcomer(address: SocketAddr) -> Result<TcpStream, Duration> {
    let begin = Instant::now();
    let mut socket = TcpStream::connect(address).expect("the kernel accepts into the backlog");
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let answered = socket.write_all(&hello_frame(16380, "newcomer").encode()).and_then(|()| socket.read(&mut [0; 512]));
    match answered {
        Ok(1..) => Ok(socket),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("neither accepted nor turned away"),
        Ok(0) | Err(_) => Err(begin.elapsed()),
    }
}

#[test]
fn newcomers_are_turned_away_and_others_served() {
    let service = Service::start(|_| Answer::Actions(vec![allow()]));
    let mut bridge = with_open_files(LIMIT, &config(&service));
    let Address::Tcp(address) = bridge.address().clone() else { unreachable!() };
    let mut established: Vec<_> = (0..4).map(|_| bridge.engine()).collect();
    established.iter_mut().for_each(|engine| assert_allowed(engine, 1));

    let begun = Instant::now();
    let mut held = exhaust(&bridge);
    let begin = Instant::now();
    let (mut decisions, mut waits) = (0, Vec::new());
    for stream in (3..).step_by(2).take_while(|_| begin.elapsed() < Duration::from_secs(2)) {
        established.iter_mut().for_each(|engine| assert_allowed(engine, stream));
        decisions += established.len();
        waits.push(newcomer(address).expect_err("there are no descriptors"));
    }
    let idle = bridge.cpu_ticks();
    std::thread::sleep(Duration::from_millis(500));
    let idle = bridge.cpu_ticks() - idle;
    let longest = waits.iter().max().unwrap();

    held.truncate(held.len() - 3);
    let begin = Instant::now();
    let after = eventually(Duration::from_secs(10), || newcomer(address).ok()).expect("accepted again");
    figure(
        &format!("no descriptors left (limit {LIMIT}, {} connections held) for 2 s", held.len() + 3),
        format!(
            "{decisions} decisions on 4 established connections, none lost; {} newcomers turned away, after {longest:.1?} at \
             most; {} ms of CPU in 0.5 s without newcomers; accepted again {:.1?} after 3 were closed",
            waits.len(),
            idle * 10,
            begin.elapsed()
        ),
    );
    assert!(idle < 20, "waiting for descriptors costs {idle} ticks in 0.5 s");
    drop((after, held));
    established.iter_mut().for_each(|engine| assert_allowed(engine, 2));

    let said = bridge.lines(1, |line| line["message"] == "connection refused: no file descriptors left");
    assert!(said.len() <= 3 + begun.elapsed().as_secs() as usize, "once a second: {said:?}");
    assert!(said[0]["advice"].as_str().unwrap().contains("LimitNOFILE") && said[0]["level"] == "ERROR", "{said:?}");
    bridge.lines(1, |line| line["message"] == "open files" && line["limit"] == LIMIT);
    // 4096 connections are allowed by default.
    bridge.lines(1, |line| line["message"].as_str().unwrap().starts_with("max_connections is more than"));
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let stopped = bridge.log().into_iter().find(|line| line["message"] == "stopped").unwrap();
    let counted = stopped["totals"].as_str().unwrap().split(' ').find_map(|total| total.strip_prefix("connections_turned_away="));
    // Those seen here, the one that showed that there are no descriptors, and perhaps some until there were again.
    assert!(counted.unwrap().parse::<usize>().unwrap() > waits.len(), "{stopped}");
}

/// The soft limit is for programs that call select(2).
#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let service = Service::start(|_| Answer::Actions(vec![allow()]));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -Sn 40 && ulimit -Hn 300 && exec \"$@\"", "sh"]);
    let bridge = crate::support::confined::under(&mut shell, &crate::support::bridge::binary(), &config(&service));
    let mut engines: Vec<_> = (0..100).map(|_| bridge.engine()).collect();
    engines.iter_mut().for_each(|engine| assert_allowed(engine, 1));
    assert!(bridge.open_files() > 100);
}

#[track_caller]
fn assert_allowed(engine: &mut Engine, stream: u64) {
    let ack = engine.ask(stream, "check-request", &[("path", "/".into())]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)), "{ack:?}");
}
