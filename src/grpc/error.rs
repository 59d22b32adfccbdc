//! Why a call brought no response.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};

use super::choice::Blame;
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
    /// The service reset this call alone; the connection goes on. So a handler ends that trips over its request.
    #[error("{endpoint} reset the call: {reason}")]
    Reset { endpoint: Arc<str>, reason: h2::Reason },
    /// The backend has as much in flight as it may have.
    #[error("{backend} has {limit} in flight, {advice}")]
    Full { backend: Arc<str>, limit: Limited, advice: &'static str },
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

    /// What HTTP/2 said instead of an answer to one call.
    pub(super) fn broken(endpoint: &Arc<str>, error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => Self::Reset { endpoint: Arc::clone(endpoint), reason },
            _ => Self::ConnectionLost { endpoint: Arc::clone(endpoint), reason: chain(error).into() },
        }
    }

    /// The status that gRPC has for it; the bridge's own where no service has said one.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Timeout => Code::DeadlineExceeded,
            Self::NotConnected { .. } | Self::ConnectionLost { .. } => Code::Unavailable,
            Self::Full { .. } | Self::Overloaded { .. } => Code::ResourceExhausted,
            Self::Status { code, .. } => *code,
            Self::InvalidAnswer { .. } => Code::Internal,
            Self::Reset { reason, .. } => of_reset(*reason),
        }
    }

    /// The one mapping from what went wrong to what the operator configures for it.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Timeout => Cause::Timeout,
            Self::NotConnected { .. } | Self::ConnectionLost { .. } => Cause::Unavailable,
            Self::Status { code: Code::Unavailable, .. } => Cause::Unavailable,
            Self::Full { .. } | Self::Overloaded { .. } | Self::Status { code: Code::ResourceExhausted, .. } => Cause::Overloaded,
            Self::Reset { reason, .. } => match of_reset(*reason) {
                Code::Unavailable => Cause::Unavailable,
                Code::ResourceExhausted => Cause::Overloaded,
                _ => Cause::Rejected,
            },
            Self::Status { .. } => Cause::Rejected,
            Self::InvalidAnswer { .. } => Cause::InvalidResponse,
        }
    }
}

/// The status that gRPC has for a reset (`doc/PROTOCOL-HTTP2.md`, "Errors").
fn of_reset(reason: h2::Reason) -> Code {
    match reason {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, Error)]
pub(crate) enum Limited {
    #[error("{0} decisions")]
    Decisions(usize),
    #[error("{0} bytes of requests")]
    Bytes(usize),
}

/// How an attempt failed, and what is known to decide whether there is another. Boxed, as it is rare.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: CallError,
    /// Comes back to be sent again, if it is still there.
    pub(super) request: Option<Request>,
    /// No service has seen the request.
    pub(super) unseen: bool,
    pub(super) pushback: Option<Pushback>,
}

/// What a service says about being asked again (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    After(Duration),
    Never,
}

impl Failure {
    pub(super) fn unseen(request: Request, error: CallError) -> Box<Self> {
        Box::new(Self { error, request: Some(request), unseen: true, pushback: None })
    }

    pub(super) fn seen(request: Option<Request>, error: CallError) -> Box<Self> {
        Box::new(Self { error, request, unseen: false, pushback: None })
    }
}

/// Time below which nobody could have answered.
const NO_TIME: Duration = Duration::from_millis(1);

impl Failure {
    /// Whose fault it is, if there was `budget` to answer in. Codes as linkerd2-proxy classifies them.
    pub(super) fn blame(&self, budget: Duration) -> Blame {
        match &self.error {
            CallError::Overloaded { .. } | CallError::Full { .. } => Blame::Load,
            _ if self.unseen => Blame::Nobody,
            CallError::Timeout if budget < NO_TIME => Blame::Nobody,
            CallError::Timeout | CallError::ConnectionLost { .. } | CallError::Reset { .. } | CallError::InvalidAnswer { .. } => {
                Blame::Endpoint
            }
            CallError::NotConnected { .. } => Blame::Nobody,
            CallError::Status { code: Code::ResourceExhausted, .. } => Blame::Load,
            CallError::Status { code: Code::Unavailable | Code::Unknown | Code::Internal | Code::DataLoss, .. } => {
                Blame::Endpoint
            }
            CallError::Status { .. } => Blame::Request,
        }
    }

    /// For how long the service wants to be left alone.
    pub(super) fn delay(&self) -> Option<Duration> {
        match self.pushback {
            Some(Pushback::After(delay)) => Some(delay),
            _ => None,
        }
    }
}

impl From<CallError> for Box<Failure> {
    fn from(error: CallError) -> Self {
        Failure::seen(None, error)
    }
}

impl Pushback {
    /// The value of `grpc-retry-pushback-ms`: what is no number, or below zero, forbids it.
    pub(super) fn read(value: &[u8]) -> Self {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i32>().ok());
        number
            .and_then(|millis| u64::try_from(millis).ok())
            .map_or(Self::Never, |millis| Self::After(Duration::from_millis(millis)))
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
