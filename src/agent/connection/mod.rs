//! Drives one session over one socket: the only task that reads it, the only one that writes it.
//!
//! Each turn takes what has arrived, starts decisions, collects those that are finished, and writes all their ACKs at once.
//! What SPOP allows is the session's business; here are bytes, time and the order of the end:
//!
//! ```text
//! Serving ──fault, DISCONNECT──▶ Finishing ──nothing in flight──▶ Flushing ──written──▶ Lingering ──EOF──▶ gone
//!    ├──────────────── health check answered ───────────────────────▲
//!    └──────────────── draining, the last ACK or a quiet moment ────▲
//! ```
//!
//! While the agent drains, a connection is served until nothing is in flight, and ends together with the last ACK; without any,
//! when it has been quiet for a while. HAProxy up to 3.0 goes on using the connections that it has, and what it sends into a
//! closing one is lost.

mod end;
mod input;
mod output;
mod turn;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use end::{LINGER, StopSignal, Timeout, stop_signal};
use futures_util::stream::FuturesUnordered;
use input::Input;
use tokio::io::{AsyncRead, AsyncWrite};
use turn::{Rest, Turn};

use super::job::Job;
use super::places::Unused;
use super::processor::{Current, Process};
use super::{ConnectionError, Settings};
use crate::shutdown::{Drain, Phase};
use crate::spop::{Decoder, Session, StatusCode};
use crate::telemetry::connections::Listed;
use crate::telemetry::event;
use crate::telemetry::metrics::ListenerMetrics;
use crate::timer::Timer;

enum Stage {
    Serving,
    /// Nothing more is read. When nothing is in flight any more, AGENT-DISCONNECT with this.
    Finishing {
        status: StatusCode,
        message: String,
    },
    Flushing,
    Lingering {
        since: Instant,
    },
}

pub(super) struct Connection<S, P: Process> {
    stream: S,
    settings: Arc<Settings>,
    metrics: Arc<ListenerMetrics>,
    listed: Listed,
    /// Until the first NOTIFY.
    unused: Option<Unused>,
    session: Session,
    decoder: Decoder,
    processor: Current<P>,
    jobs: FuturesUnordered<Job<P::Future>>,
    input: BytesMut,
    /// Bytes of the memory that `input` is part of, or more.
    chunk: usize,
    output: BytesMut,
    stage: Stage,
    turn: Turn,
    rest: Rest,
    fault: Option<ConnectionError>,
    drain: Drain,
    stop: StopSignal,
    /// The connection is to end, with its last ACK or at a quiet moment.
    leaving: bool,
    /// Somebody said good-bye, or it was a health check.
    ended: bool,
    timer: Timer,
    accepted: Instant,
    /// The last NOTIFY, ACK or HELLO.
    active: Instant,
    /// A frame was begun then, and is not whole.
    frame_begun: Option<Instant>,
    /// The peer has taken nothing since then.
    write_blocked: Option<Instant>,
    /// The stream may keep some of what was written.
    unflushed: bool,
}

impl<S, P> Connection<S, P>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Process,
{
    pub(super) fn new(
        stream: S,
        peer: &str,
        settings: Arc<Settings>,
        metrics: Arc<ListenerMetrics>,
        processor: Current<P>,
        drain: Drain,
        unused: Option<Unused>,
    ) -> Self {
        let now = Instant::now();
        let session = Session::new(Arc::clone(&settings.session), Arc::from(peer));
        Self {
            stream,
            listed: Listed::new(&settings.session.listener, &session.peer().address, &metrics),
            unused,
            settings,
            metrics,
            decoder: Decoder::new(session.decoder_limit()),
            session,
            processor,
            jobs: FuturesUnordered::new(),
            input: BytesMut::new(),
            chunk: 0,
            output: BytesMut::new(),
            stage: Stage::Serving,
            turn: Turn::new(),
            rest: Rest::default(),
            fault: None,
            stop: stop_signal(&drain, Phase::Draining),
            leaving: false,
            ended: false,
            drain,
            timer: Timer::new(now),
            accepted: now,
            active: now,
            frame_begun: None,
            write_blocked: None,
            unflushed: false,
        }
    }

    /// Serves until the connection is over, and says once how it ended.
    pub(super) async fn serve(mut self) {
        if let Err(error) = poll_fn(|cx| self.poll_serve(cx)).await {
            self.fault.get_or_insert(error);
        }
        #[cfg(feature = "tls")]
        self.tell_refused().await;
        // How the socket ended is no fault: HAProxy resets connections that it no longer needs (d22).
        let fault = self.fault.as_ref().filter(|fault| !matches!(fault, ConnectionError::Io(_)));
        let status = fault.map_or(StatusCode::NORMAL, ConnectionError::status_code);
        event::ConnectionClosed {
            metrics: &self.metrics,
            listener: &self.settings.session.listener,
            peer: &self.session.peer().address,
            fault: fault.map(|fault| fault as _),
            abandoned: self.jobs.len(),
            silent: (!self.ended && self.session.negotiated().is_some()).then_some(status),
        }
        .record();
    }

    /// Ends a connection that TLS did not let in: its alert must reach the peer before the end does.
    #[cfg(feature = "tls")]
    async fn tell_refused(&mut self) {
        let Some(ConnectionError::Tls(error)) = &self.fault else { return };
        let (listener, peer) = (&*self.settings.session.listener, &*self.session.peer().address);
        event::TlsRefused { metrics: &self.metrics, listener, peer, error }.record();
        (self.fault, self.ended) = (None, true);
        self.stage = Stage::Flushing;
        let _ = poll_fn(|cx| self.poll_serve(cx)).await;
    }

    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let now = Instant::now();
        self.turn = Turn::new();
        self.poll_stop(cx);
        self.poll_unused(cx);
        self.processor.poll_renew(cx);
        loop {
            let progress = match self.stage {
                Stage::Serving => match self.poll_input(cx, now)? {
                    Input::Eof => return Poll::Ready(Ok(())),
                    input => {
                        let answered = self.poll_jobs(cx, now);
                        if answered {
                            self.leave_with_last_ack();
                        }
                        matches!(input, Input::Progress) | answered | self.poll_output(cx, now)?
                    }
                },
                Stage::Finishing { .. } => self.poll_jobs(cx, now) | self.poll_output(cx, now)? | self.finish_if_idle(),
                Stage::Flushing => {
                    let progress = self.poll_output(cx, now)?;
                    if self.is_written() {
                        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                        self.stage = Stage::Lingering { since: now };
                    }
                    progress | self.is_written()
                }
                // Looked at here as well as by the timer: a peer that never stops sending must not keep us.
                Stage::Lingering { since } if since.elapsed() >= LINGER => return Poll::Ready(Ok(())),
                Stage::Lingering { .. } if self.rest.is_on() => false,
                Stage::Lingering { .. } => match self.poll_read(cx)? {
                    Poll::Ready(0) => return Poll::Ready(Ok(())),
                    Poll::Ready(_) => {
                        self.input.clear();
                        self.rest.begin(cx);
                        false
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
}
