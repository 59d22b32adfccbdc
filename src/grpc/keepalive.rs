//! Whether the server of a connection is still there when it answers nothing: it is asked by an HTTP/2 PING (RFC 9113, section 6.7).
//!
//! ```text
//!   ┌────────────────────────answered──────────────────────────┐
//!   ▼                                                          │
//! Calm ──a decision ended unanswered──▶ Doubt ──(QUIET)──▶ Asked ──PONG──▶ There ──(AGAIN)──▶ Calm
//!                                                            └──(keepalive_timeout)──▶ gone
//! ```
//!
//! Servers take PINGs for abuse when several come before they have sent any data, unless they are minutes apart (gRFC A8, "Server
//! Enforcement"). So none is sent while all is well, and only one while nothing is answered.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::Instant;

use super::silence::Silence;
use crate::timer::Timer;

/// For how long nothing must have been answered. Overloaded services may have that, too; they answer the PING.
const QUIET: Duration = Duration::from_secs(1);
/// Before a server that is there, but answers nothing, is asked once more. What gRPC servers allow without data.
const AGAIN: Duration = Duration::from_secs(5 * 60);

pub(super) struct Keepalive {
    ping: PingPong,
    timeout: Duration,
    state: State,
    timer: Timer,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Calm,
    /// Nothing is answered: asks then.
    Doubt(Instant),
    /// Gone, if it has said nothing by then.
    Asked(Instant),
    /// It has acknowledged the PING.
    There(Instant),
}

impl Keepalive {
    /// A PING may stay unacknowledged for `timeout`.
    pub(super) fn new(ping: PingPong, timeout: Duration) -> Self {
        Self { ping, timeout, state: State::Calm, timer: Timer::new(Instant::now().into_std()) }
    }

    /// Ready when the server is gone. To be polled in each turn of the connection, before it is driven.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, silence: &Silence) -> Poll<()> {
        loop {
            self.state = match self.state {
                State::Calm if silence.take_unanswered() => {
                    silence.watch_for_answers();
                    State::Doubt(Instant::now() + QUIET)
                }
                State::Calm => return Poll::Pending,
                State::Doubt(_) | State::There(_) if silence.is_answered() => {
                    // What else ended unanswered until then makes no doubt.
                    silence.take_unanswered();
                    State::Calm
                }
                State::Doubt(at) => {
                    ready!(self.timer.poll_reached(cx, at.into_std()));
                    if self.ping.send_ping(Ping::opaque()).is_err() {
                        // The connection is about to end, which the link sees.
                        return Poll::Pending;
                    }
                    State::Asked(Instant::now() + self.timeout)
                }
                State::Asked(at) => match self.ping.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => State::There(Instant::now() + AGAIN),
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    // It was quicker with an answer; the PONG is still to come.
                    Poll::Pending if silence.is_answered() => {
                        silence.watch_for_answers();
                        State::Asked(Instant::now() + self.timeout)
                    }
                    Poll::Pending => return self.timer.poll_reached(cx, at.into_std()),
                },
                State::There(at) => {
                    ready!(self.timer.poll_reached(cx, at.into_std()));
                    State::Calm
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use h2::client::Builder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// A connection to a server that speaks just enough HTTP/2 to be asked.
    struct Scene {
        silence: Arc<Silence>,
        server: Arc<Server>,
        /// When it was found to be gone.
        gone: tokio::task::JoinHandle<Duration>,
    }

    #[derive(Default)]
    struct Server {
        acknowledges: AtomicBool,
        pings: AtomicUsize,
    }

    impl Server {
        async fn serve(self: Arc<Self>, mut socket: DuplexStream) {
            let mut preface = [0; 24];
            socket.read_exact(&mut preface).await.unwrap();
            socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            loop {
                let mut head = [0; 9];
                socket.read_exact(&mut head).await.unwrap();
                let mut payload = vec![0; usize::from(head[2])];
                socket.read_exact(&mut payload).await.unwrap();
                let is_ping = head[3] == 6;
                self.pings.fetch_add(usize::from(is_ping), Ordering::Relaxed);
                if is_ping && self.acknowledges.load(Ordering::Relaxed) {
                    head[4] = 1;
                    socket.write_all(&[&head[..], &payload].concat()).await.unwrap();
                }
            }
        }
    }

    impl Scene {
        async fn new(acknowledges: bool) -> Scene {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let server = Arc::new(Server::default());
            server.acknowledges.store(acknowledges, Ordering::Relaxed);
            tokio::spawn(Arc::clone(&server).serve(theirs));
            let (sender, mut connection) = Builder::new().handshake::<_, bytes::Bytes>(ours).await.unwrap();
            let mut keepalive = Keepalive::new(connection.ping_pong().unwrap(), TIMEOUT);
            let silence = Arc::<Silence>::default();
            let (told, start) = (Arc::clone(&silence), Instant::now());
            let gone = tokio::spawn(async move {
                let _open = sender;
                let mut connection = std::pin::pin!(connection);
                std::future::poll_fn(|cx| {
                    told.watch(cx.waker());
                    let gone = keepalive.poll_gone(cx, &told);
                    assert!(connection.as_mut().poll(cx).is_pending());
                    gone
                })
                .await;
                start.elapsed()
            });
            Scene { silence, server, gone }
        }

        fn pings(&self) -> usize {
            self.server.pings.load(Ordering::Relaxed)
        }
    }

    async fn seconds(seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_while_decisions_are_answered() {
        let scene = Scene::new(false).await;
        seconds(3_600.0).await;
        for _ in 0..1_000 {
            scene.silence.unanswered();
            seconds(0.9).await;
            scene.silence.answered();
            seconds(0.05).await;
        }
        assert!(scene.pings() == 0 && !scene.gone.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_gone() {
        let scene = Scene::new(false).await;
        scene.silence.answered();
        seconds(10.0).await;
        scene.silence.unanswered();
        let found = scene.gone.await.unwrap();
        assert_eq!((found.as_millis().div_ceil(10), scene.server.pings.load(Ordering::Relaxed)), (1_600, 1), "{found:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_acknowledges_is_asked_once_in_five_minutes() {
        let scene = Scene::new(true).await;
        for _ in 0..(3_000 * 10) {
            scene.silence.unanswered();
            seconds(0.1).await;
        }
        assert!(!scene.gone.is_finished());
        assert_eq!(scene.pings(), 10, "of 3,000 s");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_answer_it_is_asked_anew() {
        let scene = Scene::new(true).await;
        for asked in 1..=3 {
            scene.silence.unanswered();
            seconds(2.0).await;
            assert_eq!(scene.pings(), asked);
            scene.silence.answered();
            // What else wakes the connection in life: the answer itself.
            scene.silence.unanswered();
            seconds(0.1).await;
            scene.silence.answered();
            seconds(0.1).await;
        }
        scene.server.acknowledges.store(false, Ordering::Relaxed);
        scene.silence.unanswered();
        assert!(tokio::time::timeout(Duration::from_secs(7), scene.gone).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_a_sign_of_life_as_well() {
        let scene = Scene::new(false).await;
        for _ in 0..10 {
            scene.silence.unanswered();
            seconds(4.0).await;
            scene.silence.answered();
        }
        assert!(scene.pings() == 1 && !scene.gone.is_finished());
    }
}
