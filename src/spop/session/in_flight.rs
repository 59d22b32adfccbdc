//! The NOTIFYs of a connection that wait for their ACK.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Stream id and frame id of each.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    ids: HashSet<(u64, u64), Seed>,
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

/// Makes hashers that mix two integers in a few cycles, where the standard one takes about 25 ns a time, twice per NOTIFY.
///
/// Each connection's are seeded anew, so that no peer can choose ids that meet in one slot.
#[derive(Clone, Debug)]
struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seed {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(self.0)
    }
}

#[derive(Clone, Copy, Debug)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, id: u64) {
        // Of both halves of the product: each bit of the id reaches the low ones as well as the high ones.
        let product = u128::from(self.0 ^ id).wrapping_mul(MIX).to_le_bytes();
        if let (Some(low), Some(high)) = (product.first_chunk(), product.last_chunk()) {
            self.0 = u64::from_le_bytes(*low) ^ u64::from_le_bytes(*high);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Odd, and without a pattern in its bits.
const MIX: u128 = 0xf135_7aea_2e62_a9c5;

#[cfg(test)]
mod tests {
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
        // By chance it would be 647; the seeds are random, so some runs are worse.
        let slots = |ids: &mut dyn Iterator<Item = (u64, u64)>| {
            let hasher = Seed::default();
            ids.take(1024).map(|ids| hasher.hash_one(ids) % 1024).collect::<HashSet<_>>().len()
        };
        for step in [1, 2, 20, 64, 1024] {
            let found = slots(&mut (0..).map(|n| (1 + n * step, 1)));
            assert!(found > 256, "{found} of 1024 slots with stream ids {step} apart");
        }
        assert!(slots(&mut (1..).map(|frame_id| (7, frame_id))) > 256);
    }
    #[test]
    fn no_two_connections_mix_alike() {
        let hash = || Seed::default().hash_one((1_u64, 1_u64));
        assert_ne!(hash(), hash());
    }
}
