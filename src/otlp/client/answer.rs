//! What receivers answer, by `docs/specification.md` of opentelemetry-proto.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::Collected;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use percent_encoding::percent_decode;
use prost::Message;
use tonic::Code;

use super::Taken;
use super::refusal::{NO_OTLP, Refusal, Retry};
use super::status::Status;

const RIGHTS: &str = "see whether the receiver wants credentials: OTEL_EXPORTER_OTLP_HEADERS";
const NOT_THERE: &str = "the receiver does not take this signal there: correct OTEL_EXPORTER_OTLP_ENDPOINT or its path, or switch the signal off \
                         (OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER: none)";
const LOOK: &str = "see what the receiver logs";

/// OTLP/HTTP.
pub(super) fn http(head: &Parts, body: &[u8]) -> Result<Taken, Refusal> {
    let is_protobuf = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-protobuf"));
    if head.status.is_success() {
        // Receivers that are not quite OTLP's say OK in other ways.
        return if is_protobuf { taken(body) } else { Ok(Taken::default()) };
    }
    let advice = match head.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RIGHTS,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => NOT_THERE,
        _ => LOOK,
    };
    let retry = match head.status.as_u16() {
        429 | 502..=504 => {
            head.headers.get(RETRY_AFTER).and_then(|value| retry_after(value.as_bytes())).map_or(Retry::Yes, Retry::After)
        }
        _ => Retry::No,
    };
    let said = if is_protobuf { Status::decode(body).ok().map(|status| status.message) } else { None };
    let said = said.filter(|said| !said.is_empty()).map(|said| format!(": {}", short(&said))).unwrap_or_default();
    Err(Refusal::answered(format!("HTTP status {}{said}", head.status), advice, retry))
}

/// OTLP/gRPC.
pub(super) fn grpc(head: &Parts, body: Collected<Bytes>) -> Result<Taken, Refusal> {
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if head.status != StatusCode::OK || !is_grpc {
        // From a proxy, or from something else: `http-grpc-status-mapping.md` of gRPC has these as UNAVAILABLE.
        let retry = if matches!(head.status.as_u16(), 429 | 502..=504) { Retry::Yes } else { Retry::No };
        return Err(Refusal::answered(format!("not a gRPC answer: HTTP status {}", head.status), NO_OTLP, retry));
    }
    let trailers = body.trailers().filter(|trailers| trailers.contains_key("grpc-status")).unwrap_or(&head.headers);
    grpc_status(trailers)?;
    let body = body.to_bytes();
    // Flag and length; compression was not offered.
    taken(body.get(5..).unwrap_or_default())
}

fn grpc_status(trailers: &HeaderMap) -> Result<(), Refusal> {
    let Some(code) = trailers.get("grpc-status") else {
        return Err(Refusal::answered("the answer ended without a grpc-status".to_owned(), LOOK, Retry::Yes));
    };
    let code = Code::from_bytes(code.as_bytes());
    if code == Code::Ok {
        return Ok(());
    }
    let message = trailers.get("grpc-message").map(|message| percent_decode(message.as_bytes()).decode_utf8_lossy().into_owned());
    let details = trailers.get("grpc-status-details-bin").and_then(|details| Status::from_details(details.as_bytes()));
    let delay = details.and_then(|details| details.retry_delay());
    let retry = match (code, delay) {
        (Code::ResourceExhausted, None) => Retry::No,
        (
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss,
            delay,
        ) => delay.map_or(Retry::Yes, Retry::After),
        _ => Retry::No,
    };
    let advice = match code {
        Code::Unauthenticated | Code::PermissionDenied => RIGHTS,
        Code::Unimplemented | Code::NotFound => NOT_THERE,
        _ => LOOK,
    };
    Err(Refusal::answered(format!("{code:?}: {}", short(&message.unwrap_or_default())), advice, retry))
}

/// The answers for all signals look the same: how many items were rejected, and why.
fn taken(message: &[u8]) -> Result<Taken, Refusal> {
    let Ok(answer) = ExportTraceServiceResponse::decode(message) else {
        return Err(Refusal::answered("the answer is not one of OTLP".to_owned(), NO_OTLP, Retry::No));
    };
    let partial = answer.partial_success.unwrap_or_default();
    Ok(Taken { rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(), message: short(&partial.error_message) })
}

/// Seconds, or a date.
fn retry_after(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok().map(|date| date.duration_since(SystemTime::now()).unwrap_or_default()),
    }
}

/// What others say, cut to the length of a line.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, headers: &[(&'static str, &'static str)]) -> Parts {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    fn trailers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        head(200, headers).headers
    }

    #[test]
    fn http_says_by_status_whether_to_come_back() {
        let retry =
            |status, headers: &[(&'static str, &'static str)]| http(&head(status, headers), b"").map_err(|refusal| refusal.retry);
        assert_eq!(retry(200, &[]), Ok(Taken::default()));
        assert_eq!(retry(202, &[("content-type", "text/plain")]), Ok(Taken::default()));
        for status in [429, 502, 503, 504] {
            assert_eq!(retry(status, &[]), Err(Retry::Yes), "{status}");
        }
        for status in [301, 400, 401, 404, 413, 500] {
            assert_eq!(retry(status, &[("retry-after", "1")]), Err(Retry::No), "{status}");
        }
        assert_eq!(retry(503, &[("retry-after", "3")]), Err(Retry::After(Duration::from_secs(3))));
        assert_eq!(retry(503, &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")]), Err(Retry::After(Duration::ZERO)));
        assert_eq!(retry(503, &[("retry-after", "soon")]), Err(Retry::Yes));
    }

    #[test]
    fn grpc_says_by_code_whether_to_come_back() {
        let retry = |code| grpc_status(&trailers(&[("grpc-status", code)])).map_err(|refusal| refusal.retry);
        assert_eq!(retry("0"), Ok(()));
        for code in ["1", "4", "10", "11", "14", "15"] {
            assert_eq!(retry(code), Err(Retry::Yes), "{code}");
        }
        for code in ["2", "3", "5", "7", "8", "12", "13", "16", "x"] {
            assert_eq!(retry(code), Err(Retry::No), "{code}");
        }
        // RetryInfo with a delay of 2 s.
        let details = "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIAg";
        for code in ["8", "14"] {
            let found = grpc_status(&trailers(&[("grpc-status", code), ("grpc-status-details-bin", details)]));
            assert_eq!(found.unwrap_err().retry, Retry::After(Duration::from_secs(2)), "{code}");
        }
    }

    #[test]
    fn a_part_may_be_rejected() {
        // partial_success { rejected = 3, error_message = "no" }
        let taken = taken(&[0x0a, 6, 0x08, 3, 0x12, 2, b'n', b'o']).unwrap();
        assert_eq!(taken, Taken { rejected: 3, message: "no".into() });
        assert!(super::taken(b"<html>").is_err());
    }
}
