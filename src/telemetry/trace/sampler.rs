//! Whether a trace is recorded: decided before there is a span, so that what is not sampled costs next to nothing.

use std::sync::OnceLock;

/// `OTEL_TRACES_SAMPLER` and its arg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampler {
    /// Where HAProxy hands in a parent, that one's flag decides.
    pub(crate) parent_based: bool,
    pub(crate) root: Root,
}

/// What decides where no parent does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Root {
    AlwaysOn,
    AlwaysOff,
    /// This share of trace ids, as `TraceIdRatioBased` draws them.
    Ratio(f64),
}

static SAMPLER: OnceLock<Sampler> = OnceLock::new();

/// Traces are recorded from now on. Called once, if anybody takes spans.
pub(crate) fn start(sampler: Sampler) {
    let _ = SAMPLER.set(sampler);
}

/// The sampler, if traces are recorded.
pub(super) fn sampler() -> Option<&'static Sampler> {
    SAMPLER.get()
}

impl Sampler {
    /// `parent` is the sampled flag of the parent, if there is one.
    pub(super) fn samples(&self, parent: Option<bool>, trace_id: [u8; 16]) -> bool {
        if let (true, Some(sampled)) = (self.parent_based, parent) {
            return sampled;
        }
        match self.root {
            Root::AlwaysOn => true,
            Root::AlwaysOff => false,
            Root::Ratio(share) => {
                // 63 bits of the last 8 bytes, as OpenTelemetry's SDKs in other languages: services that draw for themselves agree.
                let (_, low) = trace_id.split_at(8);
                let low = low.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)) >> 1;
                (low as f64) < share * (1_u64 << 63) as f64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(low: u64) -> [u8; 16] {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&low.to_be_bytes());
        id
    }

    #[test]
    fn parents_decide_if_they_may() {
        for (parent_based, parent, expected) in
            [(true, Some(true), true), (true, Some(false), false), (true, None, false), (false, Some(true), false)]
        {
            let sampler = Sampler { parent_based, root: Root::AlwaysOff };
            assert_eq!(sampler.samples(parent, id(1)), expected, "{sampler:?} {parent:?}");
        }
        let sampler = Sampler { parent_based: false, root: Root::AlwaysOn };
        assert!(sampler.samples(Some(false), id(1)));
    }

    #[test]
    fn a_share_of_ids() {
        let share = |share| {
            let sampler = Sampler { parent_based: true, root: Root::Ratio(share) };
            (0..1_000).filter(|n| sampler.samples(None, id(n * (u64::MAX / 1_000)))).count()
        };
        assert_eq!([share(0.0), share(0.25), share(1.0)], [0, 250, 1_000]);
    }
}
