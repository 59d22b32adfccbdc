//! HAPROXY-DISCONNECT and AGENT-DISCONNECT (SPOE §3.2.8, §3.2.9).

use std::fmt;
use std::str::Utf8Error;

use bytes::{Bytes, BytesMut};

use super::super::error::DecodeError;
use super::super::kv::{KvList, string_item, unsigned_item};
use super::super::status::StatusCode;
use super::super::typed_data::TypedData;
use super::super::writer::Writer;
use super::{Flags, FrameType};

/// Most bytes of a message that are sent. HAProxy up to 3.0 refuses a DISCONNECT frame with a longer one.
pub const MAX_MESSAGE_LEN: usize = 255;

/// Why a side ends the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The reason as a code.
    pub status: StatusCode,
    /// The reason as text, in no particular encoding; may be empty.
    pub message: Bytes,
}

impl Disconnect {
    /// A reason, with its text.
    pub fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: Bytes::copy_from_slice(message.as_bytes()) }
    }

    /// Decodes the payload of either DISCONNECT frame. Unknown items are skipped.
    ///
    /// A missing code reads as [`StatusCode::UNKNOWN`] and a missing message as empty: the connection ends anyway.
    ///
    /// # Errors
    ///
    /// When an item cannot be decoded or has the wrong type.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        let mut disconnect = Self { status: StatusCode::UNKNOWN, message: Bytes::new() };
        for item in KvList::new(payload) {
            match item? {
                (b"status-code", value) => disconnect.status = StatusCode(unsigned_item(STATUS_CODE, value)?),
                (b"message", value) => disconnect.message = Bytes::copy_from_slice(string_item(MESSAGE, value)?),
                _ => {}
            }
        }
        Ok(disconnect)
    }

    /// Appends the whole frame: [`FrameType::AGENT_DISCONNECT`] or [`FrameType::HAPROXY_DISCONNECT`]. The message is cut to
    /// [`MAX_MESSAGE_LEN`] bytes.
    pub fn encode(&self, frame_type: FrameType, out: &mut BytesMut) {
        let mut writer = Writer::frame(out, frame_type, Flags::FIN, 0, 0);
        writer.put_item(STATUS_CODE, &TypedData::Uint32(self.status.0));
        writer.put_item(MESSAGE, &TypedData::String(cut(&self.message)));
        writer.finish();
    }
}

/// The code, its sentence, and the message if it says more.
impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.message.is_empty() && self.message != self.status.sentence() {
            write!(f, ": {}", String::from_utf8_lossy(&self.message))?;
        }
        Ok(())
    }
}

/// As much of a message as may be sent, ending between characters if it is UTF-8.
fn cut(message: &[u8]) -> &[u8] {
    let Some(head) = message.get(..MAX_MESSAGE_LEN) else {
        return message;
    };
    let split = |error: Utf8Error| error.error_len().is_none().then(|| head.get(..error.valid_up_to())).flatten();
    str::from_utf8(head).err().and_then(split).unwrap_or(head)
}

const STATUS_CODE: &str = "status-code";
const MESSAGE: &str = "message";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::decoder::Decoder;
    use super::super::super::testing::hex;
    use super::*;

    fn round_trip(disconnect: &Disconnect) -> Disconnect {
        let mut out = BytesMut::new();
        disconnect.encode(FrameType::AGENT_DISCONNECT, &mut out);
        let frame = Decoder::new(1024).decode(&mut out).unwrap().unwrap();
        assert_eq!(frame.metadata.frame_type, FrameType::AGENT_DISCONNECT);
        Disconnect::decode(&frame.payload).unwrap()
    }

    #[test]
    fn bytes_are_those_of_haproxys_encoder() {
        let mut out = BytesMut::new();
        Disconnect::new(StatusCode::NORMAL, "normal").encode(FrameType::HAPROXY_DISCONNECT, &mut out);
        assert_eq!(
            out[..],
            hex("00000025 02 00000001 00 00
                 0b 7374617475732d636f6465 03 00
                 07 6d657373616765 08 06 6e6f726d616c")
        );
    }

    #[test]
    fn d21_messages_are_cut_to_255_bytes() {
        assert_eq!(round_trip(&Disconnect::new(StatusCode::IO, &"x".repeat(255))).message.len(), 255);
        assert_eq!(round_trip(&Disconnect::new(StatusCode::IO, &"x".repeat(256))).message.len(), 255);
        let bytes = Disconnect { status: StatusCode::IO, message: vec![0xff; 300].into() };
        assert_eq!(round_trip(&bytes).message.len(), 255);
    }

    #[test]
    fn d21_text_is_cut_between_characters() {
        let long = format!("x{}", "€".repeat(100));
        let cut = round_trip(&Disconnect::new(StatusCode::IO, &long)).message;
        assert_eq!(str::from_utf8(&cut).unwrap(), format!("x{}", "€".repeat(84)));
    }

    /// HAProxy reads a status code of any integer type, so do we; what is missing does not matter any more.
    #[test]
    fn decoding_is_lenient() {
        let decoded = |bytes: &str| Disconnect::decode(&hex(bytes).into());
        let status = "0b 7374617475732d636f6465";
        assert_eq!(decoded("").unwrap().status, StatusCode::UNKNOWN);
        assert_eq!(decoded(&format!("{status} 04 02")).unwrap(), Disconnect::new(StatusCode::TIMEOUT, ""));
        assert_eq!(decoded(&format!("01 78 00 {status} 03 02")).unwrap().status, StatusCode::TIMEOUT);
        assert!(decoded(&format!("{status} 08 01 32")).is_err());
    }

    #[test]
    fn display_does_not_say_it_twice() {
        assert_eq!(Disconnect::new(StatusCode::NORMAL, "normal").to_string(), "0 (normal)");
        assert_eq!(Disconnect::new(StatusCode::UNKNOWN, "why").to_string(), "99 (an unknown error occurred): why");
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(status in any::<u32>(), message in "\\PC{0,80}") {
            let disconnect = Disconnect::new(StatusCode(status), &message);
            prop_assume!(disconnect.message.len() <= MAX_MESSAGE_LEN);
            prop_assert_eq!(round_trip(&disconnect), disconnect);
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Disconnect::decode(&bytes.into());
        }
    }
}
