//! HTTP/1.1 on a connection, for peers that may be slow, greedy or none of ours.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::places::Place;
use super::routes;
use super::state::State;

/// For a request's head to arrive, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is served. Scrapers that keep theirs make another one now and then; whoever reads nothing has to go.
const LIFETIME: Duration = Duration::from_secs(300);
/// Bytes of a request's head. Requests here have a line and a few headers.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// On this machine, by a Unix socket.
    Unix,
    /// On this machine, by TCP.
    Loopback,
    /// Somewhere else.
    Remote,
}

/// Answers what comes in, until it ends or has to make way for others.
pub(crate) async fn serve<S>(socket: S, peer: Peer, place: Place, state: Arc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let place = Arc::new(place);
    let service = service_fn(|request| {
        let (state, place) = (Arc::clone(&state), Arc::clone(&place));
        async move { Ok::<_, Infallible>(routes::answer(request, peer, &place, &state).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        // Who has to go and has just asked is answered first.
        biased;
        // How it ended is the peer's affair.
        _ = tokio::time::timeout(LIFETIME, connection) => {}
        () = place.has_to_go() => {}
    }
}
