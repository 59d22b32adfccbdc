//! What can be wrong with bytes, with a conversation, and with an action; and the status code that says so to the peer.

use thiserror::Error;

use super::frame::FrameType;
use super::frame::hello::MIN_FRAME_SIZE;
use super::frame::notify::{MAX_ARGS, MAX_MESSAGES};
use super::status::StatusCode;
use super::typed_data::DataType;

/// Bytes that are not what SPOE.txt says they should be. The peer is to blame, and the connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("bytes end inside a value")]
    UnexpectedEnd,
    /// Bytes follow where the payload should have ended.
    #[error("bytes follow the end of the payload")]
    TrailingBytes,
    /// A varint of more than ten bytes or 64 bits.
    #[error("variable-length integer exceeds 64 bits")]
    VarintTooLong,
    /// A 32-bit type holds a value that needs more bits.
    #[error("32-bit integer out of range")]
    IntegerOutOfRange,
    /// The length prefix is above the limit. Seen when something that is not HAProxy connects.
    #[error("frame of {len} bytes exceeds the limit of {max}{}", stranger(*len))]
    FrameTooBig {
        /// Bytes that the prefix announces.
        len: u32,
        /// Most bytes accepted.
        max: u32,
    },
    /// A NOTIFY of more messages than any HAProxy sends, each of which costs time.
    #[error("NOTIFY of more than {MAX_MESSAGES} messages")]
    TooManyMessages,
    /// A NOTIFY of more args, of all its messages together, than any HAProxy sends, each of which costs time.
    #[error("NOTIFY of more than {MAX_ARGS} args")]
    TooManyArgs,
    /// The length prefix is too low for a frame's type, flags and ids.
    #[error("frame of {len} bytes is shorter than its header")]
    FrameTooSmall {
        /// Bytes that the prefix announces.
        len: u32,
    },
    /// A type nibble that SPOE.txt leaves unused, 10 to 15.
    #[error("unknown data type {0}")]
    UnknownDataType(u8),
    /// An action type other than set-var and unset-var.
    #[error("unknown action type {0}")]
    UnknownAction(u8),
    /// A variable scope above 4.
    #[error("unknown variable scope {0}")]
    UnknownScope(u8),
    /// An action whose argument count is not the one of its type.
    #[error("action has {found} arguments, expected {expected}")]
    BadActionArgs {
        /// What its type asks for.
        expected: u8,
        /// What the frame says.
        found: u8,
    },
    /// An item of a KV-LIST has another type than SPOE.txt gives it.
    #[error("item {key} has type {found}")]
    BadItemType {
        /// Name of the item.
        key: &'static str,
        /// Type found.
        found: DataType,
    },
    /// An item of a KV-LIST has a value that cannot be read, such as a version that is no version.
    #[error("item {0} cannot be read")]
    BadItem(&'static str),
    /// A frame of another type than the one asked for.
    #[error("frame is {found}, expected {expected}")]
    UnexpectedFrame {
        /// Type asked for.
        expected: FrameType,
        /// Type found.
        found: FrameType,
    },
}

impl DecodeError {
    /// What to say in the DISCONNECT frame (SPOE §3.5).
    pub const fn status_code(&self) -> StatusCode {
        match self {
            Self::FrameTooBig { .. } | Self::TooManyMessages | Self::TooManyArgs => StatusCode::TOO_BIG,
            _ => StatusCode::INVALID,
        }
    }
}

/// What else the length prefix may be, for those who look for the mistake.
const fn stranger(len: u32) -> &'static str {
    match len.to_be_bytes() {
        [0x16, 3, _, _] => ": these are the first bytes of TLS, which is not on here",
        [b'G', b'E', b'T', b' '] | [b'P', b'O', b'S', b'T'] | [b'P', b'R', b'I', b' '] => ": these are the first bytes of HTTP",
        [b'P', b'R', b'O', b'X'] | [b'\r', b'\n', b'\r', b'\n'] => {
            ": these are the first bytes of a PROXY header, which is not taken here"
        }
        _ => "",
    }
}

