//! Length prefix and size limit: bytes to frames (SPOE §3.2).

use bytes::{Buf, BytesMut};

use super::error::DecodeError;
use super::frame::{Frame, HEADER_MIN_LEN};
use super::reader::Reader;
use super::writer::PREFIX_LEN;

/// Cuts a stream of bytes into frames.
///
/// It allocates and reserves nothing: how the buffer grows is the reader's business, and it need never hold more than the
/// limit, the prefix and what one read brings along. A prefix that cannot be is refused as soon as its four bytes are
/// there, so an HTTP request (`GET ` is 1.1 GiB) or a TLS handshake (352 MiB) on the port costs four bytes.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_frame_size: u32,
    needed: usize,
}

impl Decoder {
    /// A decoder that accepts frames of at most `max_frame_size` bytes, without the prefix.
    pub const fn new(max_frame_size: u32) -> Self {
        Self { max_frame_size, needed: 0 }
    }

    /// Changes the limit, from the next frame on.
    pub const fn set_max_frame_size(&mut self, max_frame_size: u32) {
        self.max_frame_size = max_frame_size;
    }

    /// Takes the next frame off the front of `buffer`, without copying it; `None` when it is not all there yet.
    ///
    /// # Errors
    ///
    /// When the length is above the limit or below that of a frame header, or the header cannot be decoded. Where the next
    /// frame begins is unknown then: the connection must be closed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        let have = buffer.len();
        let Ok(prefix) = Reader::new(buffer).u32() else {
            self.needed = if have == 0 { 0 } else { PREFIX_LEN.saturating_sub(have) };
            return Ok(None);
        };
        let whole = self.check(prefix)?.saturating_add(PREFIX_LEN);
        self.needed = whole.saturating_sub(have);
        if self.needed > 0 {
            return Ok(None);
        }
        let mut bytes = buffer.split_to(whole).freeze();
        bytes.advance(PREFIX_LEN);
        Frame::decode(bytes).map(Some)
    }

    /// Bytes still missing for the frame at hand, as of the last [`Decoder::decode`]; of its prefix, while that is not all
    /// there. 0 when no frame has begun.
    pub const fn needed(&self) -> usize {
        self.needed
    }

    fn check(&self, len: u32) -> Result<usize, DecodeError> {
        if len > self.max_frame_size {
            return Err(DecodeError::FrameTooBig { len, max: self.max_frame_size });
        }
        usize::try_from(len).ok().filter(|len| *len >= HEADER_MIN_LEN).ok_or(DecodeError::FrameTooSmall { len })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::super::frame::{Flags, FrameType};
    use super::super::testing::{hex, numbers};
    use super::super::writer::Writer;
    use super::*;

    const MAX: u32 = 16_380;

    fn frame(out: &mut BytesMut, stream_id: u64, frame_id: u64, payload: &[u8]) {
        let mut writer = Writer::frame(out, FrameType::NOTIFY, Flags::FIN, stream_id, frame_id);
        writer.put_slice(payload);
        writer.finish();
    }

    fn first(bytes: &[u8]) -> Result<Option<Frame>, DecodeError> {
        Decoder::new(MAX).decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn d08_what_is_no_spop_is_refused_after_four_bytes() {
        let get = u32::from_be_bytes(*b"GET ");
        assert_eq!(first(b"GET "), Err(DecodeError::FrameTooBig { len: get, max: MAX }));
        assert_eq!(first(b"PRI "), Err(DecodeError::FrameTooBig { len: u32::from_be_bytes(*b"PRI "), max: MAX }));
        assert_eq!(first(&hex("16030100")), Err(DecodeError::FrameTooBig { len: 0x1603_0100, max: MAX }), "a TLS hello");
        assert_eq!(first(&hex("ffffffff")), Err(DecodeError::FrameTooBig { len: u32::MAX, max: MAX }));
    }

    #[test]
    fn d08_lengths_below_a_header_are_refused() {
        for len in 0..7 {
            assert_eq!(first(&[0, 0, 0, len]), Err(DecodeError::FrameTooSmall { len: len.into() }));
        }
        assert_eq!(first(&[0, 0, 0, 7]), Ok(None));
    }

    #[test]
    fn d08_limit_is_inclusive_and_does_not_count_the_prefix() {
        assert_eq!(first(&MAX.to_be_bytes()), Ok(None));
        assert_eq!(first(&(MAX + 1).to_be_bytes()), Err(DecodeError::FrameTooBig { len: MAX + 1, max: MAX }));
    }

    #[test]
    fn d07_offers_above_64_kib_are_within_a_raised_limit() {
        let mut out = BytesMut::new();
        frame(&mut out, 1, 1, &[0; 100_000]);
        let mut decoder = Decoder::new(MAX);
        decoder.set_max_frame_size(128 * 1024);
        assert_eq!(decoder.decode(&mut out).unwrap().unwrap().payload.len(), 100_000);
    }

    /// A peer that announces a big frame gets no memory for the announcement.
    #[test]
    fn d08_nothing_is_reserved() {
        let mut buffer = BytesMut::with_capacity(64);
        buffer.put_u32(MAX);
        assert_eq!(Decoder::new(MAX).decode(&mut buffer), Ok(None));
        assert_eq!(buffer.capacity(), 64);
    }

    #[test]
    fn d08_endless_ids_are_refused() {
        let mut bytes = hex("00000020 03 00000001");
        bytes.resize(36, 0xff);
        assert_eq!(first(&bytes), Err(DecodeError::VarintTooLong));
    }

    #[test]
    fn d30_needed_counts_down_to_the_frame() {
        let mut whole = BytesMut::new();
        frame(&mut whole, 1, 1, b"abc");
        let (mut decoder, mut buffer) = (Decoder::new(MAX), BytesMut::new());
        assert_eq!((decoder.decode(&mut buffer), decoder.needed()), (Ok(None), 0));
        for (at, byte) in whole.iter().enumerate() {
            buffer.put_u8(*byte);
            let done = decoder.decode(&mut buffer).unwrap();
            let whole_len = if at < 3 { 4 } else { whole.len() };
            assert_eq!((done.is_some(), decoder.needed()), (at + 1 == whole.len(), whole_len - at - 1));
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn payload_is_not_copied() {
        let mut buffer = BytesMut::new();
        frame(&mut buffer, 1, 1, b"abc");
        let address = buffer.as_ptr();
        let frame = Decoder::new(MAX).decode(&mut buffer).unwrap().unwrap();
        assert_eq!(frame.payload.as_ptr(), address.wrapping_add(11));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn d30_chunks_do_not_matter(
            frames in prop::collection::vec((numbers(), numbers(), prop::collection::vec(any::<u8>(), 0..200)), 0..8),
            chunk in 1..97_usize,
        ) {
            let mut wire = BytesMut::new();
            for (stream_id, frame_id, payload) in &frames {
                frame(&mut wire, *stream_id, *frame_id, payload);
            }
            let (mut decoder, mut buffer, mut found) = (Decoder::new(MAX), BytesMut::new(), Vec::new());
            for chunk in wire.chunks(chunk) {
                buffer.put_slice(chunk);
                while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                    found.push((frame.metadata.stream_id, frame.metadata.frame_id, frame.payload.to_vec()));
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200), max in 0..100_u32) {
            let (mut decoder, mut buffer) = (Decoder::new(max), BytesMut::from(&bytes[..]));
            while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
                prop_assert!(u32::try_from(frame.payload.len() + HEADER_MIN_LEN).unwrap() <= max);
            }
            prop_assert!(buffer.len() <= bytes.len());
        }
    }
}
