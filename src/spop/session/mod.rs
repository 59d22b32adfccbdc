//! One connection's conversation: HELLO, NOTIFYs in flight, DISCONNECT (SPOE §3.2.3). No clock, no IO.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::action::Actions;
use super::capabilities::Capabilities;
use super::error::ProtocolError;
use super::frame::ack::{ack_len, encode_ack};
use super::frame::disconnect::Disconnect;
use super::frame::hello::{AgentHello, HaproxyHello, MIN_FRAME_SIZE};
use super::frame::notify::{Notify, Peer};
use super::frame::{Flags, Frame, FrameType, Metadata};
use super::status::StatusCode;
use super::version::Version;

mod config;
mod event;
mod in_flight;
#[cfg(test)]
mod tests;

pub use self::config::{Negotiated, SessionConfig};
pub use self::event::Event;
use self::in_flight::InFlight;

/// Most bytes of a frame before HELLO is done, without the length prefix.
///
/// HAProxy's HELLO takes about 130. Whoever connects can make the agent hold this much: 4096 connections, 16 MiB.
pub const MAX_HELLO_SIZE: u32 = 4096;

/// The agent's side of one connection.
///
/// ```text
///                     HELLO                    HAPROXY-DISCONNECT
///   AwaitingHello ──────────────▶ Established ──────────────────▶ Draining
///         │                            │                              │
///         │ health check, refused,     │ disconnect()                 │ disconnect(), after the
///         │ disconnect()               ▼                              │ last ACK
///         └────────────────────────▶ Closed ◀─────────────────────────┘
/// ```
///
/// A farewell of HAProxy may also come instead of HELLO.
///
/// Frames go in through [`Session::handle_frame`], which says what happened; what must be sent is appended to `out`, each
/// frame whole. After an error the caller says so with [`Session::disconnect`], writes `out`, and closes.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    state: State,
    peer: Arc<Peer>,
    negotiated: Option<Negotiated>,
    in_flight: InFlight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but HELLO, or a farewell, is legal.
    AwaitingHello,
    /// NOTIFYs come in, ACKs go out.
    Established,
    /// HAProxy has said goodbye: nothing comes in that counts, ACKs still go out.
    Draining,
    /// Nothing comes in that counts, nothing goes out.
    Closed,
}

impl Session {
    /// A connection just accepted. `peer_address` is text for [`Peer::address`].
    pub fn new(config: Arc<SessionConfig>, peer_address: Arc<str>) -> Self {
        let peer = Peer { engine_id: Bytes::new(), listener: Arc::clone(&config.listener), address: peer_address };
        Self { config, state: State::AwaitingHello, peer: Arc::new(peer), negotiated: None, in_flight: InFlight::default() }
    }

    /// Most bytes to accept in the next frame: what was negotiated, and [`MAX_HELLO_SIZE`] before.
    pub fn decoder_limit(&self) -> u32 {
        match self.negotiated {
            Some(negotiated) => negotiated.max_frame_size,
            None => self.config.frame_limit().min(MAX_HELLO_SIZE),
        }
    }

