//! The names, units and labels of all metrics. This is the list that the documentation, the dashboard and the alerts are held against.
//!
//! Names are OpenTelemetry's: those of its conventions for processes, those of gRFC A66 for calls, and own ones below `spop.server`
//! and `spop_bridge` where there is no convention. For Prometheus dots become underscores and units are appended.

use super::registry::AllSeries;

/// A metric: what all its series have in common, and these series.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// In UCUM, as OpenTelemetry wants it; what stands in braces is counted.
    pub(crate) unit: &'static str,
    /// Keys of attributes. Each has its values from a closed set.
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
    /// Those that are not [observed](super::Observe) when they are read.
    pub(super) series: AllSeries,
}

/// What the values of a family mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Grows and shrinks, and may be added up over processes.
    UpDown,
    /// Is what it is.
    Gauge,
    /// In the buckets of [`BOUNDS`].
    Histogram,
}

/// Upper bounds of the buckets of all histograms, in nanoseconds: from 50 µs, below which a decision over the network rarely is, to the
/// minute that a route's timeout may be at most.
pub(crate) const BOUNDS: [u64; 24] = [
    50 * MICRO,
    100 * MICRO,
    200 * MICRO,
    300 * MICRO,
    500 * MICRO,
    750 * MICRO,
    MILLI,
    1_500 * MICRO,
    2 * MILLI,
    3 * MILLI,
    5 * MILLI,
    7_500 * MICRO,
    10 * MILLI,
    15 * MILLI,
    20 * MILLI,
    30 * MILLI,
    50 * MILLI,
    100 * MILLI,
    200 * MILLI,
    500 * MILLI,
    1_000 * MILLI,
    2_500 * MILLI,
    10_000 * MILLI,
    60_000 * MILLI,
];

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000 * MICRO;

