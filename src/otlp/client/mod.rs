//! One receiver of one signal, by HTTP: OTLP/gRPC and OTLP/HTTP differ in how a message is framed and in where the answer stands.

mod answer;
mod connect;
mod refusal;
mod status;

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use connect::Connection;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
pub(super) use refusal::{Refusal, Retry};

use super::env::{Protocol, Receiver};
use crate::aside::Aside;

/// The largest answer that is read, in bytes: a few words.
const MAX_ANSWER: usize = 64 << 10;

/// What a receiver says to a message that it took.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Items of it that it did not want.
    pub(super) rejected: u64,
    /// Why, or what else it has to say.
    pub(super) message: String,
}

/// Sends messages, on a connection that is kept, and made anew after a failure.
#[derive(Debug)]
pub(super) struct Client {
    receiver: Receiver,
    headers: HeaderMap,
    connection: Option<Connection>,
    /// What reads the files of TLS.
    aside: Aside,
}

impl Client {
    pub(super) fn new(receiver: Receiver) -> Self {
        let mut headers = receiver.headers.clone();
        for (name, value) in fixed(&receiver) {
            headers.insert(name, value);
        }
        // "SHOULD emit a User-Agent header" (protocol/exporter.md); the operator's own comes before it.
        let user_agent = HeaderValue::from_static(concat!("spop-bridge/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(user_agent);
        Self { receiver, headers, connection: None, aside: Aside::new() }
    }

    /// For lines about it.
    pub(super) fn endpoint(&self) -> String {
        self.receiver.uri.to_string()
    }

    /// A message, as it is sent.
    pub(super) fn encode(&self, message: &impl Message) -> Bytes {
        let plain = message.encode_to_vec();
        let body = if self.receiver.gzip { gzip(&plain) } else { plain };
        match self.receiver.protocol {
            Protocol::HttpProtobuf => body.into(),
            Protocol::Grpc => framed(&body, self.receiver.gzip),
        }
    }

    /// One attempt.
    ///
    /// # Errors
    /// Why the receiver did not take it, and whether another attempt makes sense.
    pub(super) async fn send(&mut self, body: Bytes, most: Duration) -> Result<Taken, Refusal> {
        let timeout = self.receiver.timeout.min(most);
        let answer = tokio::time::timeout(timeout, self.exchange(body)).await;
        let answer = answer.unwrap_or_else(|_| Err(Refusal::timeout(timeout)));
        if answer.as_ref().is_err_and(|refusal| refusal.is_connection) {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Taken, Refusal> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::new(&self.receiver, &mut self.aside).await?),
        };
        let mut request =
            Request::post(self.receiver.uri.clone()).body(Full::new(body)).map_err(|error| Refusal::broken(&error))?;
        *request.headers_mut() = self.headers.clone();
        let (head, body) =
            connection.request(request).await.map_err(|error| Refusal::connection(&error, &self.receiver))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| Refusal::broken(&*error))?;
        match self.receiver.protocol {
            Protocol::Grpc => answer::grpc(&head, body),
            Protocol::HttpProtobuf => answer::http(&head, &body.to_bytes()),
        }
    }
}

fn fixed(receiver: &Receiver) -> Vec<(HeaderName, HeaderValue)> {
    let text = HeaderValue::from_static;
    let mut headers = match receiver.protocol {
        Protocol::HttpProtobuf => vec![(CONTENT_TYPE, text("application/x-protobuf"))],
        Protocol::Grpc => {
            // At most 8 digits.
            let millis = receiver.timeout.as_millis().min(99_999_999);
            let timeout = HeaderValue::from_str(&format!("{millis}m")).unwrap_or_else(|_| text("10S"));
            let grpc_timeout = HeaderName::from_static("grpc-timeout");
            vec![(CONTENT_TYPE, text("application/grpc")), (TE, text("trailers")), (grpc_timeout, timeout)]
        }
    };
    if receiver.gzip {
        let name = match receiver.protocol {
            Protocol::HttpProtobuf => CONTENT_ENCODING,
            Protocol::Grpc => HeaderName::from_static("grpc-encoding"),
        };
        headers.push((name, text("gzip")));
    }
    headers
}

/// Quick rather than small: it is a turn of the control thread.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory takes everything.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default()
}

/// gRPC's "Length-Prefixed-Message".
fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(u8::from(is_compressed));
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}