    /// Takes the next frame, read completely at `now`, and appends to `out` what has to be answered at once.
    ///
    /// `ready` is what a health check is told: without it the check gets an AGENT-DISCONNECT, and HAProxy moves to other
    /// servers. A HELLO that is no check is accepted all the same, for HAProxy does not know yet.
    ///
    /// # Errors
    ///
    /// When the frame breaks the protocol. Tell the peer by [`Session::disconnect`] with the error's status code, and close.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame, ready: bool, out: &mut BytesMut) -> Result<Event, ProtocolError> {
        match self.state {
            State::AwaitingHello => self.handle_first(&frame, ready, out),
            State::Established => self.handle_next(now, frame),
            State::Draining | State::Closed => Ok(Event::Ignored),
        }
    }

    /// Appends the ACK of a NOTIFY in flight, and forgets the NOTIFY.
    ///
    /// `false`, and nothing is written, when it is not in flight: never asked, answered already, aborted, or the
    /// connection is closed. The ACK must fit the negotiated frame, see [`Session::ack_fits`].
    pub fn ack(&mut self, stream_id: u64, frame_id: u64, actions: &Actions, out: &mut BytesMut) -> bool {
        let waits = self.in_flight.remove(stream_id, frame_id);
        if waits {
            encode_ack(out, stream_id, frame_id, actions);
        }
        waits
    }

    /// Whether an ACK with `actions_len` bytes of actions stays within the negotiated max-frame-size.
    pub fn ack_fits(&self, stream_id: u64, frame_id: u64, actions_len: usize) -> bool {
        u32::try_from(ack_len(stream_id, frame_id, actions_len)).is_ok_and(|len| len <= self.decoder_limit())
    }

    /// Appends an AGENT-DISCONNECT with the reason and closes: later ACKs and farewells write nothing.
    ///
    /// `false`, and nothing is written, when the session was closed already. To finish cleanly, ACK what is in flight
    /// first: HAProxy fails every stream that still waits (SPOE §3.2.9).
    pub fn disconnect(&mut self, status: StatusCode, message: &str, out: &mut BytesMut) -> bool {
        if self.state == State::Closed {
            return false;
        }
        Disconnect::new(status, message).encode(FrameType::AGENT_DISCONNECT, out);
        self.close();
        true
    }

    /// NOTIFYs that wait for their ACK.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether another NOTIFY may be read; without room, frames should wait in the socket.
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < self.config.max_in_flight
    }

    /// Whether HELLO is done and no side has said goodbye.
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Whether nothing more will be written.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What the HELLOs agreed on; `None` before.
    pub const fn negotiated(&self) -> Option<Negotiated> {
        self.negotiated
    }

    /// Engine id of HAProxy's HELLO; empty before, and when it gave none.
    pub fn engine_id(&self) -> &Bytes {
        &self.peer.engine_id
    }

    /// Who is at the other end. The engine id is known after HELLO.
    pub const fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// AwaitingHello: HELLO, or a farewell.
    fn handle_first(&mut self, frame: &Frame, ready: bool, out: &mut BytesMut) -> Result<Event, ProtocolError> {
        match frame.metadata.frame_type {
            FrameType::HAPROXY_HELLO => self.handle_hello(frame, ready, out),
            FrameType::HAPROXY_DISCONNECT => self.handle_disconnect(frame),
            other => Err(ProtocolError::HelloExpected(other)),
        }
    }

    /// Established: everything but HELLO.
    fn handle_next(&mut self, now: Instant, frame: Frame) -> Result<Event, ProtocolError> {
        require_fin(frame.metadata.flags)?;
        match frame.metadata.frame_type {
            FrameType::NOTIFY | FrameType::UNSET if frame.metadata.flags.contains(Flags::ABORT) => {
                Ok(self.handle_abort(frame.metadata))
            }
            FrameType::NOTIFY => self.handle_notify(now, frame),
            FrameType::HAPROXY_DISCONNECT => self.handle_disconnect(&frame),
            FrameType::HAPROXY_HELLO => Err(ProtocolError::HelloTwice),
            // A last fragment, of a payload whose first was refused.
            FrameType::UNSET => Err(ProtocolError::Fragmented),
            agents if agents.is_from_agent() => Err(ProtocolError::AgentFrame(agents)),
            // SPOE §3.2.2: unknown frames may be silently skipped.
            _ => Ok(Event::Ignored),
        }
    }

    fn handle_hello(&mut self, frame: &Frame, ready: bool, out: &mut BytesMut) -> Result<Event, ProtocolError> {
        let Metadata { flags, stream_id, frame_id, .. } = frame.metadata;
        require_fin(flags)?;
        if (stream_id, frame_id) != (0, 0) {
            return Err(ProtocolError::HelloWithIds);
        }
        let hello = HaproxyHello::decode(&frame.payload)?;
        let negotiated = self.negotiate(&hello)?;
        if hello.healthcheck {
            if ready {
                answer(HEALTHCHECK_FRAME_SIZE).encode(out);
                self.close();
            } else {
                self.disconnect(StatusCode::UNKNOWN, NOT_READY, out);
            }
            return Ok(Event::HealthCheck);
        }
        answer(negotiated.max_frame_size).encode(out);
        self.establish(hello.engine_id.unwrap_or_default(), negotiated);
        Ok(Event::Established)
    }

    /// Version and frame size to answer with.
    fn negotiate(&self, hello: &HaproxyHello) -> Result<Negotiated, ProtocolError> {
        let silent = hello.healthcheck && hello.supported_versions.is_empty();
        if !silent && !hello.supported_versions.iter().any(|version| version.includes(Version::V2_0)) {
            return Err(ProtocolError::UnsupportedVersion);
        }
        if hello.max_frame_size < MIN_FRAME_SIZE {
            return Err(ProtocolError::BadMaxFrameSize { offered: hello.max_frame_size });
        }
        Ok(Negotiated {
            version: Version::V2_0,
            max_frame_size: hello.max_frame_size.min(self.config.frame_limit()),
            offered: hello.capabilities,
        })
    }

    fn establish(&mut self, engine_id: Bytes, negotiated: Negotiated) {
        self.peer = Arc::new(Peer { engine_id, ..Peer::clone(&self.peer) });
        self.negotiated = Some(negotiated);
        self.state = State::Established;
    }

    fn handle_notify(&mut self, now: Instant, frame: Frame) -> Result<Event, ProtocolError> {
        let Metadata { stream_id, frame_id, .. } = frame.metadata;
        // Frame ids count from 1 in every HAProxy. A stream id of 0 is the first stream of a process up to 3.0.
        if frame_id == 0 {
            return Err(ProtocolError::NotifyWithoutId);
        }
        let notify = Notify::decode(frame, Arc::clone(&self.peer), now, self.decoder_limit())?;
        if !self.in_flight.insert(stream_id, frame_id) {
            return Err(ProtocolError::DuplicateNotify { stream_id, frame_id });
        }
        Ok(Event::Notify(notify))
    }

    fn handle_abort(&mut self, metadata: Metadata) -> Event {
        let Metadata { stream_id, frame_id, .. } = metadata;
        match self.in_flight.remove(stream_id, frame_id) {
            true => Event::Aborted { stream_id, frame_id },
            false => Event::Ignored,
        }
    }

    fn handle_disconnect(&mut self, frame: &Frame) -> Result<Event, ProtocolError> {
        let disconnect = Disconnect::decode(&frame.payload)?;
        self.state = State::Draining;
        Ok(Event::Disconnected(disconnect))
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.in_flight = InFlight::default();
    }
}

/// Pipelining alone is announced, whatever HAProxy offers: without it HAProxy 3.1+ keeps one NOTIFY in flight on a
/// connection; `async` and `fragmentation` are broken or gone in one release or another.
const fn answer(max_frame_size: u32) -> AgentHello {
    AgentHello { version: Version::V2_0, max_frame_size, capabilities: Capabilities::PIPELINING }
}

/// SPOE §3.2: fragmentation was removed, so FIN must be set on all frames.
fn require_fin(flags: Flags) -> Result<(), ProtocolError> {
    if flags.contains(Flags::FIN) { Ok(()) } else { Err(ProtocolError::Fragmented) }
}

/// max-frame-size in the answer to a health check, which no later frame depends on.
///
/// `spop-check` of HAProxy 3.1+ offers 16380 whatever `tune.bufsize` is, and then takes that very answer for an error when
/// `tune.bufsize` is lower. The least legal value fits them all.
const HEALTHCHECK_FRAME_SIZE: u32 = MIN_FRAME_SIZE;

/// Text of a refusal; HAProxy up to 3.0 logs it.
const NOT_READY: &str = "agent is not ready";
