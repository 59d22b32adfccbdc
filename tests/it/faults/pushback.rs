//! A service that is UNAVAILABLE says when it wants to be asked again: `grpc-retry-pushback-ms` in a call's trailers, `RetryInfo` with an
//! error on the stream.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message;
use spop_bridge::pb::google::rpc;
use spop_bridge::pb::v1::DecideStreamResponse;
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{bridge_to, ms};
use crate::support::askers::outcome;
use crate::support::figure;
use crate::support::service::{Answer, Service, allow};
use crate::support::stream::{Stream, grpc};
use crate::support::stream_server::StreamServer;

const PUSHBACK: Duration = Duration::from_millis(400);

#[test]
fn of_a_call() {
    // What it says, how often it is asked then, and what HAProxy gets. Without a word it is asked again after some milliseconds.
    for (says, asked, gets) in
        [(Some("400"), 2, "decided"), (Some("-1"), 1, "unavailable"), (Some("soon"), 1, "unavailable"), (None, 2, "decided")]
    {
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        let service = Service::start(move |_| {
            let mut times = seen.lock().unwrap();
            times.push(Instant::now());
            if times.len() > 1 { Answer::Actions(vec![allow()]) } else { Answer::Status(unavailable(says)) }
        });
        let bridge = bridge_to(1, &[service.uri()], "protocol: decide", "5s");
        let ack = bridge.engine().ask(1, "check-request", &[]);
        let times = times.lock().unwrap();
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        figure(
            &format!("UNAVAILABLE with grpc-retry-pushback-ms {}", says.unwrap_or("not there")),
            format!("{} attempts, {gaps:.1?} between them, {}", times.len(), outcome(&ack)),
        );
        assert_eq!((times.len(), &outcome(&ack)[..]), (asked, gets), "{says:?}");
        assert!(says != Some("400") || gaps[0] >= PUSHBACK, "{gaps:?}");
    }
}

fn unavailable(pushback: Option<&'static str>) -> Status {
    let mut metadata = MetadataMap::new();
    if let Some(pushback) = pushback {
        metadata.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
    }
    Status::with_metadata(tonic::Code::Unavailable, "not now", metadata)
}

#[test]
fn of_a_decision_on_the_stream() {
    let server = StreamServer::start();
    let bridge = bridge_to(1, &[server.uri()], "protocol: decide_stream", "5s");
    let (mut stream, mut engine) = (server.stream(), bridge.engine());

    engine.notify(1, 1, &[("check-request", &[])]);
    let id = stream.decision().id;
    let refused = Instant::now();
    refuse(&mut stream, id, 0, 400_000_000);
    let again = stream.decision().id;
    let gap = refused.elapsed();
    stream.allow(again);
    let ack = engine.expect_ack();
    figure("UNAVAILABLE on the stream with RetryInfo of 400 ms", format!("next attempt after {}, {}", ms(gap), outcome(&ack)));
    assert_eq!(outcome(&ack), "decided");
    assert!(gap >= PUSHBACK && again != id, "{gap:?}");

    // Below zero: never again. Later than the deadline: there is no sense in it.
    for (what, seconds) in [("-1 s", -1), ("60 s", 60)] {
        engine.notify(1, 1, &[("check-request", &[])]);
        let id = stream.decision().id;
        let refused = Instant::now();
        refuse(&mut stream, id, seconds, 0);
        let ack = engine.expect_ack();
        let took = refused.elapsed();
        figure(&format!("the same with {what}"), format!("no other attempt, {} after {}", outcome(&ack), ms(took)));
        assert_eq!(outcome(&ack), "unavailable");
        assert!(took < Duration::from_secs(4), "at once, not at the deadline: {took:?}");
        assert!(stream.next_within(Duration::from_millis(100)).is_err(), "nothing more about it");
    }
}

/// UNAVAILABLE, and when to ask again.
fn refuse(stream: &mut Stream, id: u64, seconds: i64, nanos: i32) {
    let delay = prost_types::Duration { seconds, nanos }.encode_to_vec();
    // RetryInfo has one field: its number is 1, its length that of the duration.
    let info = [&[0x0a, u8::try_from(delay.len()).unwrap()], &delay[..]].concat();
    let detail = prost_types::Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info };
    let status = rpc::Status { code: 14, message: "not now".into(), details: vec![detail] };
    stream.send(grpc(&DecideStreamResponse { id, result: Some(Outcome::Error(status)) }));
}
