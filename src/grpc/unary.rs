//! One decision, one call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use h2::Reason;
use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http_body_util::BodyExt;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};

use super::codec::BytesCodec;
use super::error::CallError;
use super::pool::{Picked, Pool};
use crate::deadline::Deadline;

const DECIDE: PathAndQuery = PathAndQuery::from_static("/spopbridge.v1.DecisionService/Decide");

/// How often a request is sent that nobody has seen. Connections rarely end twice in a row; a peer that refuses all streams must not
/// make us spin until the deadline.
const MAX_ATTEMPTS: u32 = 3;

/// The largest response that is read, in bytes: more than fits into the largest SPOP frame.
const MAX_RESPONSE: usize = 16 * 1024 * 1024;

impl Pool {
    /// Calls `Decide` with the bytes of a request, and returns those of the response. At the deadline, or when the
    /// returned future is dropped, the call is cancelled.
    pub(crate) async fn decide(&self, request: Bytes, deadline: Deadline) -> Result<Bytes, CallError> {
        match tokio::time::timeout_at(deadline.instant().into(), self.call(request, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Timeout),
        }
    }

    async fn call(&self, message: Bytes, deadline: Deadline) -> Result<Bytes, CallError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let picked = self.pick().await?;
            let mut request = Request::from_parts(self.metadata.clone(), http::Extensions::new(), message.clone());
            // gRPC's own deadline: the service can give up when nobody waits any more.
            request.set_timeout(deadline.budget(Instant::now()));
            let codec = BytesCodec::for_request(request.get_ref());
            let unseen = AtomicBool::new(false);
            let service = tower::service_fn(|request| send(&picked, request, &unseen));
            let mut grpc = Grpc::with_origin(service, picked.endpoint.origin.clone()).max_decoding_message_size(MAX_RESPONSE);
            match grpc.unary(request, DECIDE, codec).await {
                Ok(response) => return Ok(response.into_inner()),
                // The connection was going when the request came: no service has seen it.
                Err(_) if unseen.into_inner() && attempts < MAX_ATTEMPTS => {}
                Err(status) => return Err(CallError::from_status(&picked.endpoint.name, &status)),
            }
        }
    }
}

/// Sends a request on the picked connection. Its errors become statuses with a source, by which they are told from
/// statuses that the service sent; `unseen` is set if the service cannot have seen the request.
fn send<'a>(
    picked: &Picked<'_>,
    request: http::Request<tonic::body::Body>,
    unseen: &'a AtomicBool,
) -> impl Future<Output = Result<http::Response<impl http_body::Body<Data = Bytes, Error = Status> + use<>>, Status>> + use<'a> {
    let response = picked.sender.clone().try_send_request(request);
    async move {
        let response = response.await.map_err(|mut error| {
            let unsent = error.take_message().is_some();
            let error = error.into_error();
            unseen.store(unsent || was_refused(&error), Ordering::Relaxed);
            lost(error)
        })?;
        grpc_or_status(response.status(), response.headers())?;
        Ok(response.map(|body| body.map_err(lost)))
    }
}

/// Whether the peer says that it has not processed the request and will not: it is above the last stream of a GOAWAY (RFC 9113
/// section 6.8) or was reset with REFUSED_STREAM (section 8.7). gRPC calls trying such a request again transparent.
fn was_refused(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away() && error.reason() == Some(Reason::NO_ERROR)
                || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM))
    })
}

/// What an answer that is not gRPC means, by gRPC's `http-grpc-status-mapping.md`: it comes from a balancer or a mesh, or the
/// endpoint is some other HTTP server.
fn grpc_or_status(http: http::StatusCode, headers: &http::HeaderMap) -> Result<(), Status> {
    let code = match http.as_u16() {
        200 if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) => return Ok(()),
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Err(Status::new(code, format!("not a gRPC answer: HTTP status {http}")))
}

fn lost(error: hyper::Error) -> Status {
    let mut status = Status::unavailable("");
    status.set_source(std::sync::Arc::new(error));
    status
}
