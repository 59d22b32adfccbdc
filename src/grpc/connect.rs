//! One HTTP/2 connection to an endpoint.

use std::io;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::body::Body;

use crate::config::EndpointConfig;

/// The kernel notices within about a minute that an idle peer is gone. HTTP/2 pings would be quicker, but common gRPC servers
/// take unsolicited ones as abuse and close the connection.
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Streams that were reset and whose late frames are still known as such, for up to a second; more than that are answered with another reset.
const RESET_STREAMS: usize = 4096;

/// What calls are sent on.
pub(super) type Sender = SendRequest<Body>;

/// What must be polled for the connection to live.
pub(super) type Driver = std::pin::Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Connects within `timeout` and starts HTTP/2, without waiting for the peer to show that it speaks it.
///
/// # Errors
/// What the operating system says, or [`io::ErrorKind::TimedOut`].
pub(super) async fn connect(endpoint: &EndpointConfig, timeout: Duration) -> io::Result<(Sender, Driver)> {
    let attempt = async {
        match endpoint {
            EndpointConfig::Http { uri } => http2(tcp(uri.authority().map_or("", Authority::as_str)).await?).await,
            EndpointConfig::Unix { path } => http2(UnixStream::connect(path).await?).await,
        }
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "not connected within connect_timeout")),
    }
}

/// The scheme and authority that requests to `endpoint` carry.
pub(super) fn origin(endpoint: &EndpointConfig) -> Uri {
    match endpoint {
        EndpointConfig::Http { uri } => uri.clone(),
        // What gRPC libraries send for a Unix socket.
        EndpointConfig::Unix { .. } => Uri::from_static("http://localhost"),
    }
}

async fn tcp(authority: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

async fn http2<S>(stream: S) -> io::Result<(Sender, Driver)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection): (Sender, Connection<_, _, _>) = Builder::new(TokioExecutor::new())
        // Decisions end at their deadline by resetting the stream, and many answers cross that on the way. Both limits are
        // there against peers that abuse resets; with hyper's defaults about a thousand late answers end the connection, and all
        // that is in flight on it.
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(None)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    Ok((sender, Box::pin(connection)))
}
