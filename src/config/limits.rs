//! Every default and limit of the configuration, each with its unit and the reason for it.
//!
//! The checker holds values against them, and the JSON Schema and the messages are made from them.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use schemars::Schema;
use schemars::transform::Transform;
use serde_json::Value;

use super::units::{format_duration, format_size, parse_duration, parse_size};

/// Worker threads. One per core is the default; more than 256 would be a slip.
pub(super) const WORKERS: Limit<usize> = Limit { range: 1..=256, default: None };

/// SPOP connections of one listener. HAProxy keeps about one per thread and 20 requests in flight; an idle one costs some 16 KiB.
pub(super) const MAX_CONNECTIONS: Limit<usize> = Limit { range: 1..=65_536, default: Some(4_096) };

/// NOTIFYs in flight on one connection. HAProxy 3.1+ stops at 20; 3.0 and older pipeline more. Memory is bounded by
/// this times the frame size.
pub(super) const MAX_IN_FLIGHT: Limit<usize> = Limit { range: 1..=65_536, default: Some(1_024) };

/// Bytes of one frame. HAProxy offers its `tune.bufsize` less 4 (16380 by default); 256 is the least that SPOE 3.2.4
/// allows, and above 16 MiB no HAProxy goes.
pub(super) const MAX_FRAME_SIZE: Limit<ByteSize> =
    Limit { range: ByteSize(256)..=ByteSize(16 << 20), default: Some(ByteSize(128 << 10)) };

/// From accepting a connection to its HELLO, which HAProxy sends at once. Bounds what a peer that says nothing may hold.
pub(super) const HANDSHAKE_TIMEOUT: Limit<Duration> = Limit { range: millis(10)..=secs(600), default: Some(secs(5)) };

/// From the first byte of a frame to its last. Bounds what a slow or broken peer may hold.
pub(super) const READ_TIMEOUT: Limit<Duration> = Limit { range: millis(10)..=secs(600), default: Some(secs(10)) };

/// Without any progress while there is something to write. Bounds what a peer that never reads may hold.
pub(super) const WRITE_TIMEOUT: Limit<Duration> = Limit { range: millis(10)..=secs(600), default: Some(secs(10)) };

/// Without a frame in either direction. Never by default, but for connections that have never had a NOTIFY: HAProxy closes its idle
/// connections itself.
pub(super) const IDLE_TIMEOUT: Limit<OrNever> =
    Limit { range: OrNever(Some(secs(1)))..=OrNever(Some(secs(86_400))), default: Some(OrNever(None)) };

/// For one connection to an endpoint, TCP and HTTP/2 together.
pub(super) const CONNECT_TIMEOUT: Limit<Duration> = Limit { range: millis(1)..=secs(60), default: Some(secs(1)) };

/// For a server's sign of life. Longer than the pauses that garbage collectors and starved machines make.
pub(super) const KEEPALIVE_TIMEOUT: Limit<Duration> = Limit { range: millis(100)..=secs(60), default: Some(secs(5)) };

/// Decisions in flight at one backend: more than a service can work at, and little enough for their requests to fit into memory.
pub(super) const BACKEND_IN_FLIGHT: Limit<usize> = Limit { range: 1..=1_000_000, default: Some(16_384) };

/// What an adaptive limit starts from and does not go below: enough to notice that latency has come down again.
pub(super) const ADAPTIVE_MIN: Limit<usize> = Limit { range: 1..=100_000, default: Some(20) };

/// Latency that an adaptive limit bears, of what is usual. As in Netflix's Gradient2: half as long again is noise.
pub(super) const ADAPTIVE_TOLERANCE: Limit<Percent> = Limit { range: Percent(100)..=Percent(1_000), default: Some(Percent(150)) };

/// Connections of a worker to an endpoint. Common servers let 100 calls or more on each.
pub(super) const ENDPOINT_CONNECTIONS: Limit<usize> = Limit { range: 1..=100, default: Some(4) };

/// Attempts at a decision. gRFC A6 caps them at 5.
pub(super) const RETRY_ATTEMPTS: Limit<usize> = Limit { range: 1..=5, default: Some(3) };

/// Attempts at a time. One besides the first does nearly all that hedging can do.
pub(super) const HEDGING_ATTEMPTS: Limit<usize> = Limit { range: 2..=5, default: Some(2) };

/// When a decision counts as slow. The 95th percentile costs 5 % more decisions.
pub(super) const HEDGING_DELAY: Limit<OrP95> =
    Limit { range: OrP95(Some(Duration::from_micros(100)))..=OrP95(Some(secs(10))), default: Some(OrP95(None)) };

