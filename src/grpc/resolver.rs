//! From a name to addresses: one question to DNS and its answer. What becomes of it, and when to ask again, is for [`discovery`](super::discovery).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, rdata::SRV};
use hickory_resolver::{Resolver, TokioResolver};

use crate::config::DnsName;

/// For one question with all that follows from it: servers that do not answer, search domains, the hosts that SRV records name.
const PATIENCE: Duration = Duration::from_secs(30);
/// Addresses that are taken for one name, and hosts of SRV records: more is a slip of somebody's, and would cost each worker as many connections.
const MAX_ADDRESSES: usize = 1000;
/// Hosts of SRV records that are looked up at the same time.
const AT_ONCE: usize = 16;

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
}

impl Answer {
    fn new() -> Self {
        Self { addresses: BTreeSet::new(), ttl: Duration::MAX }
    }

    /// Valid only as long as all that it follows from.
    fn follows_from(&mut self, records: &[Record]) {
        let ttl = records.iter().map(|record| Duration::from_secs(record.ttl.into())).min();
        self.ttl = ttl.unwrap_or(Duration::ZERO).min(self.ttl);
    }
}

/// DNS, with what the operating system adds to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dns;

impl Resolve for Dns {
    async fn resolve(&self, name: &DnsName) -> Result<Answer, String> {
        let answer = AssertUnwindSafe(tokio::time::timeout(PATIENCE, resolve(name))).catch_unwind().await;
        match answer {
            Ok(Ok(Ok(answer))) if answer.addresses.is_empty() => Err("the name has no addresses".to_owned()),
            Ok(Ok(Ok(answer))) if answer.addresses.len() > MAX_ADDRESSES => {
                Err(format!("the name has {} addresses, at most {MAX_ADDRESSES} are taken", answer.addresses.len()))
            }
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            // A bug, here or below: what an answer makes of us costs no more than the answer.
            Err(_) => Err("internal error, please report it".to_owned()),
        }
    }
}

async fn resolve(name: &DnsName) -> Result<Answer, String> {
    let bare = name.host.trim_start_matches('[').trim_end_matches(']');
    if let (Ok(ip), Some(port)) = (bare.parse(), name.port) {
        return Ok(Answer { addresses: BTreeSet::from([SocketAddr::new(ip, port)]), ttl: Duration::MAX });
    }
    let resolver = resolver(name)?;
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
    answer.follows_from(found.as_lookup().answers());
    answer.addresses.extend(found.iter().map(|ip| SocketAddr::new(ip, port)));
    Ok(())
}

/// Adds what the SRV records of a name say (RFC 2782), those of the lowest priority value.
async fn add_services(answer: &mut Answer, resolver: &TokioResolver, name: &str) -> Result<(), String> {
    let name = if name.starts_with('_') { name.to_owned() } else { format!("_grpc._tcp.{name}") };
    let found = resolver
        .srv_lookup(name.as_str())
        .await
        .map_err(|error| format!("SRV records of {name}, which count if the endpoint has no port: {}", describe(&error)))?;
    answer.follows_from(found.answers());
    let services = preferred(found.answers());
    if services.len() > MAX_ADDRESSES {
        return Err(format!("{name} has {} SRV records, at most {MAX_ADDRESSES} are taken", services.len()));
    }
    let hosts = stream::iter(services).map(async |(host, port)| {
        let mut answer = Answer::new();
        match resolver.lookup_ip(host.as_str()).await {
            Ok(found) => {
                answer.follows_from(found.as_lookup().answers());
                answer.addresses.extend(found.iter().map(|ip| SocketAddr::new(ip, port)));
                Ok(answer)
            }
            // One that is gone already. The others are none the worse for it.
            Err(error) if error.is_no_records_found() => Ok(answer),
            Err(error) => Err(format!("{host}: {}", describe(&error))),
        }
    });
    let mut hosts = std::pin::pin!(hosts.buffer_unordered(AT_ONCE));
    while let Some(host) = hosts.next().await {
        let host = host?;
        answer.ttl = answer.ttl.min(host.ttl);
        answer.addresses.extend(host.addresses);
    }
    Ok(())
}

/// Hosts and ports of the records that come first.
fn preferred(records: &[Record]) -> BTreeSet<(String, u16)> {
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

    use hickory_resolver::proto::rr::Name;

    use super::*;

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Record {
        let name = Name::from_str("_grpc._tcp.decisions.").unwrap();
        Record::from_rdata(name, 30, RData::SRV(SRV::new(priority, weight, port, Name::from_str(target).unwrap())))
    }

    #[test]
    fn services_of_the_lowest_priority_value_count_once() {
        let records = [srv(20, 0, 1, "late."), srv(10, 5, 2, "B."), srv(10, 0, 2, "b."), srv(10, 0, 3, "b."), srv(0, 0, 9, ".")];
        assert_eq!(preferred(&records), BTreeSet::from([("b.".to_owned(), 2), ("b.".to_owned(), 3)]));
        assert_eq!(preferred(&[]), BTreeSet::new());
    }

    #[test]
    fn an_answer_is_valid_as_long_as_all_its_records() {
        let mut answer = Answer::new();
        let mut short = srv(0, 0, 1, "a.");
        short.ttl = 7;
        answer.follows_from(&[srv(0, 0, 1, "a."), short]);
        answer.follows_from(&[srv(0, 0, 1, "a.")]);
        assert_eq!(answer.ttl, Duration::from_secs(7));
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