macro_rules! families {
    ($($(#[$gate:meta])* $ident:ident: $kind:ident $name:literal in $unit:literal by [$($label:expr),*], $help:literal;)*) => {
        $($(#[$gate])* pub(crate) static $ident: Family = Family {
            name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help,
            series: AllSeries::new(),
        };)*

        /// Every family that there may be.
        #[cfg(feature = "bridge")]
        pub(crate) static ALL: &[&Family] = &[$(&$ident),*];
    };
}

/// The listener's name in the configuration.
const LISTENER: &str = "spop.listener";
/// The route's name in the configuration; empty for messages without one.
const ROUTE: &str = "spop_bridge.route";
/// The backend's name in the configuration.
const BACKEND: &str = "spop_bridge.backend";

families! {
    // --- SPOP, which has no conventions -------------------------------------------------------------------------------------
    CONNECTIONS: UpDown "spop.server.connections" in "{connection}" by [LISTENER, "spop.engine.slot"],
        "SPOP connections that are open, by engine: engines are numbered as they come, `/connections` has their ids; `none` before HELLO, `other` beyond 64.";
    CONNECTIONS_ACCEPTED: Counter "spop.server.connections.accepted" in "{connection}" by [LISTENER],
        "SPOP connections accepted.";
    CONNECTIONS_REFUSED: Counter "spop.server.connections.refused" in "{connection}" by [LISTENER, "reason"],
        "SPOP connections closed before HELLO: over max_connections, without a file descriptor, or not let in by TLS.";
    HELLOS: Counter "spop.server.hellos" in "{hello}" by [LISTENER, "outcome"],
        "HELLOs: established, health checks answered well or refused, refused for a fault.";
    DISCONNECTS: Counter "spop.server.disconnects" in "{disconnect}" by [LISTENER, "side", "spop.status_code"],
        "DISCONNECT frames by who sent them, with the status code of SPOE.txt section 3.5; side `none` for connections that ended without.";
    FRAMES: Counter "spop.server.frames" in "{frame}" by [LISTENER, "network.io.direction", "spop.frame.type"],
        "SPOP frames.";
    IO: Counter "spop.server.io" in "By" by [LISTENER, "network.io.direction", "spop.frame.type"],
        "Bytes of SPOP frames, their length prefixes included.";
    NOTIFY_DURATION: Histogram "spop.server.notify.duration" in "s" by [LISTENER],
        "From the arrival of a NOTIFY to its ACK.";
    NOTIFIES_IN_FLIGHT: UpDown "spop.server.notifies.in_flight" in "{notify}" by [LISTENER],
        "NOTIFYs that wait for their ACK.";
    NOTIFIES_ABANDONED: Counter "spop.server.notifies.abandoned" in "{notify}" by [LISTENER],
        "NOTIFYs that HAProxy aborted, or whose connection ended before the ACK.";
    PANICS: Counter "spop.server.panics" in "{notify}" by [LISTENER],
        "NOTIFYs whose processor panicked: a bug. They got the fallback.";

    // --- Decisions ----------------------------------------------------------------------------------------------------------
    #[cfg(feature = "bridge")]
    DECISIONS: Counter "spop_bridge.decisions" in "{decision}" by [ROUTE, "outcome"],
        "Decisions by what became of them: ok, or the cause of the fallback.";
    #[cfg(feature = "bridge")]
    FALLBACKS: Counter "spop_bridge.fallbacks" in "{decision}" by [ROUTE],
        "Decisions that ended in fallback actions, of whatever cause.";
    #[cfg(feature = "bridge")]
    DECISION_DURATION: Histogram "spop_bridge.decision.duration" in "s" by [ROUTE],
        "From the arrival of a NOTIFY to the decision about its messages on this route, fallbacks included.";
    #[cfg(feature = "bridge")]
    ROUTE_TIMEOUT: Gauge "spop_bridge.route.timeout" in "s" by [ROUTE],
        "The route's configured timeout.";

    #[cfg(feature = "bridge")]
    ACTIONS_LEFT_OUT: Counter "spop_bridge.actions.left_out" in "{action}" by ["reason"],
        "Actions of answers, fallbacks and decision_variables that are not in an ACK: answered (a fallback's, about a variable that another service has answered), conflict (others about the variable come first), no_room (in the frame).";

    // --- Calls, gRFC A66 ----------------------------------------------------------------------------------------------------
    #[cfg(feature = "bridge")]
    ATTEMPTS_STARTED: Counter "grpc.client.attempt.started" in "{attempt}" by [BACKEND, "grpc.method", "grpc.target"],
        "Attempts at decisions, retries and hedges included.";
    #[cfg(feature = "bridge")]
    ATTEMPT_DURATION: Histogram "grpc.client.attempt.duration" in "s" by [BACKEND, "grpc.method", "grpc.target", "grpc.status"],
        "From sending a request to an endpoint to its answer.";
    #[cfg(feature = "bridge")]
    CALL_DURATION: Histogram "grpc.client.call.duration" in "s" by [BACKEND, "grpc.method", "grpc.target", "grpc.status"],
        "From handing a decision to a backend to its end, with all attempts.";
    #[cfg(feature = "bridge")]
    RETRIES: Counter "spop_bridge.backend.retries" in "{attempt}" by [BACKEND, "kind"],
        "Attempts beyond the first: retry, transparent (no service had seen it), hedge.";
    #[cfg(feature = "bridge")]
    EJECTIONS: Counter "spop_bridge.backend.ejections" in "{ejection}" by [BACKEND, "reason"],
        "Times that a worker left an endpoint out because it failed.";
    #[cfg(feature = "bridge")]
    ENDPOINTS: UpDown "spop_bridge.backend.endpoints" in "{endpoint}" by [BACKEND, "state"],
        "Endpoints by state: the best that any worker sees.";
    #[cfg(feature = "bridge")]
    IN_FLIGHT: UpDown "spop_bridge.backend.in_flight" in "{decision}" by [BACKEND],
        "Decisions in flight.";
    #[cfg(feature = "bridge")]
    IN_FLIGHT_LIMIT: Gauge "spop_bridge.backend.in_flight.limit" in "{decision}" by [BACKEND],
        "The backend's max_in_flight.";
    #[cfg(feature = "bridge")]
    RETRY_BUDGET: Gauge "spop_bridge.backend.retry_budget" in "{attempt}" by [BACKEND],
        "Retries and hedges that may be made now, of all workers.";
    #[cfg(feature = "bridge")]
    LATE_ANSWERS: Counter "spop_bridge.late_answers" in "{answer}" by [],
        "Answers on streams to decisions that had ended: after the deadline, after a quicker hedge, or repeated.";
    #[cfg(feature = "bridge")]
    UNKNOWN_ANSWERS: Counter "spop_bridge.unknown_answers" in "{answer}" by [],
        "Answers on streams that are for no decision.";
    #[cfg(feature = "bridge")]
    ADDRESS_CHANGES: Counter "spop_bridge.dns.address_changes" in "{change}" by [],
        "Times that DNS had other addresses for a name than before.";
    #[cfg(feature = "bridge")]
    RESOLUTION_FAILURES: Counter "spop_bridge.dns.failures" in "{question}" by [],
        "Questions to DNS without a useful answer.";

    // --- The bridge itself --------------------------------------------------------------------------------------------------
    #[cfg(feature = "bridge")]
    BUILD_INFO: Gauge "spop_bridge.build_info" in "" by ["version"],
        "1, with the version as a label.";
    #[cfg(feature = "bridge")]
    READY: Gauge "spop_bridge.ready" in "" by [],
        "1 if health checks are answered well, else 0.";
    #[cfg(feature = "bridge")]
    CONFIG_GENERATION: Gauge "spop_bridge.config.generation" in "{generation}" by [],
        "The number of the running configuration: 1 at the start, one more with each reload.";
    #[cfg(feature = "bridge")]
    CONFIG_RELOADS: Counter "spop_bridge.config.reloads" in "{reload}" by ["outcome"],
        "Reloads of the configuration: applied or refused.";
    #[cfg(feature = "bridge")]
    CONFIG_REFUSED: Gauge "spop_bridge.config.refused" in "" by [],
        "1 while the configuration that was read last was refused and an older one goes on, else 0.";
    #[cfg(feature = "bridge")]
    CERTIFICATE_EXPIRY: Gauge "spop_bridge.tls.certificate.expiry" in "s" by ["spop_bridge.certificate"],
        "When the certificate ends, in seconds since 1970; by its place in the configuration.";
    #[cfg(feature = "bridge")]
    TELEMETRY_EXPORTED: Counter "spop_bridge.telemetry.exported" in "{item}" by ["signal"],
        "Spans, metric points and log records that the OTLP receiver took.";
    #[cfg(feature = "bridge")]
    TELEMETRY_DROPPED: Counter "spop_bridge.telemetry.dropped" in "{item}" by ["signal", "reason"],
        "Spans, metric points, log records and lines that were lost: queue_full, failed (not sent, or not written), rejected (by the receiver), rate (over a limit of the decision log).";
    #[cfg(feature = "bridge")]
    CPU_TIME: Counter "process.cpu.time" in "s" by ["cpu.mode"],
        "CPU time of the process.";
    #[cfg(feature = "bridge")]
    MEMORY_USAGE: UpDown "process.memory.usage" in "By" by [],
        "Resident memory of the process.";
    #[cfg(feature = "bridge")]
    THREADS: UpDown "process.thread.count" in "{thread}" by [],
        "Threads of the process.";
    #[cfg(feature = "bridge")]
    FILE_DESCRIPTORS: UpDown "process.unix.file_descriptor.count" in "{file_descriptor}" by [],
        "Open file descriptors of the process.";
    #[cfg(feature = "bridge")]
    UPTIME: Gauge "process.uptime" in "s" by [],
        "Since the process started.";
}
