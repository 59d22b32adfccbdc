//! Drives one session over one socket: the only task that reads it, the only one that writes it.
//!
//! Each turn takes what has arrived, starts decisions, collects those that are finished, and writes all their ACKs at once.
//! What SPOP allows is the session's business; here are bytes, time and the order of the end:
//!
//! ```text
//! Serving ──fault, DISCONNECT──▶ Finishing ──nothing in flight──▶ Flushing ──written──▶ Lingering ──EOF──▶ gone
//!    ├──────────────── health check answered ───────────────────────▲
//!    └──────────────── draining, a quiet moment ────────────────────▲
//! ```
//!
//! While the agent drains, a connection is served until there is a moment with nothing in flight and nothing to read: HAProxy up to
//! 3.0 goes on using the connections that it has, and what it had sent into a closing one would be lost.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::job::{Finished, Job, JobError};
use super::processor::{Current, Process};
use super::timer::Timer;
use super::{ConnectionError, Settings};
use crate::shutdown::{Drain, Phase};
use crate::spop::{Decoder, Event, Frame, Session, StatusCode};
use crate::telemetry::event;

/// What one read takes at most, in bytes. The buffer is the thread's, so that an idle connection has none.
const READ_SIZE: usize = 64 * 1024;
/// Frames handled before other connections of the thread get their turn.
const FRAMES_PER_TURN: usize = 256;
/// Bytes waiting for a slow peer above which no more frames are read from it.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// What an idle connection keeps of a buffer that was once larger.
const IDLE_BUFFER: usize = 4 * 1024;
/// How long we wait for the peer's end after ours: closing at once with its bytes unread would reset the connection, and the
/// reset can overtake the ACKs before it.
const LINGER: Duration = Duration::from_secs(1);

/// How long nothing may happen on a connection that is to end before it does: an ACK is often answered with the next NOTIFY, which
/// would cross our good-bye.
const QUIET: Duration = Duration::from_millis(5);

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

enum Stage {
    Serving,
    /// Nothing more is read. When nothing is in flight any more, AGENT-DISCONNECT with this.
    Finishing { status: StatusCode, message: String },
    Flushing,
    Lingering { since: Instant },
}

type StopSignal = Pin<Box<dyn Future<Output = Phase> + Send>>;

pub(super) struct Connection<S, P: Process> {
    stream: S,
    settings: Arc<Settings>,
    session: Session,
    decoder: Decoder,
    processor: Current<P>,
    jobs: FuturesUnordered<Job<P::Future>>,
    input: BytesMut,
    output: BytesMut,
    stage: Stage,
    fault: Option<ConnectionError>,
    drain: Drain,
    stop: StopSignal,
    /// The connection ends at the next quiet moment.
    leaving: bool,
    timer: Timer,
    accepted: Instant,
    /// The last NOTIFY, ACK or HELLO.
    active: Instant,
    /// A frame was begun then, and is not whole.
    frame_begun: Option<Instant>,
    /// The peer has taken nothing since then.
    write_blocked: Option<Instant>,
}

impl<S, P> Connection<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Process,
{
    pub(super) fn new(stream: S, peer: &str, settings: &Arc<Settings>, processor: Current<P>, drain: Drain) -> Self {
        let now = Instant::now();
        let session = Session::new(Arc::clone(&settings.session), Arc::from(peer));
        Self {
            stream,
            settings: Arc::clone(settings),
            decoder: Decoder::new(session.decoder_limit()),
            session,
            processor,
            jobs: FuturesUnordered::new(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            stage: Stage::Serving,
            fault: None,
            stop: stop_signal(&drain, Phase::Draining),
            leaving: false,
            drain,
            timer: Timer::new(now),
            accepted: now,
            active: now,
            frame_begun: None,
            write_blocked: None,
        }
    }

    /// Serves until the connection is over, and says once how it ended.
    pub(super) async fn serve(mut self) {
        if let Err(error) = poll_fn(|cx| self.poll_serve(cx)).await {
            self.fault.get_or_insert(error);
        }
        // How the socket ended is no fault: HAProxy resets connections that it no longer needs (d22).
        let fault = self.fault.as_ref().filter(|fault| !matches!(fault, ConnectionError::Io(_)));
        event::ConnectionClosed {
            listener: &self.settings.session.listener,
            peer: &self.session.peer().address,
            fault: fault.map(|fault| fault as _),
            abandoned: self.jobs.len(),
        }
        .record();
    }

    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let now = Instant::now();
        self.poll_stop(cx);
        loop {
            let progress = match self.stage {
                Stage::Serving => match self.poll_input(cx, now)? {
                    Input::Eof => return Poll::Ready(Ok(())),
                    input => matches!(input, Input::Progress) | self.poll_jobs(cx, now) | self.poll_output(cx, now)?,
                },
                Stage::Finishing { .. } => self.poll_jobs(cx, now) | self.poll_output(cx, now)? | self.finish_if_idle(),
                Stage::Flushing => {
                    let progress = self.poll_output(cx, now)?;
                    if self.output.is_empty() {
                        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                        self.stage = Stage::Lingering { since: now };
                    }
                    progress | self.output.is_empty()
                }
                Stage::Lingering { .. } => match self.poll_read(cx)? {
                    Poll::Ready(0) => return Poll::Ready(Ok(())),
                    Poll::Ready(_) => {
                        self.input.clear();
                        true
                    }
                    Poll::Pending => false,
                },
            };
            if !progress {
                match ready!(self.poll_timeout(cx)) {
                    Timeout::Handshake => self.refuse(ConnectionError::HandshakeTimeout),
                    Timeout::Read => self.refuse(ConnectionError::ReadTimeout),
                    Timeout::Idle => self.finish(StatusCode::NORMAL, "idle"),
                    Timeout::Quiet => self.finish(StatusCode::NORMAL, "draining"),
                    Timeout::Write => return Poll::Ready(Err(ConnectionError::WriteTimeout)),
                    Timeout::Linger => return Poll::Ready(Ok(())),
                }
            }
        }
    }

