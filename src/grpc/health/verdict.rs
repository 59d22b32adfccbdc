//! What a server's answers, and their absence, say about its health.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::format_duration;
use crate::grpc::members::{Address, Health};
use crate::telemetry::event::{EndpointHealthy, EndpointUnhealthy};

/// The health of one server. One that is asked and does not answer keeps what it had for `timeout`.
#[derive(Debug)]
pub(in crate::grpc) struct Verdict {
    backend: Arc<str>,
    pub(super) address: Address,
    pub(super) endpoint: String,
    timeout: Duration,
    state: Mutex<State>,
    /// The health has changed.
    changed: Arc<Notify>,
    /// The time has changed at which patience ends.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    health: Health,
    patience: Patience,
    /// Why there was no answer, if that is known.
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Patience {
    /// The last question was answered.
    Answered,
    /// One has been waiting for its answer since then, or could not be asked.
    Since(Instant),
    /// For too long.
    Over,
}

impl Verdict {
    pub(super) fn new(backend: &Arc<str>, address: &Address, timeout: Duration, changed: &Arc<Notify>) -> Self {
        Self {
            backend: Arc::clone(backend),
            address: address.clone(),
            endpoint: address.to_string(),
            timeout,
            state: Mutex::new(State { health: Health::Unknown, patience: Patience::Answered, problem: None }),
            changed: Arc::clone(changed),
            moved: Notify::new(),
        }
    }

    pub(in crate::grpc) fn health(&self) -> Health {
        self.lock().health.clone()
    }

    /// The server is asked.
    pub(super) fn ask(&self) {
        let mut state = self.lock();
        if state.patience == Patience::Answered {
            state.patience = Patience::Since(Instant::now());
            self.moved.notify_waiters();
        }
    }

    /// It could not be asked, or did not answer as it should.
    pub(super) fn fail(&self, problem: String) {
        self.ask();
        self.lock().problem = Some(problem);
    }

    /// It answered. Returns whether that is news.
    pub(super) fn answer(&self, health: Health) -> bool {
        let mut state = self.lock();
        (state.patience, state.problem) = (Patience::Answered, None);
        self.moved.notify_waiters();
        self.set(&mut state, health)
    }

    /// Loses patience when its time has come, again and again.
    pub(super) async fn lose_patience(&self) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            let since = match self.lock().patience {
                Patience::Since(since) => Some(since),
                Patience::Answered | Patience::Over => None,
            };
            tokio::select! {
                () = sleep_until(since.unwrap_or_else(Instant::now) + self.timeout), if since.is_some() => self.end_patience(),
                () = moved => {}
            }
        }
    }

    fn end_patience(&self) {
        let mut state = self.lock();
        // An answer may have come in the same moment.
        if !matches!(state.patience, Patience::Since(since) if since.elapsed() >= self.timeout) {
            return;
        }
        state.patience = Patience::Over;
        let problem = state.problem.clone().unwrap_or_else(|| self.no_answer());
        self.set(&mut state, not_serving(&problem));
    }

    pub(super) fn no_answer(&self) -> String {
        format!("no answer within {}", format_duration(self.timeout))
    }

    fn set(&self, state: &mut State, health: Health) -> bool {
        if state.health == health {
            return false;
        }
        let (backend, endpoint) = (&*self.backend, &*self.endpoint);
        match (&state.health, &health) {
            (Health::NotServing(_), Health::Serving) => EndpointHealthy { backend, endpoint }.record(),
            (Health::Unknown | Health::Serving, Health::NotServing(reason)) => {
                EndpointUnhealthy { backend, endpoint, reason }.record();
            }
            _ => {}
        }
        state.health = health;
        self.changed.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn not_serving(reason: &str) -> Health {
    Health::NotServing(format!("health check: {reason}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    /// Runs `script` beside a verdict's patience.
    async fn with_verdict<T>(script: impl AsyncFnOnce(&Verdict) -> T) -> T {
        let verdict = Verdict::new(&"decisions".into(), &Address::Unix("/s".into()), TIMEOUT, &Arc::default());
        tokio::select! {
            biased;
            () = verdict.lose_patience() => unreachable!("it does not end"),
            result = script(&verdict) => result,
        }
    }

    async fn sleep(millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn answers_count_at_once() {
        with_verdict(async |verdict| {
            assert_eq!(verdict.health(), Health::Unknown);
            assert!(verdict.answer(Health::Serving));
            assert!(!verdict.answer(Health::Serving), "no news");
            assert!(verdict.answer(not_serving("NOT_SERVING")));
            assert_eq!(verdict.health(), Health::NotServing("health check: NOT_SERVING".into()));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_counts_until_patience_ends() {
        with_verdict(async |verdict| {
            verdict.answer(Health::Serving);
            sleep(60_000).await;
            assert_eq!(verdict.health(), Health::Serving, "nobody asked");
            verdict.fail("connection refused".to_owned());
            sleep(500).await;
            verdict.ask();
            verdict.fail("connection reset".to_owned());
            sleep(499).await;
            assert_eq!(verdict.health(), Health::Serving);
            sleep(2).await;
            assert_eq!(verdict.health(), not_serving("connection reset"));
            sleep(60_000).await;
            verdict.answer(Health::Serving);
            assert_eq!(verdict.health(), Health::Serving);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_in_time_is_asked_anew_with_new_patience() {
        with_verdict(async |verdict| {
            for _ in 0..10 {
                verdict.ask();
                sleep(900).await;
                verdict.answer(Health::Serving);
                assert_eq!(verdict.health(), Health::Serving);
            }
            verdict.ask();
            sleep(1_001).await;
            assert_eq!(verdict.health(), not_serving("no answer within 1s"));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_not_serving() {
        with_verdict(async |verdict| {
            verdict.ask();
            sleep(999).await;
            assert_eq!(verdict.health(), Health::Unknown);
            sleep(2).await;
            assert_eq!(verdict.health(), not_serving("no answer within 1s"));
        })
        .await;
    }
}
