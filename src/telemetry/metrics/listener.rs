//! What is measured on the SPOP side, for each listener.

use std::fmt;
use std::sync::OnceLock;

use super::families as f;
use super::{Counter, Histogram, UpDown, counter, histogram, up_down};
use crate::spop::{FrameType, StatusCode};

/// The instruments of one listener, whatever connection and thread uses them.
#[derive(Debug)]
pub(crate) struct ListenerMetrics {
    pub(crate) accepted: Counter,
    pub(crate) duration: Histogram,
    pub(crate) in_flight: UpDown,
    name: Box<str>,
    /// By engine; made when they are needed.
    open: [OnceLock<UpDown>; Slot::COUNT],
    pub(crate) abandoned: Counter,
    pub(crate) panics: Counter,
    refused: [Counter; Refusal::ALL.len()],
    hellos: [Counter; Hello::ALL.len()],
    received: [Traffic; FrameKind::ALL.len()],
    sent: [Traffic; FrameKind::ALL.len()],
    disconnects: [[Counter; CODES.len()]; Side::ALL.len()],
}

#[derive(Clone, Debug)]
struct Traffic {
    frames: Counter,
    bytes: Counter,
}

/// The codes of SPOE.txt section 3.5, and what there is besides.
const CODES: [&str; 16] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "99", "other"];

impl ListenerMetrics {
    pub(crate) fn of(listener: &str) -> Self {
        let traffic = |direction: &str| {
            FrameKind::ALL.map(|kind| Traffic {
                frames: counter(&f::FRAMES, &[listener, direction, kind.as_str()]),
                bytes: counter(&f::IO, &[listener, direction, kind.as_str()]),
            })
        };
        let disconnects = |side: Side| CODES.map(|code| counter(&f::DISCONNECTS, &[listener, side.as_str(), code]));
        Self {
            accepted: counter(&f::CONNECTIONS_ACCEPTED, &[listener]),
            duration: histogram(&f::NOTIFY_DURATION, &[listener]),
            in_flight: up_down(&f::NOTIFIES_IN_FLIGHT, &[listener]),
            name: listener.into(),
            open: [const { OnceLock::new() }; Slot::COUNT],
            abandoned: counter(&f::NOTIFIES_ABANDONED, &[listener]),
            panics: counter(&f::PANICS, &[listener]),
            refused: Refusal::ALL.map(|reason| counter(&f::CONNECTIONS_REFUSED, &[listener, reason.as_str()])),
            hellos: Hello::ALL.map(|outcome| counter(&f::HELLOS, &[listener, outcome.as_str()])),
            received: traffic("receive"),
            sent: traffic("transmit"),
            disconnects: Side::ALL.map(disconnects),
        }
    }

    /// Counts a connection of the engine in this slot, or one fewer.
    pub(crate) fn open(&self, slot: Slot, difference: i64) {
        if let Some(open) = self.open.get(slot.index()) {
            open.get_or_init(|| up_down(&f::CONNECTIONS, &[&self.name, &slot.to_string()])).add(difference);
        }
    }

    pub(crate) fn refused(&self, reason: Refusal) {
        increment(&self.refused, reason as usize);
    }

    pub(crate) fn hello(&self, outcome: Hello) {
        increment(&self.hellos, outcome as usize);
    }

    /// Frames of a type that came in, and their bytes.
    pub(crate) fn received(&self, kind: FrameKind, bytes: usize) {
        traffic(&self.received, kind, bytes);
    }

    pub(crate) fn sent(&self, kind: FrameKind, bytes: usize) {
        traffic(&self.sent, kind, bytes);
    }

    /// A connection ended; `side` said so first.
    pub(crate) fn disconnected(&self, side: Side, status: StatusCode) {
        let code = match usize::try_from(status.0) {
            Ok(code @ 0..=13) => code,
            Ok(99) => 14,
            _ => 15,
        };
        if let Some(codes) = self.disconnects.get(side as usize) {
            increment(codes, code);
        }
    }
}

fn increment(counters: &[Counter], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.increment();
    }
}

fn traffic(kinds: &[Traffic], kind: FrameKind, bytes: usize) {
    if let Some(traffic) = kinds.get(kind as usize) {
        traffic.frames.increment();
        traffic.bytes.add(bytes as u64);
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$item])* $variant,)* }

        impl $name {
            pub(crate) const ALL: [Self; [$($label,)*].len()] = [$(Self::$variant,)*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

/// The number by which metrics tell an engine from others. HAProxy has a new id in each process, so that ids would be ever new series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Before HELLO.
    None,
    /// Below [`Slot::ENGINES`].
    Engine(usize),
    /// There are too many.
    Other,
}

impl Slot {
    pub(crate) const ENGINES: usize = 64;
    const COUNT: usize = Self::ENGINES + 2;

    fn index(self) -> usize {
        match self {
            Self::Engine(number) => number.min(Self::ENGINES),
            Self::Other => Self::ENGINES,
            Self::None => Self::ENGINES + 1,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Engine(number) => write!(f, "{number}"),
            Self::Other => f.write_str("other"),
        }
    }
}

labels! {
    /// Why a connection did not come to its HELLO.
    Refusal {
        Limit = "max_connections",
        Descriptors = "file_descriptors",
        Tls = "tls",
    }
}

labels! {
    /// What became of a HELLO.
    Hello {
        Established = "established",
        HealthCheck = "health_check",
        /// A health check while not ready.
        NotReady = "health_check_refused",
        Refused = "refused",
    }
}

labels! {
    /// Who ended a connection.
    Side {
        Haproxy = "haproxy",
        Agent = "agent",
        /// Nobody said good-bye.
        None = "none",
    }
}

labels! {
    /// A frame's type, as a label.
    FrameKind {
        HaproxyHello = "haproxy_hello",
        HaproxyDisconnect = "haproxy_disconnect",
        Notify = "notify",
        AgentHello = "agent_hello",
        AgentDisconnect = "agent_disconnect",
        Ack = "ack",
        Other = "other",
    }
}

impl From<FrameType> for FrameKind {
    fn from(frame_type: FrameType) -> Self {
        match frame_type {
            FrameType::HAPROXY_HELLO => Self::HaproxyHello,
            FrameType::HAPROXY_DISCONNECT => Self::HaproxyDisconnect,
            FrameType::NOTIFY => Self::Notify,
            FrameType::AGENT_HELLO => Self::AgentHello,
            FrameType::AGENT_DISCONNECT => Self::AgentDisconnect,
            FrameType::ACK => Self::Ack,
            _ => Self::Other,
        }
    }
}
