//! From a name to addresses: one question to DNS and its answer. What becomes of it, and when to ask again, is for [`discovery`](super::discovery).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::Mutex;

use crate::aside::{Aside, asking};
use crate::config::DnsName;

/// For one question with all that follows from it: servers that do not answer, search domains, the hosts that SRV records name.
const PATIENCE: Duration = Duration::from_secs(30);
/// Addresses that are taken for one name, the lowest, and hosts of SRV records: more is a slip of the zone's owner, and would cost each
/// worker as many connections.
const MAX_ADDRESSES: usize = 1000;
/// Hosts of SRV records that are looked up at the same time.
const AT_ONCE: usize = 16;

/// What reads the files that say how names are resolved.
static READER: Mutex<Aside> = Mutex::const_new(Aside::new());

/// Who is asked for addresses. Tests have another than [`Dns`].
pub(super) trait Resolve: Send + Sync + 'static {
    /// The addresses of `name`, or why there are none.
    fn resolve(&self, name: &DnsName) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// All addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// At least one, in order.
    pub(super) addresses: BTreeSet<SocketAddr>,
    /// For how long it is valid.
    pub(super) ttl: Duration,
    pub(super) left_out: LeftOut,
}

/// Parts of an answer that are not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Records of names that were not asked for, nor stand for the one that was.
    pub(super) of_other_names: usize,
    /// Addresses that no server has: unspecified, which would be this machine, broadcast and multicast.
    pub(super) unusable: usize,
    /// Addresses and hosts above the limit.
    pub(super) too_many: usize,
}

impl Answer {
    fn new() -> Self {
        Self { addresses: BTreeSet::new(), ttl: Duration::MAX, left_out: LeftOut::default() }
    }

    /// The records of the name that was asked for. The answer is valid only as long as all of them.
    fn records<'a>(&mut self, found: &'a Lookup) -> Vec<&'a Record> {
        let names = names(found);
        let (own, others): (Vec<_>, Vec<_>) = found.answers().iter().partition(|record| names.contains(&&record.name));
        self.left_out.of_other_names += others.len();
        let ttl = own.iter().map(|record| Duration::from_secs(record.ttl.into())).min();
        self.ttl = ttl.unwrap_or(Duration::ZERO).min(self.ttl);
        own
    }

    /// Adds the addresses that were found for a host.
    fn add_addresses(&mut self, found: &Lookup, port: u16) {
        for ip in self.records(found).into_iter().filter_map(|record| record.data.ip_addr()) {
            if is_of_a_server(ip) {
                self.addresses.insert(SocketAddr::new(ip, port));
            } else {
                self.left_out.unusable += 1;
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.ttl = self.ttl.min(other.ttl);
        self.addresses.extend(other.addresses);
        self.left_out.of_other_names += other.left_out.of_other_names;
        self.left_out.unusable += other.left_out.unusable;
    }

    /// The same ones each time, in whatever order they come.
    fn within_limits(mut self) -> Self {
        self.left_out.too_many += self.addresses.len().saturating_sub(MAX_ADDRESSES);
        self.addresses = self.addresses.into_iter().take(MAX_ADDRESSES).collect();
        self
    }
}

/// The name that was asked for, and those that it is an alias of, one after the other.
fn names(found: &Lookup) -> Vec<&Name> {
    let mut names = vec![found.query().name()];
    let target = |name: &Name| {
        found.answers().iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) if record.name == *name => Some(target),
            _ => None,
        })
    };
    while let Some(next) = names.last().and_then(|last| target(last)).filter(|next| !names.contains(next)) {
        names.push(next);
    }
    names
}

fn is_of_a_server(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        // RFC 1122: the first eight bits say "this network".
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}

/// DNS, with what the operating system adds to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dns;

impl Resolve for Dns {
    async fn resolve(&self, name: &DnsName) -> Result<Answer, String> {
        let answer = AssertUnwindSafe(tokio::time::timeout(PATIENCE, resolve(name))).catch_unwind().await;
        match answer {
            Ok(Ok(Ok(answer))) if answer.addresses.is_empty() => Err(match answer.left_out {
                LeftOut { of_other_names: 0, unusable: 0, .. } => "the name has no addresses".to_owned(),
                _ => "the DNS server named no address of the name that a server can have".to_owned(),
            }),
            Ok(Ok(result)) => result.map(Answer::within_limits),
            Ok(Err(_)) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            // A bug, here or below: what an answer makes of us costs no more than the answer.
            Err(_) => Err("internal error, please report it".to_owned()),
        }
    }
}

