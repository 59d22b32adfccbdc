//! What ends a connection, and what keeps an agent from being built.

use std::io;

use thiserror::Error;

use crate::spop::{DecodeError, ProtocolError, StatusCode};

/// Why a connection ended otherwise than by the peer's wish or ours. It costs that connection alone.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The peer's bytes are no SPOP frames.
    #[error("bytes that are no SPOP frame: {0}")]
    Decode(#[from] DecodeError),
    /// The peer's frames are not what SPOP allows at this point.
    #[error("SPOP broken: {0}")]
    Protocol(#[from] ProtocolError),
    /// No complete HAPROXY-HELLO within the handshake timeout.
    #[error("no HAPROXY-HELLO within the handshake timeout")]
    HandshakeTimeout,
    /// A frame was begun and not completed within the read timeout.
    #[error("a frame was begun and not completed within the read timeout")]
    ReadTimeout,
    /// The peer took none of our bytes within the write timeout.
    #[error("the peer read nothing within the write timeout")]
    WriteTimeout,
    /// The socket failed. A reset is how many HAProxy versions say good-bye (d22), so it is no fault.
    #[error("socket: {0}")]
    Io(io::Error),
    /// The peer could not be let in by TLS. It was told why by an alert, if it speaks TLS at all.
    #[cfg(feature = "tls")]
    #[error("TLS handshake: {0}")]
    Tls(super::HandshakeError),
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        let error = match error.downcast() {
            Ok(handshake) => return Self::Tls(handshake),
            Err(error) => error,
        };
        Self::Io(error)
    }
}

impl ConnectionError {
    /// The status code of the AGENT-DISCONNECT that tells the peer (SPOE.txt 3.5).
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        match self {
            Self::Decode(error) => error.status_code(),
            Self::Protocol(error) => error.status_code(),
            Self::HandshakeTimeout | Self::ReadTimeout | Self::WriteTimeout => StatusCode::TIMEOUT,
            Self::Io(_) => StatusCode::IO,
            #[cfg(feature = "tls")]
            Self::Tls(_) => StatusCode::IO,
        }
    }
}

/// Why [`AgentBuilder::build`](super::AgentBuilder::build) refused its settings.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A setting is out of its range.
    #[error("{setting}: found {found}, expected {expected}")]
    OutOfRange {
        /// The builder's method.
        setting: &'static str,
        /// What was set.
        found: String,
        /// What may be set.
        expected: &'static str,
    },
}
