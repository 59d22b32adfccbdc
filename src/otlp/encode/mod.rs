//! From spans, metrics and log records to the messages of OTLP, as `opentelemetry-proto` publishes them.

mod logs;
mod metrics;
mod traces;

use std::time::{SystemTime, UNIX_EPOCH};

pub(super) use logs::logs;
pub(super) use metrics::metrics;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
pub(super) use traces::traces;

use super::env::Limits;
use crate::telemetry::trace::Attribute;

pub(super) fn resource(attributes: &[(String, Attribute)]) -> Resource {
    let attributes = attributes.iter().map(|(key, attribute)| pair(key, value(attribute, usize::MAX))).collect();
    Resource { attributes, ..Resource::default() }
}

/// Who measures.
fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("spop-bridge".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    Some(InstrumentationScope { name, version, ..InstrumentationScope::default() })
}

/// As many as there may be, and how many more there are.
fn attributes(all: &[(&'static str, Attribute)], limits: Limits) -> (Vec<KeyValue>, u32) {
    let kept = all.iter().take(limits.count).map(|(key, attribute)| pair(key, value(attribute, limits.length))).collect();
    (kept, u32::try_from(all.len().saturating_sub(limits.count)).unwrap_or(u32::MAX))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// `length` is that of texts, in characters.
fn value(attribute: &Attribute, length: usize) -> Value {
    match attribute {
        Attribute::Static(text) => self::text(text, length),
        Attribute::Text(text) => self::text(text, length),
        Attribute::Texts(texts) => {
            let values = texts.iter().map(|text| AnyValue { value: Some(self::text(text, length)) }).collect();
            Value::ArrayValue(ArrayValue { values })
        }
        Attribute::Integer(value) => Value::IntValue(*value),
        Attribute::Bool(value) => Value::BoolValue(*value),
    }
}

fn text(text: &str, length: usize) -> Value {
    let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
    Value::StringValue(text.get(..end).unwrap_or_default().to_owned())
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
