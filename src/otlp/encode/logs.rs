//! Log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tracing::Level;

use super::{attributes, nanos, scope, text};
use crate::otlp::env::Limits;
use crate::telemetry::records::Record;

pub(in crate::otlp) fn logs(resource: &Resource, records: &[Record], limits: Limits) -> ExportLogsServiceRequest {
    let log_records = records.iter().map(|record| encode(record, limits)).collect();
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
    let resource_logs = ResourceLogs { resource: Some(resource.clone()), scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}

fn encode(record: &Record, limits: Limits) -> LogRecord {
    let (attributes, dropped_attributes_count) = attributes(&record.attributes, limits);
    let severity = match record.level {
        Level::TRACE => SeverityNumber::Trace,
        Level::DEBUG => SeverityNumber::Debug,
        Level::INFO => SeverityNumber::Info,
        Level::WARN => SeverityNumber::Warn,
        Level::ERROR => SeverityNumber::Error,
    };
    LogRecord {
        time_unix_nano: nanos(record.at),
        observed_time_unix_nano: nanos(record.at),
        severity_number: severity.into(),
        severity_text: record.level.to_string(),
        body: Some(AnyValue { value: Some(text(&record.message, usize::MAX)) }),
        attributes,
        dropped_attributes_count,
        trace_id: record.trace_id.map(Vec::from).unwrap_or_default(),
        span_id: record.span_id.map(Vec::from).unwrap_or_default(),
        ..LogRecord::default()
    }
}
