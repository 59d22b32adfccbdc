//! Servers that cannot be asked, or answer what is no answer.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tower::util::BoxCloneSyncService;

use super::{HEALTHY, UNHEALTHY, bridge_to, calls_of, expect_lines, is_decided, lines};
use crate::discovery::Load;
use crate::support::health::{Has, Patient, SOON};
use crate::support::host::{Bound, FOREVER, Host};
use crate::support::service::Service;
use crate::support::{eventually, figure, free_address};

#[test]
fn a_server_that_does_not_answer_is_unhealthy() {
    let silent = Patient::start(Bound::tcp(), Has::Silence);
    let other = Patient::start(Bound::tcp(), Has::Watch);
    let bridge = bridge_to(&[silent.service.uri(), other.service.uri()], "interval: 500ms");
    let line = expect_lines(&bridge, UNHEALTHY, 1);
    assert_eq!(line["reason"], "health check: no answer within 1s", "{line}");
    let begin = std::time::Instant::now();
    assert!(eventually(SOON, || (silent.watches() >= 3).then_some(())).is_some(), "it is asked again");
    let mut engine = bridge.engine();
    assert_eq!(calls_of(&silent.service, &mut engine, 1, 60), 0);
    assert_eq!((lines(&bridge, UNHEALTHY), lines(&bridge, HEALTHY)), (1, 0));
    // Every half second at most, less what is jittered.
    let most = 5 + begin.elapsed().as_millis() as usize / 200;
    assert!(silent.watches() <= most, "{}, at most {most}", silent.watches());
}

/// Killed and started again, at the same address.
#[test]
fn a_server_that_is_gone_is_unhealthy_until_it_is_back() {
    let address = free_address();
    let mut mortal = Patient::start(Bound::at(address), Has::Watch);
    let other = Patient::start(Bound::tcp(), Has::Watch);
    let bridge = bridge_to(&[mortal.service.uri(), other.service.uri()], "interval: 300ms");
    assert!(eventually(SOON, || (mortal.open_watches() == 1).then_some(())).is_some());
    mortal.service.kill();
    let line = expect_lines(&bridge, UNHEALTHY, 1);
    assert!(line["reason"].as_str().unwrap().contains("refused"), "{line}");
    let mut engine = bridge.engine();
    assert!((0..60).all(|n| is_decided(&mut engine, 1 + n * 2)));
    let reborn = Patient::start(Bound::at(address), Has::Watch);
    expect_lines(&bridge, HEALTHY, 1);
    let mut stream = 1_001;
    let back = eventually(SOON, || {
        stream += 2;
        is_decided(&mut engine, stream);
        (!reborn.service.calls().is_empty()).then_some(())
    });
    assert!(back.is_some());
}

/// Only its health check has found it again when the other one wants to go: decisions wait for the workers' connections, none is refused.
#[test]
fn a_server_that_is_back_can_be_relied_on() {
    let address = free_address();
    let mut mortal = Patient::start(Bound::at(address), Has::Watch);
    let other = Patient::start(Bound::tcp(), Has::Watch);
    let bridge = bridge_to(&[mortal.service.uri(), other.service.uri()], "interval: 100ms");
    assert!(eventually(SOON, || (mortal.open_watches() == 1).then_some(())).is_some());
    let healthy = |patient: &Patient| {
        let of = |line: &serde_json::Value| line["message"] == HEALTHY && line["endpoint"] == patient.service.uri();
        bridge.log().into_iter().filter(of).count()
    };
    let load = Load::start(bridge.address());
    for round in 1..=5 {
        mortal.service.kill();
        // Long enough that the workers, which back off, rarely try to connect.
        std::thread::sleep(Duration::from_millis(2_500));
        mortal = Patient::start(Bound::at(address), Has::Watch);
        assert!(eventually(SOON, || (healthy(&mortal) == round).then_some(())).is_some(), "{:?}", bridge.log());
        other.set_serving(false);
        std::thread::sleep(Duration::from_millis(1_500));
        other.set_serving(true);
        assert!(eventually(SOON, || (healthy(&other) == round).then_some(())).is_some(), "{:?}", bridge.log());
        // The workers hear of it a moment later.
        let before = other.service.calls().len();
        assert!(eventually(SOON, || (other.service.calls().len() > before).then_some(())).is_some(), "it gets none");
    }
    let (asked, failed) = load.end();
    figure(
        "decisions while a server came back 5 times, just when the other went, and how many failed",
        format!("{asked}, {failed}"),
    );
    assert_eq!(failed, 0, "of {asked}: {:?}", bridge.log());
}

