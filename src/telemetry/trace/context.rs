//! The trace that a NOTIFY belongs to: from its args, through our spans, to the decision service.

use super::SpanContext;
use super::propagation::{Propagated, propagated};
use super::sampler::sampler;
use crate::config::TraceArgs;

/// The most that W3C asks everyone to pass on, in bytes: Trace Context section 3.3.1.5, Baggage section 3.3.2.
const MAX_TRACESTATE: usize = 512;
const MAX_BAGGAGE: usize = 8192;

/// The flag of `traceparent` that says that the caller records the trace (Trace Context section 3.2.2.5.1).
const SAMPLED: u8 = 1;
/// The one that says that the trace's id is random (Trace Context Level 2). It goes on as it came. Ours are random too, but do not say so:
/// Level 1 has no such flag, and libraries that hold to it (OpenTelemetry's of Go among them) refuse the whole header.
const RANDOM: u8 = 2;

/// W3C Trace Context and Baggage, each as the header of that name; empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) traceparent: String,
    pub(crate) tracestate: String,
    pub(crate) baggage: String,
    /// The span that attempts belong to, if the trace is recorded.
    span: Option<SpanContext>,
    /// [`RANDOM`], if its id is said to be.
    random: u8,
}

/// A NOTIFY's place in its trace, if that is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) context: SpanContext,
    /// The span of HAProxy or its client.
    pub(crate) parent: Option<[u8; 8]>,
    pub(crate) trace_state: Box<str>,
}

/// What a valid `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
}

impl TraceContext {
    /// Takes an arg that carries one of them. The first of each counts; what is not valid is left out.
    pub(crate) fn take(&mut self, args: &TraceArgs, name: &[u8], value: &[u8]) {
        let (part, is_valid): (_, fn(&[u8]) -> bool) = if name == args.traceparent.as_bytes() {
            (&mut self.traceparent, |text| Parent::read(text).is_some())
        } else if name == args.tracestate.as_bytes() {
            (&mut self.tracestate, |text| is_printable(text, MAX_TRACESTATE))
        } else if name == args.baggage.as_bytes() {
            (&mut self.baggage, |text| is_printable(text, MAX_BAGGAGE))
        } else {
            return;
        };
        if part.is_empty() && is_valid(value) && propagated().takes(name == args.baggage.as_bytes()) {
            *part = String::from_utf8_lossy(value).into_owned();
        }
    }

    /// Decides whether the trace is recorded, and lets it begin here where nobody has begun it. A tracestate without its traceparent
    /// means nothing.
    pub(crate) fn begin(&mut self) -> Option<Begun> {
        if self.traceparent.is_empty() {
            self.tracestate.clear();
        }
        let sampler = sampler()?;
        let parent = Parent::read(self.traceparent.as_bytes());
        let trace_id = parent.map_or_else(|| fastrand::u128(1..).to_be_bytes(), |parent| parent.trace_id);
        let context = SpanContext { trace_id, span_id: fastrand::u64(1..).to_be_bytes() };
        self.random = parent.map_or(0, |parent| parent.flags & RANDOM);
        if sampler.samples(parent.map(|parent| parent.flags & SAMPLED != 0), trace_id) {
            self.span = Some(context);
            let parent = parent.map(|parent| parent.span_id);
            return Some(Begun { context, parent, trace_state: self.tracestate.as_str().into() });
        }
        // The service must not decide otherwise: half a trace is of no use. A flag that is changed needs a new parent id (section 3.4).
        if parent.is_none_or(|parent| parent.flags & SAMPLED != 0) {
            self.set_parent(context, self.random);
        }
        None
    }

    /// Lets the span of an attempt begin, if the trace is recorded: it is what the service sees as its parent.
    pub(crate) fn begin_attempt(&mut self) -> Option<Begun> {
        let parent = self.span?;
        let context = SpanContext { trace_id: parent.trace_id, span_id: fastrand::u64(1..).to_be_bytes() };
        self.set_parent(context, SAMPLED | self.random);
        Some(Begun { context, parent: Some(parent.span_id), trace_state: self.tracestate.as_str().into() })
    }

    /// The span that attempts belong to, if the trace is recorded.
    pub(crate) fn span(&self) -> Option<SpanContext> {
        self.span
    }

    /// The trace's id, recorded or not.
    pub(crate) fn trace_id(&self) -> Option<[u8; 16]> {
        let parent = || Parent::read(self.traceparent.as_bytes()).map(|parent| parent.trace_id);
        self.span.map(|span| span.trace_id).or_else(parent)
    }

