//! gRPC's status codes, by the names that its specification has for them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::names::names;

/// A status with which a decision may be tried again. Not OK, and not DEADLINE_EXCEEDED: then there is no time left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(inline)]
#[allow(missing_docs, reason = "gRPC documents them: https://grpc.io/docs/guides/status-codes/")]
pub enum StatusCode {
    Cancelled,
    Unknown,
    InvalidArgument,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl StatusCode {
    /// As it stands in `grpc-status`.
    pub fn number(self) -> String {
        // OK is 0; DEADLINE_EXCEEDED, which is not among them, is 4.
        let position = self as usize + 1;
        (if position < 4 { position } else { position + 1 }).to_string()
    }
}

names!(StatusCode {
    Cancelled = "CANCELLED",
    Unknown = "UNKNOWN",
    InvalidArgument = "INVALID_ARGUMENT",
    NotFound = "NOT_FOUND",
    AlreadyExists = "ALREADY_EXISTS",
    PermissionDenied = "PERMISSION_DENIED",
    ResourceExhausted = "RESOURCE_EXHAUSTED",
    FailedPrecondition = "FAILED_PRECONDITION",
    Aborted = "ABORTED",
    OutOfRange = "OUT_OF_RANGE",
    Unimplemented = "UNIMPLEMENTED",
    Internal = "INTERNAL",
    Unavailable = "UNAVAILABLE",
    DataLoss = "DATA_LOSS",
    Unauthenticated = "UNAUTHENTICATED",
});
