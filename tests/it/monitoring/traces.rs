//! One trace from HAProxy's client to the span that a decision service makes itself: HAProxy as deploy/haproxy has it, the
//! bridge, the services of examples/, and a Collector that all of them but HAProxy report to.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::repository;
use crate::support::bridge::Bridge;
use crate::support::collector::{Collector, Span};
use crate::support::haproxy::{self, Haproxy, Setup};
use crate::support::http::{Reply, get};
use crate::support::process::Process;
use crate::support::{figure, skipped};

#[test]
fn haproxy_2_6() {
    run("2.6");
}

#[test]
fn haproxy_3_0() {
    run("3.0");
}

#[test]
fn haproxy_3_2() {
    run("3.2");
}

#[test]
fn haproxy_3_4() {
    run("3.4");
}

fn run(line: &str) {
    let name = "monitoring::traces";
    let (Some(haproxy), Some(collector)) = (haproxy::find_or_skip(name, line), Collector::start_or_skip(name)) else { return };
    for service in ["python", "go"] {
        let Some(process) = start_service(service, &collector) else { continue };
        let uri = format!("http://{}", address(&process));
        for (protocol, method) in [("decide", "Decide"), ("decide_stream", "DecideStream")] {
            trace(&haproxy, &collector, &uri, protocol, method);
            figure("a trace through", format!("HAProxy {line}, the bridge, the {service} service by {method}"));
        }
    }
}

fn trace(haproxy: &Path, collector: &Collector, service: &str, protocol: &str, method: &str) {
    let config = format!(
        "backends: {{ decisions: {{ endpoints: [\"{service}\"], protocol: {protocol} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 4s }}]"
    );
    let bridge = Bridge::start_with(
        &config,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.grpc()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
        ],
    );
    let haproxy = Haproxy::start(haproxy, bridge.address(), &setup());
    assert_eq!(haproxy.wait_for_server("spop-bridge", "bridge1", "UP"), Ok(()));

    // The client brings a trace, and a span of its own.
    let client = "00f067aa0ba902b7";
    let trace_id = trace_id();
    let given = format!("00-{trace_id}-{client}-01");
    let reply = get("/").header("traceparent", given.as_bytes()).send(haproxy.frontend());
    assert_eq!(answer(&reply), (200, given), "{}", haproxy.log());
    hangs_together(&collector.wait_for_trace(&trace_id, 3), client, method);

    // It brings none: HAProxy begins one.
    let (status, begun) = answer(&get("/").send(haproxy.frontend()));
    assert_eq!(status, 200);
    let parts: Vec<&str> = begun.split('-').collect();
    let ["00", trace_id, parent, "01"] = parts[..] else { panic!("traceparent of HAProxy: {begun}") };
    hangs_together(&collector.wait_for_trace(trace_id, 3), parent, method);

    // One that is not sampled leaves no span. The next one that is comes after it in the same queue.
    let (silent, last) = (self::trace_id(), self::trace_id());
    for (trace_id, flags) in [(&silent, "00"), (&last, "01")] {
        let traceparent = format!("00-{trace_id}-{client}-{flags}");
        assert_eq!(get("/").header("traceparent", traceparent.as_bytes()).send(haproxy.frontend()).status, 200);
    }
    hangs_together(&collector.wait_for_trace(&last, 3), client, method);
    assert!(collector.spans().iter().all(|span| span.trace_id != silent));
}

/// The client's span, the NOTIFY's, the attempt's, the service's: each the parent of the next.
#[track_caller]
fn hangs_together(spans: &[Span], client: &str, method: &str) {
    let [(bridge, server), (_, client_side), (service, inner)] =
        [("spop-bridge", 2), ("spop-bridge", 3), ("decisions", 2)].map(|(service, kind)| {
            let found: Vec<_> = spans.iter().filter(|span| span.service == service && span.kind == kind).collect();
            let [span] = found[..] else { panic!("one span of {service} of kind {kind}: {spans:#?}") };
            (service, span)
        });
    assert_eq!(spans.len(), 3, "{spans:#?}");
    assert_eq!(server.parent, client, "{bridge}'s span of the NOTIFY is below the client's: {spans:#?}");
    assert_eq!(client_side.parent, server.span_id, "the attempt is below the NOTIFY: {spans:#?}");
    assert_eq!(inner.parent, client_side.span_id, "{service}'s span is below the attempt: {spans:#?}");
    let full = format!("spopbridge.v1.DecisionService/{method}");
    assert_eq!((&server.name[..], &client_side.name[..], &inner.name[..]), ("NOTIFY", &full[..], "decide"));
    assert_eq!(client_side.attributes["rpc.response.status_code"], "OK");
    assert_eq!(server.attributes["spop_bridge.outcome"], "ok");
}

/// deploy/haproxy/tracing.cfg and its SPOE file, with the test's addresses, no hurry, and every trace sampled.
fn setup() -> Setup {
    let file = |name: &str| std::fs::read_to_string(repository("deploy/haproxy").join(name)).unwrap();
    let change = |text: String, changes: &[(&str, &str)]| {
        changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from} is not in the file any more");
            text.replace(from, to)
        })
    };
    let main = file("tracing.cfg");
    let proxies = main.split_once("\nfrontend www").map(|(_, rest)| format!("frontend www{rest}")).expect("a frontend");
    let changes = [
        ("127.0.0.1:8080", "$FE"),
        ("server bridge1 127.0.0.1:9000", "server bridge1 $BRIDGE"),
        ("spoe-tracing.cfg", "$DIR/spoe.cfg"),
        ("rand(100) lt 1 ", "rand(100) lt 100 "),
        ("timeout check 500ms", "timeout check 5s"),
    ];
    let spoe = change(file("spoe-tracing.cfg"), &[("processing 100ms", "processing 8s"), ("hello 500ms", "hello 8s")]);
    Setup { proxies: change(proxies, &changes), spoe, global: String::new(), master: false }
}

/// The service of an example, which reports its spans as `decisions`.
fn start_service(language: &str, collector: &Collector) -> Option<Process> {
    let (program, arguments) = match language {
        "python" => (".cache/python/bin/python", vec![repository("examples/python/decision_service.py")]),
        _ => (".cache/go/decision-service", vec![]),
    };
    let program = repository(program);
    if !program.exists() {
        skipped("monitoring::traces", &format!("the {language} service (tests/tools/setup.sh)"));
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments).args(["--listen", "127.0.0.1:0"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.grpc()).env("OTEL_SERVICE_NAME", "decisions");
    command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
    Some(Process::start(language, &mut command))
}

fn address(service: &Process) -> String {
    // Interpreters take their time on a busy machine.
    let address = service.output.wait_for(Duration::from_secs(30), |lines| {
        lines.iter().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
    });
    address.unwrap_or_else(|| panic!("{:?}", service.output.all()))
}

/// A trace that no other test has.
fn trace_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{:016x}{:016x}", now & u128::from(u64::MAX), LAST.fetch_add(1, Ordering::Relaxed))
}

/// The status, and the traceparent that the application got.
fn answer(reply: &Reply) -> (u16, String) {
    (reply.status, String::from_utf8_lossy(&reply.body).trim().to_owned())
}
