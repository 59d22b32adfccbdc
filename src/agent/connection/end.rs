//! How a connection comes to its end: by a fault, by a good-bye, by draining, by time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Stage};
use crate::agent::ConnectionError;
use crate::agent::job::{Finished, Job};
use crate::agent::processor::Process;
use crate::shutdown::{Drain, Phase};
use crate::spop::StatusCode;
use crate::telemetry::event;
use crate::telemetry::metrics::{FrameKind, Hello};

/// How long we wait for the peer's end after ours: closing at once with its bytes unread would reset the connection, and the
/// reset can overtake the ACKs before it.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// How long nothing may happen on a connection that is to end before it does, if it does not end with its last ACK: an ACK is
/// often answered with the next NOTIFY, which would cross our good-bye.
const QUIET: Duration = Duration::from_millis(5);

/// How long a connection may be there without its first NOTIFY. HAProxy opens one when it has a NOTIFY to send, and what it opens for
/// health checks ends with their answer: whoever only says HELLO must not keep a place from HAProxy for ever.
const FIRST_NOTIFY: Duration = Duration::from_secs(60);

/// Becomes ready when a phase of the stop is reached.
pub(super) type StopSignal = Pin<Box<dyn Future<Output = Phase> + Send>>;

pub(super) enum Timeout {
    Handshake,
    Read,
    Write,
    Idle,
    Quiet,
    Linger,
}

impl<S, P> Connection<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Process,
{
    /// Ends the connection for a fault of the peer's: what is in flight is answered first (d24), then it is told why.
    pub(super) fn refuse(&mut self, fault: ConnectionError) {
        if self.session.negotiated().is_none() {
            self.metrics.hello(Hello::Refused);
        }
        self.finish(fault.status_code(), &fault.to_string());
        self.fault = Some(fault);
    }

    pub(super) fn finish(&mut self, status: StatusCode, message: &str) {
        self.input = BytesMut::new();
        self.frame_begun = None;
        self.stage = Stage::Finishing { status, message: message.to_owned() };
    }

    pub(super) fn finish_if_idle(&mut self) -> bool {
        match &self.stage {
            Stage::Finishing { status, message } if self.jobs.is_empty() => {
                let message = if message.is_empty() { status.sentence() } else { message };
                let (status, before) = (*status, self.output.len());
                self.session.disconnect(status, message, &mut self.output);
                self.metrics.sent(FrameKind::AgentDisconnect, self.output.len() - before);
                self.said_goodbye(false, status);
                self.stage = Stage::Flushing;
                true
            }
            _ => false,
        }
    }

    /// The first of the two counts.
    pub(super) fn said_goodbye(&mut self, by_haproxy: bool, status: StatusCode) {
        if !std::mem::replace(&mut self.ended, true) {
            event::Disconnected { metrics: &self.metrics, by_haproxy, status }.record();
        }
    }

    /// On a connection that is to end, the good-bye goes out with the last ACK in one write: HAProxy sees both before it can
    /// answer the ACK with another NOTIFY, which would be lost.
    pub(super) fn leave_with_last_ack(&mut self) {
        if self.leaving && matches!(self.stage, Stage::Serving) && self.jobs.is_empty() && self.input.is_empty() {
            self.finish(StatusCode::NORMAL, "draining");
            self.finish_if_idle();
        }
    }

    /// Nothing is in flight, half read or half written.
    fn is_quiet(&mut self) -> bool {
        let empty = self.jobs.is_empty() && self.input.is_empty() && self.is_written();
        matches!(self.stage, Stage::Serving) && empty && !self.rest.is_on()
    }

    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(phase) = self.stop.as_mut().poll(cx) {
            self.leaving = true;
            if phase < Phase::Closing {
                self.stop = stop_signal(&self.drain, Phase::Closing);
                continue;
            }
            self.stop = Box::pin(std::future::pending());
            let ids = |job: Pin<&Job<P::Future>>| (job.stream_id, job.frame_id, job.received_at);
            let in_flight: Vec<_> = Pin::new(&self.jobs).iter_pin_ref().map(ids).collect();
            self.jobs.clear();
            if matches!(self.stage, Stage::Serving) {
                self.finish(StatusCode::NORMAL, "draining");
            }
            for (stream_id, frame_id, received_at) in in_flight {
                let finished = Finished { stream_id, frame_id, received_at, result: Ok(self.settings.fallback.clone()) };
                let acknowledged = self.acknowledge(&finished);
                self.notify_ended(acknowledged.then(|| received_at.elapsed()));
            }
        }
    }

    /// Ends a connection that was never used, if another one is to have its place.
    pub(super) fn poll_unused(&mut self, cx: &mut Context<'_>) {
        if let Some(unused) = &mut self.unused
            && unused.poll_has_to_go(cx).is_ready()
        {
            self.unused = None;
            if matches!(self.stage, Stage::Serving) {
                self.finish(StatusCode::NORMAL, "unused, and all places are taken");
            }
        }
    }

    /// The earliest of the timeouts that run now.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Timeout> {
        let settings = &*self.settings;
        let serving = matches!(self.stage, Stage::Serving);
        let awaits_hello = serving && !self.session.is_established();
        let write = if self.drain.phase() == Phase::Closing { LINGER } else { settings.write_timeout };
        let idle = settings.idle_timeout.or((!self.listed.has_notified()).then_some(FIRST_NOTIFY));
        let idle = idle.filter(|_| self.session.is_established() && self.jobs.is_empty());
        let running = [
            awaits_hello.then_some((self.accepted, settings.handshake_timeout, Timeout::Handshake)),
            self.frame_begun.map(|begun| (begun, settings.read_timeout, Timeout::Read)),
            self.write_blocked.map(|since| (since, write, Timeout::Write)),
            idle.filter(|_| serving).map(|idle| (self.active, idle, Timeout::Idle)),
            (self.leaving && self.is_quiet()).then_some((self.active, QUIET, Timeout::Quiet)),
            match self.stage {
                Stage::Lingering { since } => Some((since, LINGER, Timeout::Linger)),
                _ => None,
            },
        ];
        // What is beyond the clock's range never comes.
        let ends = running.into_iter().flatten().filter_map(|(since, long, timeout)| Some((since.checked_add(long)?, timeout)));
        match ends.min_by_key(|(at, _)| *at) {
            Some((at, timeout)) => self.timer.poll_reached(cx, at).map(|()| timeout),
            None => Poll::Pending,
        }
    }
}

pub(super) fn stop_signal(drain: &Drain, phase: Phase) -> StopSignal {
    let mut drain = drain.clone();
    Box::pin(async move { drain.reached(phase).await })
}
