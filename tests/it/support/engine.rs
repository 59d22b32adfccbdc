//! A scripted HAProxy: says on a socket exactly what a test tells it to, and reads what the agent answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spop_bridge::agent::rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::Address;
use super::wire::{self, Ack, Data, Frame};

/// How long a test waits for a frame before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection to an agent, from HAProxy's side.
pub(crate) struct Engine {
    socket: Socket,
    unread: Vec<u8>,
}

impl Engine {
    /// Connects and says nothing.
    pub(crate) fn connect(address: &Address) -> Engine {
        let socket = match address {
            Address::Tcp(address) => {
                let socket = TcpStream::connect_timeout(address, PATIENCE).expect("connect to the agent");
                socket.set_nodelay(true).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.set_write_timeout(Some(PATIENCE)).unwrap();
                Socket::Tcp(socket)
            }
            Address::Unix(path) => {
                let socket = UnixStream::connect(path).expect("connect to the agent");
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.set_write_timeout(Some(PATIENCE)).unwrap();
                Socket::Unix(socket)
            }
        };
        Engine { socket, unread: Vec::new() }
    }

    /// Connects by TLS, to a listener whose certificate is for `localhost`, and says nothing: the handshake comes with the first word.
    pub(crate) fn connect_tls(address: &Address, config: &Arc<ClientConfig>) -> Engine {
        let mut engine = Engine::connect(address);
        if let Socket::Tcp(socket) = engine.socket {
            let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
            engine.socket = Socket::Tls(Box::new(StreamOwned::new(connection, socket)));
        }
        engine
    }

    /// The TLS of a connection that has it.
    pub(crate) fn tls(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        match &mut self.socket {
            Socket::Tls(stream) => stream,
            Socket::Tcp(_) | Socket::Unix(_) => panic!("a connection without TLS"),
        }
    }

    /// Connects and gets through HELLO.
    pub(crate) fn open(address: &Address) -> Engine {
        let mut engine = Engine::connect(address);
        engine.hello();
        engine
    }

    /// HAPROXY-HELLO as 3.1+ sends it, answered by AGENT-HELLO whose pairs are returned.
    pub(crate) fn hello(&mut self) -> Vec<(String, Data)> {
        self.hello_with(16380, "it-engine")
    }

    pub(crate) fn hello_with(&mut self, max_frame_size: u32, engine_id: &str) -> Vec<(String, Data)> {
        self.send_frame(&hello_frame(max_frame_size, engine_id));
        let answer = self.expect_frame();
        assert_eq!(answer.kind, wire::AGENT_HELLO, "answer to HELLO: {answer:?} {:?}", answer.pairs());
        answer.pairs()
    }

    /// The HELLO of `option spop-check`: its pairs answered, or the reason of the refusal.
    pub(crate) fn health_check(&mut self) -> Result<Vec<(String, Data)>, (u32, String)> {
        // tcpcheck.c: no engine-id, empty capabilities, 16380 whatever the buffer size (d4).
        let pairs = [
            ("supported-versions", "2.0".into()),
            ("max-frame-size", Data::Uint32(16380)),
            ("capabilities", "".into()),
            ("healthcheck", Data::Bool(true)),
        ];
        self.send_frame(&Frame::new(wire::HAPROXY_HELLO, 0, 0, wire::kv_list(&pairs)));
        let answer = self.expect_frame();
        match answer.kind {
            wire::AGENT_HELLO => Ok(answer.pairs()),
            _ => Err(reason(&answer)),
        }
    }

    pub(crate) fn notify(&mut self, stream: u64, frame: u64, messages: &[(&str, &[(&str, Data)])]) {
        self.send_frame(&notify_frame(stream, frame, messages));
    }

    /// One NOTIFY with one message, and its ACK.
    pub(crate) fn ask(&mut self, stream: u64, message: &str, args: &[(&str, Data)]) -> Ack {
        self.notify(stream, 1, &[(message, args)]);
        let ack = self.expect_ack();
        assert_eq!((ack.stream, ack.frame), (stream, 1), "the ACK is for another NOTIFY");
        ack
    }

    pub(crate) fn expect_ack(&mut self) -> Ack {
        let frame = self.expect_frame();
        assert_eq!(frame.kind, wire::ACK, "expected an ACK: {frame:?}");
        assert_eq!(frame.flags, wire::FIN, "flags of an ACK");
        Ack { stream: frame.stream, frame: frame.frame, actions: frame.actions() }
    }

