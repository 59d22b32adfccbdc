//! Happenings on the SPOP side.

use std::io;
use std::time::Duration;

use tracing::{Level, debug, enabled, error, warn};

use crate::spop::StatusCode;
use crate::telemetry::Count;
use crate::telemetry::metrics::{Hello, ListenerMetrics, Refusal, Side};
use crate::telemetry::throttle::Throttle;

/// A line at debug, where it is wanted.
macro_rules! detail {
    ($($fields:tt)*) => {{
        static THROTTLE: Throttle = Throttle::of_details();
        if enabled!(Level::DEBUG) && let Some(suppressed) = THROTTLE.admit() {
            debug!(suppressed, $($fields)*);
        }
    }};
}

/// A peer connected.
pub(crate) struct ConnectionOpened<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) peer: &'a str,
}

impl ConnectionOpened<'_> {
    pub(crate) fn record(&self) {
        Count::Connections.increment();
        self.metrics.accepted.increment();
        detail!(listener = self.listener, peer = self.peer, "connection opened");
    }
}

/// A connection was over the listener's limit.
pub(crate) struct ConnectionRefused<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) limit: usize,
}

impl ConnectionRefused<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        Count::ConnectionsRefused.increment();
        self.metrics.refused(Refusal::Limit);
        if let Some(suppressed) = THROTTLE.admit() {
            let (listener, peer, limit) = (self.listener, self.peer, self.limit);
            warn!(listener, peer, limit, suppressed, "connection refused: max_connections reached");
        }
    }
}

/// No file descriptor was left for a connection.
pub(crate) struct ConnectionTurnedAway<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) error: &'a io::Error,
}

impl ConnectionTurnedAway<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        Count::ConnectionsTurnedAway.increment();
        self.metrics.refused(Refusal::Descriptors);
        if let Some(suppressed) = THROTTLE.admit() {
            let Self { listener, peer, error, .. } = self;
            let advice = "raise this process's limit of open files (systemd: LimitNOFILE=, containers: --ulimit nofile=, shell: ulimit -n) \
                          or lower max_connections";
            error!(listener, peer, %error, suppressed, advice, "connection refused: no file descriptors left");
        }
    }
}

/// The operating system did not let us accept.
pub(crate) struct AcceptFailed<'a> {
    pub(crate) listener: &'a str,
    pub(crate) error: &'a io::Error,
}

impl AcceptFailed<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        if let Some(suppressed) = THROTTLE.admit() {
            error!(listener = self.listener, error = %self.error, suppressed, "accept failed, trying again");
        }
    }
}

/// HELLO was negotiated.
pub(crate) struct Established<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) engine_id: &'a [u8],
    pub(crate) max_frame_size: u32,
}

impl Established<'_> {
    pub(crate) fn record(&self) {
        self.metrics.hello(Hello::Established);
        let engine_id = String::from_utf8_lossy(self.engine_id.get(..64).unwrap_or(self.engine_id));
        detail!(listener = self.listener, peer = self.peer, %engine_id, max_frame_size = self.max_frame_size, "engine connected");
    }
}

/// A health check was answered.
pub(crate) struct HealthChecked<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) ready: bool,
}

impl HealthChecked<'_> {
    pub(crate) fn record(&self) {
        Count::HealthChecks.increment();
        self.metrics.hello(if self.ready { Hello::HealthCheck } else { Hello::NotReady });
        detail!(listener = self.listener, peer = self.peer, ready = self.ready, "health check");
    }
}

/// A connection is over, as it should be or not.
pub(crate) struct ConnectionClosed<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) peer: &'a str,
    /// What the peer did wrong, with the status code that it was told; `None` for an end without fault (d22: EOF and reset are).
    pub(crate) fault: Option<&'a (dyn std::error::Error + 'a)>,
    /// NOTIFYs that nobody waits for any more.
    pub(crate) abandoned: usize,
    /// Nobody said good-bye after HELLO: with the code that fits the fault.
    pub(crate) silent: Option<StatusCode>,
}

