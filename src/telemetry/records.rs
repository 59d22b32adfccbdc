//! Log lines on their way to a receiver: the same as in the log, in a queue that is bounded, and never waits.

use std::fmt;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::event::export;
use super::metrics::{Exported, Signal};
use super::queue::Queue;
use super::trace::Attribute;

/// A log line.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) at: SystemTime,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    /// From the fields `trace_id` and `span_id`.
    pub(crate) trace_id: Option<[u8; 16]>,
    pub(crate) span_id: Option<[u8; 8]>,
}

/// Those that wait to be exported.
pub(crate) static RECORDS: Queue<Record> = Queue::new();

/// Makes records of what the log's filter lets through.
pub(super) struct Records;

impl<S: Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !RECORDS.is_open() || !is_exported(event.metadata().target()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if !RECORDS.push(fields.into_record(*event.metadata().level())) {
            Exported::of(Signal::Logs).queue_full.increment();
        }
    }
}

/// Our own lines, but not those about exporting: each of them would be exported too, fail too, and make another.
fn is_exported(target: &str) -> bool {
    let within = |module: &str| target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    within("spop_bridge") && !within(export::TARGET)
}

#[derive(Default)]
struct Fields {
    message: String,
    attributes: Vec<(&'static str, Attribute)>,
    trace_id: Option<[u8; 16]>,
    span_id: Option<[u8; 8]>,
}

impl Fields {
    fn into_record(self, level: Level) -> Record {
        let Self { message, attributes, trace_id, span_id } = self;
        Record { at: SystemTime::now(), level, message, attributes, trace_id, span_id }
    }

    fn add(&mut self, field: &Field, value: Attribute) {
        self.attributes.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_taken = match field.name() {
            "message" => {
                value.clone_into(&mut self.message);
                true
            }
            "trace_id" => {
                self.trace_id = from_hex(value);
                self.trace_id.is_some()
            }
            "span_id" => {
                self.span_id = from_hex(value);
                self.span_id.is_some()
            }
            _ => false,
        };
        if !is_taken {
            self.add(field, Attribute::Text(value.into()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Attribute::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.add(field, Attribute::Integer(value)),
            Err(_) => self.record_str(field, &value.to_string()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Attribute::Bool(value));
    }
}

/// The id that `text` is in lower-case hexadecimal.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    let mut id = [0; N];
    if text.len() != 2 * N || !text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(text.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_line_becomes_a_record_with_its_fields_and_its_trace() {
        RECORDS.open(10, 10);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Records), || {
            let error = std::io::Error::other("no");
            tracing::warn!(backend = "b", times = 3_u64, ok = false, %error, "went {}", "wrong");
            tracing::info!(trace_id = "4bf92f3577b34da6a3ce929d0e0e4736", span_id = "00f067aa0ba902b7", "decided");
            tracing::info!(trace_id = "no id", "decided");
            tracing::info!(target: "hyper::proto", "not ours");
            tracing::info!(target: "spop_bridge::telemetry::event::export", "about exporting");
        });
        let records = RECORDS.take(10);
        let text = |text: &str| Attribute::Text(text.into());
        let [first, second, third] = &records[..] else { panic!("{records:#?}") };
        assert_eq!((&*first.message, first.level, first.trace_id), ("went wrong", Level::WARN, None));
        let expected =
            [("backend", text("b")), ("times", Attribute::Integer(3)), ("ok", Attribute::Bool(false)), ("error", text("no"))];
        assert_eq!(first.attributes, expected);
        let (trace_id, span_id) = (second.trace_id.expect("a trace"), second.span_id.expect("a span"));
        assert_eq!((trace_id[0], span_id[7]), (0x4b, 0xb7));
        assert!(second.attributes.is_empty());
        assert_eq!((third.trace_id, &third.attributes[..]), (None, &[("trace_id", text("no id"))][..]));
    }
}
