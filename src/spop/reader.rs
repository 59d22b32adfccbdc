//! The one checked cursor over bytes that a peer sent.

use super::error::DecodeError;
use super::varint;

/// Takes values off the front of a byte slice, borrowing what it hands out.
///
/// After an error the position is unspecified but within the slice; decoding is given up then.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the front of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Bytes not yet taken.
    #[inline]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been taken.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes taken so far.
    #[inline]
    pub const fn position(&self) -> usize {
        self.len.saturating_sub(self.rest.len())
    }

    /// What is left, without taking it.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Four bytes in network order.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(*head)
    }

    /// A variable-length integer (SPOE §3.1) of at most [`varint::MAX_LEN`] bytes.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = self.u8().map(u64::from)?;
        if first < varint::LONG_FROM { Ok(first) } else { self.varint_tail(first) }
    }

    /// The next `len` bytes, borrowed.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(head)
    }

    /// A varint length and that many bytes, borrowed: SPOE's STRING, which need not be UTF-8.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.varint()?;
        // A length beyond the address space is beyond the slice too.
        self.bytes(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Insists that everything has been taken.
    #[inline]
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    /// What follows a first byte of 240 or more. HAProxy's decoder would go on past 64 bits; here the tenth byte is the last.
    fn varint_tail(&mut self, first: u64) -> Result<u64, DecodeError> {
        let mut value = first;
        for shift in (4..u64::BITS).step_by(7) {
            let byte = self.u8().map(u64::from)?;
            let shifted = byte << shift;
            if shifted >> shift != byte {
                return Err(DecodeError::VarintTooLong);
            }
            value = value.checked_add(shifted).ok_or(DecodeError::VarintTooLong)?;
            if byte < varint::CONTINUES_FROM {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_from_the_front_and_counts() {
        let mut reader = Reader::new(&[7, 0, 0, 1, 0, 3, b'a', b'b', b'c', 9]);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.u32(), Ok(256));
        assert_eq!(reader.string(), Ok(&b"abc"[..]));
        assert_eq!((reader.position(), reader.remaining()), (9, 1));
        assert_eq!(reader.clone().finish(), Err(DecodeError::TrailingBytes));
        assert_eq!(reader.bytes(1), Ok(&[9][..]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error() {
        assert_eq!(Reader::new(&[3, b'a', b'b']).string(), Err(DecodeError::UnexpectedEnd));
        // A string of 2^64 - 1 bytes.
        let endless = [0xff, 0xf0, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0xfe, 0x0e, b'a'];
        assert_eq!(Reader::new(&endless).string(), Err(DecodeError::UnexpectedEnd));
        assert_eq!(Reader::new(&[0; 3]).u32(), Err(DecodeError::UnexpectedEnd));
        assert_eq!(Reader::new(&[]).u8(), Err(DecodeError::UnexpectedEnd));
    }
}
