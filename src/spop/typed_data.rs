//! Typed values (SPOE §3.1).
//!
//! The text draws the type in the high nibble; HAProxy puts the **type in the low nibble** and the flags in the high one,
//! and type 5 is a 64-bit unsigned integer.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::BufMut;

pub use super::data_type::DataType;
use super::error::DecodeError;
use super::reader::Reader;
use super::varint;
use super::writer::{put_string, string_len};

/// A value as it is in a frame, borrowed from it.
///
/// HAProxy itself sends only NULL, BOOL, INT64, IPV4, IPV6, STRING and BINARY; NULL stands for a sample that is not
/// available, and unsets a variable when it is set to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TypedData<'a> {
    /// No value.
    Null,
    /// True or false, kept in the flags.
    Bool(bool),
    /// 32-bit signed integer.
    Int32(i32),
    /// 32-bit unsigned integer.
    Uint32(u32),
    /// 64-bit signed integer.
    Int64(i64),
    /// 64-bit unsigned integer. HAProxy stores it as a signed one.
    Uint64(u64),
    /// IPv4 address.
    Ipv4(Ipv4Addr),
    /// IPv6 address.
    Ipv6(Ipv6Addr),
    /// Text in no particular encoding: header values need not be UTF-8.
    String(&'a [u8]),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> TypedData<'a> {
    /// Takes one value off `reader`.
    ///
    /// # Errors
    ///
    /// When the bytes end inside it, its type is unknown, or a 32-bit type holds more than 32 bits.
    #[inline]
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let head = reader.u8()?;
        Ok(match DataType(head & TYPE_MASK) {
            DataType::NULL => Self::Null,
            DataType::BOOL => Self::Bool(head & FLAG_TRUE != 0),
            DataType::INT32 => Self::Int32(narrow_signed(reader.varint()?)?),
            DataType::UINT32 => Self::Uint32(narrow(reader.varint()?)?),
            DataType::INT64 => Self::Int64(reader.varint()?.cast_signed()),
            DataType::UINT64 => Self::Uint64(reader.varint()?),
            DataType::IPV4 => Self::Ipv4(reader.array::<4>()?.into()),
            DataType::IPV6 => Self::Ipv6(reader.array::<16>()?.into()),
            DataType::STRING => Self::String(reader.string()?),
            DataType::BINARY => Self::Binary(reader.string()?),
            DataType(unknown) => return Err(DecodeError::UnknownDataType(unknown)),
        })
    }

    /// Appends the value.
    ///
    /// Negative integers are written as 64-bit two's complement, ten bytes: HAProxy reads every integer type into 64 bits,
    /// so a shorter form would turn positive. The flags of a STRING are zero, or HAProxy would read it as BINARY.
    pub fn encode(&self, out: &mut impl BufMut) {
        let flags = if *self == Self::Bool(true) { FLAG_TRUE } else { 0 };
        out.put_u8(self.data_type().0 | flags);
        match *self {
            Self::Null | Self::Bool(_) => {}
            Self::Int32(value) => varint::encode(i64::from(value).cast_unsigned(), out),
            Self::Uint32(value) => varint::encode(value.into(), out),
            Self::Int64(value) => varint::encode(value.cast_unsigned(), out),
            Self::Uint64(value) => varint::encode(value, out),
            Self::Ipv4(address) => out.put_slice(&address.octets()),
            Self::Ipv6(address) => out.put_slice(&address.octets()),
            Self::String(bytes) | Self::Binary(bytes) => put_string(bytes, out),
        }
    }

    /// Bytes that [`TypedData::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let data = match *self {
            Self::Null | Self::Bool(_) => 0,
            Self::Int32(value) => varint::encoded_len(i64::from(value).cast_unsigned()),
            Self::Uint32(value) => varint::encoded_len(value.into()),
            Self::Int64(value) => varint::encoded_len(value.cast_unsigned()),
            Self::Uint64(value) => varint::encoded_len(value),
            Self::Ipv4(_) => 4,
            Self::Ipv6(_) => 16,
            Self::String(bytes) | Self::Binary(bytes) => string_len(bytes),
        };
        data.saturating_add(1)
    }

    /// The type this value is sent as.
    #[inline]
    pub const fn data_type(&self) -> DataType {
        match self {
            Self::Null => DataType::NULL,
            Self::Bool(_) => DataType::BOOL,
            Self::Int32(_) => DataType::INT32,
            Self::Uint32(_) => DataType::UINT32,
            Self::Int64(_) => DataType::INT64,
            Self::Uint64(_) => DataType::UINT64,
            Self::Ipv4(_) => DataType::IPV4,
            Self::Ipv6(_) => DataType::IPV6,
            Self::String(_) => DataType::STRING,
            Self::Binary(_) => DataType::BINARY,
        }
    }

    /// The value if it is an integer that is not negative, whatever its width.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Int32(value) => u64::try_from(value).ok(),
            Self::Uint32(value) => Some(value.into()),
            Self::Int64(value) => u64::try_from(value).ok(),
            Self::Uint64(value) => Some(value),
            _ => None,
        }
    }
}

impl From<bool> for TypedData<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for TypedData<'_> {
    fn from(value: i64) -> Self {
        Self::Int64(value)
    }
}

impl From<u64> for TypedData<'_> {
    fn from(value: u64) -> Self {
        Self::Uint64(value)
    }
}

impl From<Ipv4Addr> for TypedData<'_> {
    fn from(address: Ipv4Addr) -> Self {
        Self::Ipv4(address)
    }
}

