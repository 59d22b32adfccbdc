//! Whole conversations with HAProxy, without a runtime.

mod closing;
mod hello;
mod notify;
mod properties;

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::super::decoder::Decoder;
use super::super::error::ProtocolError;
use super::super::frame::ack::Ack;
use super::super::frame::disconnect::Disconnect;
use super::super::frame::hello::{AgentHello, HaproxyHello};
use super::super::frame::notify::NotifyEncoder;
use super::super::frame::{Flags, Frame, FrameType};
use super::super::testing::hex;
use super::super::writer::Writer;
use super::super::{Actions, Capabilities, StatusCode, Version};
use super::{Event, Session, SessionConfig};

/// HAProxy's end of a connection to a [`Session`].
struct Haproxy {
    session: Session,
    ready: bool,
    /// What the session has to write.
    out: BytesMut,
}

impl Haproxy {
    fn connect() -> Self {
        Self::connect_to(SessionConfig::default())
    }

    fn connect_to(config: SessionConfig) -> Self {
        Self { session: Session::new(Arc::new(config), "192.0.2.1:40000".into()), ready: true, out: BytesMut::new() }
    }

    /// A connection on which HELLO is done, and its answer read.
    fn established() -> Self {
        let mut haproxy = Self::connect();
        assert!(matches!(haproxy.hello(&offer()), Ok(Event::Established)));
        assert_eq!(haproxy.agent_hello().max_frame_size, 16_380);
        haproxy
    }

    /// Sends bytes as they are: one frame with its prefix.
    fn send(&mut self, wire: &[u8]) -> Result<Event, ProtocolError> {
        let mut buffer = BytesMut::from(wire);
        let frame = Decoder::new(self.session.decoder_limit()).decode(&mut buffer)?.expect("a whole frame");
        assert!(buffer.is_empty(), "one frame");
        self.session.handle_frame(Instant::now(), frame, self.ready, &mut self.out)
    }

    fn send_hex(&mut self, wire: &str) -> Result<Event, ProtocolError> {
        self.send(&hex(wire))
    }

    fn hello(&mut self, hello: &HaproxyHello) -> Result<Event, ProtocolError> {
        let mut wire = BytesMut::new();
        hello.encode(&mut wire);
        self.send(&wire)
    }

    fn notify(&mut self, stream_id: u64, frame_id: u64) -> Result<Event, ProtocolError> {
        let mut wire = BytesMut::new();
        NotifyEncoder::new(stream_id, frame_id).message("m", &[("a", 1_i64.into())]).encode(&mut wire).unwrap();
        self.send(&wire)
    }

    fn frame(&mut self, frame_type: FrameType, flags: Flags, stream_id: u64, frame_id: u64) -> Result<Event, ProtocolError> {
        let mut wire = BytesMut::new();
        Writer::frame(&mut wire, frame_type, flags, stream_id, frame_id).finish();
        self.send(&wire)
    }

    fn disconnect(&mut self, status: StatusCode) -> Result<Event, ProtocolError> {
        let mut wire = BytesMut::new();
        Disconnect::new(status, status.sentence()).encode(FrameType::HAPROXY_DISCONNECT, &mut wire);
        self.send(&wire)
    }

    /// What the agent's driver does after an error.
    fn fail(&mut self, error: ProtocolError) -> Disconnect {
        assert!(self.session.disconnect(error.status_code(), &error.to_string(), &mut self.out));
        self.agent_disconnect()
    }

    fn ack(&mut self, stream_id: u64, frame_id: u64) -> bool {
        self.session.ack(stream_id, frame_id, &Actions::new(), &mut self.out)
    }

    /// The next frame that the session has written.
    fn read(&mut self) -> Option<Frame> {
        let frame = Decoder::new(self.session.decoder_limit()).decode(&mut self.out).unwrap()?;
        assert_eq!(frame.metadata.flags, Flags::FIN, "on every frame, and nothing else");
        Some(frame)
    }

    fn expect(&mut self, frame_type: FrameType) -> Frame {
        let frame = self.read().expect("a frame");
        assert_eq!(frame.metadata.frame_type, frame_type);
        if frame_type != FrameType::ACK {
            assert_eq!((frame.metadata.stream_id, frame.metadata.frame_id), (0, 0));
        }
        frame
    }

    fn agent_hello(&mut self) -> AgentHello {
        AgentHello::decode(&self.expect(FrameType::AGENT_HELLO).payload).unwrap()
    }

    fn agent_disconnect(&mut self) -> Disconnect {
        Disconnect::decode(&self.expect(FrameType::AGENT_DISCONNECT).payload).unwrap()
    }

    /// Ids of every ACK that was written.
    fn acks(&mut self) -> Vec<(u64, u64)> {
        let mut acks = Vec::new();
        while !self.out.is_empty() {
            let ack = Ack::decode(self.expect(FrameType::ACK)).unwrap();
            acks.push((ack.stream_id, ack.frame_id));
        }
        acks
    }
}

/// What HAProxy 3.0 offers; 3.1+ leaves `async` out.
fn offer() -> HaproxyHello {
    HaproxyHello {
        supported_versions: vec![Version::V2_0],
        max_frame_size: 16_380,
        capabilities: Capabilities { pipelining: true, fragmentation: false, r#async: true },
        healthcheck: false,
        engine_id: Some("1df12bc3-bcc9-4454-8162-c91136f63157".into()),
    }
}

fn health_check() -> HaproxyHello {
    HaproxyHello { capabilities: Capabilities::NONE, healthcheck: true, engine_id: None, ..offer() }
}