async fn resolve(name: &DnsName) -> Result<Answer, String> {
    let bare = name.host.trim_start_matches('[').trim_end_matches(']');
    if let (Ok(ip), Some(port)) = (bare.parse(), name.port) {
        return Ok(Answer { addresses: BTreeSet::from([SocketAddr::new(ip, port)]), ..Answer::new() });
    }
    let asked = name.clone();
    // It reads files, which are the operating system's and may be anything.
    let resolver = READER.lock().await.run(move || resolver(&asked)).await.map_err(|error| error.to_string())??;
    let mut answer = Answer::new();
    match name.port {
        Some(port) => add_host(&mut answer, &resolver, &name.host, port).await?,
        None => add_services(&mut answer, &resolver, &name.host).await?,
    }
    Ok(answer)
}

/// A resolver for this question alone: the files of the operating system may have changed since the last one. It remembers no answers:
/// the question is asked when the last answer is no longer to be used.
fn resolver(name: &DnsName) -> Result<TokioResolver, String> {
    let _asking = asking("/etc/resolv.conf and /etc/hosts");
    let provider = TokioRuntimeProvider::default();
    let mut builder = match name.server {
        None => Resolver::builder(provider).map_err(|error| format!("/etc/resolv.conf cannot be used: {error}"))?,
        Some(server) => {
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
            let server = NameServerConfig::new(server.ip(), true, connections);
            let mut builder = Resolver::builder_with_config(ResolverConfig::from_name_servers(vec![server]), provider);
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            builder
        }
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|error| describe(&error))
}

/// Adds the addresses of `host`, of both kinds. If one kind cannot be had, the other is enough.
async fn add_host(answer: &mut Answer, resolver: &TokioResolver, host: &str, port: u16) -> Result<(), String> {
    let found = resolver.lookup_ip(host).await.map_err(|error| describe(&error))?;
    answer.add_addresses(found.as_lookup(), port);
    Ok(())
}

/// Adds what the SRV records of a name say (RFC 2782), those of the lowest priority value.
async fn add_services(answer: &mut Answer, resolver: &TokioResolver, name: &str) -> Result<(), String> {
    let name = if name.starts_with('_') { name.to_owned() } else { format!("_grpc._tcp.{name}") };
    let found = resolver
        .srv_lookup(name.as_str())
        .await
        .map_err(|error| format!("SRV records of {name}, which count if the endpoint has no port: {}", describe(&error)))?;
    let services = preferred(&answer.records(&found));
    answer.left_out.too_many += services.len().saturating_sub(MAX_ADDRESSES);
    let hosts = stream::iter(services.into_iter().take(MAX_ADDRESSES)).map(async |(host, port)| {
        let mut answer = Answer::new();
        match resolver.lookup_ip(host.as_str()).await {
            Ok(found) => {
                answer.add_addresses(found.as_lookup(), port);
                Ok(answer)
            }
            // One that is gone already. The others are none the worse for it.
            Err(error) if error.is_no_records_found() => Ok(answer),
            Err(error) => Err(format!("{host}: {}", describe(&error))),
        }
    });
    let mut hosts = std::pin::pin!(hosts.buffer_unordered(AT_ONCE));
    while let Some(host) = hosts.next().await {
        answer.add(host?);
    }
    Ok(())
}

/// Hosts and ports of the records that come first.
fn preferred(records: &[&Record]) -> BTreeSet<(String, u16)> {
    let services = || {
        records.iter().filter_map(|record| match &record.data {
            // The root as a target: decidedly no such service.
            RData::SRV(service) if !service.target.is_root() && service.port > 0 => Some(service),
            _ => None,
        })
    };
    let first = services().map(|service| service.priority).min();
    let preferred = services().filter(|service| Some(service.priority) == first);
    preferred.map(|SRV { target, port, .. }| (target.to_lowercase().to_string(), *port)).collect()
}

/// What went wrong, in an operator's words.
fn describe(error: &NetError) -> String {
    match error {
        error if error.is_nx_domain() => "DNS has no such name".to_owned(),
        NetError::Dns(DnsError::NoRecordsFound(_)) => "DNS has no records of the name".to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the DNS server answered {}", response_code(*code)),
        NetError::Timeout => "no answer from the DNS server".to_owned(),
        NetError::NoConnections => "no DNS server can be reached".to_owned(),
        NetError::Io(error) => format!("no DNS server can be reached: {error}"),
        error => error.to_string(),
    }
}

