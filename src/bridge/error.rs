//! Why a branch of a NOTIFY has no decision.

use std::sync::Arc;

use thiserror::Error;

use super::response::ResponseError;
use crate::config::Cause;
use crate::grpc::CallError;

/// Costs one fallback.
#[derive(Debug, Error)]
pub(crate) enum NotifyError {
    /// No route matches the message.
    #[error("no route matches the message `{}`", .message.escape_debug())]
    Unrouted { message: Arc<str> },
    /// The call brought no response.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The response cannot be carried out.
    #[error("response refused: {0}")]
    Response(#[from] ResponseError),
    /// The response fits the frame alone, but not beside what the other branches have answered, and the fallbacks of those that failed.
    #[error(
        "response refused: with what the other messages of the NOTIFY get the actions take {length} bytes, the frame has room for {room}"
    )]
    NoRoom { length: usize, room: usize },
}

impl NotifyError {
    /// What the operator configures for it.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Unrouted { .. } => Cause::Unrouted,
            Self::Call(error) => error.cause(),
            Self::Response(_) | Self::NoRoom { .. } => Cause::InvalidResponse,
        }
    }
}
