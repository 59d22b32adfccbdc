//! What arrives: bytes to frames, frames to jobs.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connection, Stage};
use crate::agent::ConnectionError;
use crate::agent::job::Job;
use crate::agent::processor::Process;
use crate::spop::{Event, Frame, StatusCode};
use crate::telemetry::event;
use crate::telemetry::metrics::FrameKind;

/// What one read takes at most, in bytes. The buffer is the thread's, so that an idle connection has none.
pub(super) const READ_SIZE: usize = 64 * 1024;
/// Bytes waiting for a slow peer above which no more frames are read from it.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// Bytes of memory that a frame may keep whatever its own size: less than a default frame has, and more than the NOTIFYs of a HAProxy
/// that has 20 of them in flight, which are thus not copied.
const SMALL_CHUNK: usize = 8 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

/// What came of looking for input.
pub(super) enum Input {
    Progress,
    /// The socket, a limit or the processor wakes the task.
    Waiting,
    Eof,
}

impl<S, P> Connection<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Process,
{
    /// Handles the frames that have arrived, as far as the limits and the turn let it, and reads more.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Input, ConnectionError> {
        let mut input = Input::Waiting;
        // Whoever frees a place (a job, the socket, the processor) wakes this task, and so does the end of a rest.
        while !self.rest.is_on() {
            if !self.session.has_room()
                || self.output.len() >= OUTPUT_LIMIT
                || self.processor.service().poll_ready(cx).is_pending()
            {
                // It is we who do not read: the peer's frame may take its time.
                self.frame_begun = None;
                return Ok(input);
            }
            if self.turn.is_over() {
                self.rest.begin(cx);
                return Ok(input);
            }
            let before = self.input.len();
            match self.decoder.decode(&mut self.input) {
                Ok(Some(frame)) => {
                    self.metrics.received(frame.metadata.frame_type.into(), before - self.input.len());
                    self.handle_frame(self.without_waste(frame), now);
                }
                Ok(None) => {
                    self.frame_begun = (!self.input.is_empty()).then(|| self.frame_begun.unwrap_or(now));
                    return Ok(match self.poll_read(cx)? {
                        Poll::Ready(0) => Input::Eof,
                        Poll::Ready(_) => Input::Progress,
                        Poll::Pending => input,
                    });
                }
                Err(error) => self.refuse(error.into()),
            }
            if !matches!(self.stage, Stage::Serving) {
                return Ok(Input::Progress);
            }
            self.frame_begun = None;
            input = Input::Progress;
        }
        Ok(input)
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, ConnectionError> {
        // Frames keep the memory that they arrived in; what they left of it is not worth keeping, least of all while nothing comes.
        if self.input.is_empty() {
            (self.input, self.chunk) = (BytesMut::new(), 0);
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer)? {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(()) => {
                    self.input.extend_from_slice(buffer.filled());
                    self.chunk = self.chunk.max(self.input.capacity());
                    self.turn.count_read(buffer.filled().len());
                    Ok(Poll::Ready(buffer.filled().len()))
                }
            }
        })
    }

    /// A frame that is less than half of the memory that it arrived in gets memory of its own: it may be in flight for long, and a
    /// peer could make each one keep a whole read.
    fn without_waste(&self, mut frame: Frame) -> Frame {
        if self.chunk > SMALL_CHUNK && frame.payload.len() < self.chunk / 2 {
            frame.payload = Bytes::copy_from_slice(&frame.payload);
        }
        frame
    }

    fn handle_frame(&mut self, frame: Frame, now: Instant) {
        self.turn.count_frame();
        let ready = self.settings.readiness.answer(self.drain.phase());
        let before = self.output.len();
        match self.session.handle_frame(now, frame, ready, &mut self.output) {
            Ok(Event::Notify(notify)) => {
                event::NotifyReceived.record();
                self.listed.begin();
                if self.unused.is_some() {
                    self.unused = None;
                }
                self.active = now;
                self.turn.count_parts(notify.message_count(), notify.arg_count());
                self.jobs.push(Job::start(self.processor.service(), notify));
            }
            Ok(Event::Established) => {
                self.active = now;
                self.decoder.set_max_frame_size(self.session.decoder_limit());
                self.metrics.sent(FrameKind::AgentHello, self.output.len() - before);
                self.listed.established(&self.session.peer().engine_id, self.session.decoder_limit());
                event::Established {
                    metrics: &self.metrics,
                    listener: &self.settings.session.listener,
                    peer: &self.session.peer().address,
                    engine_id: &self.session.peer().engine_id,
                    max_frame_size: self.session.decoder_limit(),
                }
                .record();
            }
            Ok(Event::HealthCheck) => {
                let (listener, peer) = (&*self.settings.session.listener, &*self.session.peer().address);
                event::HealthChecked { metrics: &self.metrics, listener, peer, ready }.record();
                let answer = if ready { FrameKind::AgentHello } else { FrameKind::AgentDisconnect };
                self.metrics.sent(answer, self.output.len() - before);
                self.ended = true;
                self.stage = Stage::Flushing;
            }
            Ok(Event::Aborted { stream_id, frame_id }) => self.cancel(stream_id, frame_id),
            // d23: the ACKs first, then our own DISCONNECT, then close.
            Ok(Event::Disconnected(disconnect)) => {
                self.said_goodbye(true, disconnect.status);
                self.finish(StatusCode::NORMAL, "");
            }
            Ok(Event::Ignored) => {}
            Err(error) => self.refuse(error.into()),
        }
    }

    /// Looks at every job, so it is the last that happens in a turn.
    fn cancel(&mut self, stream_id: u64, frame_id: u64) {
        self.turn.end();
        for job in Pin::new(&mut self.jobs).iter_pin_mut() {
            if (job.stream_id, job.frame_id) == (stream_id, frame_id) {
                job.cancel();
            }
        }
    }
}
