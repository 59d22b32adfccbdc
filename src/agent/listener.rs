//! Where connections come from: TCP, Unix sockets, or whatever implements [`Listener`].

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::unix::SocketFile;

/// Connections that wait for `accept`: a HAProxy reload opens all of its connections at once (d28). The kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Accepts connections. Implement it to serve SPOP on something other than TCP and Unix sockets.
pub trait Listener: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection; returns it with the peer's address for logs and for `Peer::address`.
    ///
    /// # Errors
    /// The agent takes every error as passing and calls again: at once where only one connection was lost, and otherwise after a
    /// little while. When no descriptors are left it gives up one that it keeps in reserve, calls again and closes what it gets; a call
    /// that is not ready then is dropped, which must lose nothing.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, String)>> + Send;
}

/// A bound TCP or Unix socket.
#[derive(Debug)]
pub struct SocketListener {
    kind: Kind,
    address: String,
}

#[derive(Debug)]
enum Kind {
    Tcp(tokio::net::TcpListener),
    Unix {
        listener: tokio::net::UnixListener,
        #[cfg_attr(not(feature = "bridge"), expect(dead_code, reason = "the bridge takes it, others drop it"))]
        file: Option<SocketFile>,
    },
}

impl SocketListener {
    /// Binds a TCP address; port 0 lets the system choose. An IPv6 wildcard takes IPv4 connections as well.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says: address in use, not ours, no permission.
    pub fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the old process's connections to leave TIME_WAIT.
        socket.set_reuse_address(true)?;
        if let SocketAddr::V6(v6) = address {
            socket.set_only_v6(!v6.ip().is_unspecified())?;
        }
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?.to_string();
        Ok(Self { kind: Kind::Tcp(listener), address })
    }

    /// Binds a Unix socket as [`UnixSocket`](super::UnixSocket) says. The file is removed when the listener is dropped.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when a process listens on the path, [`io::ErrorKind::AlreadyExists`] when something
    /// other than a socket is there; otherwise what the operating system says.
    pub fn bind_unix(socket: &super::UnixSocket) -> io::Result<Self> {
        let (listener, file) = socket.bind(BACKLOG)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        Ok(Self { address: format!("unix:{}", socket.path().display()), kind: Kind::Unix { listener, file: Some(file) } })
    }

    /// The file of a Unix socket, which from now on is the caller's to remove.
    #[cfg(feature = "bridge")]
    pub(crate) fn take_file(&mut self) -> Option<SocketFile> {
        match &mut self.kind {
            Kind::Tcp(_) => None,
            Kind::Unix { file, .. } => file.take(),
        }
    }

    /// The address as bound: `ip:port` with the real port, or `unix:/path`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Listener for SocketListener {
    type Stream = Socket;

    async fn accept(&mut self) -> io::Result<(Socket, String)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // ACKs are small and wanted at once. On a connection that has ended already it fails, which is found out soon enough.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), peer.to_string()))
            }
            Kind::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), "unix".to_owned()))
            }
        }
    }
}

impl AsFd for SocketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(listener) => listener.as_fd(),
            Kind::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

/// A TCP or Unix connection.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// A connection that belongs to no runtime, on its way to that of another thread.
#[derive(Debug)]
pub enum DetachedSocket {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Takes the connection out of the runtime that it was made in.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn detach(self) -> io::Result<DetachedSocket> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(DetachedSocket::Tcp),
            Self::Unix(stream) => stream.into_std().map(DetachedSocket::Unix),
        }
    }
}

impl DetachedSocket {
    /// Brings the connection into the current tokio runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn attach(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
