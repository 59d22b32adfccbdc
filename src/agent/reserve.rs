//! A file descriptor kept for the moment when there are no others.

use std::io;

use futures_util::FutureExt;
use socket2::{Domain, Socket, Type};

use super::listener::Listener;

/// Without descriptors nobody can be accepted, and who waits in the backlog waits for its own timer. With one given up for it, a newcomer
/// can be accepted and closed at once: HAProxy then tries another server.
#[derive(Debug)]
pub(crate) struct Reserve(Option<Socket>);

impl Reserve {
    pub(crate) fn new() -> Self {
        let mut reserve = Self(None);
        reserve.refill();
        reserve
    }

    /// Without a descriptor, until it is refilled.
    #[cfg(feature = "bridge")]
    pub(crate) const fn empty() -> Self {
        Self(None)
    }

    /// Closes one that waits to be accepted, and returns its address; `None` if nobody does: the kernel looks for a descriptor before
    /// it looks for a connection.
    ///
    /// # Errors
    /// The descriptor is gone, for another thread was faster to use it, or it was not enough.
    pub(super) fn turn_away(&mut self, listener: &mut impl Listener) -> io::Result<Option<String>> {
        let peer = self.accept(listener).map(|accepted| accepted.map(|(_closed, peer)| peer));
        self.refill();
        peer
    }

    /// Accepts one that waits, with the descriptor that is given up for it; `None` if nobody does.
    ///
    /// # Errors
    /// As [`turn_away`](Self::turn_away).
    pub(crate) fn accept<L: Listener>(&mut self, listener: &mut L) -> io::Result<Option<(L::Stream, String)>> {
        let Some(reserve) = self.0.take() else { return Err(io::ErrorKind::WouldBlock.into()) };
        drop(reserve);
        listener.accept().now_or_never().transpose()
    }

    /// Takes a descriptor again after somebody else has had it.
    pub(crate) fn refill(&mut self) {
        if self.0.is_none() {
            // A socket of no use: it needs no file, and there may be none in a container.
            self.0 = Socket::new(Domain::UNIX, Type::DGRAM, None).ok();
        }
    }
}

/// Whether the process, or the system, has no descriptors left.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // The same numbers on Linux, the BSDs and macOS.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}
