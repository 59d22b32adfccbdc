//! What a frame meant.

use super::super::frame::disconnect::Disconnect;
use super::super::frame::notify::Notify;
#[cfg(doc)]
use super::Session;

/// What a frame meant.
#[derive(Clone, Debug)]
pub enum Event {
    /// HELLO was accepted; the answer is in `out`.
    Established,
    /// It was a health check; the answer is in `out`. Write it, then close.
    HealthCheck,
    /// A question: answer it with [`Session::ack`], whatever happens.
    Notify(Notify),
    /// HAProxy no longer waits for this NOTIFY: no ACK will be written for it.
    Aborted {
        /// Its stream id.
        stream_id: u64,
        /// Its frame id.
        frame_id: u64,
    },
    /// HAProxy ends the connection. Stop reading, finish what is in flight, then [`Session::disconnect`], write, close.
    Disconnected(Disconnect),
    /// Nothing is to be done.
    Ignored,
}