    /// AGENT-DISCONNECT: its status code and message.
    pub(crate) fn expect_disconnect(&mut self) -> (u32, String) {
        let frame = self.expect_frame();
        assert_eq!(frame.kind, wire::AGENT_DISCONNECT, "expected an AGENT-DISCONNECT: {frame:?}");
        reason(&frame)
    }

    /// The agent has closed and said nothing more.
    pub(crate) fn expect_end(&mut self) {
        let frame = self.next();
        assert!(frame.is_none(), "expected the end of the connection: {frame:?}");
    }

    /// HAPROXY-DISCONNECT with status 0.
    pub(crate) fn disconnect(&mut self) {
        let pairs = [("status-code", Data::Uint32(0)), ("message", "normal".into())];
        self.send_frame(&Frame::new(wire::HAPROXY_DISCONNECT, 0, 0, wire::kv_list(&pairs)));
    }

    pub(crate) fn send_frame(&mut self, frame: &Frame) {
        self.send(&frame.encode());
    }

    /// Raw bytes, in one write if the socket takes them.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("write to the agent");
    }

    /// As `send`, where the agent may have closed already.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.write_all(bytes),
            Socket::Unix(socket) => socket.write_all(bytes),
            Socket::Tls(stream) => stream.write_all(bytes),
        }
    }

    /// A second handle for writing, so that one thread writes while another reads.
    pub(crate) fn writer(&self) -> Box<dyn Write + Send> {
        match &self.socket {
            Socket::Tcp(socket) => Box::new(socket.try_clone().unwrap()),
            Socket::Unix(socket) => Box::new(socket.try_clone().unwrap()),
            Socket::Tls(_) => panic!("reading and writing share the state of TLS"),
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_writing(&mut self) {
        let _closed_already = match &mut self.socket {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
            Socket::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().and_then(|()| stream.sock.shutdown(Shutdown::Write))
            }
        };
    }

    pub(crate) fn expect_frame(&mut self) -> Frame {
        self.next().expect("a frame, not the end of the connection")
    }

    /// The next frame; `None` when the agent has closed at a frame's edge or reset.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            assert!(Instant::now() < deadline, "no frame within {PATIENCE:?}");
            if !self.fill() {
                assert!(self.unread.is_empty(), "half a frame at the end: {:?}", self.unread);
                return None;
            }
        }
    }

    /// One read, as its own value: what one segment or write of the agent brought.
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        self.fill();
        std::mem::take(&mut self.unread)
    }

    /// What arrives until the agent closes.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let prefix: [u8; 4] = self.unread.get(..4)?.try_into().unwrap();
        let end = 4 + u32::from_be_bytes(prefix) as usize;
        let frame = Frame::decode(self.unread.get(4..end)?);
        self.unread.drain(..end);
        Some(frame)
    }

    /// False at the end of the connection.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let read = match &mut self.socket {
            Socket::Tcp(socket) => socket.read(&mut buffer),
            Socket::Unix(socket) => socket.read(&mut buffer),
            // An end without close_notify is an error here.
            Socket::Tls(stream) => stream.read(&mut buffer),
        };
        match read {
            Ok(0) => false,
            Ok(count) => (self.unread.extend(&buffer[..count]), true).1,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing from the agent: {error}"),
        }
    }
}

/// HAPROXY-HELLO as 3.1+ sends it.
pub(crate) fn hello_frame(max_frame_size: u32, engine_id: &str) -> Frame {
    let pairs = [
        ("supported-versions", "2.0".into()),
        ("max-frame-size", Data::Uint32(max_frame_size)),
        ("capabilities", "pipelining".into()),
        ("engine-id", engine_id.into()),
    ];
    Frame::new(wire::HAPROXY_HELLO, 0, 0, wire::kv_list(&pairs))
}

pub(crate) fn notify_frame(stream: u64, frame: u64, messages: &[(&str, &[(&str, Data)])]) -> Frame {
    Frame::new(wire::NOTIFY, stream, frame, wire::message_list(messages))
}

fn reason(frame: &Frame) -> (u32, String) {
    assert_eq!(frame.kind, wire::AGENT_DISCONNECT, "expected an AGENT-DISCONNECT: {frame:?}");
    let pairs = frame.pairs();
    let status = pairs.iter().find_map(|(name, value)| match value {
        Data::Uint32(code) if name == "status-code" => Some(*code),
        _ => None,
    });
    let message = pairs.iter().find_map(|(name, value)| match value {
        Data::Text(text) if name == "message" => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    (status.expect("a status-code"), message.expect("a message"))
}
