//! `google.rpc.Status`, as far as OTLP has a use for it: gRPC's error details, and the body of HTTP errors.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::Message;

/// The message, and what else is said about the error.
#[derive(Message)]
pub(super) struct Status {
    #[prost(int32, tag = 1)]
    code: i32,
    #[prost(string, tag = 2)]
    pub(super) message: String,
    #[prost(message, repeated, tag = 3)]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = 1)]
    retry_delay: Option<prost_types::Duration>,
}

/// Padded or not: gRPC has it both ways.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

impl Status {
    /// The value of `grpc-status-details-bin`.
    pub(super) fn from_details(value: &[u8]) -> Option<Self> {
        Self::decode(BASE64.decode(value).ok()?.as_slice()).ok()
    }

    /// When the receiver wants to be asked again, if it says so.
    pub(super) fn retry_delay(&self) -> Option<Duration> {
        let info = self.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
        let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
        Duration::try_from(delay).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_say_when_to_come_back() {
        let info = RetryInfo { retry_delay: Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }) };
        let detail =
            prost_types::Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() };
        let status = Status { code: 8, message: "too much".into(), details: vec![detail] };
        let encoded = BASE64.encode(status.encode_to_vec());
        for value in [encoded.trim_end_matches('='), &encoded] {
            let status = Status::from_details(value.as_bytes()).expect("a status");
            assert_eq!((&*status.message, status.retry_delay()), ("too much", Some(Duration::from_millis(2500))));
        }
        assert!(Status::from_details(b"!!!, ?").is_none());
        assert_eq!(Status { code: 8, ..Status::default() }.retry_delay(), None);
    }
}
