//! Status codes of DISCONNECT frames (SPOE §3.5).

use std::fmt;

/// Why a connection ends. Codes without a name are kept: agents may define their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(pub u32);

impl StatusCode {
    /// No error.
    pub const NORMAL: Self = Self(0);
    /// I/O error.
    pub const IO: Self = Self(1);
    /// A timeout occurred.
    pub const TIMEOUT: Self = Self(2);
    /// Frame is too big.
    pub const TOO_BIG: Self = Self(3);
    /// Invalid frame received.
    pub const INVALID: Self = Self(4);
    /// HELLO without a version.
    pub const NO_VERSION: Self = Self(5);
    /// HELLO without max-frame-size.
    pub const NO_FRAME_SIZE: Self = Self(6);
    /// HELLO without capabilities.
    pub const NO_CAPABILITIES: Self = Self(7);
    /// Unsupported version.
    pub const BAD_VERSION: Self = Self(8);
    /// max-frame-size too big or too small.
    pub const BAD_FRAME_SIZE: Self = Self(9);
    /// Payload fragmentation is not supported.
    pub const FRAGMENTATION: Self = Self(10);
    /// Invalid interlaced frames.
    pub const INTERLACED: Self = Self(11);
    /// Frame id not found.
    pub const FRAME_ID_NOT_FOUND: Self = Self(12);
    /// Resource allocation error.
    pub const RESOURCE: Self = Self(13);
    /// An unknown error.
    pub const UNKNOWN: Self = Self(99);

    /// SPOE.txt's words for the code, also what HAProxy logs.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NORMAL => "normal",
            Self::IO => "I/O error",
            Self::TIMEOUT => "a timeout occurred",
            Self::TOO_BIG => "frame is too big",
            Self::INVALID => "invalid frame received",
            Self::NO_VERSION => "version value not found",
            Self::NO_FRAME_SIZE => "max-frame-size value not found",
            Self::NO_CAPABILITIES => "capabilities value not found",
            Self::BAD_VERSION => "unsupported version",
            Self::BAD_FRAME_SIZE => "max-frame-size too big or too small",
            Self::FRAGMENTATION => "payload fragmentation is not supported",
            Self::INTERLACED => "invalid interlaced frames",
            Self::FRAME_ID_NOT_FOUND => "frame-id not found",
            Self::RESOURCE => "resource allocation error",
            Self::UNKNOWN => "an unknown error occurred",
            Self(_) => "an error of the agent's own",
        }
    }
}

/// The number and its sentence: `4 (invalid frame received)`.
impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_number_and_sentence() {
        assert_eq!(StatusCode::INVALID.to_string(), "4 (invalid frame received)");
        assert_eq!(StatusCode(1234).to_string(), "1234 (an error of the agent's own)");
    }
}
