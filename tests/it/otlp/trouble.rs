//! Receivers that are away, slow, or talk nonsense: decisions do not notice, and the log says what is wrong.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

use super::{GRPC, assert_decides, exporting, logged};
use crate::support::bridge::PATIENCE;
use crate::support::otlp::{Received, Receiver, Reply, attribute};
use crate::support::service::Service;
use crate::support::tls::Ca;
use crate::support::{eventually, figure, free_address};

const FAILED: &str = "telemetry not exported, trying on; decisions are not affected";

#[test]
fn away_and_then_there() {
    for protocol in [&[][..], &[GRPC]] {
        let (service, address) = (Service::allowing(), free_address());
        let bridge = exporting(&service, &format!("http://{address}"), protocol);
        for signal in ["metrics", "logs"] {
            let line = logged(&bridge, FAILED, signal);
            assert!(line["endpoint"].as_str().unwrap().starts_with(&format!("http://{address}/")), "{line}");
            assert!(line["error"].as_str().unwrap().contains("Connection refused"), "{line}");
            assert!(line["advice"].as_str().unwrap().contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{line}");
        }
        assert_decides(&bridge, "receiver away");
        let mut receiver = Receiver::at(address);
        receiver.wait_for("metrics", Received::metrics);
        logged(&bridge, "telemetry exported again", "metrics");
        // What was logged meanwhile has waited.
        let has = |message: &str| receiver.records().iter().any(|record| format!("{:?}", record.body).contains(message));
        assert!(eventually(PATIENCE, || has("listening").then_some(())).is_some());
        assert!(!has("not exported"), "lines about exporting are not exported");
        receiver.kill();
        assert_decides(&bridge, "receiver gone again");
        let failures = bridge.log().iter().filter(|line| line["message"] == FAILED).count();
        assert!(failures <= 6, "{failures} lines");
    }
}

#[test]
fn slow() {
    for protocol in [&[][..], &[GRPC]] {
        let service = Service::allowing();
        let receiver = Receiver::start(&vec![Reply::After(Duration::from_secs(30)); 50]);
        let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];
        let mut bridge = exporting(&service, &receiver.endpoint(), &[protocol, &variables].concat());
        let line = logged(&bridge, FAILED, "metrics");
        assert_eq!(line["error"], "no answer within 300 ms");
        assert_decides(&bridge, "receiver that answers after 30 s");
        let begin = Instant::now();
        bridge.terminate();
        assert_eq!(bridge.exit_code(), 0);
        figure("from SIGTERM to the end with a receiver that answers after 30 s", format_args!("{:?}", begin.elapsed()));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

/// Takes connections and never says a word; the process ends nonetheless, and says that something is missing.
#[test]
fn mute() {
    let (service, listener) = (Service::allowing(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut bridge = exporting(&service, &format!("http://{}", listener.local_addr().unwrap()), &[GRPC]);
    assert_decides(&bridge, "receiver that never says a word");
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let missing = "the end of the telemetry was not exported, the receiver is too slow or away";
    let line = bridge.log().into_iter().find(|line| line["message"] == missing).expect("a line");
    assert_eq!(line["signals"], "logs, metrics, traces");
}

#[test]
fn nonsense() {
    for (protocol, answer) in
        [(&[][..], &b"SSH-2.0-OpenSSH_9.2\r\n"[..]), (&[GRPC], b"HTTP/1.1 400 Bad Request\r\n\r\n"), (&[GRPC], &[0xff; 100_000])]
    {
        let (service, listener) = (Service::allowing(), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let _ = socket.write_all(answer);
                    let _ = socket.read(&mut [0; 1024]);
                });
            }
        });
        let bridge = exporting(&service, &format!("http://{address}"), protocol);
        let line = logged(&bridge, FAILED, "metrics");
        figure("what the log says of nonsense", &line["error"]);
        assert!(line["advice"].as_str().unwrap().contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{line}");
        assert_decides(&bridge, "receiver that talks nonsense");
    }
}

#[test]
fn certificates_that_do_not_fit() {
    let (receivers, others) = (Ca::new("receivers"), Ca::new("others"));
    let (service, receiver) = (Service::allowing(), Receiver::tls(receivers.issue(&["localhost"]).grpc_server(None)));
    let missing = receivers.file().with_extension("not-there");
    for (ca, error, advice) in [
        (others.file(), "UnknownIssuer", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        (missing, "OTEL_EXPORTER_OTLP_CERTIFICATE: found ", "put the files right"),
    ] {
        let bridge = exporting(&service, &receiver.endpoint(), &[("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.to_str().unwrap()), GRPC]);
        let line = logged(&bridge, FAILED, "metrics");
        let contains = |key: &str, text: &str| line[key].as_str().unwrap().contains(text);
        assert!(contains("error", error) && contains("advice", advice), "{line}");
        assert_decides(&bridge, "no way to trust the receiver");
    }
}

/// A certificate that is renewed is used by the next connection.
#[test]
fn files_are_read_again() {
    let receivers = Ca::new("receivers");
    let (service, receiver) = (Service::allowing(), Receiver::tls(receivers.issue(&["localhost"]).grpc_server(None)));
    let file = receivers.file().with_extension("later");
    let bridge = exporting(&service, &receiver.endpoint(), &[("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap()), GRPC]);
    logged(&bridge, FAILED, "metrics");
    std::fs::copy(receivers.file(), &file).unwrap();
    receiver.wait_for("metrics", Received::metrics);
}

/// The receiver's answer to the first message of a signal that is sent alone.
fn answered(reply: Reply, protocol: &[(&str, &str)]) -> (Receiver, crate::support::bridge::Bridge) {
    let (service, receiver) = (Service::allowing(), Receiver::start(&[reply]));
    let only = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")];
    let bridge = exporting(&service, &receiver.endpoint(), &[protocol, &only].concat());
    (receiver, bridge)
}

/// How many items were lost, as the last metrics say.
pub(super) fn dropped(receiver: &Receiver, signal: &str, reason: &str) -> f64 {
    let last = receiver.received().iter().rev().find_map(Received::metrics);
    let metrics = last.map(|(_, metrics)| metrics).unwrap_or_default();
    let Some(Data::Sum(sum)) =
        metrics.into_iter().find(|metric| metric.name == "spop_bridge.telemetry.dropped").and_then(|found| found.data)
    else {
        return 0.0;
    };
    let is_it = |key: &str, value: &str, attributes: &_| attribute(attributes, key).as_deref() == Some(value);
    let points = sum.data_points.iter();
    let points = points.filter(|point| is_it("signal", signal, &point.attributes) && is_it("reason", reason, &point.attributes));
    points.map(|point| if let Some(Value::AsDouble(value)) = point.value { value } else { 0.0 }).sum()
}

#[test]
fn what_is_retried_arrives_and_is_not_lost() {
    for protocol in [&[][..], &[GRPC]] {
        let (receiver, bridge) = answered(Reply::Refused(503, 14), protocol);
        let twice = eventually(PATIENCE, || (receiver.received().len() >= 2).then(|| receiver.received()));
        let received = twice.expect("another attempt");
        assert_eq!(received[0].message, received[1].message, "the same again");
        let line = logged(&bridge, FAILED, "metrics");
        assert!(
            ["Unavailable: not now", "HTTP status 503 Service Unavailable"].contains(&line["error"].as_str().unwrap()),
            "{line}"
        );
        assert_eq!(logged(&bridge, "telemetry exported again", "metrics")["dropped"], 0);
    }
}

#[test]
fn retry_after_is_honoured() {
    let (receiver, _bridge) = answered(Reply::RefusedFor(429, 2), &[]);
    eventually(PATIENCE, || (!receiver.received().is_empty()).then_some(())).expect("an attempt");
    let begin = Instant::now();
    eventually(PATIENCE, || (receiver.received().len() >= 2).then_some(())).expect("another attempt");
    // Both ends are seen late by some milliseconds.
    assert!(begin.elapsed() > Duration::from_millis(1_800), "{:?}", begin.elapsed());
}

#[test]
fn what_is_judged_is_not_sent_again() {
    for protocol in [&[][..], &[GRPC]] {
        let (receiver, bridge) = answered(Reply::Refused(400, 3), protocol);
        logged(&bridge, FAILED, "metrics");
        let lost = eventually(PATIENCE, || Some(dropped(&receiver, "metrics", "rejected")).filter(|lost| *lost > 0.0));
        assert!(lost.is_some(), "counted");
        let received = receiver.received();
        assert_ne!(received[0].message, received[1].message, "the next message, not the same");
    }
}

#[test]
fn a_part_is_rejected() {
    for protocol in [&[][..], &[GRPC]] {
        let (receiver, bridge) = answered(Reply::Partly(3, "too old"), protocol);
        let line = logged(&bridge, "the receiver of telemetry did not want all of it", "metrics");
        assert_eq!((&line["rejected"], &line["said"]), (&3.into(), &"too old".into()));
        let lost = eventually(PATIENCE, || Some(dropped(&receiver, "metrics", "rejected")).filter(|lost| *lost > 0.0));
        assert_eq!(lost, Some(3.0));
    }
}

#[test]
fn variables_that_are_wrong_are_told_and_nothing_else_happens() {
    let service = Service::allowing();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"), ("OTEL_LOG_LEVEL", "debug"), ("OTEL_BSP_SCHEDULE_DELAY", "5s")];
    let bridge = exporting(&service, "", &variables);
    let told = bridge.lines(3, |line| line["message"] == "OpenTelemetry's environment variables");
    let told: Vec<String> = told.iter().map(|line| line["warning"].as_str().unwrap().to_owned()).collect();
    let expected = [
        "OTEL_EXPORTER_OTLP_ENDPOINT: expected http://host:port or https://host:port, without user or password; what it is for is not exported",
        "OTEL_BSP_SCHEDULE_DELAY: found 5s, expected a whole number from 1 to 86400000; ignored",
        "set, but not honoured: OTEL_LOG_LEVEL",
    ];
    assert_eq!(told, expected);
    assert_decides(&bridge, "wrong variables");
}
