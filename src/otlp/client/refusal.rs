//! Why a receiver did not take a message, in an operator's terms.

use std::error::Error;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy;
use tokio_rustls::rustls;

use crate::aside::Unanswered;
use crate::config::Problem;
use crate::otlp::env::{Protocol, Receiver};

/// Why a message was not taken.
#[derive(Debug)]
pub(in crate::otlp) struct Refusal {
    pub(in crate::otlp) error: String,
    /// What to do about it.
    pub(in crate::otlp) advice: &'static str,
    pub(in crate::otlp) retry: Retry,
    /// It may be the connection's fault: the next attempt gets another.
    pub(super) is_connection: bool,
}

/// Whether the same message may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::otlp) enum Retry {
    /// The receiver has judged it.
    No,
    Yes,
    /// When the receiver wants it.
    After(Duration),
}

impl Refusal {
    /// What a receiver that speaks OTLP answered.
    pub(super) fn answered(error: String, advice: &'static str, retry: Retry) -> Self {
        Self { error, advice, retry, is_connection: false }
    }

    pub(super) fn timeout(timeout: Duration) -> Self {
        Self::lost(
            format!("no answer within {} ms", timeout.as_millis()),
            "see whether the receiver is overloaded or out of reach",
        )
    }

    /// The files of TLS cannot be used.
    pub(super) fn files(problems: &[Problem]) -> Self {
        let variable = |problem: &Problem| match &*problem.path.to_string() {
            "ca" => "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "certificate" => "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            _ => "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        };
        let all = problems
            .iter()
            .map(|problem| format!("{}: found {}, expected {}", variable(problem), problem.found, problem.expected));
        Self::lost(all.collect::<Vec<_>>().join("; "), "put the files right, they are read again for each connection")
    }

    /// The files of TLS have not been read.
    pub(super) fn silent(error: &Unanswered) -> Self {
        Self::lost(error.to_string(), "they are read again for the next attempt")
    }

    /// There is no connection, or it broke.
    pub(super) fn connection(error: &legacy::Error, receiver: &Receiver) -> Self {
        let advice = if has::<rustls::Error>(error) {
            TLS
        } else if error.is_connect() {
            "see whether the receiver runs and is reachable there; the address is OTEL_EXPORTER_OTLP_ENDPOINT"
        } else {
            match receiver.protocol {
                Protocol::Grpc => "if the port is one of OTLP/HTTP (often 4318), set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
                Protocol::HttpProtobuf => "if the port is one of OTLP/gRPC (often 4317), set OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            }
        };
        Self::lost(chain(error), advice)
    }

    /// What came is no answer.
    pub(super) fn broken(error: &(dyn Error + 'static)) -> Self {
        Self::lost(format!("the answer cannot be read: {}", chain(error)), NO_OTLP)
    }

    fn lost(error: String, advice: &'static str) -> Self {
        Self { error, advice, retry: Retry::Yes, is_connection: true }
    }
}

pub(super) const NO_OTLP: &str = "see whether it is an OTLP receiver; the address is OTEL_EXPORTER_OTLP_ENDPOINT";
const TLS: &str = "see whether the port speaks TLS (https:// or http://), whether OTEL_EXPORTER_OTLP_CERTIFICATE is the CA of the receiver's \
                   certificate, and whether it wants a client certificate (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _KEY)";

/// An error and what caused it, without what only repeats.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Whether an error of this type is behind it. The source of an IO error is the source of what is in it, which is skipped.
fn has<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<T>() || within.is_some_and(|within| has::<T>(within)) {
            return true;
        }
        cause = error.source();
    }
    false
}