/// Retries and hedges of all decisions, as in linkerd and Finagle.
pub(super) const BUDGET_PERCENT: Limit<Percent> = Limit { range: Percent(0)..=Percent(100), default: Some(Percent(20)) };

/// Retries and hedges a second besides those.
pub(super) const BUDGET_PER_SECOND: Limit<usize> = Limit { range: 0..=100_000, default: Some(10) };

/// Failures in a row, as in Envoy: a service that restarts has as many within a moment.
pub(super) const CONSECUTIVE_FAILURES: Limit<usize> = Limit { range: 0..=10_000, default: Some(5) };

/// Between looks at the success rate, as in gRFC A50.
pub(super) const OUTLIER_INTERVAL: Limit<Duration> = Limit { range: millis(100)..=secs(600), default: Some(secs(10)) };

/// Decisions are short: a second is long for a server to recover in, and a probe costs one decision.
pub(super) const BASE_EJECTION_TIME: Limit<Duration> = Limit { range: millis(10)..=secs(600), default: Some(secs(1)) };

/// A minute after it has recovered a server has work again.
pub(super) const MAX_EJECTION_TIME: Limit<Duration> = Limit { range: millis(10)..=secs(3_600), default: Some(secs(60)) };

/// Half of the endpoints carry on: if more fail, leaving them out makes it worse.
pub(super) const MAX_EJECTION_PERCENT: Limit<Percent> = Limit { range: Percent(0)..=Percent(100), default: Some(Percent(50)) };

/// In thousandths, as in gRFC A50.
pub(super) const STDEV_FACTOR: Limit<usize> = Limit { range: 100..=10_000, default: Some(1_900) };

/// As in gRFC A50.
pub(super) const MINIMUM_HOSTS: Limit<usize> = Limit { range: 2..=1_000, default: Some(5) };

/// As in gRFC A50.
pub(super) const REQUEST_VOLUME: Limit<usize> = Limit { range: 1..=1_000_000, default: Some(100) };

/// Between two questions for the same name. Short-lived answers, and servers that everybody fails to connect to, must not make us flood a DNS server.
pub(super) const DNS_MIN_TTL: Limit<Duration> = Limit { range: millis(100)..=secs(3_600), default: Some(secs(5)) };

/// For which an answer is used without asking again. New servers get decisions within a minute, however long the answer is valid.
pub(super) const DNS_MAX_TTL: Limit<Duration> = Limit { range: millis(100)..=secs(86_400), default: Some(secs(60)) };

/// Between two health checks of a server that cannot be watched.
pub(super) const HEALTH_INTERVAL: Limit<Duration> = Limit { range: millis(100)..=secs(600), default: Some(secs(5)) };

/// For an answer to a health check. Longer than the pauses of a garbage collector.
pub(super) const HEALTH_TIMEOUT: Limit<Duration> = Limit { range: millis(10)..=secs(60), default: Some(secs(1)) };

/// Characters of a service's name in health checks: full gRPC names are far shorter.
pub(super) const MAX_HEALTH_SERVICE: usize = 256;

/// For a decision. HAProxy holds a request for as long, so that a minute is already absurd.
pub(super) const ROUTE_TIMEOUT: Limit<Duration> = Limit { range: millis(1)..=secs(60), default: Some(millis(50)) };

/// The least that an arg can make of a timeout. A service nearby answers within it, so that who fills the arg cannot do without an answer.
pub(super) const TIMEOUT_ARG_MIN: Limit<Duration> = Limit { range: millis(1)..=secs(60), default: Some(millis(10)) };

/// Taken off a route's timeout, so that the ACK is out within it. Timers fire on whole milliseconds, up to one late; the other is for the ACK.
pub(super) const ACK_MARGIN: Limit<Duration> = Limit { range: Duration::ZERO..=secs(1), default: Some(millis(2)) };

/// From the signal to stop until connections are no longer accepted: time for HAProxy to notice that health checks fail, which
/// takes `inter` times `fall` of them (2 s with `inter 1s fall 2`), and for Kubernetes to take an endpoint away, which takes
/// seconds too.
pub(super) const DRAIN_DELAY: Limit<Duration> = Limit { range: Duration::ZERO..=secs(600), default: Some(secs(5)) };

/// For decisions in flight when draining. Longer than any sensible route timeout; below Kubernetes' 30 s until SIGKILL.
pub(super) const GRACE_PERIOD: Limit<Duration> = Limit { range: Duration::ZERO..=secs(600), default: Some(secs(10)) };

/// Decisions of which one is logged, whatever became of it. None by default.
pub(super) const LOG_ONE_IN: Limit<usize> = Limit { range: 0..=1_000_000_000, default: Some(0) };

