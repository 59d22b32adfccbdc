//! Connections to a receiver.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::refusal::Refusal;
use crate::aside::Aside;
use crate::otlp::env::{Protocol, Receiver};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Those that a receiver leaves open without a word are closed after that.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long what was sent may stay unacknowledged: connections of attempts that were given up are not to pile up.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection that is made when it is first needed, and again when it is lost.
pub(super) enum Connection {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl Connection {
    /// Reads the files of TLS, by `aside`: a certificate that was renewed is used by the next connection.
    pub(super) async fn new(receiver: &Receiver, aside: &mut Aside) -> Result<Self, Refusal> {
        let is_grpc = receiver.protocol == Protocol::Grpc;
        let mut builder = Client::builder(TokioExecutor::new());
        builder.http2_only(is_grpc).timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
        if receiver.uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Self::Plain(builder.build(tcp())));
        }
        let files = receiver.tls.clone();
        let tls = aside.run(move || crate::tls::stranger(&files)).await.map_err(|error| Refusal::silent(&error))?;
        let tls = tls.map_err(|problems| Refusal::files(&problems))?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
        let connector =
            if is_grpc { https.enable_http2().wrap_connector(tcp()) } else { https.enable_all_versions().wrap_connector(tcp()) };
        Ok(Self::Tls(builder.build(connector)))
    }

    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        }
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(Duration::from_secs(15)));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
    tcp
}

/// Without its keys.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}