    /// Handles the frames that have arrived, as far as the limits let it, then reads more.
    fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Input, ConnectionError> {
        let mut input = Input::Waiting;
        for _ in 0..FRAMES_PER_TURN {
            // Whoever frees a place (a job, the socket, the processor) wakes this task.
            if !self.session.has_room()
                || self.output.len() >= OUTPUT_LIMIT
                || self.processor.service().poll_ready(cx).is_pending()
            {
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
        Ok(Input::Waiting)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, ConnectionError> {
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
        let ready = self.drain.phase() == Phase::Running;
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

    /// Collects finished decisions; their ACKs leave together.
    fn poll_jobs(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut progress = false;
        while let Poll::Ready(Some(finished)) = self.jobs.poll_next_unpin(cx) {
            self.acknowledge(&finished);
            self.active = now;
            progress = true;
        }
        progress
    }

    fn acknowledge(&mut self, finished: &Finished) {
        let &Finished { stream_id, frame_id, ref result } = finished;
        let listener = &*self.settings.session.listener;
        let mut actions = match result {
            Ok(actions) if actions.is_empty() => &self.settings.placeholder,
            Ok(actions) => actions,
            Err(JobError::Panicked(panic)) => {
                event::ProcessorPanicked { listener, panic }.record();
                &self.settings.fallback
            }
            Err(JobError::Cancelled) => return,
        };
        let length = actions.len_bytes();
        if !self.session.ack_fits(stream_id, frame_id, length) {
            event::AckTooBig { listener, length, max_frame_size: self.session.decoder_limit() }.record();
            actions = &self.settings.fallback;
        }
        self.session.ack(stream_id, frame_id, actions, &mut self.output);
    }

    fn poll_output(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, ConnectionError> {
        let mut progress = false;
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output)? {
                Poll::Ready(0) => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                Poll::Ready(written) => {
                    self.output.advance(written);
                    self.write_blocked = None;
                    progress = true;
                }
                Poll::Pending => {
                    self.write_blocked.get_or_insert(now);
                    return Ok(progress);
                }
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

    /// Ends the connection for a fault of the peer's: what is in flight is answered first (d24), then it is told why.
    fn refuse(&mut self, fault: ConnectionError) {
        self.finish(fault.status_code(), &fault.to_string());
        self.fault = Some(fault);
    }

    fn finish(&mut self, status: StatusCode, message: &str) {
        self.input = BytesMut::new();
        self.frame_begun = None;
        self.stage = Stage::Finishing { status, message: message.to_owned() };
    }

    fn finish_if_idle(&mut self) -> bool {
        match &self.stage {
            Stage::Finishing { status, message } if self.jobs.is_empty() => {
                let message = if message.is_empty() { status.sentence() } else { message };
                self.session.disconnect(*status, message, &mut self.output);
                self.stage = Stage::Flushing;
                true
            }
            _ => false,
        }
    }

    /// Nothing is in flight, half read or half written.
    fn is_quiet(&self) -> bool {
        matches!(self.stage, Stage::Serving) && self.jobs.is_empty() && self.input.is_empty() && self.output.is_empty()
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(phase) = self.stop.as_mut().poll(cx) {
            self.leaving = true;
            if phase < Phase::Closing {
                self.stop = stop_signal(&self.drain, Phase::Closing);
                continue;
            }
            self.stop = Box::pin(std::future::pending());
            let in_flight: Vec<_> =
                Pin::new(&self.jobs).iter_pin_ref().map(|job| (job.stream_id, job.frame_id)).collect();
            self.jobs.clear();
            if matches!(self.stage, Stage::Serving) {
                self.finish(StatusCode::NORMAL, "draining");
            }
            for (stream_id, frame_id) in in_flight {
                self.session.ack(stream_id, frame_id, &self.settings.fallback, &mut self.output);
            }
        }
    }

    /// The earliest of the timeouts that run now.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Timeout> {
        let settings = &*self.settings;
        let serving = matches!(self.stage, Stage::Serving);
        let write = if self.drain.phase() == Phase::Closing { LINGER } else { settings.write_timeout };
        let idle = settings.idle_timeout.filter(|_| self.session.is_established() && self.jobs.is_empty());
        let running = [
            (serving && !self.session.is_established())
                .then(|| (self.accepted + settings.handshake_timeout, Timeout::Handshake)),
            self.frame_begun.map(|begun| (begun + settings.read_timeout, Timeout::Read)),
            self.write_blocked.map(|since| (since + write, Timeout::Write)),
            idle.filter(|_| serving).map(|idle| (self.active + idle, Timeout::Idle)),
            (self.leaving && self.is_quiet()).then(|| (self.active + QUIET, Timeout::Quiet)),
            match self.stage {
                Stage::Lingering { since } => Some((since + LINGER, Timeout::Linger)),
                _ => None,
            },
        ];
        match running.into_iter().flatten().min_by_key(|(at, _)| *at) {
            Some((at, timeout)) => self.timer.poll_reached(cx, at).map(|()| timeout),
            None => Poll::Pending,
        }
    }
}

/// What came of looking for input.
enum Input {
    Progress,
    /// The socket, a limit or the processor wakes the task.
    Waiting,
    Eof,
}

enum Timeout {
    Handshake,
    Read,
    Write,
    Idle,
    Quiet,
    Linger,
}

fn stop_signal(drain: &Drain, phase: Phase) -> StopSignal {
    let mut drain = drain.clone();
    Box::pin(async move { drain.reached(phase).await })
}