/// Lines of the decision log in a second: as much as a person or a pipeline bears during an outage.
pub(super) const LOG_PER_SECOND: Limit<usize> = Limit { range: 1..=100_000, default: Some(100) };

/// Bytes of the decision log in a second: 5 GiB a day at the most, and a hundred ordinary lines a second.
pub(super) const LOG_BYTES_PER_SECOND: Limit<ByteSize> =
    Limit { range: ByteSize(1 << 10)..=ByteSize(64 << 20), default: Some(ByteSize(64 << 10)) };

/// HAProxy's `tune.bufsize`. Its default, and nothing below: 3.2 then fails its own health checks of agents. Above the largest frame a
/// larger buffer does nothing for decisions.
pub(super) const BUFSIZE: Limit<ByteSize> =
    Limit { range: ByteSize(16 << 10)..=ByteSize(16 << 20), default: Some(ByteSize(16 << 10)) };

/// For a body that is part of a question: as long as the `timeout http-request` of the same files gives a client for its headers. For
/// that long a slow client holds a stream and a buffer of HAProxy.
pub(super) const BODY_TIMEOUT: Limit<Duration> = Limit { range: millis(10)..=secs(600), default: Some(secs(5)) };

/// HTTP statuses of requests that the service denies. Not every one has a response in HAProxy.
pub(super) const DENY_STATUS: Limit<usize> = Limit { range: 400..=504, default: Some(403) };

/// HTTP statuses of requests without a verdict.
pub(super) const NO_VERDICT_STATUS: Limit<usize> = Limit { range: 400..=504, default: Some(503) };

/// Args of a message: their number is one byte.
pub(super) const MAX_ARGS: usize = 255;

/// Bytes kept free for HAProxy's `option var-prefix` where the listener does not say it. Engine names are rarely longer.
pub(crate) const RESERVED_PREFIX: usize = 16;

/// Bytes of the encoded actions of one cause. Half a default frame: the actions of two failed routes fit into one ACK.
pub(super) const MAX_FALLBACK: usize = 8_000;

/// Bytes of a Unix socket's path: what Linux has room for, less the closing NUL.
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// Bytes of the name of a listener, a backend or a route: they go into logs and metric labels.
pub(super) const MAX_NAME: usize = 128;

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What a value may be, and what it is when nothing is said.
#[derive(Clone, Debug)]
pub(super) struct Limit<T> {
    pub(super) range: RangeInclusive<T>,
    pub(super) default: Option<T>,
}

impl<T: Quantity + Clone> Limit<T> {
    /// The default; without one, the least.
    pub(super) fn fallback(&self) -> T {
        self.default.as_ref().unwrap_or(self.range.start()).clone()
    }
}

impl<T: Quantity> Limit<T> {
    /// The value that stands in a file as `text`, if it is one and within the range.
    pub(super) fn read(&self, text: &str) -> Option<T> {
        T::parse(text).filter(|value| self.allows(value))
    }

    fn allows(&self, value: &T) -> bool {
        self.range.contains(value) || self.default.as_ref() == Some(value)
    }
}

/// `1ms to 60s`; with a default outside of the range, that too.
impl<T: Quantity> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.default {
            Some(default) if !self.range.contains(default) => write!(f, "{} or ", default.format())?,
            _ => {}
        }
        write!(f, "{} to {}", self.range.start().format(), self.range.end().format())
    }
}

/// A kind of value that has limits, and the way it is written.
pub(super) trait Quantity: PartialOrd + Sized {
    /// The JSON Schema of how it is written, without the limits.
    const SHAPE: Shape;

    fn parse(text: &str) -> Option<Self>;
    fn format(&self) -> String;
}

/// How a quantity stands in the file.
pub(super) enum Shape {
    Number,
    /// Text with a unit: the pattern, and the units in words.
    Text(&'static str, &'static str),
}

impl Quantity for usize {
    const SHAPE: Shape = Shape::Number;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn format(&self) -> String {
        self.to_string()
    }
}

impl Quantity for Duration {
    const SHAPE: Shape = Shape::Text("^[0-9]+(us|ms|s|m)$", "us, ms, s or m");

    fn parse(text: &str) -> Option<Self> {
        parse_duration(text).ok()
    }

