//! What the head and the trailers of a gRPC answer say.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use tonic::{Code, Status};

use super::error::Pushback;

/// How an answer ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: Status,
    pub(super) pushback: Option<Pushback>,
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self { status, pushback: None }
    }
}

/// Whether messages follow this head.
///
/// # Errors
/// The status that it carries instead (gRPC's "Trailers-Only", OK too), or what an answer means that is not gRPC's, by
/// `http-grpc-status-mapping.md`: then it comes from a balancer or a mesh, or the endpoint is some other HTTP server.
pub(super) fn check_head<B>(response: &http::Response<B>) -> Result<(), Ended> {
    let headers = response.headers();
    let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let code = match response.status().as_u16() {
        200 if is_grpc => return read(headers).map_or(Ok(()), Err),
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Err(Status::new(code, format!("not a gRPC answer: HTTP status {}", response.status())).into())
}

/// What stands at the end.
pub(super) fn ended(trailers: Option<&HeaderMap>) -> Ended {
    let ended = trailers.and_then(read);
    ended.unwrap_or_else(|| Status::new(Code::Internal, "the answer ended without a grpc-status").into())
}

/// Code and message, if there is a code. Not tonic's own reading: that panics on details that are not base64, and details are of no use here.
fn read(headers: &HeaderMap) -> Option<Ended> {
    let status = match Code::from_bytes(headers.get("grpc-status")?.as_bytes()) {
        Code::Ok => Status::ok(""),
        code => {
            let message = headers.get("grpc-message").map_or(&b""[..], |message| message.as_bytes());
            Status::new(code, percent_decode(message).decode_utf8_lossy())
        }
    };
    let pushback = headers.get("grpc-retry-pushback-ms").map(|value| Pushback::read(value.as_bytes()));
    Some(Ended { status, pushback })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    fn trailers(list: &[(&'static str, &'static [u8])]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn a_status_is_read_whatever_stands_beside_it() {
        let sent =
            trailers(&[("grpc-status", b"8"), ("grpc-message", b"too%20much \xff%zz"), ("grpc-status-details-bin", b"!!!, ?")]);
        let found = ended(Some(&sent)).status;
        assert_eq!((found.code(), found.message()), (Code::ResourceExhausted, "too much \u{fffd}%zz"));
        assert_eq!(ended(Some(&trailers(&[("grpc-status", b"0")]))).status.code(), Code::Ok);
        assert_eq!(ended(Some(&trailers(&[("grpc-status", b"x")]))).status.code(), Code::Unknown);
        assert_eq!(ended(Some(&trailers(&[]))).status.code(), Code::Internal);
        assert_eq!(ended(None).status.code(), Code::Internal);
    }

    #[test]
    fn a_service_says_when_it_wants_to_be_asked_again() {
        let pushback = |value| ended(Some(&trailers(&[("grpc-status", b"14"), ("grpc-retry-pushback-ms", value)]))).pushback;
        assert_eq!(pushback(b"250"), Some(Pushback::After(Duration::from_millis(250))));
        for never in [&b"-1"[..], b"soon", b"", b"99999999999"] {
            assert_eq!(pushback(never), Some(Pushback::Never), "{never:?}");
        }
        assert_eq!(ended(Some(&trailers(&[("grpc-status", b"14")]))).pushback, None);
    }
}
