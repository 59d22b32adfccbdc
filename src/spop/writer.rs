//! Appends one whole frame to a buffer: the length is patched in last.

use bytes::{BufMut, BytesMut};

use super::frame::{Flags, FrameType};
use super::typed_data::TypedData;
use super::varint;

/// Bytes of the length prefix, which max-frame-size does not count.
pub const PREFIX_LEN: usize = 4;

/// A frame being appended.
///
/// The frame is contiguous, and it is whole or absent: a writer that is dropped before [`Writer::finish`] takes back what
/// it wrote. HAProxy 3.2 resets a connection whose AGENT-HELLO arrives in pieces, and mixed-up ACKs look to it like
/// frames that are too big.
#[derive(Debug)]
#[must_use = "a frame that is not finished is taken back"]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    start: usize,
    finished: bool,
}

impl<'a> Writer<'a> {
    /// Begins a frame: leaves room for the length, then writes type, flags and ids (SPOE §3.2).
    pub fn frame(out: &'a mut BytesMut, frame_type: FrameType, flags: Flags, stream_id: u64, frame_id: u64) -> Self {
        let start = out.len();
        out.put_u32(0);
        out.put_u8(frame_type.0);
        out.put_u32(flags.0);
        varint::encode(stream_id, out);
        varint::encode(frame_id, out);
        Self { out, start, finished: false }
    }

    /// Appends one byte.
    pub fn put_u8(&mut self, byte: u8) {
        self.out.put_u8(byte);
    }

    /// Appends bytes as they are.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// Appends a variable-length integer.
    pub fn put_varint(&mut self, value: u64) {
        varint::encode(value, self.out);
    }

    /// Appends a varint length and the bytes.
    pub fn put_string(&mut self, bytes: &[u8]) {
        put_string(bytes, self.out);
    }

    /// Appends a value with its type byte.
    pub fn put_typed(&mut self, value: &TypedData<'_>) {
        value.encode(self.out);
    }

    /// Appends one item of a KV-LIST.
    pub fn put_item(&mut self, key: &str, value: &TypedData<'_>) {
        self.put_string(key.as_bytes());
        self.put_typed(value);
    }

    /// Patches the length in and returns it: the frame's bytes without the prefix.
    pub fn finish(mut self) -> usize {
        let len = self.out.len().saturating_sub(self.start).saturating_sub(PREFIX_LEN);
        // A buffer of more than 4 GiB is out of reach: every caller bounds its frame by max-frame-size.
        let prefix = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(place) = self.out.get_mut(self.start..).and_then(<[u8]>::first_chunk_mut) {
            *place = prefix;
        }
        self.finished = true;
        len
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

/// Appends a varint length and the bytes: SPOE's STRING without a type byte.
pub fn put_string(bytes: &[u8], out: &mut impl BufMut) {
    varint::encode(wire_len(bytes), out);
    out.put_slice(bytes);
}

/// Bytes that [`put_string`] appends.
pub(super) fn string_len(bytes: &[u8]) -> usize {
    varint::encoded_len(wire_len(bytes)).saturating_add(bytes.len())
}

/// A slice's length as the wire counts it.
fn wire_len(bytes: &[u8]) -> u64 {
    // No platform has slices of more than 2^64 bytes.
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::hex;
    use super::*;

    #[test]
    fn length_is_patched_behind_what_was_there() {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut writer = Writer::frame(&mut out, FrameType::ACK, Flags::FIN, 1, 240);
        writer.put_u8(0xaa);
        assert_eq!(writer.finish(), 9);
        assert_eq!(out[..6], *b"before");
        assert_eq!(out[6..], hex("00000009 67 00000001 01 f000 aa"));
    }

    /// Half a frame would garble every frame behind it.
    #[test]
    fn d02_unfinished_frame_leaves_nothing() {
        let mut out = BytesMut::from(&b"before"[..]);
        Writer::frame(&mut out, FrameType::ACK, Flags::FIN, 1, 1).put_slice(b"half");
        assert_eq!(out, b"before"[..]);
    }

    #[test]
    fn item_is_a_name_and_a_typed_value() {
        let mut out = BytesMut::new();
        let mut writer = Writer::frame(&mut out, FrameType::AGENT_HELLO, Flags::FIN, 0, 0);
        writer.put_item("version", &"2.0".into());
        writer.finish();
        assert_eq!(out[11..], hex("07 76657273696f6e 08 03 322e30"));
    }
}
