//! Finished spans on their way out: a queue that is bounded, and never waits.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::SpanContext;
use crate::telemetry::metrics::{Exported, Signal};
use crate::telemetry::queue::Queue;

/// A finished span, as OpenTelemetry describes it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) context: SpanContext,
    pub(crate) parent: Option<[u8; 8]>,
    /// The parent is HAProxy's or its client's, not ours.
    pub(crate) parent_is_remote: bool,
    pub(crate) trace_state: Box<str>,
    pub(crate) kind: SpanKind,
    pub(crate) name: Cow<'static, str>,
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    /// What went wrong, if something did.
    pub(crate) error: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// A NOTIFY.
    Server,
    /// An attempt at a decision.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    Static(&'static str),
    Text(Arc<str>),
    Texts(Vec<Arc<str>>),
    Integer(i64),
    Bool(bool),
}

/// Those that wait to be exported.
pub(crate) static SPANS: Queue<Span> = Queue::new();

impl Span {
    /// Queues it for export; `false` if there is no room: it is lost, and counted as such.
    pub(crate) fn finish(self) -> bool {
        let is_queued = SPANS.push(self);
        if !is_queued {
            Exported::of(Signal::Traces).queue_full.increment();
        }
        is_queued
    }
}

/// The time of day at `instant`.
pub(crate) fn wall_clock(instant: Instant) -> SystemTime {
    SystemTime::now() - instant.elapsed()
}
