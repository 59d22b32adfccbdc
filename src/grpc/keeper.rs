//! Keeps the members of a backend current.
//!
//! ```text
//! configuration ─┐
//! Discovery ─────┼─▶ Keeper ══ Members, as a whole ══▶ every worker's endpoints
//! health::Check ─┘      ▲                                     │
//!                       └────────── wanted: ask DNS ──────────┘
//! ```

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use http::uri::Authority;
use tokio::sync::Notify;
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::task::{AbortHandle, JoinSet};

use super::connect::Connector;
use super::discovery::{Discovery, Known};
use super::health::{Check, Verdict};
use super::members::{Address, Health, Member, Members, Unresolved};
use super::resolver::Resolve;
use crate::config::{BackendConfig, DnsName, EndpointConfig};

/// See [`members::watch`](super::members::watch). Names are resolved by `resolver`.
pub(super) fn watch<R: Resolve>(
    config: &BackendConfig,
    connector: &Arc<Connector>,
    resolver: Arc<R>,
) -> (Receiver<Members>, Arc<Notify>) {
    let changed = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    let sources = config.endpoints.iter().map(|endpoint| Source::start(endpoint, config, &resolver, &changed, &mut tasks));
    let mut keeper = Keeper {
        sources: sources.collect(),
        check: config.health.as_ref().map(|health| Arc::new(Check::new(config, health, connector))),
        checked: HashMap::new(),
        changed,
        tasks,
    };
    let (sender, receiver) = watch::channel(keeper.members());
    let wanted = Arc::new(Notify::new());
    tokio::spawn(keeper.run(sender, Arc::clone(&wanted)));
    (receiver, wanted)
}

/// Puts together what is known of a backend's servers. Dropping it ends everything that was started for it.
struct Keeper {
    sources: Vec<Source>,
    check: Option<Arc<Check>>,
    /// Members that are asked for their health.
    checked: HashMap<Address, (Arc<Verdict>, AbortHandle)>,
    /// Something is known that was not.
    changed: Arc<Notify>,
    tasks: JoinSet<()>,
}

