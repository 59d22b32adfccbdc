//! What arrives where the receiver is well.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::{GRPC, assert_decides, exporting};
use crate::support::bridge::PATIENCE;
use crate::support::eventually;
use crate::support::otlp::{Received, Receiver, attribute, text};
use crate::support::service::Service;
use crate::support::tls::Ca;

/// By both protocols.
fn for_both(test: impl Fn(&[(&str, &str)])) {
    test(&[]);
    test(&[GRPC]);
}

#[test]
fn metrics_with_names_units_and_kinds() {
    for_both(|protocol| {
        let (service, receiver) = (Service::allowing(), Receiver::start(&[]));
        let _bridge = exporting(&service, &receiver.endpoint(), protocol);
        let (_, metrics) = receiver.wait_for("metrics", Received::metrics);
        let metric = |name: &str| {
            metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| {
                let names: Vec<&str> = metrics.iter().map(|metric| &*metric.name).collect();
                panic!("no {name} among {names:?}")
            })
        };
        assert_eq!(metric("process.uptime").unit, "s");
        assert!(matches!(&metric("process.uptime").data, Some(Data::Gauge(gauge)) if gauge.data_points.len() == 1));
        let Some(Data::Sum(reloads)) = &metric("spop_bridge.config.reloads").data else { panic!("no sum") };
        assert_eq!((reloads.is_monotonic, reloads.aggregation_temporality), (true, 2), "cumulative");
        let outcomes: Vec<_> = reloads.data_points.iter().map(|point| attribute(&point.attributes, "outcome").unwrap()).collect();
        assert_eq!(outcomes, ["applied", "refused"]);
    });
}

#[test]
fn what_the_process_is_and_what_requests_carry() {
    for_both(|protocol| {
        let (service, receiver) = (Service::allowing(), Receiver::start(&[]));
        let variables = [
            ("OTEL_SERVICE_NAME", "edge"),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod%201,service.name=other"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb,x=y"),
        ];
        let _bridge = exporting(&service, &receiver.endpoint(), &[protocol, &variables].concat());
        let (resource, _) = receiver.wait_for("metrics", Received::metrics);
        let value = |key: &str| attribute(&resource.attributes, key).unwrap_or_else(|| panic!("no {key} in {resource:?}"));
        assert_eq!((value("service.name"), value("k8s.pod.name")), ("edge".to_owned(), "pod 1".to_owned()));
        assert_eq!(value("service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(value("service.instance.id").len(), 36);
        assert!(value("process.pid").parse::<u32>().is_ok() && !value("host.name").is_empty());
        let received = &receiver.received()[0];
        assert_eq!((&received.headers["api-key"], &received.headers["x"]), (&"a,b".parse().unwrap(), &"y".parse().unwrap()));
        let user_agent = concat!("spop-bridge/", env!("CARGO_PKG_VERSION"));
        assert_eq!((&received.headers["user-agent"], received.was_compressed), (&user_agent.parse().unwrap(), false));
        let paths = if protocol.is_empty() { "/v1/" } else { "/opentelemetry.proto.collector." };
        assert!(received.path.starts_with(paths), "{}", received.path);
        let version = if protocol.is_empty() { http::Version::HTTP_11 } else { http::Version::HTTP_2 };
        assert_eq!(received.version, version);
    });
}

#[test]
fn gzip() {
    for_both(|protocol| {
        let (service, receiver) = (Service::allowing(), Receiver::start(&[]));
        let variables = [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
        let _bridge = exporting(&service, &receiver.endpoint(), &[protocol, &variables].concat());
        receiver.wait_for("metrics", |received| received.metrics().filter(|_| received.was_compressed));
    });
}

#[test]
fn tls_with_a_ca_and_a_client_certificate() {
    for_both(|protocol| {
        let (ca, clients) = (Ca::new("receivers"), Ca::new("clients"));
        let (server, client) = (ca.issue(&["localhost"]), clients.issue(&["bridge"]));
        let alpn: &[&str] = if protocol.is_empty() { &["http/1.1"] } else { &["h2"] };
        let config = server.server(Some(&clients), spop_bridge::agent::rustls::DEFAULT_VERSIONS, alpn);
        let (service, receiver) = (Service::allowing(), Receiver::tls(config));
        let [ca, certificate, key] =
            [ca.file(), client.certificate(), client.key()].map(|path| path.to_str().unwrap().to_owned());
        let variables = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*ca),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
        ];
        let _bridge = exporting(&service, &receiver.endpoint(), &[protocol, &variables].concat());
        receiver.wait_for("metrics", Received::metrics);
    });
}

#[test]
fn log_lines_with_their_fields() {
    for_both(|protocol| {
        let (service, receiver) = (Service::allowing(), Receiver::start(&[]));
        let _bridge = exporting(&service, &receiver.endpoint(), protocol);
        let record = eventually(PATIENCE, || receiver.records().into_iter().find(|record| is_line(record, "listening")));
        let record = record.unwrap_or_else(|| panic!("{:?}", receiver.records()));
        assert_eq!((record.severity_number, &*record.severity_text), (9, "INFO"));
        assert_eq!(attribute(&record.attributes, "listener").as_deref(), Some("main"));
        assert!(attribute(&record.attributes, "address").is_some_and(|address| address.starts_with("127.0.0.1:")));
        assert!(record.time_unix_nano > 1_700_000_000_000_000_000);
    });
}

fn is_line(record: &opentelemetry_proto::tonic::logs::v1::LogRecord, message: &str) -> bool {
    record.body.as_ref().is_some_and(|body| text(body) == message)
}

/// With the defaults nothing would be due for seconds, or a minute.
#[test]
fn the_end_is_sent_before_the_process_ends() {
    for_both(|protocol| {
        let (service, receiver) = (Service::allowing(), Receiver::start(&[]));
        let late = ["OTEL_METRIC_EXPORT_INTERVAL", "OTEL_BLRP_SCHEDULE_DELAY"].map(|name| (name, "60000"));
        let mut bridge = exporting(&service, &receiver.endpoint(), &[protocol, &late].concat());
        assert_eq!(receiver.received().len(), 0);
        let begin = Instant::now();
        bridge.terminate();
        assert_eq!(bridge.exit_code(), 0);
        assert!(begin.elapsed() < Duration::from_secs(10));
        receiver.wait_for("metrics", Received::metrics);
        assert!(receiver.records().iter().any(|record| is_line(record, "stopped")), "{:?}", receiver.records());
    });
}

/// Each signal to a receiver of its own, one of them not at all.
#[test]
fn signals_go_where_they_are_sent() {
    let (service, logs, metrics) = (Service::allowing(), Receiver::start(&[]), Receiver::start(&[]));
    let at = format!("{}/in", logs.endpoint());
    let variables = [("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &*at), ("OTEL_TRACES_EXPORTER", "none")];
    let bridge = exporting(&service, &metrics.endpoint(), &variables);
    metrics.wait_for("metrics", Received::metrics);
    logs.wait_for("logs", |received| (received.path == "/in").then_some(()));
    assert_decides(&bridge, "with metrics and logs exported");
    let paths = |receiver: &Receiver| {
        receiver.received().iter().map(|received| received.path.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!((paths(&logs), paths(&metrics)), (["/in".to_owned()].into(), ["/v1/metrics".to_owned()].into()));
}
