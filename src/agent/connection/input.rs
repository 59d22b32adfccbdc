//! What arrives: bytes to frames, frames to jobs.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connection, Stage};
use crate::agent::ConnectionError;
use crate::agent::job::Job;
use crate::agent::processor::Process;
use crate::spop::{Event, Frame, StatusCode};
use crate::telemetry::event;

/// What one read takes at most, in bytes. The buffer is the thread's, so that an idle connection has none.
const READ_SIZE: usize = 64 * 1024;
/// Frames handled before other connections of the thread get their turn.
const FRAMES_PER_TURN: usize = 256;
/// Bytes waiting for a slow peer above which no more frames are read from it.
const OUTPUT_LIMIT: usize = 256 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

/// What came of looking for input.
pub(super) enum Input {
    Progress,
    /// The socket, a limit or the processor wakes the task.
    Waiting,
    /// There is more, but others come first: the task has woken itself.
    Enough,
    Eof,
}

impl<S, P> Connection<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Process,
{
    /// Handles the frames that have arrived, as far as the limits let it, then reads more.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Input, ConnectionError> {
        let mut input = Input::Waiting;
        for _ in 0..FRAMES_PER_TURN {
            // Whoever frees a place (a job, the socket, the processor) wakes this task.
            if !self.session.has_room()
                || self.output.len() >= OUTPUT_LIMIT
                || self.processor.service().poll_ready(cx).is_pending()
            {
                // It is we who do not read: the peer's frame may take its time.
                self.frame_begun = None;
                return Ok(input);
            }
            match self.decoder.decode(&mut self.input) {
                Ok(Some(frame)) => self.handle_frame(frame, now),
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
        cx.waker().wake_by_ref();
        Ok(Input::Enough)
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, ConnectionError> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer)? {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(()) => {
                    // Frames keep the memory that they arrived in; what they left of it is not worth keeping with them.
                    if self.input.is_empty() {
                        self.input = BytesMut::new();
                    }
                    self.input.extend_from_slice(buffer.filled());
                    Ok(Poll::Ready(buffer.filled().len()))
                }
            }
        })
    }

    fn handle_frame(&mut self, frame: Frame, now: Instant) {
        let ready = self.settings.readiness.answer(self.drain.phase());
        match self.session.handle_frame(now, frame, ready, &mut self.output) {
            Ok(Event::Notify(notify)) => {
                event::NotifyReceived.record();
                self.active = now;
                self.jobs.push(Job::start(self.processor.service(), notify));
            }
            Ok(Event::Established) => {
                self.active = now;
                self.decoder.set_max_frame_size(self.session.decoder_limit());
                event::Established {
                    listener: &self.settings.session.listener,
                    peer: &self.session.peer().address,
                    engine_id: &self.session.peer().engine_id,
                    max_frame_size: self.session.decoder_limit(),
                }
                .record();
            }
            Ok(Event::HealthCheck) => {
                let (listener, peer) = (&*self.settings.session.listener, &*self.session.peer().address);
                event::HealthChecked { listener, peer, ready }.record();
                self.stage = Stage::Flushing;
            }
            Ok(Event::Aborted { stream_id, frame_id }) => self.cancel(stream_id, frame_id),
            // d23: the ACKs first, then our own DISCONNECT, then close.
            Ok(Event::Disconnected(_)) => self.finish(StatusCode::NORMAL, ""),
            Ok(Event::Ignored) => {}
            Err(error) => self.refuse(error.into()),
        }
    }

    fn cancel(&mut self, stream_id: u64, frame_id: u64) {
        for job in Pin::new(&mut self.jobs).iter_pin_mut() {
            if (job.stream_id, job.frame_id) == (stream_id, frame_id) {
                job.cancel();
            }
        }
    }
}
