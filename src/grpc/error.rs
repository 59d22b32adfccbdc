//! Why a call brought no response.

use std::sync::Arc;

use thiserror::Error;
use tonic::{Code, Status};

use super::request::Request;
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
    /// The connection or the stream broke under the call.
    #[error("connection to {endpoint} lost: {reason}")]
    ConnectionLost { endpoint: Arc<str>, reason: Arc<str> },
    /// The service does not take requests as fast as they come.
    #[error("{endpoint} does not keep up: {waiting} bytes of requests wait for it, which is the limit")]
    Overloaded { endpoint: Arc<str>, waiting: usize },
    /// The service answered with a status other than OK.
    #[error("{endpoint} answered {code:?}: {message}")]
    Status { endpoint: Arc<str>, code: Code, message: String },
    /// The service answered with what the contract rules out.
    #[error("{endpoint} sent an answer that is none: {problem}")]
    InvalidAnswer { endpoint: Arc<str>, problem: String },
}

impl CallError {
    /// What a service's status other than OK means.
    pub(super) fn from_status(endpoint: &Arc<str>, code: Code, message: &str) -> Self {
        match code {
            Code::DeadlineExceeded => Self::Timeout,
            code => Self::Status { endpoint: Arc::clone(endpoint), code, message: message.chars().take(200).collect() },
        }
    }

    pub(super) fn lost(endpoint: &Arc<str>, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::ConnectionLost { endpoint: Arc::clone(endpoint), reason: chain(error).into() }
    }

    /// The one mapping from what went wrong to what the operator configures for it.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Timeout => Cause::Timeout,
            Self::NotConnected { .. } | Self::ConnectionLost { .. } => Cause::Unavailable,
            Self::Status { code: Code::Unavailable, .. } => Cause::Unavailable,
            Self::Overloaded { .. } | Self::Status { code: Code::ResourceExhausted, .. } => Cause::Overloaded,
            Self::Status { .. } => Cause::Rejected,
            Self::InvalidAnswer { .. } => Cause::InvalidResponse,
        }
    }
}

/// How an attempt failed: whether another one is allowed depends on it.
#[derive(Debug)]
pub(super) enum Failure {
    /// No service has seen the request. It comes back, to be tried elsewhere.
    Unseen(Request, CallError),
    Final(CallError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Final(error)
    }
}

/// Whether the peer says that it has not processed the request and will not: it is above the last stream of a GOAWAY (RFC 9113
/// section 6.8) or was reset with REFUSED_STREAM (section 8.7). gRPC calls trying such a request again transparent.
pub(super) fn was_refused(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
            || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
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

/// A status in a few words.
pub(super) fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message().chars().take(200).collect::<String>())
}
