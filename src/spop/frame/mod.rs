//! A frame: type, flags, two ids, payload (SPOE §3.2). One file per kind of payload.

use std::fmt;
use std::ops::BitOr;

use bytes::Bytes;

use super::error::DecodeError;
use super::reader::Reader;

pub mod ack;
pub mod disconnect;
pub mod hello;
pub mod notify;

/// Bytes of the shortest frame header: type, flags, and two ids of one byte.
pub const HEADER_MIN_LEN: usize = 7;

/// One frame, without its length prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What is in front of the payload.
    pub metadata: Metadata,
    /// Everything behind the ids, not yet decoded.
    pub payload: Bytes,
}

impl Frame {
    /// Decodes the header of `bytes`, a whole frame without its length prefix. The payload shares its memory.
    ///
    /// # Errors
    ///
    /// When the bytes end inside the header, or an id exceeds 64 bits.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&bytes);
        let metadata = Metadata::decode(&mut reader)?;
        let payload = bytes.slice(reader.position()..);
        Ok(Self { metadata, payload })
    }
}

/// Type, flags and ids of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What kind of frame it is.
    pub frame_type: FrameType,
    /// FIN and ABORT.
    pub flags: Flags,
    /// Which stream of HAProxy; 0 in HELLO and DISCONNECT.
    pub stream_id: u64,
    /// Which NOTIFY of that stream; 0 in HELLO and DISCONNECT.
    pub frame_id: u64,
}

impl Metadata {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            frame_type: FrameType(reader.u8()?),
            flags: Flags(reader.u32()?),
            stream_id: reader.varint()?,
            frame_id: reader.varint()?,
        })
    }
}

/// Kind of a frame (SPOE §3.2.2). Unknown ones are kept; the session decides what to do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameType(pub u8);

impl FrameType {
    /// Continues a fragmented payload. Deprecated.
    pub const UNSET: Self = Self(0);
    /// HAProxy opens a connection.
    pub const HAPROXY_HELLO: Self = Self(1);
    /// HAProxy ends a connection.
    pub const HAPROXY_DISCONNECT: Self = Self(2);
    /// HAProxy asks.
    pub const NOTIFY: Self = Self(3);
    /// The agent answers a HELLO.
    pub const AGENT_HELLO: Self = Self(101);
    /// The agent ends a connection.
    pub const AGENT_DISCONNECT: Self = Self(102);
    /// The agent answers a NOTIFY.
    pub const ACK: Self = Self(103);

    /// Whether only an agent sends it.
    pub const fn is_from_agent(self) -> bool {
        matches!(self, Self::AGENT_HELLO | Self::AGENT_DISCONNECT | Self::ACK)
    }
}

/// SPOE.txt's name, or the number.
impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::UNSET => "UNSET",
            Self::HAPROXY_HELLO => "HAPROXY-HELLO",
            Self::HAPROXY_DISCONNECT => "HAPROXY-DISCONNECT",
            Self::NOTIFY => "NOTIFY",
            Self::AGENT_HELLO => "AGENT-HELLO",
            Self::AGENT_DISCONNECT => "AGENT-DISCONNECT",
            Self::ACK => "ACK",
            Self(unknown) => return write!(f, "type {unknown}"),
        })
    }
}

/// Flags of a frame, bit 0 being the lowest. Reserved bits are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// The payload ends in this frame. Set on every frame since fragmentation is gone.
    pub const FIN: Self = Self(1);
    /// What the ids name is to be cancelled.
    pub const ABORT: Self = Self(2);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::hex;
    use super::*;

    #[test]
    fn header_is_that_of_spoe_3_2() {
        let frame = Frame::decode(hex("03 00000001 f000 01 aabb").into()).unwrap();
        let metadata = Metadata { frame_type: FrameType::NOTIFY, flags: Flags::FIN, stream_id: 240, frame_id: 1 };
        assert_eq!(frame, Frame { metadata, payload: hex("aabb").into() });
    }

    /// SPOP 1.0 had them in host order, which reads as flag 24 here (d3).
    #[test]
    fn d03_flags_are_in_network_order() {
        let frame = Frame::decode(hex("01 01000000 00 00").into()).unwrap();
        assert!(!frame.metadata.flags.contains(Flags::FIN));
    }

    #[test]
    fn unknown_types_and_flags_are_kept() {
        let frame = Frame::decode(hex("2a fffffff2 00 00").into()).unwrap();
        assert_eq!(frame.metadata.frame_type, FrameType(42));
        assert_eq!(frame.metadata.frame_type.to_string(), "type 42");
        assert_eq!(frame.metadata.flags, Flags(0xffff_fff2));
        assert!(frame.metadata.flags.contains(Flags::ABORT) && !frame.metadata.flags.contains(Flags::FIN));
        assert!(!Flags::FIN.contains(Flags::FIN | Flags::ABORT));
    }

    #[test]
    fn cut_headers_are_errors() {
        let whole = hex("03 00000001 f000 f000");
        for len in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..len]);
            assert_eq!(Frame::decode(cut), Err(DecodeError::UnexpectedEnd), "{len} bytes");
        }
    }
}
