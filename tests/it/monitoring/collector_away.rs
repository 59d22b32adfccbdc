//! The Collector stops answering, dies and comes back while decisions are made: they do not notice.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::askers::{Asked, Askers, percentile, tally};
use crate::support::bridge::Bridge;
use crate::support::collector::Collector;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::{eventually, figure};

#[test]
fn decisions_go_on_whatever_the_collector_does() {
    let Some(mut collector) = Collector::start_or_skip("monitoring::collector_away") else { return };
    let service = Service::allowing();
    let config = format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
        service.uri()
    );
    let endpoint = collector.http();
    let bridge = Bridge::start_with(
        &config,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            // Full in less than a phase, also on a machine that is slow just now.
            ("OTEL_BSP_MAX_QUEUE_SIZE", "256"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "128"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.2"),
        ],
    );
    let phase = |name: &str| {
        let load = Askers::start(bridge.address(), 2, 4);
        std::thread::sleep(Duration::from_secs(3));
        report(&bridge, name, &load.stop());
    };
    phase("the Collector takes everything");
    let before = exported(&bridge);
    assert!(before > 0 && collector.count() > 0, "spans arrive: {before}");

    let already = dropped(&bridge);
    collector.signal(Signal::SIGSTOP);
    phase("the Collector is stopped, its connections stay open");
    let lost = eventually(Duration::from_secs(10), || Some(dropped(&bridge)).filter(|lost| *lost > already));
    assert!(lost.is_some(), "what is lost is counted:\n{}", metrics(&bridge));
    collector.signal(Signal::SIGCONT);
    phase("the Collector goes on");

    collector.kill();
    phase("the Collector is dead");
    let (taken, arrived) = (exported(&bridge), collector.count());
    collector.restart();
    phase("the Collector is back");
    let again = eventually(Duration::from_secs(20), || (exported(&bridge) > taken && collector.count() > arrived).then_some(()));
    assert!(again.is_some(), "spans arrive again: {:?}", bridge.log());
    let complaints = bridge.log().iter().filter(|line| line["level"] == "WARN").count();
    figure("lines of the log that complain", complaints);
    assert!(complaints < 20, "the log is not flooded: {:?}", bridge.log());
}

#[track_caller]
fn report(bridge: &Bridge, name: &str, asked: &[Asked]) {
    let outcomes = tally(asked);
    let [median, slow] = [50, 99].map(|percent| percentile(asked, percent));
    let (exported, dropped) = (exported(bridge), dropped(bridge));
    figure(name, format!("{outcomes:?}, p50 {median:.2?}, p99 {slow:.2?}; items exported so far {exported}, dropped {dropped}"));
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["decided"], "{name}");
}

fn exported(bridge: &Bridge) -> u64 {
    sum(bridge, "spop_bridge_telemetry_exported_total")
}

fn dropped(bridge: &Bridge) -> u64 {
    sum(bridge, "spop_bridge_telemetry_dropped_total")
}

/// Of all series of a metric.
fn sum(bridge: &Bridge, name: &str) -> u64 {
    let values = |line: &str| line.starts_with(name).then(|| line.rsplit(' ').next()?.parse::<f64>().ok()).flatten();
    metrics(bridge).lines().filter_map(values).sum::<f64>() as u64
}

fn metrics(bridge: &Bridge) -> String {
    let reply = get("/metrics").send(super::admin(bridge));
    String::from_utf8_lossy(&reply.body).into_owned()
}
