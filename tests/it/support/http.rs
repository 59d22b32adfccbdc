//! An HTTP/1.1 client that sends header bytes as they are given, which client libraries refuse to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The bytes of a header, or nothing if it isn't there.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &value[..])
    }

    /// A header as text; `-` if it isn't there.
    pub(crate) fn header(&self, name: &str) -> String {
        self.bytes(name).map_or_else(|| "-".into(), |value| String::from_utf8_lossy(value).into_owned())
    }
}

/// A request under construction.
pub(crate) struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

pub(crate) fn get(path: &str) -> Request {
    Request::new("GET", path)
}

pub(crate) fn post(path: &str, body: Vec<u8>) -> Request {
    let length = body.len().to_string();
    let mut request = Request::new("POST", path).header("content-length", length.as_bytes());
    request.body = body;
    request
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Request {
        Request { head: format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n").into_bytes(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &[u8]) -> Request {
        self.head.extend(name.as_bytes());
        self.head.extend(b": ");
        self.head.extend(value);
        self.head.extend(b"\r\n");
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Request {
        self.body = body.to_vec();
        self
    }

    /// On a connection of its own. The error is what went wrong below HTTP.
    pub(crate) fn try_send(self, address: SocketAddr) -> std::io::Result<Reply> {
        Client::connect(address)?.send(self.header("connection", b"close"))
    }

    pub(crate) fn send(self, address: SocketAddr) -> Reply {
        self.try_send(address).expect("an HTTP answer")
    }
}

/// A connection that is kept alive.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Client> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        socket.set_read_timeout(Some(Duration::from_secs(15)))?;
        socket.set_nodelay(true)?;
        Ok(Client { reader: BufReader::new(socket) })
    }

    pub(crate) fn send(&mut self, request: Request) -> std::io::Result<Reply> {
        let mut bytes = request.head;
        bytes.extend(b"\r\n");
        bytes.extend(request.body);
        self.reader.get_mut().write_all(&bytes)?;
        self.read_reply()
    }

    fn read_reply(&mut self) -> std::io::Result<Reply> {
        let first = String::from_utf8_lossy(&self.read_line()?).into_owned();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("status line {first:?}")))?;
        let mut reply = Reply { status, ..Reply::default() };
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            let value = line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec();
            reply.headers.push((name, value));
        }
        match reply.header("content-length").parse() {
            Ok(length) => {
                reply.body = vec![0; length];
                self.reader.read_exact(&mut reply.body)?;
            }
            Err(_) => (self.reader.read_to_end(&mut reply.body)?, ()).1,
        }
        Ok(reply)
    }

    fn read_line(&mut self) -> std::io::Result<Vec<u8>> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_ascii_end().to_vec())
    }
}
