//! Metrics: cumulative since the start of the process.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{nanos, pair, scope, text};
use crate::telemetry::metrics::families::BOUNDS;
use crate::telemetry::metrics::{Distribution, Family, Kind, Measured, Point, Snapshot, Value};

/// The message, and how many points are in it.
pub(in crate::otlp) fn metrics(resource: &Resource, snapshot: &Snapshot, exemplars: bool) -> (ExportMetricsServiceRequest, u64) {
    let times = Times { start: nanos(snapshot.start), now: nanos(snapshot.taken) };
    let count = snapshot.families.iter().map(|(_, points)| points.len() as u64).sum();
    let metrics = snapshot.families.iter().map(|(family, points)| metric(family, points, times, exemplars)).collect();
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
    let resource_metrics = ResourceMetrics { resource: Some(resource.clone()), scope_metrics, ..ResourceMetrics::default() };
    (ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }, count)
}

#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn metric(family: &Family, points: &[Point], times: Times, exemplars: bool) -> Metric {
    let temporality = AggregationTemporality::Cumulative.into();
    let sum = |is_monotonic| {
        let data_points = points.iter().filter_map(|point| number(family, point, times)).collect();
        Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic })
    };
    let data = match family.kind {
        Kind::Counter => sum(true),
        Kind::UpDown => sum(false),
        Kind::Gauge => {
            // What is, is so now.
            let times = Times { start: 0, ..times };
            Data::Gauge(Gauge { data_points: points.iter().filter_map(|point| number(family, point, times)).collect() })
        }
        Kind::Histogram => {
            let data_points = points.iter().filter_map(|point| histogram(family, point, times, exemplars)).collect();
            Data::Histogram(Histogram { data_points, aggregation_temporality: temporality })
        }
    };
    Metric {
        name: family.name.to_owned(),
        description: family.help.to_owned(),
        unit: family.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn number(family: &Family, point: &Point, times: Times) -> Option<NumberDataPoint> {
    let (Value::Sum(value) | Value::Gauge(value)) = &point.value else { return None };
    Some(NumberDataPoint {
        attributes: labels(family, point),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(number_data_point::Value::AsDouble(*value)),
        ..NumberDataPoint::default()
    })
}

fn histogram(family: &Family, point: &Point, times: Times, exemplars: bool) -> Option<HistogramDataPoint> {
    let Value::Histogram(distribution) = &point.value else { return None };
    let Distribution { counts, sum, exemplars: measured } = &**distribution;
    Some(HistogramDataPoint {
        attributes: labels(family, point),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: distribution.count(),
        sum: Some(sum.as_secs_f64()),
        bucket_counts: counts.to_vec(),
        explicit_bounds: BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9).collect(),
        exemplars: measured.iter().flatten().filter(|_| exemplars).map(exemplar).collect(),
        ..HistogramDataPoint::default()
    })
}

fn exemplar(measured: &Measured) -> Exemplar {
    Exemplar {
        time_unix_nano: nanos(measured.at),
        span_id: measured.span.span_id.to_vec(),
        trace_id: measured.span.trace_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(measured.value.as_secs_f64())),
        ..Exemplar::default()
    }
}

fn labels(family: &Family, point: &Point) -> Vec<KeyValue> {
    family.labels.iter().zip(point.labels.iter()).map(|(key, value)| pair(key, text(value, usize::MAX))).collect()
}