    /// The headers that there are, as far as they are to go on.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Propagated { trace_context, baggage } = propagated();
        let all = [
            ("traceparent", &*self.traceparent, trace_context),
            ("tracestate", &*self.tracestate, trace_context),
            ("baggage", &*self.baggage, baggage),
        ];
        all.into_iter().filter(|(_, value, goes_on)| *goes_on && !value.is_empty()).map(|(name, value, _)| (name, value))
    }

    /// The same, with other baggage.
    pub(crate) fn with_baggage(&self, baggage: String) -> Self {
        Self { baggage, ..self.clone() }
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts().next().is_none() && self.span.is_none()
    }

    fn set_parent(&mut self, context: SpanContext, flags: u8) {
        let SpanContext { trace_id, span_id } = context;
        self.traceparent.clear();
        self.traceparent.reserve(55);
        self.traceparent.push_str("00-");
        push_hex(&mut self.traceparent, &trace_id);
        self.traceparent.push('-');
        push_hex(&mut self.traceparent, &span_id);
        self.traceparent.push('-');
        push_hex(&mut self.traceparent, &[flags]);
    }
}

/// `bytes` in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

/// Appends `bytes` in hexadecimal.
fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

impl Parent {
    /// `version-traceid-parentid-flags` (Trace Context section 3.2). A later version may have more behind that.
    fn read(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_first_chunk::<55>()?;
        let mut parts = head.split(|byte| *byte == b'-');
        let parts = [(); 5].map(|()| parts.next());
        let [Some(version), Some(trace_id), Some(span_id), Some(flags), None] = parts else { return None };
        let more = match version {
            b"ff" => false,
            b"00" => rest.is_empty(),
            _ => rest.first().is_none_or(|byte| *byte == b'-') && is_printable(rest, MAX_TRACESTATE),
        };
        let ([_], trace_id, span_id, [flags]) =
            (from_hex::<1>(version)?, from_hex(trace_id)?, from_hex(span_id)?, from_hex::<1>(flags)?);
        (more && trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id, flags })
    }
}

/// Exactly so many bytes in lower-case hexadecimal.
fn from_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

fn is_printable(text: &[u8], most: usize) -> bool {
    text.len() <= most && text.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_valid_parents_are_passed_on() {
        for good in [PARENT, "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like"] {
            let parent = Parent::read(good.as_bytes()).unwrap_or_else(|| panic!("{good}"));
            assert_eq!((parent.trace_id[0], parent.span_id[7], parent.flags), (0x4b, 0xb7, 1));
        }
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(Parent::read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_first_of_each_counts() {
        let named = TraceArgs { baggage: "luggage".to_owned(), ..TraceArgs::default() };
        let context = |args: &[(&str, &str)]| {
            let mut context = TraceContext::default();
            args.iter().for_each(|(name, value)| context.take(&named, name.as_bytes(), value.as_bytes()));
            // Nothing is recorded in this process.
            assert!(context.begin().is_none() && context.begin_attempt().is_none());
            context
        };
        assert!(context(&[("path", "/"), ("traceparent", "no"), ("tracestate", "a=1")]).is_empty());
        let found = context(&[
            ("traceparent", PARENT),
            ("traceparent", "no"),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("luggage", "k=v"),
        ]);
        let parts: Vec<_> = found.parts().collect();
        assert_eq!(parts, [("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "k=v")]);
        assert_eq!(found.trace_id(), Some(0x4bf92f3577b34da6a3ce929d0e0e4736_u128.to_be_bytes()));
        assert!(context(&[("luggage", "k=v\n")]).is_empty(), "a header cannot carry it");
        assert_eq!(context(&[("luggage", "k=v"), ("baggage", "other")]).baggage, "k=v");
    }

    #[test]
    fn attempts_are_children_of_the_span() {
        let span = SpanContext { trace_id: [1; 16], span_id: [2; 8] };
        let mut context = TraceContext { span: Some(span), tracestate: "a=1".to_owned(), ..TraceContext::default() };
        let (first, second) = (context.begin_attempt().unwrap(), context.begin_attempt().unwrap());
        assert_eq!((first.parent, second.parent), (Some([2; 8]), Some([2; 8])));
        assert_ne!(first.context, second.context);
        let Parent { trace_id, span_id, flags } = Parent::read(context.traceparent.as_bytes()).unwrap();
        assert_eq!((trace_id, span_id, flags), ([1; 16], second.context.span_id, SAMPLED));
    }
}
