//! Not there, not listening, not answering: each by its cause.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tonic::{Code, Status};

use super::{assert_cause, assert_fallback, bridge_to, timed};
use crate::support::garbage::TcpServer;
use crate::support::host::{Bound, FOREVER};
use crate::support::service::{Answer, Methods, Service, allow};
use crate::support::wire::Data;
use crate::support::{eventually, figure, free_address};

#[test]
fn nobody_listens() {
    assert_cause("nobody listens", &format!("http://{}", free_address()), "5s", "unavailable");
}

#[test]
fn no_socket_file() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = format!("unix:{}", directory.path().join("none.sock").display());
    assert_cause("no socket file", &endpoint, "5s", "unavailable");
}

#[test]
fn connection_is_reset() {
    assert_cause("connection reset", &TcpServer::resetting().uri, "5s", "unavailable");
}

/// A handler that ends without an answer, while its server goes on: the request is the reason, and not the service's being away.
#[test]
fn call_is_reset() {
    let service = Service::with(Methods::Unary, Bound::tcp(), FOREVER, |_| panic!("this handler trips over every request"));
    assert_cause("call reset", service.uri(), "5s", "rejected");
}

#[test]
fn connection_is_accepted_and_nothing_said() {
    assert_cause("mute peer", &TcpServer::mute().uri, "200ms", "timeout");
}

#[test]
fn service_stalls() {
    let service = Service::start(|_| Answer::Never);
    assert_cause("stalled service", service.uri(), "200ms", "timeout");
}

#[test]
fn name_does_not_resolve() {
    assert_cause("unknown name", "http://no-such-host.invalid:50051", "5s", "unavailable");
}

/// A host that drops packets: the connect itself hangs, and whichever limit is shorter names the cause.
#[test]
fn connecting_hangs() {
    let full = FullBacklog::new();
    // connect_timeout is 1 s.
    assert_cause("connect hangs, route is shorter", &full.uri, "200ms", "timeout");
    assert_cause("connect hangs, route is longer", &full.uri, "6s", "unavailable");
}

/// The bridge recovers by itself when the service comes.
#[test]
fn service_starts_a_second_late() {
    let address = free_address();
    let bridge = bridge_to(&format!("http://{address}"), "2s");
    let mut engine = bridge.engine();
    let mut stream = 1;
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        assert_fallback(&timed(&mut engine, stream).0, "unavailable");
        stream += 2;
        std::thread::sleep(Duration::from_millis(20));
    }
    let _service = Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]));
    let there = std::time::Instant::now();
    let decided = eventually(Duration::from_secs(10), || {
        stream += 2;
        let (ack, _) = timed(&mut engine, stream);
        (ack.value("txn.allow") == Some(&Data::Bool(true))).then_some(())
    });
    assert!(decided.is_some(), "the service is there for {:?} and was not found", there.elapsed());
    figure("late service: first decision after it listens", format!("{:.0} ms", there.elapsed().as_secs_f64() * 1e3));
}

/// The table of the contract: which gRPC status is which cause.
#[test]
fn error_statuses() {
    let causes = [
        (Code::DeadlineExceeded, "timeout"),
        (Code::Unavailable, "unavailable"),
        (Code::ResourceExhausted, "overloaded"),
        (Code::Cancelled, "rejected"),
        (Code::Unknown, "rejected"),
        (Code::InvalidArgument, "rejected"),
        (Code::NotFound, "rejected"),
        (Code::AlreadyExists, "rejected"),
        (Code::PermissionDenied, "rejected"),
        (Code::FailedPrecondition, "rejected"),
        (Code::Aborted, "rejected"),
        (Code::OutOfRange, "rejected"),
        (Code::Unimplemented, "rejected"),
        (Code::Internal, "rejected"),
        (Code::DataLoss, "rejected"),
        (Code::Unauthenticated, "rejected"),
    ];
    let service = Service::start(move |request| {
        let index = request.origin.as_ref().unwrap().stream_id / 2;
        Answer::Status(Status::new(causes[index as usize].0, "as scripted"))
    });
    let bridge = bridge_to(service.uri(), "5s");
    let mut engine = bridge.engine();
    for (index, (code, cause)) in causes.iter().enumerate() {
        let (ack, took) = timed(&mut engine, index as u64 * 2 + 1);
        assert_fallback(&ack, cause);
        figure(&format!("status {code:?}: {cause} after"), format!("{:.1} ms", took.as_secs_f64() * 1e3));
    }
}

/// Every call in flight fails once, at once and not at its deadline; the next service at the address is found.
#[test]
fn service_dies_with_calls_in_flight() {
    let address = free_address();
    let mut service = Service::bound(Bound::at(address), |_| Answer::Never);
    let bridge = bridge_to(service.uri(), "30s");
    let mut engine = bridge.engine();
    let in_flight = 10;
    for n in 0..in_flight {
        engine.notify(n * 2 + 1, 1, &[("check-request", &[])]);
    }
    assert!(eventually(Duration::from_secs(10), || (service.in_flight() == 10).then_some(())).is_some());
    service.kill();
    let killed = std::time::Instant::now();
    let mut streams: Vec<u64> = (0..in_flight)
        .map(|_| {
            let ack = engine.expect_ack();
            assert_fallback(&ack, "unavailable");
            ack.stream
        })
        .collect();
    streams.sort_unstable();
    assert_eq!(streams, (0..in_flight).map(|n| n * 2 + 1).collect::<Vec<_>>());
    assert!(killed.elapsed() < Duration::from_secs(30), "not by their deadline");
    figure("service killed with 10 in flight: last fallback after", format!("{:.1} ms", killed.elapsed().as_secs_f64() * 1e3));

    let _next = Service::bound(Bound::at(address), |_| Answer::Actions(vec![allow()]));
    let mut stream = 101;
    let recovered = eventually(Duration::from_secs(10), || {
        stream += 2;
        (timed(&mut engine, stream).0.value("txn.allow") == Some(&Data::Bool(true))).then_some(())
    });
    assert!(recovered.is_some());
}

/// A listener whose backlog is full: the kernel drops further SYNs.
struct FullBacklog {
    uri: String,
    _listener: Socket,
    _waiting: Vec<Socket>,
}

impl FullBacklog {
    fn new() -> FullBacklog {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _in_progress = socket.connect(&address.into());
            socket
        };
        let waiting = (0..4).map(connect).collect();
        let hangs = TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err();
        assert!(hangs, "the backlog is full");
        FullBacklog { uri: format!("http://{address}"), _listener: listener, _waiting: waiting }
    }
}
