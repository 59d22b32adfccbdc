//! What the head and the trailers of a gRPC answer say.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
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
        200 if is_grpc => return Status::from_header_map(headers).map_or(Ok(()), Err),
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
    let status = trailers.and_then(Status::from_header_map);
    status.unwrap_or_else(|| Status::new(Code::Internal, "the answer ended without a grpc-status"))
}
