//! The trace that a NOTIFY belongs to, from its args to the decision service.

/// The most that W3C asks everyone to pass on, in bytes: Trace Context section 3.3.1.5, Baggage section 3.3.2.
const MAX_TRACESTATE: usize = 512;
const MAX_BAGGAGE: usize = 8192;

/// W3C Trace Context and Baggage, each as the header of that name; empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) traceparent: String,
    pub(crate) tracestate: String,
    pub(crate) baggage: String,
}

impl TraceContext {
    /// Takes an arg that carries one of them. The first of each counts; what is not valid is left out.
    pub(crate) fn take(&mut self, name: &[u8], value: &[u8]) {
        let (part, is_valid): (_, fn(&[u8]) -> bool) = match name {
            b"traceparent" => (&mut self.traceparent, is_traceparent),
            b"tracestate" => (&mut self.tracestate, |text| is_printable(text, MAX_TRACESTATE)),
            b"baggage" => (&mut self.baggage, |text| is_printable(text, MAX_BAGGAGE)),
            _ => return,
        };
        if part.is_empty() && is_valid(value) {
            *part = String::from_utf8_lossy(value).into_owned();
        }
    }

    /// The headers that there are.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("traceparent", &*self.traceparent), ("tracestate", &*self.tracestate), ("baggage", &*self.baggage)];
        all.into_iter().filter(|(_, value)| !value.is_empty())
    }

    /// What is worth sending: a tracestate means nothing without its traceparent.
    pub(crate) fn into_valid(mut self) -> Option<Self> {
        if self.traceparent.is_empty() {
            self.tracestate.clear();
        }
        (self != Self::default()).then_some(self)
    }
}

/// `version-traceid-parentid-flags` (Trace Context section 3.2). A later version may have more behind that.
fn is_traceparent(text: &[u8]) -> bool {
    let Some((head, rest)) = text.split_first_chunk::<55>() else { return false };
    let mut parts = head.split(|byte| *byte == b'-');
    let parts = [(); 5].map(|()| parts.next());
    let [Some(version), Some(trace_id), Some(parent_id), Some(flags), None] = parts else { return false };
    let more = match version {
        b"ff" => false,
        b"00" => rest.is_empty(),
        _ => rest.first().is_none_or(|byte| *byte == b'-') && is_printable(rest, MAX_TRACESTATE),
    };
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    more && [(version, 2), (trace_id, 32), (parent_id, 16), (flags, 2)]
        .into_iter()
        .all(|(part, length)| part.len() == length && is_hex(part))
        && !is_zero(trace_id)
        && !is_zero(parent_id)
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
            assert!(is_traceparent(good.as_bytes()), "{good}");
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
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_first_of_each_counts() {
        let context = |args: &[(&str, &str)]| {
            let mut context = TraceContext::default();
            args.iter().for_each(|(name, value)| context.take(name.as_bytes(), value.as_bytes()));
            context.into_valid()
        };
        assert_eq!(context(&[("path", "/"), ("traceparent", "no"), ("tracestate", "a=1")]), None);
        let found = context(&[
            ("traceparent", PARENT),
            ("traceparent", "no"),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("baggage", "k=v"),
        ]);
        let expected = TraceContext { traceparent: PARENT.to_owned(), tracestate: "a=1".to_owned(), baggage: "k=v".to_owned() };
        assert_eq!(found, Some(expected));
        assert_eq!(context(&[("baggage", "k=v\n")]), None, "a header cannot carry it");
        assert_eq!(context(&[("baggage", "k=v")]).unwrap().baggage, "k=v");
    }
}
