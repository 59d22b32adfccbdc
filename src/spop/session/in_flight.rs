//! The NOTIFYs of a connection that wait for their ACK.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Stream id and frame id of each.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    ids: HashSet<(u64, u64), BuildHasherDefault<IdHasher>>,
}

impl InFlight {
    /// `false` when those ids wait already.
    pub(super) fn insert(&mut self, stream_id: u64, frame_id: u64) -> bool {
        self.ids.insert((stream_id, frame_id))
    }

    /// `false` when those ids do not wait.
    pub(super) fn remove(&mut self, stream_id: u64, frame_id: u64) -> bool {
        self.ids.remove(&(stream_id, frame_id))
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Mixes two integers in a few cycles, where the standard hasher takes about 25 ns a time, twice per NOTIFY.
///
/// A peer can make ids collide. What it gains is a search among the NOTIFYs that the connection may have in flight.
#[derive(Clone, Copy, Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, id: u64) {
        self.0 = self.0.wrapping_add(id).wrapping_mul(MIX);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    /// The table takes its slot from the low bits, and multiplying mixes the high ones best.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

/// Odd, and without a pattern in its bits.
const MIX: u64 = 0xf135_7aea_2e62_a9c5;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn ids_wait_until_they_are_removed() {
        let mut in_flight = InFlight::default();
        assert!(in_flight.insert(1, 2) && in_flight.insert(2, 1) && !in_flight.insert(1, 2));
        assert!(in_flight.remove(1, 2) && !in_flight.remove(1, 2));
        assert_eq!(in_flight.len(), 1);
    }

    /// HAProxy 3.1+ counts 1, 3, 5, …; up to 3.0 from 0 in any steps, and frames within a stream.
    #[test]
    fn ids_that_haproxy_counts_spread_over_the_table() {
        let slots = |ids: &mut dyn Iterator<Item = (u64, u64)>| {
            let hasher = BuildHasherDefault::<IdHasher>::default();
            ids.take(1024).map(|ids| hasher.hash_one(ids) % 1024).collect::<HashSet<_>>().len()
        };
        for step in [1, 2, 20, 64, 1024] {
            let found = slots(&mut (0..).map(|n| (1 + n * step, 1)));
            assert!(found > 512, "{found} of 1024 slots with stream ids {step} apart");
        }
        assert!(slots(&mut (1..).map(|frame_id| (7, frame_id))) > 512);
    }
}