/// A conversation that breaks the protocol. The peer is to blame, and the connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A payload could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Something else came before HELLO.
    #[error("{0} frame before HELLO")]
    HelloExpected(FrameType),
    /// A second HELLO on one connection.
    #[error("second HELLO on one connection")]
    HelloTwice,
    /// A frame type that only an agent sends.
    #[error("{0} frame from the peer")]
    AgentFrame(FrameType),
    /// A frame without FIN, or a continuation of one. Fragmentation is never announced here.
    #[error("payload fragmentation is not supported")]
    Fragmented,
    /// A HELLO frame with ids other than 0.
    #[error("HELLO frame with a stream id or frame id")]
    HelloWithIds,
    /// A NOTIFY without a frame id.
    #[error("NOTIFY frame without a frame id")]
    NotifyWithoutId,
    /// Both ids of a NOTIFY are those of one that still waits for its ACK.
    #[error("stream id {stream_id} and frame id {frame_id} are already in flight")]
    DuplicateNotify {
        /// Stream id of both.
        stream_id: u64,
        /// Frame id of both.
        frame_id: u64,
    },
    /// HELLO without its version item.
    #[error("HELLO without a version")]
    MissingVersion,
    /// HELLO without max-frame-size.
    #[error("HELLO without max-frame-size")]
    MissingMaxFrameSize,
    /// HELLO without capabilities.
    #[error("HELLO without capabilities")]
    MissingCapabilities,
    /// No version in common. Only SPOP 2.0 is spoken here.
    #[error("no supported version offered, 2.0 is needed")]
    UnsupportedVersion,
    /// max-frame-size is below the least that SPOE.txt allows.
    #[error("max-frame-size {offered} is below {MIN_FRAME_SIZE} bytes")]
    BadMaxFrameSize {
        /// Bytes offered.
        offered: u32,
    },
}

impl ProtocolError {
    /// What to say in the DISCONNECT frame (SPOE §3.5).
    pub const fn status_code(&self) -> StatusCode {
        match self {
            Self::Decode(error) => error.status_code(),
            Self::Fragmented => StatusCode::FRAGMENTATION,
            Self::MissingVersion => StatusCode::NO_VERSION,
            Self::MissingMaxFrameSize => StatusCode::NO_FRAME_SIZE,
            Self::MissingCapabilities => StatusCode::NO_CAPABILITIES,
            Self::UnsupportedVersion => StatusCode::BAD_VERSION,
            Self::BadMaxFrameSize { .. } => StatusCode::BAD_FRAME_SIZE,
            Self::HelloExpected(_)
            | Self::HelloTwice
            | Self::AgentFrame(_)
            | Self::HelloWithIds
            | Self::NotifyWithoutId
            | Self::DuplicateNotify { .. } => StatusCode::INVALID,
        }
    }
}

/// An action that HAProxy would drop, and with it every action after it. Whoever made the action is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ActionError {
    /// A variable needs a name.
    #[error("variable name is empty")]
    EmptyName,
    /// HAProxy's variable names are made of ASCII letters, digits, `_` and `.`.
    #[error("variable name holds byte {0:#04x}, expected letters, digits, '_' or '.'")]
    InvalidByte(u8),
    /// Scope, prefix and name are longer together than HAProxy's buffer for them.
    #[error("variable name takes {len} bytes with its scope and prefix, at most {max} are possible")]
    NameTooLong {
        /// Bytes of `scope.prefix.name`.
        len: usize,
        /// Most bytes possible.
        max: usize,
    },
}

/// A frame that cannot be written. Whoever asked for it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The number of args is one byte on the wire.
    #[error("message has {0} args, at most 255 are possible")]
    TooManyArgs(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who looks for the mistake is told whose first bytes stand where a frame's length should.
    #[test]
    fn strangers_are_called_by_their_names() {
        for (bytes, name) in
            [(*b"PROX", "a PROXY header"), (*b"\r\n\r\n", "a PROXY header"), ([0x16, 3, 1, 0], "TLS"), (*b"GET ", "HTTP")]
        {
            let error = DecodeError::FrameTooBig { len: u32::from_be_bytes(bytes), max: 4096 }.to_string();
            assert!(error.contains(&format!("the first bytes of {name}")), "{error}");
        }
        assert_eq!(stranger(0x0010_0000), "");
    }
}
