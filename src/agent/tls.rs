//! TLS under SPOP, by rustls. Only with the feature `tls`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, OtherError, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{FallibleAccept, TlsAcceptor};

use super::listener::Listener;

/// A connection with TLS, from its first byte on.
///
/// The handshake is driven by whoever reads: an accept loop that makes one never waits for a peer, and an agent's handshake timeout
/// bounds the handshake and the HELLO together. In SPOP the peer speaks first, so before the handshake is over nothing can be written.
///
/// A handshake that fails is a [`HandshakeError`] within the [`io::Error`] of the read. After it nothing but the end is read: what the
/// peer sends is thrown away, so that the alert which tells it why is not lost in a reset.
#[derive(Debug)]
pub struct Tls<S> {
    state: State<S>,
}

// One lives inside of each connection for as long as that does: its size is no waste.
#[allow(clippy::large_enum_variant)]
enum State<S> {
    Handshake(FallibleAccept<S>),
    Open(TlsStream<S>),
    Failed(S),
}

/// Without what is in it: that has keys.
impl<S> std::fmt::Debug for State<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Handshake(_) => "Handshake",
            Self::Open(_) => "Open",
            Self::Failed(_) => "Failed",
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tls<S> {
    /// Takes the server's part on `stream`, as `config` says. Neither reads nor writes yet.
    pub fn accept(stream: S, config: Arc<ServerConfig>) -> Self {
        Self { state: State::Handshake(TlsAcceptor::from(config).accept(stream).into_fallible()) }
    }

    /// Looked at before each read and write; drives the handshake.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Handshake(accept) = &mut self.state else { return Poll::Ready(Ok(())) };
        match ready!(Pin::new(accept).poll(cx)) {
            Ok(stream) => self.state = State::Open(stream),
            Err((error, stream)) => {
                self.state = State::Failed(stream);
                // What is no TLS error is the socket's: a peer that hung up, for example.
                return Poll::Ready(Err(match error.downcast::<TlsError>() {
                    Ok(error) => io::Error::new(io::ErrorKind::InvalidData, HandshakeError(error)),
                    Err(error) => error,
                }));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tls<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_handshake(cx))?;
        match &mut this.state {
            State::Handshake(_) => Poll::Pending,
            State::Open(stream) => Pin::new(stream).poll_read(cx, buf),
            State::Failed(stream) => poll_discard(stream, cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tls<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().state {
            State::Open(stream) => Pin::new(stream).poll_write(cx, buf),
            State::Handshake(_) | State::Failed(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// What rustls could not write at once, it keeps until here.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Open(stream) => Pin::new(stream).poll_flush(cx),
            State::Handshake(_) | State::Failed(_) => Poll::Ready(Ok(())),
        }
    }

    /// Says that it is over (close_notify) before the socket does: to HAProxy anything else is a connection that was cut.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Failed(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Handshake(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// Reads until the end, and keeps nothing of it.
fn poll_discard<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    let before = buf.filled().len();
    ready!(Pin::new(stream).poll_read(cx, buf))?;
    if buf.filled().len() == before {
        return Poll::Ready(Ok(()));
    }
    buf.set_filled(before);
    // Others first: the peer may have much to say.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// A listener whose connections all have TLS.
#[derive(Debug)]
pub struct TlsListener<L> {
    listener: L,
    config: Arc<ServerConfig>,
}

impl<L> TlsListener<L> {
    /// Puts TLS, as `config` says, on what `listener` accepts.
    pub fn new(listener: L, config: Arc<ServerConfig>) -> Self {
        Self { listener, config }
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    type Stream = Tls<L::Stream>;

    async fn accept(&mut self) -> io::Result<(Self::Stream, String)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((Tls::accept(stream, Arc::clone(&self.config)), peer))
    }
}

/// Why a peer that wanted to connect by TLS did not get in. Says what to do about it in HAProxy's terms.
#[derive(Clone, Debug, Error)]
#[error("{}. {}", plain(.0), advice(.0))]
pub struct HandshakeError(TlsError);

/// What a verifier of the user's says, without the types that rustls wraps it into.
fn plain(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(why))) => why.to_string(),
        error => error.to_string(),
    }
}

fn advice(error: &TlsError) -> &'static str {
    match error {
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "It does not speak TLS, which this listener does: `ssl` is missing on HAProxy's server line, or it is the wrong port"
        }
        TlsError::NoCertificatesPresented => "Clients must show a certificate here: `crt FILE` is missing on HAProxy's server line",
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "The certificate behind `crt` on HAProxy's server line is not from client_ca, or its intermediate certificates are not in that file"
        }
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. }) => {
            "Renew the certificate behind `crt` on HAProxy's server line, or set the clock right"
        }
        TlsError::InvalidCertificate(CertificateError::Other(_)) => {
            "`openssl x509 -text` shows what is in the certificate behind `crt` on HAProxy's server line"
        }
        TlsError::InvalidCertificate(_) => "The certificate behind `crt` on HAProxy's server line is not one for clients of this listener",
        TlsError::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            // What HAProxy sends when the name in `verifyhost` is not in the certificate.
            | AlertDescription::InternalError,
        ) => "HAProxy does not take this listener's certificate: look at `ca-file` and `verifyhost` on its server line, and at the date",
        TlsError::PeerIncompatible(_) | TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
            "There is no TLS version or cipher in common: look at min_version here, and at `ssl-min-ver`, `ssl-max-ver`, `ciphers` and \
             `ciphersuites` in HAProxy's configuration"
        }
        _ => "See what HAProxy logs about this server",
    }
}
