//! One HTTP/2 connection to an endpoint.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::PingPong;
use h2::client::{Builder, SendRequest};
use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ClientConfig;

use super::allowance::{Allowance, Limited};
use super::members::Address;
use super::tls;
use crate::config::{BackendConfig, BackendTls};
use crate::tls::Live;

/// The kernel notices within about a minute that the host of an idle peer is gone. Whether the server behind a connection is there is
/// asked when it matters, by [`keepalive`](super::keepalive).
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long what was sent may stay unacknowledged, or the peer's socket full: a host that is gone, or a service that does not read. Without
/// it the kernel tries for a quarter of an hour (RFC 5482).
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams that were reset and whose late frames are still known as such, for up to a second; more than that are answered with another reset.
const RESET_STREAMS: usize = 4096;

/// What a service may send on one stream, and on the connection, before we have read it, in bytes: bounds what it can make us hold, and has
/// room for thousands of answers at once. With 64 KiB or 8 MiB, or DATA frames of 64 instead of 16 KiB, no difference could be measured.
const WINDOW: u32 = 1 << 20;

/// What calls are sent on.
pub(super) type Sender = SendRequest<Bytes>;

/// What must be polled for the connection to live.
pub(super) type Connection = Pin<Box<dyn Future<Output = Result<(), h2::Error>> + Send>>;

/// A connection on which the server has said nothing yet.
pub(super) struct Connected {
    pub(super) sender: Sender,
    pub(super) connection: Connection,
    pub(super) allowance: Allowance,
    pub(super) ping: PingPong,
}

/// How a backend's servers are connected to, by workers and health checks alike.
#[derive(Debug)]
pub(super) struct Connector {
    timeout: Duration,
    /// What is said about TLS, if it is on.
    tls: Option<BackendTls>,
    live: Live<ClientConfig>,
}

impl Connector {
    /// `tls` is what `config.tls` has become, if it is on.
    pub(super) fn new(config: &BackendConfig, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { timeout: config.connect_timeout, tls: config.tls.clone(), live: Live::new(tls) }
    }

    /// Connections that are made from now on use `tls`.
    pub(super) fn set_tls(&self, tls: Option<Arc<ClientConfig>>) {
        self.live.replace(tls);
    }

    /// Connects within the backend's `connect_timeout`, TLS included, and starts HTTP/2. It does not wait for the peer to show
    /// that it speaks that.
    ///
    /// # Errors
    /// What the operating system says, what is wrong with the peer's TLS, or [`io::ErrorKind::TimedOut`].
    pub(super) async fn connect(&self, address: &Address) -> io::Result<Connected> {
        let attempt = async {
            match address {
                Address::Host(authority) => self.secure(tcp(TcpStream::connect(authority.as_str()).await?)?, address).await,
                Address::Resolved { address: resolved, .. } => {
                    self.secure(tcp(TcpStream::connect(resolved).await?)?, address).await
                }
                Address::Unix(path) => self.secure(UnixStream::connect(path).await?, address).await,
            }
        };
        match tokio::time::timeout(self.timeout, attempt).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "not connected within connect_timeout")),
        }
    }

    /// HTTP/2 over TLS, or over what there is.
    async fn secure<S>(&self, stream: S, address: &Address) -> io::Result<Connected>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(tls) = &self.tls else { return http2(tls::Plain::new(stream)).await };
        let config = self.live.current().ok_or_else(|| io::Error::other("TLS without its files, please report it"))?;
        let authority = self.authority(address);
        let name = tls::server_name(tls.server_name.as_ref(), &authority)?;
        http2(tls::handshake(stream, config, name).await?).await
    }

    /// The server at `address`, for logs and errors.
    pub(super) fn name(&self, address: &Address) -> String {
        match address {
            Address::Host(authority) if self.tls.is_some() => format!("https://{authority}"),
            address => address.to_string(),
        }
    }

    fn authority(&self, address: &Address) -> Authority {
        let said = self.tls.as_ref().and_then(|tls| tls.authority.clone());
        said.unwrap_or_else(|| address.authority())
    }

    /// What requests to the method at `path` of the server at `address` carry.
    pub(super) fn method(&self, address: &Address, path: &'static str) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = Some(if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(self.authority(address));
        parts.path_and_query = Some(PathAndQuery::from_static(path));
        // It has all three parts.
        Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static(path))
    }
}

fn tcp(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}

async fn http2<S>(stream: S) -> io::Result<Connected>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let allowance = Allowance::default();
    let (sender, mut connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        // Decisions end at their deadline by resetting the call, and many answers cross that on the way. Both limits are
        // there against peers that abuse resets; with the defaults about a thousand late answers end the connection, and all
        // that is in flight on it.
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(None)
        // Status, metadata and what proxies add: gRPC libraries take 8 to 16 KiB.
        .max_header_list_size(64 << 10)
        // There against peers that send many small frames which nobody reads. Ours are read in the turn in which they arrive, and thousands of
        // small answers in one turn are what a busy service sends. What waits is bounded by the windows and by what a turn reads.
        .data_frame_budget(usize::MAX)
        .handshake(Limited::new(stream, allowance.clone()))
        .await
        .map_err(io::Error::other)?;
    let ping = connection.ping_pong().ok_or_else(|| io::Error::other("HTTP/2 without PING, please report it"))?;
    Ok(Connected { sender, connection: Box::pin(connection), allowance, ping })
}
