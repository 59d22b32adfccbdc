use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{exemplar, number_data_point};
use tracing::Level;

use super::*;
use crate::otlp::env::Limits;
use crate::telemetry::metrics::families::{ALL, BOUNDS, NOTIFY_DURATION, UPTIME};
use crate::telemetry::metrics::{Family, Kind, Point, Snapshot, Value as Measurement, histogram};
use crate::telemetry::records::Record;
use crate::telemetry::trace::{Span, SpanContext, SpanKind};

const UNLIMITED: Limits = Limits { count: usize::MAX, length: usize::MAX };
const CONTEXT: SpanContext = SpanContext { trace_id: [1; 16], span_id: [2; 8] };

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn span() -> Span {
    Span {
        context: CONTEXT,
        parent: Some([3; 8]),
        parent_is_remote: true,
        trace_state: "a=1".into(),
        kind: SpanKind::Server,
        name: "spop.notify".into(),
        start: at(1),
        end: at(2),
        attributes: vec![
            ("a", Attribute::Static("äöü")),
            ("b", Attribute::Texts(vec!["x".into(), "yyyy".into()])),
            ("c", Attribute::Integer(-7)),
            ("d", Attribute::Bool(true)),
        ],
        error: Some("no answer".into()),
    }
}

fn spans(span: Span, limits: Limits) -> opentelemetry_proto::tonic::trace::v1::Span {
    let mut message = traces(&resource(&[]), &[span], limits);
    message.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

fn string(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_owned()))
}

#[test]
fn a_span_with_all_that_it_has() {
    let encoded = spans(span(), UNLIMITED);
    assert_eq!(
        (&encoded.trace_id[..], &encoded.span_id[..], &encoded.parent_span_id[..]),
        (&[1; 16][..], &[2; 8][..], &[3; 8][..])
    );
    assert_eq!((&*encoded.name, &*encoded.trace_state), ("spop.notify", "a=1"));
    // SERVER, and a parent that is known to be remote, in a sampled trace.
    assert_eq!((encoded.kind, encoded.flags), (2, 0x301));
    assert_eq!((encoded.start_time_unix_nano, encoded.end_time_unix_nano), (1_000_000_000, 2_000_000_000));
    let status = encoded.status.unwrap();
    assert_eq!((status.code, &*status.message), (2, "no answer"));
    let values: Vec<_> = encoded.attributes.iter().map(|pair| (&*pair.key, pair.value.clone().unwrap().value)).collect();
    let texts = ["x", "yyyy"].map(|text| AnyValue { value: string(text) }).to_vec();
    let expected = [
        ("a", string("äöü")),
        ("b", Some(Value::ArrayValue(ArrayValue { values: texts }))),
        ("c", Some(Value::IntValue(-7))),
        ("d", Some(Value::BoolValue(true))),
    ];
    assert_eq!(values, expected);
}

#[test]
fn a_root_that_went_well() {
    let root = Span { parent: None, parent_is_remote: false, error: None, kind: SpanKind::Client, ..span() };
    let encoded = spans(root, UNLIMITED);
    assert_eq!((encoded.parent_span_id.len(), encoded.flags, encoded.kind, encoded.status), (0, 0x101, 3, None));
}

#[test]
fn attributes_keep_to_their_limits() {
    let encoded = spans(span(), Limits { count: 2, length: 2 });
    assert_eq!((encoded.attributes.len(), encoded.dropped_attributes_count), (2, 2));
    assert_eq!(encoded.attributes[0].value.clone().unwrap().value, string("äö"), "characters, not bytes");
    let Some(Value::ArrayValue(texts)) = encoded.attributes[1].value.clone().unwrap().value else { panic!("no array") };
    assert_eq!(texts.values[1].value, string("yy"));
}

#[test]
fn a_record() {
    let attributes = vec![("backend", Attribute::Text("b".into()))];
    let record = Record {
        at: at(5),
        level: Level::WARN,
        message: "slow".into(),
        attributes,
        trace_id: Some([1; 16]),
        span_id: Some([2; 8]),
    };
    let mut message = logs(&resource(&[]), &[record], UNLIMITED);
    let encoded = message.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0);
    assert_eq!((encoded.severity_number, &*encoded.severity_text, encoded.time_unix_nano), (13, "WARN", 5_000_000_000));
    assert_eq!(encoded.body.unwrap().value, string("slow"));
    assert_eq!((&encoded.trace_id[..], &encoded.span_id[..]), (&[1; 16][..], &[2; 8][..]));
    assert_eq!((encoded.attributes.len(), &*encoded.attributes[0].key), (1, "backend"));
}

