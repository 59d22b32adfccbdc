//! The NOTIFY that is sent over and over: encoded once, and only its stream id differs.

use bytes::{BufMut, BytesMut};

use crate::cli::value::Value;
use crate::spop::writer::PREFIX_LEN;
use crate::spop::{EncodeError, NotifyEncoder, TypedData, varint};

/// A NOTIFY without its stream id.
#[derive(Debug)]
pub(super) struct Template {
    type_and_flags: [u8; TYPE_AND_FLAGS],
    /// From the frame id on.
    rest: Vec<u8>,
}

impl Template {
    /// One message.
    ///
    /// # Errors
    /// When it has more args than a message can have.
    pub(super) fn new(message: &str, args: &[(&str, Value)]) -> Result<Self, EncodeError> {
        let typed: Vec<(&str, TypedData<'_>)> = args.iter().map(|(name, value)| (*name, value.typed_data())).collect();
        let mut frame = BytesMut::new();
        // A stream id that takes one byte.
        NotifyEncoder::new(1, FRAME_ID).message(message, &typed).encode(&mut frame)?;
        let mut type_and_flags = [0; TYPE_AND_FLAGS];
        type_and_flags.copy_from_slice(&frame[PREFIX_LEN..PREFIX_LEN + TYPE_AND_FLAGS]);
        Ok(Self { type_and_flags, rest: frame[PREFIX_LEN + TYPE_AND_FLAGS + 1..].to_vec() })
    }

    /// Appends the whole frame.
    #[inline]
    pub(super) fn append(&self, stream_id: u64, out: &mut Vec<u8>) {
        let len = self.frame_len(varint::encoded_len(stream_id));
        // It is at most max-frame-size, which was checked.
        out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        out.put_slice(&self.type_and_flags);
        varint::encode(stream_id, out);
        out.put_slice(&self.rest);
    }

    /// Bytes on the wire, with the length prefix and a stream id that takes one byte.
    pub(super) fn wire_len(&self) -> usize {
        PREFIX_LEN + self.frame_len(1)
    }

    /// The most that max-frame-size will have to hold, whatever the stream id.
    pub(super) fn max_frame_len(&self) -> usize {
        self.frame_len(varint::MAX_LEN)
    }

    fn frame_len(&self, stream_id_len: usize) -> usize {
        TYPE_AND_FLAGS + stream_id_len + self.rest.len()
    }
}

/// Each NOTIFY is the first, and only one, of its stream.
pub(super) const FRAME_ID: u64 = 1;

const TYPE_AND_FLAGS: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_encoder_for_any_stream_id(
            stream_id in prop_oneof![0..70_000_u64, any::<u64>(), Just(u64::MAX)],
            message in "[a-z-]{0,20}",
            path in ".{0,300}",
        ) {
            let args = [("path", Value::String(path.clone().into_bytes())), ("n", Value::Plain(TypedData::Int64(-1)))];
            let template = Template::new(&message, &args).unwrap();
            let mut out = vec![7];
            template.append(stream_id, &mut out);
            let mut expected = BytesMut::from(&[7_u8][..]);
            let typed = [("path", TypedData::String(path.as_bytes())), ("n", TypedData::Int64(-1))];
            NotifyEncoder::new(stream_id, FRAME_ID).message(&message, &typed).encode(&mut expected).unwrap();
            prop_assert_eq!(&out[..], &expected[..]);
            prop_assert!(out.len() - 1 - PREFIX_LEN <= template.max_frame_len());
            prop_assert_eq!(out.len() - 1, template.wire_len() + varint::encoded_len(stream_id) - 1);
        }
    }

    #[test]
    fn a_message_has_at_most_255_args() {
        let args = vec![("a", Value::Plain(TypedData::Null)); 256];
        assert!(Template::new("m", &args[1..]).is_ok());
        assert!(matches!(Template::new("m", &args), Err(EncodeError::TooManyArgs(256))));
    }
}
