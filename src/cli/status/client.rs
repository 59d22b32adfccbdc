//! The admin port, from outside.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::agent::Socket;
use crate::cli::exit::{Exit, Failure};

/// For connecting, and for each answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: far more than metrics and a thousand connections.
const MAX_ANSWER: usize = 16 << 20;

const LOCALHOST: &str = "localhost";

/// A connection to an admin port.
#[derive(Debug)]
pub(super) struct Client<'a> {
    address: &'a str,
    host: String,
    sender: SendRequest<Empty<Bytes>>,
}

impl<'a> Client<'a> {
    /// Connects to `host:port` or `unix:/path`.
    pub(super) async fn connect(address: &'a str) -> Result<Self, Failure> {
        let connected = async {
            match address.strip_prefix("unix:") {
                Some(path) => UnixStream::connect(path).await.map(Socket::Unix),
                None => TcpStream::connect(address).await.map(Socket::Tcp),
            }
        };
        let socket = within(address, connected).await?.map_err(|error| cannot_connect(address, &error))?;
        let host = match &socket {
            // By the address that was found for the name, which the bridge may not know as one of its own.
            Socket::Tcp(stream) => stream.peer_addr().map_or_else(|_| LOCALHOST.to_owned(), |address| address.to_string()),
            Socket::Unix(_) => LOCALHOST.to_owned(),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|error| stranger(address, error))?;
        tokio::spawn(connection);
        Ok(Self { address, host, sender })
    }

    /// What is at `path`.
    pub(super) async fn get(&mut self, path: &str) -> Result<(StatusCode, String), Failure> {
        let request = Request::get(path).header(HOST, &self.host).header(ACCEPT, "text/plain, application/json");
        let request = request.body(Empty::new()).map_err(|error| stranger(self.address, error))?;
        let Self { address, sender, .. } = self;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| stranger(address, error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| stranger(address, error))?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        within(address, answer).await?
    }

    /// What listens there speaks, but not as an admin port does.
    pub(super) fn stranger(&self, why: impl std::fmt::Display) -> Failure {
        stranger(self.address, why)
    }
}

async fn within<T>(address: &str, what: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, what).await.map_err(|_| {
        let message = format!(
            "no answer from {address} within {} s. If that is spop-bridge's admin port, the process is stopped or has no CPU",
            PATIENCE.as_secs()
        );
        Failure::new(Exit::NoAnswer, message)
    })
}

fn cannot_connect(address: &str, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "Its socket file is for others: see admin.unix in the configuration",
        _ => {
            "Is spop-bridge running, and is this its admin.bind? Its log says `admin listening` and where; --admin takes another address"
        }
    };
    Failure::new(Exit::Refused, format!("cannot connect to {address}: {error}. {advice}"))
}

fn stranger(address: &str, why: impl std::fmt::Display) -> Failure {
    let advice = "Take the address of its admin.bind; listeners speak SPOP";
    Failure::new(Exit::Refused, format!("what listens on {address} is no admin port of spop-bridge: {why}. {advice}"))
}
