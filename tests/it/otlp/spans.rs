//! Spans, from the traceparent that HAProxy hands in to the one that the service sees.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_semantic_conventions::attribute as semconv;

use super::{GRPC, exporting};
use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::engine::Engine;
use crate::support::host::{Bound, FOREVER};
use crate::support::http::get;
use crate::support::otlp::{Receiver, attribute};
use crate::support::service::{Answer, Call, Methods, Service, allow};
use crate::support::wire::{ABORT, Data, FIN, Frame, NOTIFY};
use crate::support::{eventually, figure};
use tonic::Status;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

fn traceparent(flags: &str) -> Data {
    (&*format!("00-{TRACE}-{PARENT}-{flags}")).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As many spans as there are to be, the server's first.
#[track_caller]
fn spans(receiver: &Receiver, count: usize) -> Vec<Span> {
    let found = eventually(PATIENCE, || Some(receiver.spans()).filter(|spans| spans.len() >= count));
    let mut spans =
        found.unwrap_or_else(|| panic!("{} spans, expected {count}: {:#?}", receiver.spans().len(), receiver.spans()));
    spans.sort_by_key(|span| (span.kind, span.start_time_unix_nano));
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

/// Without decisions that go on beside, so that there is nothing else in the receiver.
fn scene(methods: Methods, variables: &[(&str, &str)]) -> (Service, Receiver, Bridge) {
    let service = Service::with(methods, Bound::tcp(), FOREVER, |_| Answer::Actions(vec![allow()]));
    let receiver = Receiver::start(&[]);
    let bridge = exporting(&service, &receiver.endpoint(), variables);
    if methods == Methods::Unary {
        // A decision that is on the stream when the service refuses it is attempted once more, which is another span.
        let refused = || bridge.log().iter().any(|line| line.to_string().contains("has no DecideStream")).then_some(());
        assert!(eventually(PATIENCE, refused).is_some(), "{:?}", bridge.log());
    }
    (service, receiver, bridge)
}

fn is_sampled(call: &Call) -> bool {
    call.trace("traceparent").is_some_and(|value| value.ends_with("-01"))
}

#[test]
fn ids_hang_together_from_haproxy_to_the_service() {
    for (methods, variables) in [(Methods::Both, &[][..]), (Methods::Unary, &[GRPC])] {
        let (service, receiver, bridge) = scene(methods, variables);
        let args = [("traceparent", traceparent("01")), ("tracestate", "a=1".into()), ("baggage", "k=v".into())];
        bridge.engine().ask(7, "check", &args);
        let spans = spans(&receiver, 2);
        let (notify, attempt) = (&spans[0], &spans[1]);
        assert_eq!((notify.kind, attempt.kind), (SERVER, CLIENT));
        assert_eq!([hex(&notify.trace_id), hex(&attempt.trace_id)], [TRACE, TRACE]);
        assert_eq!((hex(&notify.parent_span_id), notify.flags), (PARENT.to_owned(), 1 | HAS_IS_REMOTE | IS_REMOTE));
        assert_eq!((&attempt.parent_span_id, attempt.flags), (&notify.span_id, 1 | HAS_IS_REMOTE));
        assert_eq!((&*notify.trace_state, &*attempt.trace_state), ("a=1", "a=1"));
        let call = service.only_call();
        let headers = ["traceparent", "tracestate", "baggage"].map(|header| call.trace(header).unwrap_or_default());
        assert_eq!(headers, [format!("00-{TRACE}-{}-01", hex(&attempt.span_id)), "a=1".to_owned(), "k=v".to_owned()]);
        assert!(notify.start_time_unix_nano <= attempt.start_time_unix_nano);
        assert!(attempt.end_time_unix_nano <= notify.end_time_unix_nano + Duration::from_millis(1).as_nanos() as u64);
        assert!(spans.iter().all(|span| span.status.is_none()), "{spans:#?}");
        let (method, streamed) = (attribute(&attempt.attributes, semconv::RPC_METHOD).unwrap(), methods == Methods::Both);
        let expected = if streamed { "DecideStream" } else { "Decide" };
        assert_eq!(method, format!("spopbridge.v1.DecisionService/{expected}"));
        assert_eq!(attempt.name, method);
        assert_eq!(attribute(&attempt.attributes, semconv::SERVER_ADDRESS).as_deref(), Some("127.0.0.1"));
        assert_eq!(attribute(&notify.attributes, "spop.stream.id").as_deref(), Some("7"));
        assert_names(&spans);
    }
}

/// Whatever has the prefix of a convention is in it.
fn assert_names(spans: &[Span]) {
    let known = [
        semconv::RPC_SYSTEM_NAME,
        semconv::RPC_METHOD,
        semconv::RPC_RESPONSE_STATUS_CODE,
        semconv::SERVER_ADDRESS,
        semconv::SERVER_PORT,
        semconv::NETWORK_PEER_ADDRESS,
        semconv::NETWORK_PEER_PORT,
        semconv::ERROR_TYPE,
    ];
    for key in spans.iter().flat_map(|span| &span.attributes).map(|pair| &*pair.key) {
        let own = ["spop.", "spop_bridge."].iter().any(|prefix| key.starts_with(prefix));
        assert!(own || known.contains(&key), "{key} is neither ours nor OpenTelemetry's");
    }
}

/// A trace begins here where nobody has begun one.
#[test]
fn without_a_parent() {
    let (service, receiver, bridge) = scene(Methods::Both, &[]);
    let mut engine = bridge.engine();
    engine.ask(1, "check", &[]);
    engine.ask(3, "check", &[("traceparent", "no".into())]);
    let spans = spans(&receiver, 4);
    for notify in &spans[..2] {
        assert_eq!((notify.parent_span_id.len(), notify.flags), (0, 1 | HAS_IS_REMOTE));
        assert!(spans[2..].iter().any(|attempt| attempt.parent_span_id == notify.span_id && attempt.trace_id == notify.trace_id));
    }
    assert_ne!(spans[0].trace_id, spans[1].trace_id);
    assert!(service.calls().iter().all(is_sampled));
}

#[test]
fn a_parent_that_is_not_sampled_is_passed_on_and_not_recorded() {
    let (service, receiver, bridge) = scene(Methods::Both, &[]);
    let mut engine = bridge.engine();
    engine.ask(1, "check", &[("traceparent", traceparent("00"))]);
    engine.ask(3, "check", &[("traceparent", traceparent("01"))]);
    assert_eq!(spans(&receiver, 2).len(), 2, "of the second alone");
    assert_eq!(service.calls()[0].trace("traceparent"), Some(format!("00-{TRACE}-{PARENT}-00")));
}

#[test]
fn the_sampler_decides_where_no_parent_does() {
    let (service, receiver, bridge) =
        scene(Methods::Both, &[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
    let mut engine = bridge.engine();
    (0..400).for_each(|round| _ = engine.ask(round * 2 + 1, "check", &[]));
    let sampled = service.calls().iter().filter(|call| is_sampled(call)).count();
    figure("of 400 decisions sampled at 0.25", sampled);
    assert!((40..=180).contains(&sampled), "{sampled}");
    assert_eq!(spans(&receiver, 2 * sampled).len(), 2 * sampled);
}

#[test]
fn nothing_is_recorded_without_an_exporter() {
    let (service, receiver, bridge) = scene(Methods::Both, &[("OTEL_TRACES_EXPORTER", "none")]);
    bridge.engine().ask(1, "check", &[("traceparent", traceparent("01"))]);
    assert_eq!(service.only_call().trace("traceparent"), Some(format!("00-{TRACE}-{PARENT}-01")), "as it came");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(receiver.spans().len(), 0);
}

#[test]
fn what_goes_on_is_the_operator_s_to_say() {
    for (propagators, context, baggage) in [("none", false, false), ("baggage", false, true), ("tracecontext", true, false)] {
        let (service, _receiver, bridge) = scene(Methods::Both, &[("OTEL_PROPAGATORS", propagators)]);
        bridge.engine().ask(1, "check", &[("traceparent", traceparent("01")), ("baggage", "k=v".into())]);
        let call = service.only_call();
        assert_eq!((call.trace("traceparent").is_some(), call.trace("baggage").is_some()), (context, baggage), "{propagators}");
    }
}

#[test]
fn a_failure_is_in_both_spans() {
    let service = Service::start(|_| Answer::Status(Status::permission_denied("not you")));
    let receiver = Receiver::start(&[]);
    let bridge = exporting(&service, &receiver.endpoint(), &[]);
    bridge.engine().ask(1, "check", &[("traceparent", traceparent("01"))]);
    let spans = spans(&receiver, 2);
    for (span, error) in spans.iter().zip(["rejected", "PERMISSION_DENIED"]) {
        let status = span.status.clone().expect("a status");
        assert_eq!((status.code, attribute(&span.attributes, semconv::ERROR_TYPE).as_deref()), (2, Some(error)));
        assert!(status.message.contains("not you"), "{status:?}");
    }
    assert_eq!(attribute(&spans[1].attributes, semconv::RPC_RESPONSE_STATUS_CODE).as_deref(), Some("PERMISSION_DENIED"));
    assert_names(&spans);
}

/// More spans than the queue has room for while the receiver is away: decisions go on, what is lost is counted.
#[test]
fn a_full_queue_loses_spans_and_nothing_else() {
    let (service, receiver) = (Service::allowing(), Receiver::start(&[]));
    let away = crate::support::free_address();
    let away = format!("http://{away}/v1/traces");
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*away)];
    let bridge = exporting(&service, &receiver.endpoint(), &small);
    let mut engine: Engine = bridge.engine();
    for round in 0..500 {
        let ack = engine.ask(round * 2 + 1, "check", &[]);
        assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)));
    }
    let lost = || super::trouble::dropped(&receiver, "traces", "queue_full");
    let lost = eventually(PATIENCE, || Some(lost()).filter(|lost| *lost >= 700.0));
    figure("spans lost of 1,000 with a queue of 100 and no receiver", lost.expect("more than 700 were counted"));
}

