//! Why a call brought no response.

use std::sync::Arc;

use thiserror::Error;
use tonic::{Code, Status};

use crate::config::Cause;

/// Why a call brought no response. It costs the decision that it was made for.
#[derive(Clone, Debug, Error)]
pub(crate) enum CallError {
    /// The deadline passed, here or at the service.
    #[error("no answer within the deadline")]
    Timeout,
    /// No endpoint is connected.
    #[error("{endpoint} is not connected: {reason}")]
    NotConnected { endpoint: Arc<str>, reason: Arc<str> },
    /// The connection broke under the call.
    #[error("connection to {endpoint} lost: {reason}")]
    ConnectionLost { endpoint: Arc<str>, reason: String },
    /// The service answered with a status other than OK.
    #[error("{endpoint} answered {code:?}: {message}")]
    Status { endpoint: Arc<str>, code: Code, message: String },
}

impl CallError {
    /// What a status that tonic reports for a call to `endpoint` means.
    pub(super) fn from_status(endpoint: &Arc<str>, status: &Status) -> Self {
        let endpoint = Arc::clone(endpoint);
        // Transport errors arrive wrapped in a status, with the error as its source; what a service says has none.
        if let Some(source) = std::error::Error::source(status) {
            return Self::ConnectionLost { endpoint, reason: chain(source) };
        }
        match status.code() {
            Code::DeadlineExceeded => Self::Timeout,
            code => Self::Status { endpoint, code, message: status.message().chars().take(200).collect() },
        }
    }

    /// The one mapping from what went wrong to what the operator configures for it.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Timeout => Cause::Timeout,
            Self::NotConnected { .. } | Self::ConnectionLost { .. } => Cause::Unavailable,
            Self::Status { code: Code::Unavailable, .. } => Cause::Unavailable,
            Self::Status { code: Code::ResourceExhausted, .. } => Cause::Overloaded,
            Self::Status { .. } => Cause::Rejected,
        }
    }
}

/// An error with all that caused it: libraries below say the interesting part last.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
