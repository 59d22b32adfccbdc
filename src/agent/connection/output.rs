//! What leaves: finished jobs to ACKs, many of them in one write.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::agent::ConnectionError;
use crate::agent::job::{Finished, JobError};
use crate::agent::processor::Process;
use crate::telemetry::event;
use crate::telemetry::metrics::FrameKind;

/// What an idle connection keeps of a buffer that was once larger.
const IDLE_BUFFER: usize = 4 * 1024;

impl<S, P> Connection<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Process,
{
    /// Collects finished decisions; their ACKs leave together.
    pub(super) fn poll_jobs(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut progress = false;
        // The clock is read once for all that are ready together.
        let mut ready_at = None;
        while self.turn.has_decisions() {
            let Poll::Ready(Some(finished)) = self.jobs.poll_next_unpin(cx) else { return progress };
            self.turn.count_decision();
            let acknowledged = self.acknowledge(&finished);
            let ready_at = *ready_at.get_or_insert_with(Instant::now);
            self.notify_ended(acknowledged.then(|| ready_at.saturating_duration_since(finished.received_at)));
            self.active = now;
            progress = true;
        }
        if !self.rest.is_on() {
            self.rest.begin(cx);
        }
        progress
    }

    /// Whether there is an ACK to write.
    pub(super) fn acknowledge(&mut self, finished: &Finished) -> bool {
        let &Finished { stream_id, frame_id, ref result, .. } = finished;
        let Self { settings, metrics, session, output, .. } = self;
        let listener = &*settings.session.listener;
        let mut actions = match result {
            Ok(actions) if actions.is_empty() => &settings.placeholder,
            Ok(actions) => actions,
            Err(JobError::Panicked(panic)) => {
                event::ProcessorPanicked { metrics, listener, panic }.record();
                &settings.fallback
            }
            Err(JobError::Cancelled) => return false,
        };
        let length = actions.len_bytes();
        if !session.ack_fits(stream_id, frame_id, length) {
            event::AckTooBig { listener, length, max_frame_size: session.decoder_limit() }.record();
            actions = &settings.fallback;
        }
        let before = output.len();
        let waits = session.ack(stream_id, frame_id, actions, output);
        if waits {
            metrics.sent(FrameKind::Ack, output.len() - before);
        }
        waits
    }

    pub(super) fn notify_ended(&self, acknowledged: Option<Duration>) {
        self.listed.end();
        event::NotifyEnded { metrics: &self.metrics, acknowledged }.record();
    }

    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, ConnectionError> {
        let mut progress = false;
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output)? {
                Poll::Ready(0) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                Poll::Ready(written) => {
                    self.output.advance(written);
                    self.write_blocked = None;
                    self.unflushed = true;
                    progress = true;
                }
                Poll::Pending => {
                    self.write_blocked.get_or_insert(now);
                    return Ok(progress);
                }
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx)? {
                Poll::Ready(()) => (self.unflushed, self.write_blocked) = (false, None),
                Poll::Pending => _ = self.write_blocked.get_or_insert(now),
            }
        }
        if progress {
            // A buffer that `advance` has emptied gives its room back only when it is written to again.
            self.output.clear();
            if self.output.capacity() > IDLE_BUFFER {
                self.output = BytesMut::new();
            }
        }
        Ok(progress)
    }

    /// Whether all has left that there was to say.
    pub(super) fn is_written(&self) -> bool {
        self.output.is_empty() && !self.unflushed
    }
}