/// What HAProxy has given up is told, too: attempts without their NOTIFY would be orphans.
#[test]
fn a_notify_that_is_aborted_has_its_span() {
    let service = Service::start(|_| Answer::after(Duration::from_secs(2), Answer::Actions(vec![allow()])));
    let receiver = Receiver::start(&[]);
    let bridge = exporting(&service, &receiver.endpoint(), &[]);
    let mut engine = bridge.engine();
    engine.notify(7, 1, &[("check", &[("traceparent", traceparent("01"))])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 1).then_some(())).is_some());
    engine.send_frame(&Frame::new(NOTIFY, 7, 1, Vec::new()).with_flags(FIN | ABORT));
    let spans = spans(&receiver, 2);
    let (notify, attempt) = (&spans[0], &spans[1]);
    assert_eq!((&attempt.parent_span_id, hex(&notify.parent_span_id)), (&notify.span_id, PARENT.to_owned()));
    let kinds = [notify, attempt].map(|span| attribute(&span.attributes, semconv::ERROR_TYPE));
    assert_eq!(kinds, [Some("given_up".to_owned()), Some("CANCELLED".to_owned())]);
    let Address::Tcp(admin) = bridge.admin() else { panic!("a TCP port") };
    let metrics = String::from_utf8(get("/metrics").send(admin).body).unwrap();
    let cancelled =
        metrics.lines().find(|line| line.starts_with("grpc_client_call_duration_seconds_count") && line.contains("CANCELLED"));
    assert!(cancelled.is_some_and(|line| line.ends_with(" 1")), "{cancelled:?}");
    let in_flight = metrics.lines().find(|line| line.starts_with("spop_server_notifies_in_flight"));
    assert!(in_flight.is_some_and(|line| line.ends_with(" 0")), "{in_flight:?}");
}

/// A sampler that does not ask the parent changes its flag, and with that the parent's id (Trace Context section 3.4).
#[test]
fn a_flag_that_is_changed_has_a_new_parent() {
    let (service, _receiver, bridge) = scene(Methods::Both, &[("OTEL_TRACES_SAMPLER", "always_off")]);
    let mut engine = bridge.engine();
    engine.ask(1, "check", &[("traceparent", traceparent("03"))]);
    engine.ask(2, "check", &[("traceparent", traceparent("00"))]);
    let sent: Vec<_> = service.calls().iter().map(|call| call.trace("traceparent").unwrap()).collect();
    assert!(sent[0].starts_with(&format!("00-{TRACE}-")) && sent[0].ends_with("-02") && !sent[0].contains(PARENT), "{sent:?}");
    assert_eq!(sent[1], format!("00-{TRACE}-{PARENT}-00"));
}