impl Keeper {
    async fn run(mut self, sender: Sender<Members>, wanted: Arc<Notify>) {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = self.changed.notified() => {
                    let members = self.members();
                    sender.send_if_modified(|known| {
                        let is_news = *known != members;
                        if is_news {
                            *known = members;
                        }
                        is_news
                    });
                }
                () = wanted.notified() => self.sources.iter().for_each(Source::want),
                // Checks of members that are gone.
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// The members as of now, each of them checked if they are to be.
    fn members(&mut self) -> Members {
        let mut members = Members::default();
        let mut addresses = Vec::new();
        for source in &self.sources {
            source.add_to(&mut addresses, &mut members);
        }
        let mut seen = HashSet::new();
        // Two names may have the same address.
        addresses.retain(|address| match address {
            Address::Resolved { address, .. } => seen.insert(*address),
            Address::Host(_) | Address::Unix(_) => true,
        });
        let current: HashSet<_> = addresses.iter().collect();
        self.checked.retain(|address, (_, task)| {
            let stays = current.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        members.list = addresses.into_iter().map(|address| Member { health: self.health(&address), address }).collect();
        members
    }

    fn health(&mut self, address: &Address) -> Health {
        let Some(check) = &self.check else { return Health::Serving };
        if let Some((verdict, _)) = self.checked.get(address) {
            return verdict.health();
        }
        let verdict = Arc::new(check.verdict(address, &self.changed));
        let (check, told) = (Arc::clone(check), Arc::clone(&verdict));
        let task = self.tasks.spawn(forever(async move || check.run(&told).await));
        self.checked.insert(address.clone(), (Arc::clone(&verdict), task));
        verdict.health()
    }
}

/// An endpoint of the configuration.
enum Source {
    One(Address),
    Name { endpoint: Arc<str>, authority: Authority, known: Arc<Mutex<Option<Known>>>, wanted: Arc<Notify> },
}

impl Source {
    fn start<R: Resolve>(
        endpoint: &EndpointConfig,
        config: &BackendConfig,
        resolver: &Arc<R>,
        changed: &Arc<Notify>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let name = match endpoint {
            EndpointConfig::Http { uri } => {
                return Self::One(Address::Host(uri.authority().cloned().unwrap_or_else(no_authority)));
            }
            EndpointConfig::Unix { path } => return Self::One(Address::Unix(path.clone())),
            EndpointConfig::Dns(name) => name,
        };
        let (known, wanted) = (Arc::<Mutex<Option<Known>>>::default(), Arc::new(Notify::new()));
        let source = Self::Name {
            endpoint: name.to_string().into(),
            authority: authority(name),
            known: Arc::clone(&known),
            wanted: Arc::clone(&wanted),
        };
        let (resolver, changed) = (Arc::clone(resolver), Arc::clone(changed));
        let discovery = Arc::new(Discovery { backend: Arc::clone(&config.name), name: name.clone(), config: config.dns });
        tasks.spawn(forever(async move || {
            let tell = |news| {
                *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
                changed.notify_one();
            };
            discovery.run(&*resolver, &wanted, tell).await;
        }));
        source
    }

    fn want(&self) {
        if let Self::Name { wanted, .. } = self {
            wanted.notify_one();
        }
    }

    /// Adds what is known of it.
    fn add_to(&self, addresses: &mut Vec<Address>, members: &mut Members) {
        let (endpoint, authority, known) = match self {
            Self::One(address) => return addresses.push(address.clone()),
            Self::Name { endpoint, authority, known, .. } => (endpoint, authority, known),
        };
        match &*known.lock().unwrap_or_else(PoisonError::into_inner) {
            None => members.resolving = true,
            Some(Ok(known)) => {
                let address = |address: &SocketAddr| Address::Resolved { address: *address, authority: authority.clone() };
                addresses.extend(known.iter().map(address));
            }
            Some(Err(reason)) => {
                let unresolved = || Unresolved { endpoint: Arc::clone(endpoint), reason: Arc::clone(reason) };
                members.unresolved.get_or_insert_with(unresolved);
            }
        }
    }
}

/// What the operator wrote, without what only DNS understands: the labels of SRV records, and the dot at the end.
fn authority(name: &DnsName) -> Authority {
    let host = name.host.trim_end_matches('.');
    let text = match name.port {
        Some(port) => format!("{host}:{port}"),
        None => host.split('.').skip_while(|label| label.starts_with('_')).collect::<Vec<_>>().join("."),
    };
    // It was checked with the configuration.
    Authority::try_from(text).unwrap_or_else(|_| no_authority())
}

fn no_authority() -> Authority {
    Authority::from_static("localhost")
}

/// Runs a task that does not end. Should a bug end it, it begins again.
async fn forever(mut task: impl AsyncFnMut()) {
    const AFTER_PANIC: Duration = Duration::from_secs(1);
    loop {
        let _ = AssertUnwindSafe(task()).catch_unwind().await;
        tokio::time::sleep(AFTER_PANIC).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolver::{Answer, LeftOut};
    use super::*;
    use crate::config::Config;

    /// Names and what is said about them; nothing is said as long as there is nothing.
    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<HashMap<String, Entry>>>);

    type Entry = Result<Vec<&'static str>, String>;

    impl Book {
        fn write(&self, host: &str, result: Result<&[&'static str], &str>) {
            self.0.lock().unwrap().insert(host.to_owned(), result.map(<[_]>::to_vec).map_err(ToOwned::to_owned));
        }
    }

    impl Resolve for Book {
        async fn resolve(&self, name: &DnsName) -> Result<Answer, String> {
            loop {
                let result = self.0.lock().unwrap().get(&name.host).cloned();
                if let Some(result) = result {
                    let addresses = |addresses: Vec<&str>| addresses.iter().map(|address| address.parse().unwrap()).collect();
                    return result.map(|found| Answer {
                        addresses: addresses(found),
                        ttl: Duration::from_secs(10),
                        left_out: LeftOut::default(),
                    });
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn config(backend: &str) -> BackendConfig {
        let text = format!("backends: {{decisions: {{{backend}}}}}");
        Config::from_yaml(&text, "test.yaml", &|_| None).unwrap().0.backends.remove(0)
    }

    fn start(endpoints: &str, book: &Book) -> (Receiver<Members>, Arc<Notify>) {
        let config = config(&format!("endpoints: [{endpoints}]"));
        watch(&config, &Arc::new(Connector::new(&config, None)), Arc::new(book.clone()))
    }

    fn listed(members: &Receiver<Members>) -> Vec<String> {
        members.borrow().list.iter().map(|member| member.address.to_string()).collect()
    }

    async fn seconds(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn fixed_endpoints_are_there_at_once_and_stay() {
        let (mut members, _wanted) = start("'http://a:1', 'unix:/s', 'http://b:1'", &Book::default());
        assert_eq!(listed(&members), ["http://a:1", "unix:/s", "http://b:1"]);
        assert!(!members.borrow().resolving && members.borrow().list.iter().all(|member| member.health == Health::Serving));
        let quiet = tokio::time::timeout(Duration::from_secs(3_600), members.changed()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_pending_then_known_then_follow_dns() {
        let book = Book::default();
        let (mut members, _wanted) = start("'dns:///one:1', 'unix:/s', 'dns:///two:1'", &book);
        assert_eq!((listed(&members), members.borrow().resolving), (vec!["unix:/s".to_owned()], true));

        book.write("two", Err("DNS has no such name"));
        members.wait_for(|members| members.unresolved.is_some()).await.unwrap();
        let unresolved = Unresolved { endpoint: "dns:///two:1".into(), reason: "DNS has no such name".into() };
        assert_eq!((members.borrow().unresolved.clone(), members.borrow().resolving), (Some(unresolved), true));

        book.write("one", Ok(&["10.0.0.2:1", "10.0.0.1:1", "10.0.0.2:1"]));
        book.write("two", Ok(&["[::1]:1", "10.0.0.2:1"]));
        members.wait_for(|members| !members.resolving && members.unresolved.is_none()).await.unwrap();
        // In order, and an address that two names have belongs to the first.
        assert_eq!(
            listed(&members),
            ["dns:///one:1 (10.0.0.1:1)", "dns:///one:1 (10.0.0.2:1)", "unix:/s", "dns:///two:1 ([::1]:1)"]
        );

        book.write("one", Err("no answer from the DNS server"));
        book.write("two", Ok(&["[::2]:1"]));
        seconds(60).await;
        let kept = ["dns:///one:1 (10.0.0.1:1)", "dns:///one:1 (10.0.0.2:1)", "unix:/s", "dns:///two:1 ([::2]:1)"];
        assert_eq!((listed(&members), members.borrow().unresolved.clone()), (kept.map(ToOwned::to_owned).to_vec(), None));
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_members_has_dns_asked_again() {
        let book = Book::default();
        book.write("one", Ok(&["10.0.0.1:1"]));
        let (mut members, wanted) = start("'dns:///one:1'", &book);
        members.changed().await.unwrap();
        book.write("one", Ok(&["10.0.0.9:1"]));
        let begun = tokio::time::Instant::now();
        wanted.notify_one();
        members.changed().await.unwrap();
        assert_eq!((listed(&members), begun.elapsed().as_secs()), (vec!["dns:///one:1 (10.0.0.9:1)".to_owned()], 5));
    }

    #[tokio::test(start_paused = true)]
    async fn everything_ends_with_the_last_receiver() {
        let book = Book::default();
        book.write("one", Ok(&["10.0.0.1:1"]));
        let (members, wanted) = start("'dns:///one:1'", &book);
        let other = members.clone();
        drop(members);
        seconds(1).await;
        assert_eq!(Arc::strong_count(&book.0), 2);
        drop((other, wanted));
        seconds(1).await;
        assert_eq!(Arc::strong_count(&book.0), 1, "tasks hold on to the resolver");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_again() {
        let mut runs = 0;
        let task = forever(async || {
            runs += 1;
            assert!(runs > 2, "as intended");
            std::future::pending().await
        });
        assert!(tokio::time::timeout(Duration::from_secs(10), task).await.is_err());
        assert_eq!(runs, 3);
    }

    #[test]
    fn authorities_are_what_the_operator_wrote() {
        for (host, port, expected) in [
            ("decisions.default.svc", Some(1), "decisions.default.svc:1"),
            ("decisions.", Some(1), "decisions:1"),
            ("[::1]", Some(1), "[::1]:1"),
            ("decisions", None, "decisions"),
            ("_decide._tcp.decisions.", None, "decisions"),
            ("_grpc._tcp", None, "localhost"),
        ] {
            assert_eq!(authority(&DnsName { server: None, host: host.to_owned(), port }), expected, "{host}");
        }
    }
}
