//! What a listener allows its connections, and what a HELLO made of it.

use std::sync::Arc;

use super::super::capabilities::Capabilities;
use super::super::frame::hello::MIN_FRAME_SIZE;
use super::super::version::Version;
#[cfg(doc)]
use super::{super::Peer, Session};

/// What holds for every connection of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Most bytes accepted in a frame, without the length prefix; 256 or more. A higher offer is answered with this.
    ///
    /// An offer that is lower is echoed: HAProxy up to 3.0 shrinks all later frames of its thread to what an agent answers.
    pub max_frame_size: u32,
    /// NOTIFYs that may wait for their ACK at once; see [`Session::has_room`]. Each keeps its frame in memory.
    pub max_in_flight: usize,
    /// Name of the listener, for [`Peer::listener`].
    pub listener: Arc<str>,
}

impl Default for SessionConfig {
    /// 128 KiB a frame, since `tune.bufsize` is often raised above 64 KiB; 1024 in flight.
    fn default() -> Self {
        Self { max_frame_size: 128 * 1024, max_in_flight: 1024, listener: Arc::default() }
    }
}

impl SessionConfig {
    /// The most that is accepted in a frame: never less than SPOE.txt demands of every peer.
    pub(super) fn frame_limit(&self) -> u32 {
        self.max_frame_size.max(MIN_FRAME_SIZE)
    }
}

/// What the HELLOs agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Version spoken.
    pub version: Version,
    /// Most bytes in a frame either way, without the length prefix.
    pub max_frame_size: u32,
    /// What HAProxy offered. Without pipelining it keeps one NOTIFY in flight on the connection.
    pub offered: Capabilities,
}
