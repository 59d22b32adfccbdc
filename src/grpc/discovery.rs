//! Keeps the addresses of one name: when to ask DNS, and what an answer is worth.
//!
//! ```text
//!        ┌──── TTL over (min_ttl..max_ttl), or wanted (not before min_ttl) ────┐
//!        ▼                                                                     │
//!     asking ──answer with addresses──▶ they replace those known ──────────────┘
//!        ▲──▶ none: those known stay ──(backoff)──┐
//!        └────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::resolver::{LeftOut, Resolve};
use crate::config::{DnsConfig, DnsName};
use crate::telemetry::event::{AddressesChanged, AnswerCut, ResolutionFailed, ResolutionRecovered};
use crate::telemetry::few;

/// Before a question without an answer is asked again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is known of a name.
pub(super) type Known = Result<BTreeSet<SocketAddr>, Arc<str>>;

/// A name, and how often to ask for it.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) backend: Arc<str>,
    pub(super) name: DnsName,
    pub(super) config: DnsConfig,
}

impl Discovery {
    /// Asks for ever. `tell` hears of the first result, and of every one that changes something: once there were addresses, there are.
    /// `wanted` asks to ask again soon.
    pub(super) async fn run(&self, resolver: &impl Resolve, wanted: &Notify, mut tell: impl FnMut(Known)) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        let mut known = None;
        let mut is_failing = false;
        let mut left_out = LeftOut::default();
        loop {
            // Who wanted an answer before gets this one.
            let _ = wanted.notified().now_or_never();
            let result = resolver.resolve(&self.name).await;
            let now = Instant::now();
            let (next, soonest) = match result {
                Ok(answer) => {
                    backoff.reset();
                    if std::mem::take(&mut is_failing) {
                        self.log_recovery();
                    }
                    if std::mem::replace(&mut left_out, answer.left_out) != answer.left_out {
                        self.log_left_out(answer.left_out);
                    }
                    if self.is_news(known.as_ref(), &answer.addresses) {
                        known = Some(answer.addresses.clone());
                        tell(Ok(answer.addresses));
                    }
                    let DnsConfig { min_ttl, max_ttl } = self.config;
                    (now + answer.ttl.clamp(min_ttl, max_ttl), now + min_ttl)
                }
                Err(reason) => {
                    let is_first = !std::mem::replace(&mut is_failing, true);
                    self.log_failure(&reason, is_first, known.as_ref());
                    if known.is_none() {
                        tell(Err(reason.into()));
                    }
                    // A DNS server in trouble is not asked sooner because services are in trouble, too.
                    let next = now + backoff.next();
                    (next, next)
                }
            };
            tokio::select! {
                () = sleep_until(next) => {}
                () = async {
                    wanted.notified().await;
                    sleep_until(soonest).await;
                } => {}
            }
        }
    }

    fn is_news(&self, known: Option<&BTreeSet<SocketAddr>>, now: &BTreeSet<SocketAddr>) -> bool {
        if known == Some(now) {
            return false;
        }
        let none = BTreeSet::new();
        let known = known.unwrap_or(&none);
        let (added, removed) = (few(now.difference(known)), few(known.difference(now)));
        let endpoint = &self.name.to_string();
        AddressesChanged { backend: &self.backend, endpoint, added: &added, removed: &removed, addresses: now.len() }.record();
        true
    }

    fn log_left_out(&self, LeftOut { of_other_names, unusable, too_many }: LeftOut) {
        let (backend, endpoint) = (&*self.backend, &*self.name.to_string());
        AnswerCut { backend, endpoint, of_other_names, unusable, too_many }.record();
    }

    fn log_failure(&self, reason: &str, is_first: bool, known: Option<&BTreeSet<SocketAddr>>) {
        let endpoint = &self.name.to_string();
        let kept = known.map_or(0, BTreeSet::len);
        ResolutionFailed { backend: &self.backend, endpoint, error: reason, kept, is_first }.record();
    }

    fn log_recovery(&self) {
        ResolutionRecovered { backend: &self.backend, endpoint: &self.name.to_string() }.record();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::resolver::Answer;
    use super::*;

    /// Gives one result after the other, the last of them for ever, and notes when it was asked.
    struct Script {
        results: Mutex<Vec<Result<Answer, String>>>,
        asked: Mutex<Vec<Instant>>,
    }

    impl Resolve for Script {
        async fn resolve(&self, _name: &DnsName) -> Result<Answer, String> {
            self.asked.lock().unwrap().push(Instant::now());
            let mut results = self.results.lock().unwrap();
            if results.len() > 1 { results.remove(0) } else { results[0].clone() }
        }
    }

    fn answer(hosts: &[u8], ttl: u64) -> Result<Answer, String> {
        let addresses = hosts.iter().map(|host| SocketAddr::from(([10, 0, 0, *host], 1))).collect();
        Ok(Answer { addresses, ttl: Duration::from_secs(ttl), left_out: LeftOut::default() })
    }

    fn nothing() -> Result<Answer, String> {
        Err("DNS has no such name".to_owned())
    }

    /// What was told, as the last parts of addresses, and when questions were asked, in milliseconds from the start. `wanted` is
    /// notified at these seconds.
    async fn follow(
        results: Vec<Result<Answer, String>>,
        seconds: u64,
        wants: &[u64],
    ) -> (Vec<Result<Vec<u8>, String>>, Vec<u128>) {
        let config = DnsConfig { min_ttl: Duration::from_secs(5), max_ttl: Duration::from_secs(60) };
        let name = DnsName { server: None, host: "decisions".to_owned(), port: Some(1) };
        let discovery = Discovery { backend: "decisions".into(), name, config };
        let script = Script { results: Mutex::new(results), asked: Mutex::default() };
        let (start, wanted, told) = (Instant::now(), Notify::new(), Mutex::new(Vec::new()));
        let last = |address: &SocketAddr| address.to_string().split(['.', ':']).nth(3).unwrap().parse().unwrap();
        let tell = |known: Known| {
            told.lock().unwrap().push(known.map(|known| known.iter().map(last).collect()).map_err(|reason| reason.to_string()));
        };
        let want = async {
            for second in wants {
                sleep_until(start + Duration::from_secs(*second)).await;
                wanted.notify_one();
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = want => {}
            () = discovery.run(&script, &wanted, tell) => {}
            () = sleep_until(start + Duration::from_secs(seconds)) => {}
        }
        let asked = script.asked.lock().unwrap().iter().map(|at| (*at - start).as_millis()).collect();
        (told.into_inner().unwrap(), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_used_for_their_ttl_within_limits() {
        let (told, asked) = follow(vec![answer(&[1], 1), answer(&[1], 20), answer(&[1], 3_600), answer(&[1], 0)], 96, &[]).await;
        // The floor, the TTL itself, the ceiling, the floor twice.
        assert_eq!(asked, [0, 5_000, 25_000, 85_000, 90_000, 95_000]);
        assert_eq!(told, [Ok(vec![1])], "what does not change is not told");
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_told() {
        let results = vec![answer(&[2, 1], 5), answer(&[1, 2], 5), answer(&[1, 2, 3], 5), answer(&[3], 5)];
        let (told, _) = follow(results, 16, &[]).await;
        assert_eq!(told, [Ok(vec![1, 2]), Ok(vec![1, 2, 3]), Ok(vec![3])]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_an_answer_gets_it_sooner_but_not_before_the_floor() {
        // Wanted at once: at the floor. Wanted long after the floor: at once. However often it is wanted, the floor stays.
        let (_, asked) = follow(vec![answer(&[1], 60)], 50, &[1, 2, 3, 30, 31, 32]).await;
        assert_eq!(asked, [0, 5_000, 30_000, 35_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_stays_when_there_is_no_answer() {
        let (told, asked) = follow(vec![answer(&[1, 2], 60), nothing(), nothing(), nothing(), answer(&[2], 60)], 90, &[]).await;
        assert_eq!(told, [Ok(vec![1, 2]), Ok(vec![2])]);
        assert_eq!(asked.len(), 5);
        for (pause, most) in asked.windows(2).map(|pair| pair[1] - pair[0]).zip([60_000, 1_000, 2_000, 4_000]) {
            assert!((most / 2..=most + 1).contains(&pause), "{asked:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_an_answer_is_asked_for_more_and_more_rarely() {
        let (told, asked) = follow(vec![nothing()], 3_600, &[1, 2, 3, 4, 5, 100]).await;
        assert!(told.iter().all(|told| *told == Err("DNS has no such name".to_owned())));
        let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.iter().skip(5).all(|pause| (15_000..=30_001).contains(pause)), "{pauses:?}");
        assert!(pauses[0] <= 1_001 && pauses[1] <= 2_001, "{pauses:?}");
    }
}