fn response_code(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        code => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::RecordType;

    use super::*;

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Record {
        let name = Name::from_str("_grpc._tcp.decisions.").unwrap();
        Record::from_rdata(name, 30, RData::SRV(SRV::new(priority, weight, port, Name::from_str(target).unwrap())))
    }

    #[test]
    fn services_of_the_lowest_priority_value_count_once() {
        let records = [srv(20, 0, 1, "late."), srv(10, 5, 2, "B."), srv(10, 0, 2, "b."), srv(10, 0, 3, "b."), srv(0, 0, 9, ".")];
        let records: Vec<_> = records.iter().collect();
        assert_eq!(preferred(&records), BTreeSet::from([("b.".to_owned(), 2), ("b.".to_owned(), 3)]));
        assert_eq!(preferred(&[]), BTreeSet::new());
    }

    fn name(text: &str) -> Name {
        Name::from_str(text).unwrap()
    }

    /// What DNS says to a question for the addresses of `a.`.
    fn found(records: impl IntoIterator<Item = Record>) -> Lookup {
        Lookup::new_with_max_ttl(Query::query(name("a."), RecordType::A), records)
    }

    fn host(owner: &str, ip: &str, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, ip.parse::<IpAddr>().unwrap().into())
    }

    fn alias(owner: &str, of: &str) -> Record {
        Record::from_rdata(name(owner), 30, RData::CNAME(CNAME(name(of))))
    }

    fn ips(answer: &Answer) -> Vec<String> {
        answer.addresses.iter().map(|address| address.ip().to_string()).collect()
    }

    #[test]
    fn an_answer_is_valid_as_long_as_all_its_records() {
        let mut answer = Answer::new();
        answer.add_addresses(&found([host("a.", "10.0.0.1", 30), host("a.", "10.0.0.2", 7), host("b.", "10.0.0.3", 1)]), 1);
        answer.add_addresses(&found([host("a.", "10.0.0.1", 30)]), 1);
        assert_eq!(answer.ttl, Duration::from_secs(7), "and as long as records of others may be");
    }

    #[test]
    fn records_of_other_names_are_left_out() {
        let mut answer = Answer::new();
        let aliases = [alias("b.", "c."), alias("A.", "b."), alias("evil.", "other."), alias("c.", "a.")];
        let hosts = [host("C.", "10.0.0.1", 30), host("evil.", "10.0.0.2", 30), host("other.", "10.0.0.3", 30)];
        answer.add_addresses(&found(aliases.into_iter().chain(hosts)), 1);
        assert_eq!((ips(&answer), answer.left_out.of_other_names), (vec!["10.0.0.1".to_owned()], 3));
    }

    #[test]
    fn addresses_that_no_server_has_are_left_out() {
        let none = [
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
            "::ffff:255.255.255.255",
        ];
        let some = ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "::ffff:10.0.0.2"];
        let mut answer = Answer::new();
        answer.add_addresses(&found(none.iter().chain(&some).map(|ip| host("a.", ip, 30))), 1);
        assert_eq!((answer.addresses.len(), answer.left_out.unusable), (some.len(), none.len()), "{answer:?}");
    }

    #[test]
    fn of_too_many_addresses_the_same_ones_are_taken_in_whatever_order() {
        let ips: Vec<_> = (0..1_200_u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()).collect();
        let [there, back] = [false, true].map(|reversed| {
            let mut records: Vec<_> = ips.iter().map(|ip| host("a.", ip, 30)).collect();
            if reversed {
                records.reverse();
            }
            let mut answer = Answer::new();
            answer.add_addresses(&found(records), 1);
            answer.within_limits()
        });
        assert_eq!((there.addresses.len(), there.left_out.too_many), (MAX_ADDRESSES, 200));
        assert_eq!(there, back);
    }

    #[tokio::test]
    async fn addresses_need_no_dns() {
        for (host, expected) in [("127.0.0.1", "127.0.0.1:5"), ("[::1]", "[::1]:5")] {
            let name = DnsName { server: None, host: host.to_owned(), port: Some(5) };
            let answer = Dns.resolve(&name).await.unwrap();
            assert_eq!(answer.addresses, BTreeSet::from([expected.parse().unwrap()]));
        }
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_says_why() {
        // Nobody answers on the port of a socket that is only bound.
        let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let closed = bound.local_addr().unwrap();
        drop(bound);
        let name = DnsName { server: Some(closed), host: "decisions".to_owned(), port: Some(5) };
        let error = Dns.resolve(&name).await.unwrap_err();
        assert!(error.contains("DNS server"), "{error}");
    }
}
