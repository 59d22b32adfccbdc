//! KV-LIST, the payload of HELLO and DISCONNECT frames (SPOE §3.2).

use super::error::DecodeError;
use super::reader::Reader;
use super::typed_data::TypedData;

/// Items of a KV-LIST in the order in which they were sent; ends after the first error.
#[derive(Clone, Debug)]
pub struct KvList<'a> {
    reader: Reader<'a>,
}

impl<'a> KvList<'a> {
    /// The items in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload) }
    }
}

impl<'a> Iterator for KvList<'a> {
    type Item = Result<(&'a [u8], TypedData<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let item = decode_item(&mut self.reader);
        if item.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(item)
    }
}

/// A name and its value. Also the shape of a message's arg.
#[inline]
pub(super) fn decode_item<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], TypedData<'a>), DecodeError> {
    Ok((reader.string()?, TypedData::decode(reader)?))
}

/// The bytes of a STRING item; `key` is for the error.
pub(super) fn string_item<'a>(key: &'static str, value: TypedData<'a>) -> Result<&'a [u8], DecodeError> {
    match value {
        TypedData::String(bytes) => Ok(bytes),
        other => Err(DecodeError::BadItemType { key, found: other.data_type() }),
    }
}

/// An unsigned item, of any integer type as HAProxy accepts it; `key` is for the error. More than 32 bits become the most.
pub(super) fn unsigned_item(key: &'static str, value: TypedData<'_>) -> Result<u32, DecodeError> {
    match value {
        TypedData::Int32(_) | TypedData::Uint32(_) | TypedData::Int64(_) | TypedData::Uint64(_) => {
            let value = value.as_u64().ok_or(DecodeError::BadItem(key))?;
            Ok(u32::try_from(value).unwrap_or(u32::MAX))
        }
        other => Err(DecodeError::BadItemType { key, found: other.data_type() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{args, borrowed};
    use super::super::writer::put_string;
    use super::*;

    proptest! {
        #[test]
        fn decode_undoes_encode(items in args()) {
            let items = borrowed(&items);
            let mut bytes = Vec::new();
            for (key, value) in &items {
                put_string(key, &mut bytes);
                value.encode(&mut bytes);
            }
            prop_assert_eq!(KvList::new(&bytes).collect::<Result<Vec<_>, _>>(), Ok(items));
        }

        #[test]
        fn any_bytes_end_in_at_most_one_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let items: Vec<_> = KvList::new(&bytes).collect();
            prop_assert!(items.iter().rev().skip(1).all(Result::is_ok));
            prop_assert!(items.len() <= bytes.len() / 2 + 1, "an item takes two bytes or more");
        }
    }

    #[test]
    fn unsigned_items_may_be_of_any_integer_type() {
        for value in [TypedData::Int32(9), TypedData::Uint32(9), TypedData::Int64(9), TypedData::Uint64(9)] {
            assert_eq!(unsigned_item("n", value), Ok(9));
        }
        assert_eq!(unsigned_item("n", TypedData::Uint64(u64::MAX)), Ok(u32::MAX));
        assert_eq!(unsigned_item("n", TypedData::Int64(-1)), Err(DecodeError::BadItem("n")));
        let text = TypedData::from("9");
        assert_eq!(unsigned_item("n", text), Err(DecodeError::BadItemType { key: "n", found: text.data_type() }));
    }
}