impl From<Ipv6Addr> for TypedData<'_> {
    fn from(address: Ipv6Addr) -> Self {
        Self::Ipv6(address)
    }
}

impl<'a> From<&'a str> for TypedData<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for TypedData<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

/// An unsigned 32-bit value.
fn narrow(value: u64) -> Result<u32, DecodeError> {
    u32::try_from(value).map_err(|_| DecodeError::IntegerOutOfRange)
}

/// A signed 32-bit value, sign-extended to 64 bits or, as some peers send it, left at 32.
fn narrow_signed(value: u64) -> Result<i32, DecodeError> {
    match u32::try_from(value) {
        Ok(short) => Ok(short.cast_signed()),
        Err(_) => i32::try_from(value.cast_signed()).map_err(|_| DecodeError::IntegerOutOfRange),
    }
}

const TYPE_MASK: u8 = 0x0f;

/// Lowest bit of the flags nibble.
const FLAG_TRUE: u8 = 0x10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{hex, values};
    use super::*;

    fn encoded(value: TypedData<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    fn decoded(bytes: &[u8]) -> Result<TypedData<'_>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = TypedData::decode(&mut reader)?;
        reader.finish().map(|()| value)
    }

    /// Type in the low nibble, as HAProxy has it and SPOE §3.1 does not.
    #[test]
    fn bytes_are_haproxys() {
        assert_eq!(encoded(TypedData::Null), hex("00"));
        assert_eq!(encoded(TypedData::Int64(300)), hex("04 fc03"));
        assert_eq!(encoded(TypedData::Uint32(16_380)), hex("03 fcf006"));
        assert_eq!(encoded(Ipv4Addr::LOCALHOST.into()), hex("06 7f000001"));
        assert_eq!(encoded(Ipv6Addr::LOCALHOST.into()), hex("07 00000000000000000000000000000001"));
        assert_eq!(encoded("GET".into()), hex("08 03 474554"));
        assert_eq!(encoded(TypedData::Binary(&[0, 0xff])), hex("09 02 00ff"));
    }

    #[test]
    fn d20_bool_is_in_the_flags() {
        assert_eq!(encoded(false.into()), hex("01"));
        assert_eq!(encoded(true.into()), hex("11"));
        assert_eq!(decoded(&hex("01")), Ok(TypedData::Bool(false)));
        assert_eq!(decoded(&hex("11")), Ok(TypedData::Bool(true)));
        // Only the first flag counts (SPOE §3.1).
        assert_eq!(decoded(&hex("21")), Ok(TypedData::Bool(false)));
    }

    #[test]
    fn d20_negative_integers_are_64_bits_long() {
        let minus_one = hex("fff0fefefefefefefe0e");
        assert_eq!(encoded(TypedData::Int64(-1))[1..], minus_one);
        assert_eq!(encoded(TypedData::Int32(-1))[1..], minus_one);
        assert_eq!(encoded(TypedData::Int64(i64::MIN)).len(), 11);
    }

    #[test]
    fn d20_negative_int32_decodes_from_both_forms() {
        for value in [-1, i32::MIN, -7] {
            assert_eq!(decoded(&encoded(TypedData::Int32(value))), Ok(TypedData::Int32(value)));
            let mut short = vec![2];
            varint::encode(value.cast_unsigned().into(), &mut short);
            assert_eq!(decoded(&short), Ok(TypedData::Int32(value)), "32-bit form");
        }
    }

    #[test]
    fn d20_null_and_string_have_no_flags() {
        assert_eq!(encoded(TypedData::Null)[0], 0x00);
        assert_eq!(encoded("x".into())[0], 0x08);
    }

    /// HAProxy would read a STRING with flags as BINARY; here it stays what it says.
    #[test]
    fn d20_flags_do_not_change_a_string() {
        assert_eq!(decoded(&hex("18 01 78")), Ok(TypedData::String(b"x")));
    }

    #[test]
    fn d29_strings_are_bytes() {
        assert_eq!(decoded(&hex("08 02 fffe")), Ok(TypedData::String(&[0xff, 0xfe])));
    }

    #[test]
    fn thirty_two_bits_are_not_cut() {
        for head in [2, 3] {
            let mut bytes = vec![head];
            varint::encode(1 << 32, &mut bytes);
            assert_eq!(decoded(&bytes), Err(DecodeError::IntegerOutOfRange));
        }
    }

    #[test]
    fn unused_types_are_refused() {
        for unused in 10..=15 {
            assert_eq!(decoded(&[unused]), Err(DecodeError::UnknownDataType(unused)));
            assert_eq!(decoded(&[0xf0 | unused]), Err(DecodeError::UnknownDataType(unused)));
        }
    }

    #[test]
    fn as_u64_is_for_integers_that_are_not_negative() {
        assert_eq!(TypedData::Int32(5).as_u64(), Some(5));
        assert_eq!(TypedData::Int64(-5).as_u64(), None);
        assert_eq!(TypedData::Uint64(u64::MAX).as_u64(), Some(u64::MAX));
        assert_eq!(TypedData::Bool(true).as_u64(), None);
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(owned in values()) {
            let bytes = encoded(owned.typed());
            prop_assert_eq!(bytes.len(), owned.typed().encoded_len());
            prop_assert_eq!(decoded(&bytes), Ok(owned.typed()));
        }

        #[test]
        fn cut_values_are_errors(owned in values(), at in any::<prop::sample::Index>()) {
            let bytes = encoded(owned.typed());
            prop_assert!(decoded(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decoded(&bytes);
        }
    }
}
