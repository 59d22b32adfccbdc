//! HAProxy's side of SPOP, as far as the commands need it: one connection, and on it HELLO, one NOTIFY at a time, DISCONNECT.

use std::io;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::agent::Socket;
use crate::spop::frame::hello::DEFAULT_FRAME_SIZE;
use crate::spop::{
    Ack, Actions, AgentHello, Capabilities, DecodeError, Decoder, Disconnect, Frame, FrameType, HaproxyHello, NotifyEncoder,
    ProtocolError, StatusCode, Version,
};

/// An agent, as HAProxy sees it.
#[derive(Debug)]
pub(super) struct Engine {
    socket: Socket,
    input: BytesMut,
    decoder: Decoder,
    hello: AgentHello,
}

/// Why there was no answer.
#[derive(Debug, Error)]
pub(super) enum EngineError {
    #[error("cannot connect to {address}: {source}. Is the agent running, and is this its address?")]
    Connect { address: String, source: io::Error },
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the agent closed the connection without a word")]
    Closed,
    #[error("the agent sent what is no SPOP frame: {0}")]
    Decode(#[from] DecodeError),
    #[error("the agent broke SPOP: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the agent disconnected: {0}")]
    Disconnected(Disconnect),
    #[error("the agent sent a frame of type {0} instead of an answer")]
    Unexpected(FrameType),
}

impl Engine {
    /// Connects to `host:port` or `unix:/path` and says hello.
    pub(super) async fn connect(address: &str, engine_id: &str) -> Result<Self, EngineError> {
        let connected = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).await.map(Socket::Unix),
            // NOTIFYs are small and wanted at once.
            None => {
                TcpStream::connect(address).await.and_then(|stream| stream.set_nodelay(true).map(|()| stream)).map(Socket::Tcp)
            }
        };
        let socket = connected.map_err(|source| EngineError::Connect { address: address.to_owned(), source })?;
        let hello = HaproxyHello {
            supported_versions: vec![Version::V2_0],
            max_frame_size: DEFAULT_FRAME_SIZE,
            capabilities: Capabilities::PIPELINING,
            healthcheck: false,
            engine_id: Some(engine_id.to_owned().into()),
        };
        let mut out = BytesMut::new();
        hello.encode(&mut out);
        let decoder = Decoder::new(DEFAULT_FRAME_SIZE);
        let nothing =
            AgentHello { version: Version::V2_0, max_frame_size: DEFAULT_FRAME_SIZE, capabilities: Capabilities::PIPELINING };
        let mut engine = Self { socket, input: BytesMut::new(), decoder, hello: nothing };
        engine.socket.write_all(&out).await?;
        let frame = engine.frame(FrameType::AGENT_HELLO).await?;
        engine.hello = AgentHello::decode(&frame.payload)?;
        Ok(engine)
    }

    /// What the agent said.
    pub(super) fn hello(&self) -> &AgentHello {
        &self.hello
    }

    /// The connection itself, for who has a NOTIFY stream of its own.
    pub(super) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// What the agent sent beyond its HELLO.
    pub(super) fn take_input(&mut self) -> BytesMut {
        std::mem::take(&mut self.input)
    }

    /// Sends a NOTIFY, as encoded, and waits for the ACK.
    pub(super) async fn notify(&mut self, notify: &NotifyEncoder) -> Result<Actions, EngineError> {
        let mut out = BytesMut::new();
        // More args than a message can have were refused before.
        notify.encode(&mut out).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.socket.write_all(&out).await?;
        let frame = self.frame(FrameType::ACK).await?;
        Ok(Ack::decode(frame)?.actions)
    }

    /// Says good-bye and waits for the agent to do the same.
    pub(super) async fn disconnect(mut self) -> Result<(), EngineError> {
        let mut out = BytesMut::new();
        Disconnect::new(StatusCode::NORMAL, "").encode(FrameType::HAPROXY_DISCONNECT, &mut out);
        self.socket.write_all(&out).await?;
        match self.frame(FrameType::AGENT_DISCONNECT).await {
            Ok(_) | Err(EngineError::Disconnected(_) | EngineError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn frame(&mut self, expected: FrameType) -> Result<Frame, EngineError> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.input)? {
                return match frame.metadata.frame_type {
                    found if found == expected => Ok(frame),
                    FrameType::AGENT_DISCONNECT => Err(EngineError::Disconnected(Disconnect::decode(&frame.payload)?)),
                    found => Err(EngineError::Unexpected(found)),
                };
            }
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return Err(EngineError::Closed);
            }
        }
    }
}
