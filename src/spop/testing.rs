//! Generators that the tests of this module share.

use proptest::collection::vec;
use proptest::prelude::*;

use super::action::VarScope;
use super::typed_data::TypedData;

/// A value with its bytes, since [`TypedData`] only borrows them.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    kind: u8,
    number: u64,
    bytes: Vec<u8>,
}

impl Owned {
    pub(super) fn typed(&self) -> TypedData<'_> {
        let [a, b, c, d, ..] = self.number.to_be_bytes();
        match self.kind {
            0 => TypedData::Null,
            1 => TypedData::Bool(self.number.is_multiple_of(2)),
            2 => TypedData::Int32(i32::from_be_bytes([a, b, c, d])),
            3 => TypedData::Uint32(u32::from_be_bytes([a, b, c, d])),
            4 => TypedData::Int64(self.number.cast_signed()),
            5 => TypedData::Uint64(self.number),
            6 => TypedData::Ipv4([a, b, c, d].into()),
            7 => TypedData::Ipv6((u128::from(self.number) << 64 | 1).into()),
            8 => TypedData::String(&self.bytes),
            _ => TypedData::Binary(&self.bytes),
        }
    }
}

/// A named value: an arg, or an item of a KV-LIST.
pub(super) type OwnedArg = (Vec<u8>, Owned);

pub(super) fn values() -> impl Strategy<Value = Owned> {
    (0..10_u8, numbers(), vec(any::<u8>(), 0..300)).prop_map(|(kind, number, bytes)| Owned { kind, number, bytes })
}

/// Integers of every length on the wire, not only the longest.
pub(super) fn numbers() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

/// Arg names: any bytes, empty ones too.
pub(super) fn args() -> impl Strategy<Value = Vec<OwnedArg>> {
    vec((vec(any::<u8>(), 0..12), values()), 0..8)
}

pub(super) fn borrowed(args: &[OwnedArg]) -> Vec<(&[u8], TypedData<'_>)> {
    args.iter().map(|(name, value)| (name.as_slice(), value.typed())).collect()
}

pub(super) fn scopes() -> impl Strategy<Value = VarScope> {
    prop::sample::select(VarScope::ALL.to_vec())
}

/// Bytes written as HAProxy's source writes them, spaces for reading.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits")).collect()
}