/// A server whose health changes as fast as it can say so: costs little, fills nothing, and the log has a few lines a second.
#[test]
fn a_flood_of_answers_costs_little() {
    let flood = Patient::start(Bound::tcp(), Has::Flood);
    let other = Service::allowing();
    let bridge = bridge_to(&[flood.service.uri(), other.uri()], "");
    expect_lines(&bridge, UNHEALTHY, 1);
    let (memory, cpu) = (bridge.resident_kib(), bridge.cpu_ticks());
    std::thread::sleep(Duration::from_secs(4));
    let (memory, cpu) = (bridge.resident_kib().saturating_sub(memory), bridge.cpu_ticks() - cpu);
    let told = lines(&bridge, UNHEALTHY) + lines(&bridge, HEALTHY);
    figure("4 s of a flood of health answers: KiB more, CPU ms, log lines", format!("{memory}, {}, {told}", cpu * 10));
    assert!(memory < 8 << 10, "{memory} KiB");
    assert!(told <= 40, "{told} lines");
    let mut engine = bridge.engine();
    assert!((0..60).all(|n| is_decided(&mut engine, 1 + n * 2)));
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A server that answers questions for its health with these bytes, again and again if it is to be `endless`, and has nothing else.
fn answering(bytes: &'static [u8], endless: bool) -> Host {
    let service = tower::service_fn(move |request: http::Request<Incoming>| async move {
        let bytes = Bytes::from_static(bytes);
        let response = http::Response::builder().header("content-type", "application/grpc");
        if !request.uri().path().starts_with("/grpc.health.v1.Health/") {
            let body: Body = BodyExt::boxed(Full::default());
            return Ok(response.header("grpc-status", "12").body(body).unwrap());
        }
        let body: Body = if endless {
            let frames = std::iter::repeat_with(move || Ok::<_, Infallible>(Frame::data(bytes.clone())));
            BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
        } else {
            BodyExt::boxed(Full::new(bytes))
        };
        Ok::<_, Infallible>(response.body(body).unwrap())
    });
    Host::start(Bound::tcp(), FOREVER, BoxCloneSyncService::new(service))
}

#[test]
fn answers_that_are_none_make_a_server_unhealthy() {
    static ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    static HUGE: [u8; 5 + (16 << 10)] = {
        let mut bytes = [0; 5 + (16 << 10)];
        // Announces 3 MiB.
        bytes[2] = 0x30;
        bytes
    };
    for (what, bytes, endless) in [
        ("garbage", &[0xff; 100][..], false),
        ("a field of another type", &[0, 0, 0, 0, 3, 0x0a, 1, 7], false),
        ("half an answer", &[0, 0, 0, 0, 2, 8], false),
        ("nothing", &[], false),
        ("a status that does not exist", &[0, 0, 0, 0, 2, 8, 77], true),
        ("far too much", &HUGE, true),
        // Each five of them are an answer without a status: UNKNOWN.
        ("zeros without end", &ZEROS, true),
    ] {
        let host = answering(bytes, endless);
        let other = Service::allowing();
        let bridge = bridge_to(&[host.uri(), other.uri()], "interval: 300ms");
        let line = expect_lines(&bridge, UNHEALTHY, 1);
        let (memory, cpu) = (bridge.resident_kib(), bridge.cpu_ticks());
        std::thread::sleep(Duration::from_secs(1));
        let (more, ticks) = (bridge.resident_kib().saturating_sub(memory), bridge.cpu_ticks() - cpu);
        figure(&format!("health answer: {what}: {}; in 1 s more KiB, CPU ms", line["reason"]), format!("{more}, {}", ticks * 10));
        assert!(more < 8 << 10, "{what}: {more} KiB");
        let back = bridge.log().into_iter().filter(|line| line["message"] == HEALTHY && line["endpoint"] == host.uri()).count();
        assert_eq!(back, 0, "{what}: {:?}", bridge.log());
        let mut engine = bridge.engine();
        assert!((0..20).all(|n| is_decided(&mut engine, 1 + n * 2)), "{what}");
    }
}
