//! How much one connection may read before others of the thread get their turn.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes in a turn: what a service can make us look at in one go. Many small frames in it cost some milliseconds; a mebibyte, which the
/// runtime alone would let pass, tens of them, for which other backends' decisions would wait.
const BYTES: usize = 64 * 1024;

/// What is left of it in this turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowance(Arc<Read>);

#[derive(Debug, Default)]
struct Read {
    left: AtomicUsize,
    /// Something was read, in this turn or before.
    any: AtomicBool,
}

impl Allowance {
    /// At the beginning of a turn.
    pub(super) fn renew(&self) {
        self.0.left.store(BYTES, Ordering::Relaxed);
    }

    /// Whether the peer has said anything yet.
    pub(super) fn has_read(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }
}

/// A socket that is read within an allowance. When that is used up the task is woken for another turn.
pub(super) struct Limited<S> {
    socket: S,
    allowance: Allowance,
}

impl<S> Limited<S> {
    pub(super) fn new(socket: S, allowance: Allowance) -> Self {
        Self { socket, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.allowance.0.left.load(Ordering::Relaxed);
        if left == 0 {
            // To wake one's own task is not enough: tokio would run it again and again before it asks the kernel what has arrived for others.
            let _pending = pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.allowance.0.left.store(left.saturating_sub(read), Ordering::Relaxed);
            self.allowance.0.any.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