/// Each family, with one point.
#[test]
fn families_keep_name_unit_kind_and_labels() {
    let point = |family: &Family| {
        let value = match family.kind {
            Kind::Counter => Measurement::Sum(3.0),
            Kind::UpDown | Kind::Gauge => Measurement::Gauge(3.0),
            Kind::Histogram => Measurement::Histogram(Box::new(histogram(&NOTIFY_DURATION, &["otlp-families-test"]).value())),
        };
        Point { labels: family.labels.iter().map(|label| (*label).into()).collect(), value }
    };
    let families = ALL.iter().map(|family| (*family, vec![point(family)])).collect();
    let snapshot = Snapshot { start: at(1), taken: at(2), families };
    let (mut message, points) = metrics(&resource(&[]), &snapshot, true);
    let encoded = message.resource_metrics.remove(0).scope_metrics.remove(0).metrics;
    assert_eq!((encoded.len(), points), (ALL.len(), ALL.len() as u64));
    for (family, metric) in ALL.iter().zip(&encoded) {
        assert_eq!((family.name, family.unit, family.help), (&*metric.name, &*metric.unit, &*metric.description));
        let (kind, attributes, times) = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                let point = &sum.data_points[0];
                assert_eq!((sum.aggregation_temporality, point.value), (2, Some(number_data_point::Value::AsDouble(3.0))));
                let kind = if sum.is_monotonic { Kind::Counter } else { Kind::UpDown };
                (kind, &point.attributes, (point.start_time_unix_nano, point.time_unix_nano))
            }
            // A gauge has no start; it is made here so that all can be compared.
            Data::Gauge(gauge) => {
                let point = &gauge.data_points[0];
                assert_eq!(point.start_time_unix_nano, 0);
                (Kind::Gauge, &point.attributes, (1_000_000_000, point.time_unix_nano))
            }
            Data::Histogram(histogram) => {
                let point = &histogram.data_points[0];
                (Kind::Histogram, &point.attributes, (point.start_time_unix_nano, point.time_unix_nano))
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((kind, times), (family.kind, (1_000_000_000, 2_000_000_000)), "{}", family.name);
        let labels: Vec<_> = attributes.iter().map(|pair| (&*pair.key, pair.value.clone().unwrap().value)).collect();
        let expected: Vec<_> = family.labels.iter().map(|label| (*label, string(label))).collect();
        assert_eq!(labels, expected);
    }
}

#[test]
fn metrics_with_buckets_and_exemplars() {
    let measured = histogram(&NOTIFY_DURATION, &["otlp-encode-test"]);
    measured.observe(Duration::from_micros(50), None);
    measured.observe(Duration::from_millis(4), Some(CONTEXT));
    measured.observe(Duration::from_secs(100), None);
    for wanted in [true, false] {
        let snapshot = Snapshot::now();
        let (mut message, points) = metrics(&resource(&[]), &snapshot, wanted);
        let all = message.resource_metrics.remove(0).scope_metrics.remove(0).metrics;
        assert!(points >= all.len() as u64);
        let durations = all.iter().find(|metric| metric.name == NOTIFY_DURATION.name).unwrap();
        assert_eq!((&*durations.unit, &*durations.description), ("s", NOTIFY_DURATION.help));
        let Some(Data::Histogram(histogram)) = &durations.data else { panic!("{durations:?}") };
        let ours = |pair: &KeyValue| pair.value.clone().unwrap().value == string("otlp-encode-test");
        let point = histogram.data_points.iter().find(|point| point.attributes.iter().any(ours)).unwrap();
        assert_eq!((histogram.aggregation_temporality, point.count, point.sum), (2, 3, Some(100.00405)));
        assert_eq!((point.explicit_bounds.len(), point.bucket_counts.len()), (BOUNDS.len(), BOUNDS.len() + 1));
        assert_eq!((point.explicit_bounds[0], point.bucket_counts[0]), (50e-6, 1));
        assert_eq!((point.bucket_counts[10], point.bucket_counts[BOUNDS.len()]), (1, 1));
        assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano <= point.time_unix_nano);
        let exemplars: Vec<_> = point.exemplars.iter().map(|found| (found.value, &found.trace_id[..])).collect();
        let expected = [(Some(exemplar::Value::AsDouble(0.004)), &[1; 16][..])];
        assert_eq!(exemplars, expected[..usize::from(wanted)]);
        let uptime = all.iter().find(|metric| metric.name == UPTIME.name).unwrap();
        let Some(Data::Gauge(gauge)) = &uptime.data else { panic!("{uptime:?}") };
        assert!(matches!(gauge.data_points[0].value, Some(number_data_point::Value::AsDouble(seconds)) if seconds >= 0.0));
    }
}
