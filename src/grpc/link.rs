//! One connection to an endpoint and what runs on it, driven by one task: the socket, and the `DecideStream` if there is one.
//!
//! A turn of the task: send what waits, let HTTP/2 read and write, give out the answers. All that happens to the stream happens in
//! one of these, so the stream itself need not wake the task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use tonic::{Code, Status};

use super::allowance::Allowance;
use super::connect::{Connected, Connection, Sender};
use super::error::{chain, describe, was_refused};
use super::framing::Messages;
use super::item::Items;
use super::keepalive::Keepalive;
use super::request::head;
use super::response::{check_head, ended};
use super::silence::Silence;
use super::stream::{Decisions, Filled};
use super::target::Target;
use crate::timer::Timer;

/// Bytes of items that are handed to HTTP/2 at a time, if the service's windows have room: all that a turn brings, as a rule, and what
/// the stream may hold on to if the socket takes no more. From 16 to 256 KiB no difference could be measured.
const CHUNK: usize = 64 * 1024;

/// What happened to a link.
#[derive(Debug)]
pub(super) enum Event {
    /// The server has shown that it is there and speaks HTTP/2: its first frame has come. A kernel or a balancer that takes connections for it
    /// shows nothing.
    Opened,
    /// The service did not take the stream. The connection is there for calls, unless it is going away.
    Refused(Status, Option<Sender>),
    /// The service wants the connection to end: no new calls, those that have begun go on.
    GoingAway,
    /// The stream or the connection is over.
    Ended(String),
    /// Nothing says that the server still is there.
    Silent(String),
}

pub(super) struct Link {
    connection: Connection,
    /// Only to ask whether the connection takes calls.
    sender: Option<Sender>,
    stream: Option<Stream>,
    is_open: bool,
    allowance: Allowance,
    silence: Arc<Silence>,
    keepalive: Keepalive,
}

impl Link {
    /// Without a stream it is for calls. A PING may stay unacknowledged for `keepalive_timeout`.
    pub(super) fn new(connected: Connected, stream: Option<Stream>, silence: Arc<Silence>, keepalive_timeout: Duration) -> Self {
        let Connected { sender, connection, allowance, ping } = connected;
        let keepalive = Keepalive::new(ping, keepalive_timeout);
        Self { connection, sender: Some(sender), stream, is_open: false, allowance, silence, keepalive }
    }

    pub(super) fn silence(&self) -> &Arc<Silence> {
        &self.silence
    }

    pub(super) async fn event(&mut self) -> Event {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Lets what has begun come to its end.
    pub(super) async fn drain(mut self) {
        self.sender = None;
        while !matches!(self.event().await, Event::Ended(_) | Event::Silent(_)) {}
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.allowance.renew();
        self.silence.watch(cx.waker());
        if self.silence.is_too_long() {
            return Poll::Ready(Event::Silent("the service reads or answers nothing".to_owned()));
        }
        if self.keepalive.poll_gone(cx, &self.silence).is_ready() {
            let reason = "no decision was answered, and no HTTP/2 PING within keepalive_timeout".to_owned();
            self.stream.take().inspect(|stream| stream.decisions.lose(&reason, false));
            return Poll::Ready(Event::Silent(reason));
        }
        loop {
            if let Some(stream) = &mut self.stream {
                stream.send(cx);
            }
            let closed = self.connection.as_mut().poll(cx);
            if !self.is_open && closed.is_pending() && self.allowance.has_read() {
                self.is_open = true;
                return Poll::Ready(Event::Opened);
            }
            if let Some(end) = self.stream.as_mut().and_then(Stream::receive) {
                return Poll::Ready(self.end_stream(end));
            }
            if let Poll::Ready(result) = closed {
                let reason = result.map_or_else(|error| chain(&error), |()| "closed by the service".to_owned());
                return Poll::Ready(self.end_stream(End::Broken { reason, unseen: false }));
            }
            if self.is_going_away() {
                self.sender = None;
                return Poll::Ready(Event::GoingAway);
            }
            // What was read may have opened the service's window.
            if !self.stream.as_mut().is_some_and(Stream::can_send) {
                return Poll::Pending;
            }
        }
    }

    fn end_stream(&mut self, end: End) -> Event {
        let stream = self.stream.take();
        match end {
            End::Refused(status) => {
                stream.inspect(|stream| stream.decisions.refuse(&status));
                Event::Refused(status, self.sender.clone())
            }
            End::Broken { reason, unseen } => {
                stream.inspect(|stream| stream.decisions.lose(&reason, unseen));
                Event::Ended(reason)
            }
        }
    }

    fn is_going_away(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.sender.as_mut().is_some_and(|sender| matches!(sender.poll_ready(&mut cx), Poll::Ready(Err(_))))
    }
}

/// How a stream ended.
enum End {
    Refused(Status),
    /// `unseen`: the service says that it has looked at nothing.
    Broken {
        reason: String,
        unseen: bool,
    },
}

impl End {
    fn broken(reason: impl Into<String>) -> Self {
        Self::Broken { reason: reason.into(), unseen: false }
    }
}

/// The link's side of a `DecideStream`.
pub(super) struct Stream {
    decisions: Arc<Decisions>,
    outgoing: SendStream<Bytes>,
    items: Items,
    /// There were more items than the service's window has room for.
    blocked: bool,
    finished: bool,
    incoming: Incoming,
    messages: Messages,
    timer: Timer,
}

enum Incoming {
    /// Nothing has come yet. Some services send the head of their answer only with the first message.
    Head(ResponseFuture),
    Messages(RecvStream),
}

impl Stream {
    /// Opens the stream, without waiting for the service to take it.
    pub(super) fn open(sender: &mut Sender, target: &Target, silence: &Arc<Silence>) -> Result<Self, h2::Error> {
        let (response, outgoing) = sender.send_request(head(&target.decide_stream, &target.headers), false)?;
        Ok(Self {
            decisions: Arc::new(Decisions::new(&target.name, target.may_retry, silence)),
            outgoing,
            items: Items::default(),
            blocked: false,
            finished: false,
            incoming: Incoming::Head(response),
            messages: Messages::default(),
            timer: Timer::new(Instant::now()),
        })
    }

