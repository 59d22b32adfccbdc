//! HAProxy's variable-length integers, the "Peers encoding" (SPOE §3.1).
//!
//! Values below 240 take one byte. Above, the first byte holds four bits and each further byte seven; a byte of 128 or
//! more says that another follows. Subtracting the base before each shift makes the encoding of a value unique.
//! Decoding is [`Reader::varint`](super::reader::Reader::varint).

use bytes::BufMut;

/// Bytes of the longest varint, that of `u64::MAX`.
///
/// A longer run of continuation bytes cannot be a 64-bit integer and is refused.
pub const MAX_LEN: usize = 10;

/// First value that does not fit one byte.
pub(super) const LONG_FROM: u64 = 240;

/// First value of what is left after the first byte that needs another byte.
pub(super) const CONTINUES_FROM: u64 = 128;

/// Appends `value`: 1 to [`MAX_LEN`] bytes.
///
/// A negative integer is encoded from its 64-bit two's complement, and so takes [`MAX_LEN`] bytes.
#[inline]
pub fn encode(value: u64, out: &mut impl BufMut) {
    let Some(above) = value.checked_sub(LONG_FROM) else {
        return out.put_u8(low_byte(value));
    };
    out.put_u8(low_byte(value) | 0xf0);
    let mut rest = above >> 4;
    while let Some(above) = rest.checked_sub(CONTINUES_FROM) {
        out.put_u8(low_byte(rest) | 0x80);
        rest = above >> 7;
    }
    out.put_u8(low_byte(rest));
}

/// Bytes that [`encode`] appends for `value`: 1 to [`MAX_LEN`].
#[inline]
pub const fn encoded_len(value: u64) -> usize {
    match value {
        0..0xf0 => 1,
        0xf0..0x8f0 => 2,
        0x8f0..0x4_08f0 => 3,
        0x4_08f0..0x204_08f0 => 4,
        0x204_08f0..0x1_0204_08f0 => 5,
        0x1_0204_08f0..0x81_0204_08f0 => 6,
        0x81_0204_08f0..0x4081_0204_08f0 => 7,
        0x4081_0204_08f0..0x20_4081_0204_08f0 => 8,
        0x20_4081_0204_08f0..0x1020_4081_0204_08f0 => 9,
        0x1020_4081_0204_08f0.. => MAX_LEN,
    }
}

const fn low_byte(value: u64) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::DecodeError;
    use super::super::reader::Reader;
    use super::super::testing::{hex, numbers};
    use super::*;

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    /// SPOE §3.1 draws these bounds; each first and last value of a length.
    #[test]
    fn lengths_change_where_spoe_says() {
        let bounds = [0xf0, 0x8f0, 0x4_08f0, 0x204_08f0, 0x1_0204_08f0, 0x81_0204_08f0, 0x4081_0204_08f0];
        for (shorter, bound) in (1..).zip(bounds) {
            assert_eq!(encoded(bound - 1).len(), shorter, "{bound:#x} - 1");
            assert_eq!(encoded(bound).len(), shorter + 1, "{bound:#x}");
        }
        assert_eq!(encoded(u64::MAX).len(), MAX_LEN);
    }

    /// 16380 as the `spop-check` request has it; -1 as HAProxy sends `int(-1)`.
    #[test]
    fn bytes_are_haproxys() {
        assert_eq!(encoded(16_380), hex("fc f0 06"));
        assert_eq!(encoded(0), hex("00"));
        assert_eq!(encoded(239), hex("ef"));
        assert_eq!(encoded(240), hex("f0 00"));
        assert_eq!(encoded(u64::MAX), hex("ff f0 fe fe fe fe fe fe fe 0e"));
    }

    #[test]
    fn d08_endless_varint_is_refused_after_ten_bytes() {
        let mut reader = Reader::new(&[0xff; 64]);
        assert_eq!(reader.varint(), Err(DecodeError::VarintTooLong));
        assert!(reader.position() <= MAX_LEN);
    }

    #[test]
    fn d08_more_than_64_bits_are_refused() {
        for tenth in 0x0f..=0xff {
            let mut bytes = hex("ff f0 fe fe fe fe fe fe fe");
            bytes.push(tenth);
            assert_eq!(Reader::new(&bytes).varint(), Err(DecodeError::VarintTooLong), "tenth byte {tenth:#x}");
        }
    }

    #[test]
    fn cut_varint_is_an_unexpected_end() {
        let whole = encoded(u64::MAX);
        for len in 0..whole.len() {
            assert_eq!(Reader::new(&whole[..len]).varint(), Err(DecodeError::UnexpectedEnd), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(value in numbers()) {
            let bytes = encoded(value);
            prop_assert_eq!(bytes.len(), encoded_len(value));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        /// A value has one encoding only.
        #[test]
        fn encode_undoes_decode(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                prop_assert_eq!(&bytes[..reader.position()], encoded(value));
            }
        }
    }
}
