//! What the head and the trailers of a gRPC answer say.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use tonic::{Code, Status};

/// Whether messages follow this head.
///
/// # Errors
/// The status that it carries instead (gRPC's "Trailers-Only", OK too), or what an answer means that is not gRPC's, by
/// `http-grpc-status-mapping.md`: then it comes from a balancer or a mesh, or the endpoint is some other HTTP server.
pub(super) fn check_head<B>(response: &http::Response<B>) -> Result<(), Status> {
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
    Err(Status::new(code, format!("not a gRPC answer: HTTP status {}", response.status())))
}

/// The status at the end.
pub(super) fn status(trailers: Option<&HeaderMap>) -> Status {
    let status = trailers.and_then(read);
    status.unwrap_or_else(|| Status::new(Code::Internal, "the answer ended without a grpc-status"))
}

/// Code and message, if there is a code. Not tonic's own reading: that panics on details that are not base64, and details are of no use here.
fn read(headers: &HeaderMap) -> Option<Status> {
    match Code::from_bytes(headers.get("grpc-status")?.as_bytes()) {
        Code::Ok => Some(Status::ok("")),
        code => {
            let message = headers.get("grpc-message").map_or(&b""[..], |message| message.as_bytes());
            Some(Status::new(code, percent_decode(message).decode_utf8_lossy()))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn trailers(list: &[(&'static str, &'static [u8])]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn a_status_is_read_whatever_stands_beside_it() {
        let sent =
            trailers(&[("grpc-status", b"8"), ("grpc-message", b"too%20much \xff%zz"), ("grpc-status-details-bin", b"!!!, ?")]);
        let found = status(Some(&sent));
        assert_eq!((found.code(), found.message()), (Code::ResourceExhausted, "too much \u{fffd}%zz"));
        assert_eq!(status(Some(&trailers(&[("grpc-status", b"0")]))).code(), Code::Ok);
        assert_eq!(status(Some(&trailers(&[("grpc-status", b"x")]))).code(), Code::Unknown);
        assert_eq!(status(Some(&trailers(&[]))).code(), Code::Internal);
        assert_eq!(status(None).code(), Code::Internal);
    }
}
