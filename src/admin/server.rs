//! HTTP/1.1 on a connection, for peers that may be slow, greedy or none of ours.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::routes;
use super::state::State;

/// Connections at a time. A scraper or two, probes and a person have one each; each costs some 32 KiB at most, and what it is sent.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// For a request's head to arrive, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is served. Scrapers that keep theirs make another one now and then; whoever reads nothing has to go.
const LIFETIME: Duration = Duration::from_secs(300);
/// Bytes of a request's head. Requests here have a line and a few headers.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Answers what comes in. `is_local`: the peer is on this machine, and may change something.
pub(crate) async fn serve<S>(socket: S, is_local: bool, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(routes::answer(request, is_local, &state).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(socket), service);
    // How it ended is the peer's affair.
    let _ = tokio::time::timeout(LIFETIME, connection).await;
}