    pub(super) fn decisions(&self) -> &Arc<Decisions> {
        &self.decisions
    }

    /// Sends what waits, as far as the windows allow, after what has waited too long was given up.
    fn send(&mut self, cx: &mut Context<'_>) {
        let now = Instant::now();
        while let Some(at) = self.decisions.next_deadline()
            // The timer would let what has passed wait for its next tick.
            && (at <= now || self.timer.poll_reached(cx, at).is_ready())
        {
            self.decisions.expire(now.max(at));
        }
        self.blocked = false;
        while !self.finished {
            self.outgoing.reserve_capacity(CHUNK);
            let room = self.outgoing.capacity().min(CHUNK);
            let left = self.decisions.fill(&mut self.items, room, now, cx.waker());
            let finish = left == Filled::AllAndClosing;
            if self.items.len() > 0 || finish {
                // A stream that takes no more data has ended: what was read last tells how.
                let _ = self.outgoing.send_data(self.items.take(), finish);
                self.finished = finish;
            }
            if left == Filled::More && room == 0 {
                self.blocked = true;
                return;
            }
            if left != Filled::More {
                return;
            }
        }
    }

    fn can_send(&mut self) -> bool {
        self.blocked && self.outgoing.capacity() > 0
    }

    /// Takes what has arrived; how the stream ended, if it has.
    fn receive(&mut self) -> Option<End> {
        // Everything that makes a difference here happens while the connection is polled, by the same task.
        let mut cx = Context::from_waker(Waker::noop());
        if let Incoming::Head(response) = &mut self.incoming {
            match Pin::new(response).poll(&mut cx) {
                Poll::Pending => return None,
                Poll::Ready(Ok(response)) => match check_head(&response) {
                    Ok(()) => self.incoming = Incoming::Messages(response.into_body()),
                    Err(refused) => return Some(end(&refused.status, false)),
                },
                Poll::Ready(Err(error)) => return Some(End::Broken { reason: chain(&error), unseen: was_refused(&error) }),
            }
        }
        loop {
            let Incoming::Messages(body) = &mut self.incoming else { return None };
            match body.poll_data(&mut cx) {
                Poll::Pending => return None,
                Poll::Ready(Some(Ok(chunk))) => {
                    let _ = body.flow_control().release_capacity(chunk.len());
                    self.messages.push(chunk);
                    if let Err(error) = self.decisions.answer(&mut self.messages) {
                        return Some(End::broken(error.to_string()));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Some(End::broken(chain(&error))),
                Poll::Ready(None) => {
                    if let Err(error) = self.messages.finish() {
                        return Some(End::broken(error.to_string()));
                    }
                    let trailers = match body.poll_trailers(&mut cx) {
                        Poll::Ready(Ok(trailers)) => trailers,
                        Poll::Ready(Err(error)) => return Some(End::broken(chain(&error))),
                        Poll::Pending => None,
                    };
                    return Some(end(&ended(trailers.as_ref()).status, self.decisions.is_taken()));
                }
            }
        }
    }
}

/// What the service's last word means. One that has answered nothing yet does not take streams, whatever it says for a reason; unless it
/// is unavailable altogether, or something between us and it.
fn end(status: &Status, taken: bool) -> End {
    match status.code() {
        Code::Ok => End::broken("the service ended the stream"),
        Code::Unavailable => End::broken(describe(status)),
        _ if taken => End::broken(describe(status)),
        _ => End::Refused(status.clone()),
    }
}

/// Whatever ends the task, nobody waits for an answer that will not come.
impl Drop for Stream {
    fn drop(&mut self) {
        self.decisions.lose("the stream was closed", false);
    }
}
