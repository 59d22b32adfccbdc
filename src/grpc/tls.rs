//! TLS to a server: the handshake, and what to tell an operator when there is none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error as TlsError, InvalidMessage, OtherError};

use crate::tls::H2;

/// The name that a server's certificate is to have: `said`, or the host of the authority.
///
/// # Errors
/// If that is none.
pub(super) fn server_name(said: Option<&ServerName<'static>>, authority: &Authority) -> io::Result<ServerName<'static>> {
    if let Some(name) = said {
        return Ok(name.clone());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| {
        let message = format!("TLS: {host} cannot be in a certificate. Set tls.server_name to a name that is in the server's");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

/// Makes a connection one that only `name` can read.
///
/// # Errors
/// What is wrong, and what to do about it.
pub(super) async fn handshake<S>(stream: S, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Secured<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(explain)?;
    if stream.get_ref().1.alpn_protocol() == Some(H2) {
        return Ok(Secured { stream, broken: None, is_heard: false });
    }
    Err(invalid(format_args!("TLS: the server agrees to no HTTP/2 (ALPN h2). {NO_H2}")))
}

const NO_H2: &str = "It may be no gRPC server, or one behind a proxy that speaks HTTP/1.1 only";

/// A connection with TLS whose errors say what to do about them: in TLS 1.3 a server refuses a client's certificate after the handshake,
/// in place of its first answer.
pub(super) struct Secured<S> {
    stream: TlsStream<S>,
    /// Writing has failed so, and what the server has said before is still to be read.
    broken: Option<io::Error>,
    /// The server has said something.
    is_heard: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secured<S> {
    /// Writes by `write`. If the server has hung up it may have said why, which is worth more than that it did.
    fn poll_or_why<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TlsStream<S>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let error = match self.broken.take() {
            Some(error) => error,
            None => match ready!(write(Pin::new(&mut self.stream), cx)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => error,
                result => return Poll::Ready(result),
            },
        };
        let mut buffer = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(why)) if why.get_ref().is_some_and(|why| why.is::<TlsError>()) => {
                    return Poll::Ready(Err(explain(why)));
                }
                Poll::Ready(_) if self.is_heard => return Poll::Ready(Err(error)),
                Poll::Ready(_) => return Poll::Ready(Err(explain(io::ErrorKind::UnexpectedEof.into()))),
                // The runtime has not looked at the socket yet, which is at its end.
                Poll::Pending => {
                    self.broken = Some(error);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
            Ok(()) => {
                self.is_heard = true;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(if self.is_heard { error } else { explain(error) })),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_or_why(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_or_why(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_or_why(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection without TLS that notices when the server has it: to HTTP/2 that would be a frame of odd size.
pub(super) struct Plain<S> {
    stream: S,
    is_known: bool,
}

impl<S> Plain<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, is_known: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Plain<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        // An alert. HTTP/2 begins with SETTINGS, whose length of three bytes is small.
        if !std::mem::replace(&mut self.is_known, true)
            && buf.filled().get(before..).is_some_and(|read| read.starts_with(&[0x15, 3]))
        {
            return Poll::Ready(Err(invalid(format_args!("the server speaks TLS on this port: take https://, or set tls"))));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plain<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Errors of TLS in an operator's terms; all others as they are.
fn explain(error: io::Error) -> io::Error {
    match error.downcast::<TlsError>() {
        Ok(error) => invalid(format_args!("TLS: {}. {}", plain(&error), advice(&error))),
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            let hint = "It may want a client certificate (tls.certificate and tls.key), or one of another CA: see what it logs";
            io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("TLS: the server closed the connection without a word. {hint}"),
            )
        }
        Err(error) => error,
    }
}

fn is_ca(why: &(dyn std::error::Error + 'static)) -> bool {
    matches!(why.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// What our verifier says, without the types that rustls wraps it into.
fn plain(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(why))) => why.to_string(),
        error => error.to_string(),
    }
}

fn invalid(message: std::fmt::Arguments<'_>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_string())
}

fn advice(error: &TlsError) -> &'static str {
    use AlertDescription as Alert;
    match error {
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "The server does not speak TLS on this port: take http:// if that is right"
        }
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "Put the CA of the server's certificate into the file of tls.ca, or let the server send its intermediate certificates too"
        }
        TlsError::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
            "Set tls.server_name or tls.allowed_sans to a name that it has, if this is the right server"
        }
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. }) => {
            "Renew the server's certificate, or set the clock right"
        }
        TlsError::InvalidCertificate(CertificateError::Other(OtherError(why))) if is_ca(&**why) => {
            "It is a CA's certificate, as `openssl req -x509` makes them: let the server have one of that CA, or make it with \
             -addext basicConstraints=CA:FALSE"
        }
        TlsError::InvalidCertificate(_) => "`openssl s_client -connect` shows the server's certificate",
        TlsError::AlertReceived(Alert::CertificateRequired) => {
            "The server wants a client certificate: set tls.certificate and tls.key"
        }
        TlsError::AlertReceived(Alert::HandshakeFailure) => {
            "The server may want a client certificate (tls.certificate and tls.key), or another version or cipher of TLS"
        }
        TlsError::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied,
        ) => "The server does not take the client certificate of tls.certificate: look at its CA, its names and its date",
        TlsError::AlertReceived(Alert::UnrecognisedName) => {
            "The server does not know the name that it is asked for: set tls.server_name"
        }
        TlsError::AlertReceived(Alert::NoApplicationProtocol) | TlsError::NoApplicationProtocol => NO_H2,
        TlsError::AlertReceived(Alert::ProtocolVersion) | TlsError::PeerIncompatible(_) => {
            "There is no TLS version or cipher in common: look at tls.min_version"
        }
        _ => "See what the server logs",
    }
}
