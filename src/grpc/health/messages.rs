//! The messages of grpc.health.v1.Health.

use prost::Message;

use super::verdict::not_serving;
use crate::grpc::members::Health;

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthCheckRequest {
    /// Empty: the server as a whole.
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthCheckResponse {
    /// Values may be added to the enumeration.
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

impl From<HealthCheckResponse> for Health {
    fn from(HealthCheckResponse { status }: HealthCheckResponse) -> Self {
        match status {
            0 => not_serving("UNKNOWN"),
            1 => Self::Serving,
            2 => not_serving("NOT_SERVING"),
            3 => not_serving("SERVICE_UNKNOWN"),
            other => not_serving(&format!("unknown status {other}")),
        }
    }
}
