//! Happenings told with hostile text: each is one line of the log without anything that a terminal carries out, as text and as JSON.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt as log};

use super::event::*;
use super::format::{PrintableFields, PrintableJson};
use super::metrics::{BackendMetrics, ListenerMetrics};
use crate::config::Cause;
use crate::printable::tests::{HOSTILE, is_clean};

/// What is written, for a test to read.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.bytes()).split_terminator('\n').map(str::to_owned).collect()
    }
}

/// The lines that `happenings` make, as text and as JSON.
fn lines(happenings: impl FnOnce()) -> [Vec<String>; 2] {
    let (text, json) = (Page::default(), Page::default());
    let layers = {
        let (text, json) = (text.clone(), json.clone());
        let text = log::layer().with_target(false).with_ansi(false).fmt_fields(PrintableFields).with_writer(move || text.clone());
        text.and_then(log::layer().json().flatten_event(true).with_target(false).with_writer(move || PrintableJson(json.clone())))
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), happenings);
    [text.lines(), json.lines()]
}

#[derive(Debug)]
struct Hostile;

impl fmt::Display for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HOSTILE)
    }
}

impl std::error::Error for Hostile {}

#[test]
fn every_happening_is_one_line_whatever_others_send() {
    let error = io::Error::other(Hostile);
    let (h, display) = (HOSTILE, &Hostile as &dyn fmt::Display);
    let backend = BackendMetrics::of("tests", "tests");
    let listener = ListenerMetrics::of("tests");
    let happenings = || {
        ConfigReloaded { generation: 1, changes: display }.record();
        ConfigRefused { generation: 1, problems: &[h.to_owned()] }.record();
        ReadinessChanged { missing: &[h], at_start: false }.record();
        let failed = |sent, left_out| {
            DecisionFailed { cause: Cause::Rejected, route: h, backend: h, trace_id: None, detail: display, sent, left_out }
                .record();
        };
        failed(true, None);
        failed(false, Some(display));
        AnswerCutShort { route: h, backend: h, trace_id: None, left_out: display }.record();
        DecisionVariablesLeftOut { count: 4 }.record();
        EndpointUp { backend: h, endpoint: h }.record();
        EndpointDown { backend: h, endpoint: h, error: display }.record();
        EndpointEjected { metrics: &backend, backend: h, endpoint: h, by_success_rate: false, time: Default::default() }.record();
        EndpointBack { backend: h, endpoint: h }.record();
        StreamRefused { backend: h, endpoint: h, is_missing: false, status: display }.record();
        UnknownAnswer { endpoint: h, problem: display }.record();
        AddressesChanged { backend: h, endpoint: h, added: h, removed: h, addresses: 1 }.record();
        ResolutionFailed { backend: h, endpoint: h, error: h, kept: 0, is_first: true }.record();
        ResolutionRecovered { backend: h, endpoint: h }.record();
        EndpointHealthy { backend: h, endpoint: h }.record();
        EndpointUnhealthy { backend: h, endpoint: h, reason: h }.record();
        HealthUnimplemented { backend: h, endpoint: h }.record();
        ExportFailed { signal: "logs", endpoint: h, error: h, advice: h }.record();
        ExportRecovered { signal: "logs", endpoint: h, dropped: 1 }.record();
        ExportRejected { signal: "logs", endpoint: h, rejected: 1, message: h }.record();
        NotFlushed { signals: h.to_owned() }.record();
        ConnectionOpened { metrics: &listener, listener: h, peer: h }.record();
        ConnectionRefused { metrics: &listener, listener: h, peer: h, limit: 1 }.record();
        ConnectionTurnedAway { metrics: &listener, listener: h, peer: h, error: &error }.record();
        AcceptFailed { listener: h, error: &error }.record();
        Established { metrics: &listener, listener: h, peer: h, engine_id: h.as_bytes(), max_frame_size: 256 }.record();
        HealthChecked { metrics: &listener, listener: h, peer: h, ready: true }.record();
        ConnectionClosed { metrics: &listener, listener: h, peer: h, fault: Some(&error), abandoned: 0, silent: None }.record();
        TlsRefused { metrics: &listener, listener: h, peer: h, error: display }.record();
        ProcessorPanicked { metrics: &listener, listener: h, panic: h }.record();
        Listening { listener: h, address: h }.record();
        // What libraries and those do that have no happening of their own.
        tracing::warn!(display = %Hostile, text = h, debug = ?h, error = &error as &dyn std::error::Error, "said {h}");
        tracing::info!("{}", HOSTILE);
    };
    let [text, json] = lines(happenings);
    // ConfigRefused has two.
    assert_eq!((text.len(), json.len()), (36, 36), "{text:#?}");
    for line in text.iter().chain(&json) {
        assert!(is_clean(line), "{line:?}");
    }
    for line in &json {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn a_line_of_text_reads_as_ever() {
    let [text, _] = lines(|| tracing::warn!(peer = "a b", times = 3, error = %"no \"route\"", "went {}", "wrong"));
    let (_, line) = text[0].split_once("WARN ").unwrap();
    assert_eq!(line, r#"went wrong peer="a b" times=3 error=no "route""#);
}