    fn format(&self) -> String {
        format_duration(*self)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct ByteSize(pub(super) u32);

impl Quantity for ByteSize {
    const SHAPE: Shape = Shape::Text("^[0-9]+(B|KiB|MiB)$", "B, KiB or MiB");

    fn parse(text: &str) -> Option<Self> {
        u32::try_from(parse_size(text).ok()?).ok().map(Self)
    }

    fn format(&self) -> String {
        format_size(self.0.into())
    }
}

/// A duration, or `never`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct OrNever(pub(super) Option<Duration>);

impl Quantity for OrNever {
    const SHAPE: Shape = Shape::Text("^(never|[0-9]+(us|ms|s|m))$", "us, ms, s or m");

    fn parse(text: &str) -> Option<Self> {
        if text == NEVER { Some(Self(None)) } else { parse_duration(text).ok().map(|duration| Self(Some(duration))) }
    }

    fn format(&self) -> String {
        self.0.map_or_else(|| NEVER.to_owned(), format_duration)
    }
}

const NEVER: &str = "never";

/// A duration, or the 95th percentile of what is usual.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct OrP95(pub(super) Option<Duration>);

impl Quantity for OrP95 {
    const SHAPE: Shape = Shape::Text("^(p95|[0-9]+(us|ms|s|m))$", "us, ms, s or m");

    fn parse(text: &str) -> Option<Self> {
        if text == P95 { Some(Self(None)) } else { parse_duration(text).ok().map(|duration| Self(Some(duration))) }
    }

    fn format(&self) -> String {
        self.0.map_or_else(|| P95.to_owned(), format_duration)
    }
}

const P95: &str = "p95";

/// A share in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Percent(pub(super) u16);

impl Quantity for Percent {
    const SHAPE: Shape = Shape::Text("^[0-9]+%$", "%");

    fn parse(text: &str) -> Option<Self> {
        text.strip_suffix('%').filter(|number| number.bytes().all(|b| b.is_ascii_digit()))?.parse().ok().map(Self)
    }

    fn format(&self) -> String {
        format!("{}%", self.0)
    }
}

/// Puts the limits into a field's schema.
impl<T: Quantity> Transform for Limit<T> {
    fn transform(&mut self, schema: &mut Schema) {
        schema.insert("title".to_owned(), self.to_string().into());
        match T::SHAPE {
            Shape::Number => {
                schema.insert("minimum".to_owned(), number(self.range.start()));
                schema.insert("maximum".to_owned(), number(self.range.end()));
                schema.remove("format");
            }
            Shape::Text(pattern, units) => {
                schema.insert("pattern".to_owned(), pattern.into());
                schema.insert("x-units".to_owned(), units.into());
            }
        }
        if let Some(default) = &self.default {
            let default = if matches!(T::SHAPE, Shape::Number) { number(default) } else { default.format().into() };
            schema.insert("default".to_owned(), default);
        }
    }
}

/// A quantity that is written as a number, as one.
fn number<T: Quantity>(value: &T) -> Value {
    value.format().parse::<u64>().into_iter().next().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_of_the_range_are_refused() {
        assert_eq!(ROUTE_TIMEOUT.read("1ms"), Some(millis(1)));
        assert_eq!(ROUTE_TIMEOUT.read("1m"), Some(secs(60)));
        assert_eq!(ROUTE_TIMEOUT.read("0ms"), None);
        assert_eq!(ROUTE_TIMEOUT.read("61s"), None);
        assert_eq!(ROUTE_TIMEOUT.read("50"), None);
        assert_eq!(MAX_FRAME_SIZE.read("255B"), None);
        assert_eq!(MAX_FRAME_SIZE.read("8192MiB"), None);
    }

    #[test]
    fn never_is_a_duration_only_where_it_is_allowed() {
        assert_eq!(IDLE_TIMEOUT.read("never"), Some(OrNever(None)));
        assert_eq!(IDLE_TIMEOUT.read("5s"), Some(OrNever(Some(secs(5)))));
        assert_eq!(IDLE_TIMEOUT.read("0s"), None);
        assert_eq!(READ_TIMEOUT.read("never"), None);
    }

    #[test]
    fn limits_say_what_they_allow() {
        assert_eq!(ROUTE_TIMEOUT.to_string(), "1ms to 60s");
        assert_eq!(MAX_FRAME_SIZE.to_string(), "256B to 16MiB");
        assert_eq!(IDLE_TIMEOUT.to_string(), "never or 1s to 1440m");
        assert_eq!(WORKERS.to_string(), "1 to 256");
    }

    #[test]
    fn schemas_carry_limits_and_defaults() {
        let mut schema = Schema::default();
        MAX_IN_FLIGHT.clone().transform(&mut schema);
        assert_eq!(schema.get("maximum"), Some(&65_536.into()));
        assert_eq!(schema.get("default"), Some(&1_024.into()));
        let mut schema = Schema::default();
        ROUTE_TIMEOUT.clone().transform(&mut schema);
        assert_eq!(schema.get("default"), Some(&"50ms".into()));
    }
}
