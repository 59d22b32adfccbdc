//! The three checks of the example: a list of addresses, API keys, a token bucket for each client.
//!
//! None of it knows gRPC. What it must do, to the second, stands in `../conformance.json`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// Number and content of each line that says something; all that are wrong at once.
fn parse_lines<T>(name: &str, text: &str, mut parse: impl FnMut(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let content = |line: &'_ str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let lines = (1..).zip(text.lines().map(content)).filter(|(_, line)| !line.is_empty());
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (number, line) in lines {
        match parse(&line) {
            Ok(parsed) => good.push(parsed),
            Err(why) => bad.push(format!("{name}:{number}: {why}")),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad.join("\n")) }
}

/// A network by IP version, prefix length, and the bits before it.
type Network = (bool, u32, u128);

/// Addresses and networks, with the lines that list them.
#[derive(Default)]
pub(crate) struct Blocklist(HashMap<Network, String>);

impl Blocklist {
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let parse = |line: &str| match network(line) {
            Some(network) => Ok((network, line.to_owned())),
            None => Err(format!("not an address or a network (without host bits): {line}")),
        };
        let mut entries = HashMap::new();
        for (network, line) in parse_lines(name, text, parse)? {
            entries.entry(network).or_insert(line);
        }
        Ok(Self(entries))
    }

    /// The line of the smallest network that holds this address.
    pub(crate) fn entry(&self, ip: Option<IpAddr>) -> Option<&str> {
        let (is_v4, length, bits) = bits_of(ip?);
        if self.0.is_empty() {
            return None;
        }
        let mut networks = (0..=length).rev().map(|prefix| (is_v4, prefix, before(bits, length - prefix)));
        networks.find_map(|network| self.0.get(&network)).map(String::as_str)
    }
}

fn network(line: &str) -> Option<Network> {
    let (start, prefix) = line.split_once('/').map_or((line, None), |(start, prefix)| (start, Some(prefix)));
    let ip = IpAddr::from_str(start).ok()?;
    if ip.to_canonical() != ip {
        return None;
    }
    let (is_v4, length, bits) = bits_of(ip);
    let prefix = match prefix {
        // Not `+8`, and not `08`, which some read as octal.
        Some(text) => text.parse().ok().filter(|prefix: &u32| *prefix <= length && prefix.to_string() == text)?,
        None => length,
    };
    let network = before(bits, length - prefix);
    let without_host_bits = network.checked_shl(length - prefix).unwrap_or_default() == bits;
    without_host_bits.then_some((is_v4, prefix, network))
}

/// Whether it is IPv4, how many bits it has, and which.
fn bits_of(ip: IpAddr) -> (bool, u32, u128) {
    match ip {
        IpAddr::V4(ip) => (true, 32, u128::from(u32::from(ip))),
        IpAddr::V6(ip) => (false, 128, u128::from(ip)),
    }
}

fn before(bits: u128, host_bits: u32) -> u128 {
    bits.checked_shr(host_bits).unwrap_or_default()
}

/// API keys, of which only the SHA-256 is known. Two keys of one name do: the old one and the new one.
pub(crate) struct Keys(Vec<(String, [u8; 32])>);

impl Default for Keys {
    fn default() -> Self {
        Self(vec![("default".into(), sha256(b"let-me-in"))])
    }
}

impl Keys {
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut digests = Vec::new();
        let parse = |line: &str| {
            let mut fields = line.split_whitespace();
            let (Some(owner), Some(hex), None) = (fields.next(), fields.next(), fields.next()) else {
                return Err(EXPECTED_KEY.to_owned());
            };
            let digest = from_hex(hex).ok_or(EXPECTED_KEY)?;
            if digests.contains(&digest) {
                return Err("the key of an earlier line".into());
            }
            digests.push(digest);
            Ok((owner.to_owned(), digest))
        };
        parse_lines(name, text, parse).map(Self)
    }

    /// Whose key this is. Takes as long for any key as for none.
    pub(crate) fn name_of(&self, token: &[u8]) -> Option<&str> {
        let given = sha256(token);
        let mut name = None;
        for (owner, digest) in &self.0 {
            if bool::from(given.ct_eq(digest)) && !token.is_empty() {
                name = Some(owner.as_str());
            }
        }
        name
    }
}

/// The line itself is not shown: it may be a key.
const EXPECTED_KEY: &str = "expected a name and the SHA-256 of a key, in hex";

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect::<Option<Vec<_>>>()?;
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect::<Vec<_>>();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

/// Whom a bucket is for: an IPv4 address, or an IPv6 /64, which is what one customer has.
pub(crate) fn client_of(ip: Option<IpAddr>) -> String {
    match ip {
        None => "unknown".into(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => format!("{}/64", Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    }
}

/// A token bucket for each client: `rate` tokens a second, `burst` at most. A rate of 0 is no limit.
///
/// Buckets are in two generations of half each: when the young one is full it becomes the old one, and the old one is forgotten. So
/// there is room for a flood of addresses, and a client among the last half keeps its bucket.
pub(crate) struct Limit {
    rate: f64,
    burst: f64,
    half: usize,
    young: HashMap<String, Bucket>,
    old: HashMap<String, Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    since: Instant,
}

pub(crate) const MAX_CLIENTS: usize = 100_000;

impl Limit {
    /// Without `burst`, that of a second, at least 1.
    pub(crate) fn new(rate: f64, burst: Option<f64>, max_clients: usize) -> Self {
        let burst = burst.unwrap_or_else(|| rate.ceil().max(1.0));
        Self { rate, burst, half: max_clients / 2, young: HashMap::new(), old: HashMap::new() }
    }

    /// Nothing if there was a token, else how long until there is one: whole seconds, at least one.
    pub(crate) fn take(&mut self, client: &str, now: Instant) -> Option<Duration> {
        if self.rate <= 0.0 {
            return None;
        }
        let known = self.young.get(client).or_else(|| self.old.get(client));
        let bucket = known.copied().unwrap_or(Bucket { tokens: self.burst, since: now });
        let tokens = (bucket.tokens + (now - bucket.since).as_secs_f64() * self.rate).min(self.burst);
        let missing = (tokens < 1.0).then(|| ((1.0 - tokens) / self.rate).ceil().max(1.0));
        let tokens = if missing.is_some() { tokens } else { tokens - 1.0 };
        if self.young.len() >= self.half && !self.young.contains_key(client) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(client.to_owned(), Bucket { tokens, since: now });
        missing.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