impl ConnectionClosed<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        let Self { listener, peer, abandoned, .. } = *self;
        self.metrics.abandoned.add(abandoned as u64);
        if let Some(status) = self.silent {
            self.metrics.disconnected(Side::None, status);
        }
        match self.fault {
            None => detail!(listener, peer, abandoned, "connection closed"),
            Some(fault) => {
                Count::ProtocolErrors.increment();
                if let Some(suppressed) = THROTTLE.admit() {
                    warn!(listener, peer, abandoned, suppressed, error = %fault, "connection ended: the peer does not keep to SPOP");
                }
            }
        }
    }
}

/// A peer could not be let in by TLS.
#[cfg(feature = "tls")]
pub(crate) struct TlsRefused<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) error: &'a dyn std::fmt::Display,
}

#[cfg(feature = "tls")]
impl TlsRefused<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        Count::TlsRefused.increment();
        self.metrics.refused(Refusal::Tls);
        if let Some(suppressed) = THROTTLE.admit() {
            let Self { listener, peer, error, .. } = *self;
            warn!(listener, peer, suppressed, error = %error, "TLS handshake failed");
        }
    }
}

/// A NOTIFY came in.
pub(crate) struct NotifyReceived;

impl NotifyReceived {
    pub(crate) fn record(&self) {
        Count::Notifies.increment();
    }
}

/// A NOTIFY got its ACK, or HAProxy has aborted it.
pub(crate) struct NotifyEnded<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    /// From its arrival to its ACK; `None`: it got none.
    pub(crate) acknowledged: Option<Duration>,
}

impl NotifyEnded<'_> {
    pub(crate) fn record(&self) {
        match self.acknowledged {
            Some(duration) => self.metrics.duration.observe(duration, None),
            None => self.metrics.abandoned.increment(),
        }
    }
}

/// A DISCONNECT was sent or received, the first of its connection.
pub(crate) struct Disconnected<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) by_haproxy: bool,
    pub(crate) status: StatusCode,
}

impl Disconnected<'_> {
    pub(crate) fn record(&self) {
        let side = if self.by_haproxy { Side::Haproxy } else { Side::Agent };
        self.metrics.disconnected(side, self.status);
    }
}

/// A processor panicked; its NOTIFY got the fallback ACK.
pub(crate) struct ProcessorPanicked<'a> {
    pub(crate) metrics: &'a ListenerMetrics,
    pub(crate) listener: &'a str,
    pub(crate) panic: &'a str,
}

impl ProcessorPanicked<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        Count::Panics.increment();
        self.metrics.panics.increment();
        if let Some(suppressed) = THROTTLE.admit() {
            error!(listener = self.listener, panic = self.panic, suppressed, "processor panicked, the NOTIFY got the fallback");
        }
    }
}

/// The actions for a NOTIFY do not fit into the negotiated frame.
pub(crate) struct AckTooBig<'a> {
    pub(crate) listener: &'a str,
    pub(crate) length: usize,
    pub(crate) max_frame_size: u32,
}

impl AckTooBig<'_> {
    pub(crate) fn record(&self) {
        static THROTTLE: Throttle = Throttle::new();
        if let Some(suppressed) = THROTTLE.admit() {
            let Self { listener, length, max_frame_size } = *self;
            warn!(listener, length, max_frame_size, suppressed, "ACK over max-frame-size, the NOTIFY got the fallback");
        }
    }
}

/// A listener is bound.
#[cfg(feature = "bridge")]
pub(crate) struct Listening<'a> {
    pub(crate) listener: &'a str,
    pub(crate) address: &'a str,
}

#[cfg(feature = "bridge")]
impl Listening<'_> {
    pub(crate) fn record(&self) {
        tracing::info!(listener = self.listener, address = self.address, "listening");
    }
}
