//! Things on a gRPC port that are no decision service.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;

use super::host::{Bound, FOREVER, Host};

/// A TCP server that treats each connection as a test says.
pub(crate) struct TcpServer {
    pub(crate) uri: String,
}

impl TcpServer {
    /// The threads end with the test's process; they only wait.
    pub(crate) fn start(treat: impl Fn(TcpStream) + Clone + Send + 'static) -> TcpServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let treat = treat.clone();
                std::thread::spawn(move || treat(socket));
            }
        });
        TcpServer { uri }
    }

    /// Accepts, reads and never answers.
    pub(crate) fn mute() -> TcpServer {
        TcpServer::start(|mut socket| while matches!(socket.read(&mut [0; 4096]), Ok(1..)) {})
    }

    /// Speaks another protocol.
    pub(crate) fn web() -> TcpServer {
        TcpServer::start(|mut socket| {
            let _whatever_it_was = socket.read(&mut [0; 4096]);
            let _gone = socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        })
    }

    /// Closes with bytes unread, which resets the connection.
    pub(crate) fn resetting() -> TcpServer {
        TcpServer::start(|socket| {
            let _first_byte = socket.peek(&mut [0; 1]);
        })
    }
}

/// What an HTTP/2 server answers to every request.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(&'static str, &'static str)>,
    pub(crate) delay: Duration,
}

impl Page {
    /// A gRPC answer with this message, encoded by the caller, and status OK.
    pub(crate) fn grpc(message: &[u8]) -> Page {
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        Page {
            status: 200,
            headers: vec![("content-type", "application/grpc")],
            body,
            trailers: vec![("grpc-status", "0")],
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn serve(self) -> Host {
        Host::start(Bound::tcp(), FOREVER, tower::service_fn(move |request| answer(self.clone(), request)))
    }
}

async fn answer(page: Page, request: http::Request<Incoming>) -> Result<http::Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let mut body = request.into_body();
    // Not all of it: that of a stream does not end.
    let _first_of_the_request = body.frame().await;
    tokio::spawn(body.collect());
    tokio::time::sleep(page.delay).await;
    let mut response = http::Response::builder().status(page.status);
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    let trailers: http::HeaderMap = page
        .trailers
        .into_iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
        .collect();
    let body = Full::new(Bytes::from(page.body));
    let body = match trailers.is_empty() {
        true => body.boxed(),
        false => body.with_trailers(async move { Some(Ok(trailers)) }).boxed(),
    };
    Ok(response.body(body).unwrap())
}
