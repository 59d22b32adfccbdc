//! A timer finer than tokio's, which fires once a millisecond: at a fixed rate its delay would be counted as the agent's.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(target_os = "linux")]
pub(super) use precise::Timer;
#[cfg(not(target_os = "linux"))]
pub(super) use tokios::Timer;

#[cfg(target_os = "linux")]
mod precise {
    use std::os::fd::AsFd;
    use std::pin::Pin;
    use std::task::ready;

    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::{AsyncRead, ReadBuf};
    use tokio::net::unix::pipe::Receiver;

    use super::{Context, Duration, Poll, io};

    /// The kernel's, by descriptor.
    #[derive(Debug)]
    pub(in crate::cli::bench) struct Timer {
        timer: TimerFd,
        /// Its other descriptor. To tokio a timer is read like a pipe, and `AsyncFd` needs unsafe code.
        fired: Receiver,
    }

    impl Timer {
        pub(in crate::cli::bench) fn new() -> io::Result<Self> {
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            let fired = Receiver::from_owned_fd_unchecked(timer.as_fd().try_clone_to_owned()?)?;
            Ok(Self { timer, fired })
        }

        /// Fires once after that time, and no longer for what it was set to before.
        pub(in crate::cli::bench) fn set(&mut self, after: Duration) -> io::Result<()> {
            // Zero would switch it off.
            let after = Expiration::OneShot(TimeSpec::from_duration(after.max(Duration::from_nanos(1))));
            Ok(self.timer.set(after, TimerSetTimeFlags::empty())?)
        }

        /// Ready once it has fired.
        pub(in crate::cli::bench) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            // Eight bytes come. After a short read tokio knows that there is no more, without another call.
            let mut count = [0; 16];
            ready!(Pin::new(&mut self.fired).poll_read(cx, &mut ReadBuf::new(&mut count)))?;
            Poll::Ready(Ok(()))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod tokios {
    use std::pin::Pin;

    use tokio::time::Sleep;

    use super::{Context, Duration, Poll, io};

    /// Where the kernel has no such timers: latencies at a fixed rate are up to 2 ms too long.
    #[derive(Debug)]
    pub(in crate::cli::bench) struct Timer(Option<Pin<Box<Sleep>>>);

    impl Timer {
        pub(in crate::cli::bench) fn new() -> io::Result<Self> {
            Ok(Self(None))
        }

        pub(in crate::cli::bench) fn set(&mut self, after: Duration) -> io::Result<()> {
            self.0 = Some(Box::pin(tokio::time::sleep(after)));
            Ok(())
        }

        pub(in crate::cli::bench) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Some(sleep) = &mut self.0 else { return Poll::Pending };
            std::task::ready!(sleep.as_mut().poll(cx));
            self.0 = None;
            Poll::Ready(Ok(()))
        }
    }
}
