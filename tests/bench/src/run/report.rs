//! `docs/benchmarks.md`: what stands between the markers is made anew, the prose around it stays.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::results::{Results, Spread};
use super::table::Table;
use super::{Fallible, chart};

const BEGIN: &str = "<!-- made by `make bench`: begin -->\n";
const END: &str = "<!-- made by `make bench`: end -->\n";

pub fn write(docs: &Path, results: &Results) -> Fallible<()> {
    let page = docs.join("benchmarks.md");
    let text = fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    let (Some((before, rest)), made) = (text.split_once(BEGIN), made(results)) else {
        return Err(format!("{}: no line {BEGIN}", page.display()).into());
    };
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("{}: no line {END}", page.display()))?;
    fs::write(&page, format!("{before}{BEGIN}{made}{END}{after}"))?;
    fs::write(docs.join("benchmarks.svg"), chart::draw(results))?;
    print!("\n{}\n{}", targets(results), machine(results));
    Ok(())
}

fn made(results: &Results) -> String {
    let mut out = String::new();
    let _ = write!(out, "\n{}\n", targets(results));
    out.push_str("![CPU time of a decision, and requests a second end to end](benchmarks.svg)\n\n");
    out.push_str("### Decisions, without HAProxy\n\n");
    let _ = writeln!(out, "{}", decisions(results));
    out.push_str("### Traces\n\n");
    let _ = writeln!(out, "{}", traces(results));
    out.push_str("### Requests, end to end\n\n");
    let _ = writeln!(out, "{}", requests(results));
    out.push_str("### Memory\n\n");
    let _ = writeln!(out, "{}", memory(results));
    out.push_str("### Machine\n\n");
    let _ = writeln!(out, "{}", machine(results));
    out
}

/// The table of targets: what is wanted, and what there is.
fn targets(results: &Results) -> Table {
    let mut table = Table::new(["", "target", "measured", "rounds", "straightforward"]);
    let mut ratio = |what: &str, target: (char, f64), figure: &str, case: &str, to: &str, rival: &str| {
        let spread = results.ratio(figure, case, to);
        let straightforward = results.ratio(figure, rival, to);
        table.row([
            what.to_owned(),
            format!("{} {} ×", target.0, target.1),
            verdict(spread, target, |value| format!("{value:.2} ×")),
            spread.map_or_else(none, |Spread { min, max, .. }| format!("{min:.2} to {max:.2}")),
            straightforward.map_or_else(none, |spread| format!("{:.2} ×", spread.median)),
        ]);
    };
    ratio("CPU of a decision, stream, to a bare call's", ('≤', 0.25), "cpu", "cpu/stream", "cpu/bare", "cpu/straightforward");
    ratio("CPU of a decision, unary, to a bare call's", ('≤', 1.15), "cpu", "cpu/unary", "cpu/bare", "cpu/straightforward");
    ratio(
        "decisions a second, stream, to bare calls",
        ('≥', 3.0),
        "per_second",
        "rate/stream",
        "cpu/bare",
        "cpu/straightforward",
    );
    ratio(
        "latency of one at a time, stream, to a bare call's",
        ('≤', 1.3),
        "mean",
        "one/stream",
        "one/bare",
        "one/straightforward",
    );
    let (envoy, plain) = ("http/envoy", "http/haproxy-3.2-straightforward");
    ratio(
        "requests a second, HAProxy 2.6 and stream, to Envoy's",
        ('≥', 3.0),
        "per_second",
        "http/haproxy-2.6-stream",
        envoy,
        plain,
    );
    ratio(
        "requests a second, HAProxy 3.2 and stream, to Envoy's",
        ('≥', 3.0),
        "per_second",
        "http/haproxy-3.2-stream",
        envoy,
        plain,
    );
    let mut size = |what: &str, target: f64, unit: &str, figure: &str, divisor: f64| {
        let spread = |case| results.spread(case, figure);
        let show = |value: f64| format!("{:.1} {unit}", value / divisor);
        table.row([
            what.to_owned(),
            format!("≤ {target} {unit}"),
            verdict(spread("memory/stream"), ('≤', target * divisor), show),
            spread("memory/stream")
                .map_or_else(none, |found| format!("{:.1} to {:.1}", found.min / divisor, found.max / divisor)),
            spread("memory/straightforward").map_or_else(none, |found| show(found.median)),
        ]);
    };
    size("resident memory, idle", 12.0, "MiB", "idle_kib", 1024.0);
    size("resident memory for each idle SPOP connection", 16.0, "KiB", "connection_kib", 1.0);
    table
}

fn verdict(spread: Option<Spread>, (relation, target): (char, f64), show: impl Fn(f64) -> String) -> String {
    let Some(Spread { median, .. }) = spread else { return none() };
    let met = if relation == '≤' { median <= target } else { median >= target };
    format!("{}{}", show(median), if met { "" } else { ", missed" })
}

/// CPU is that of one decision.
fn decisions(results: &Results) -> Table {
    let mut table = Table::new(["", "decisions/s", "CPU, µs", "service's, µs", "mean, µs", "p50, µs", "p99, µs"]);
    let rows = [
        ("80 in flight", None),
        ("bare client, no SPOP", Some("cpu/bare")),
        ("straightforward bridge", Some("cpu/straightforward")),
        ("spop-bridge, unary, 1 worker", Some("cpu/unary")),
        ("spop-bridge, unary, 2 workers", Some("rate/unary")),
        ("spop-bridge, stream, 1 worker", Some("cpu/stream")),
        ("spop-bridge, stream, 2 workers", Some("rate/stream")),
        ("one at a time", None),
        ("bare client, no SPOP", Some("one/bare")),
        ("straightforward bridge", Some("one/straightforward")),
        ("spop-bridge, unary", Some("one/unary")),
        ("spop-bridge, stream", Some("one/stream")),
    ];
    for (name, case) in rows {
        let Some(case) = case else {
            table.row([
                format!("*{name}*"),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ]);
            continue;
        };
        let show = |figure, digits| digits_of(results, case, figure, digits);
        table.row([
            name.to_owned(),
            show("per_second", 0),
            show("cpu", 2),
            show("service_cpu", 2),
            show("mean", 0),
            show("p50", 0),
            show("p99", 0),
        ]);
    }
    table
}

/// What traces cost: by the CPU of a decision without them.
fn traces(results: &Results) -> Table {
    let mut table = Table::new(["stream, 1 worker", "CPU, µs", "to no traces", "rounds", "decisions/s"]);
    for (name, case) in [("no traces", "cpu/stream"), ("0 % recorded", "traces/0"), ("1 %", "traces/1"), ("100 %", "traces/100")]
    {
        let spread = results.ratio("cpu", case, "cpu/stream");
        table.row([
            name.to_owned(),
            digits_of(results, case, "cpu", 2),
            spread.map_or_else(none, |spread| format!("{:.2} ×", spread.median)),
            spread.map_or_else(none, |Spread { min, max, .. }| format!("{min:.2} to {max:.2}")),
            digits_of(results, case, "per_second", 0),
        ]);
    }
    table
}

/// CPU is that of one request.
fn requests(results: &Results) -> Table {
    let mut table = Table::new([
        "",
        "requests/s",
        "p50, µs",
        "p99, µs",
        "proxy's CPU, µs",
        "bridge's",
        "service's",
        "sum",
        "wrk's",
        "bytes asked",
    ]);
    let rows = [
        ("Envoy, ext_authz", "http/envoy"),
        ("HAProxy 3.2, straightforward bridge", "http/haproxy-3.2-straightforward"),
        ("HAProxy 3.2, spop-bridge, unary", "http/haproxy-3.2-unary"),
        ("HAProxy 2.6, spop-bridge, stream", "http/haproxy-2.6-stream"),
        ("HAProxy 3.2, spop-bridge, stream", "http/haproxy-3.2-stream"),
        ("Envoy, no decision", "alone/envoy"),
        ("HAProxy 2.6, no decision", "alone/haproxy-2.6"),
        ("HAProxy 3.2, no decision", "alone/haproxy-3.2"),
    ];
    for (name, case) in rows {
        let show = |figure, digits| digits_of(results, case, figure, digits);
        let parts = ["proxy_cpu", "cpu", "service_cpu"].map(|figure| results.spread(case, figure).map(|spread| spread.median));
        table.row([
            name.to_owned(),
            show("per_second", 0),
            show("p50", 0),
            show("p99", 0),
            show("proxy_cpu", 1),
            show("cpu", 1),
            show("service_cpu", 1),
            format!("{:.1}", parts.into_iter().flatten().sum::<f64>()),
            show("load_cpu", 1),
            show("request_bytes", 0),
        ]);
    }
    table
}

fn memory(results: &Results) -> Table {
    let mut table = Table::new(["", "idle, MiB", "under load, MiB", "idle connection, KiB"]);
    let mebibytes =
        |case, figure| results.spread(case, figure).map_or_else(none, |spread| format!("{:.1}", spread.median / 1024.0));
    for (name, memory, load) in [
        ("spop-bridge, stream", "memory/stream", "rate/stream"),
        ("straightforward bridge", "memory/straightforward", "cpu/straightforward"),
    ] {
        table.row([
            name.to_owned(),
            mebibytes(memory, "idle_kib"),
            mebibytes(load, "resident_kib"),
            digits_of(results, memory, "connection_kib", 1),
        ]);
    }
    table
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let mut out = format!("{}, {} GiB; {}.\n", machine.cores, machine.memory_gib, machine.system);
    let _ = writeln!(out, "{}.", machine.programs.join("; "));
    let _ = writeln!(out, "Medians of {} rounds of {} s each.", results.rounds(), results.seconds);
    out
}

fn digits_of(results: &Results, case: &str, figure: &str, digits: usize) -> String {
    results.spread(case, figure).map_or_else(none, |Spread { median, .. }| format!("{median:.digits$}"))
}

fn none() -> String {
    "–".to_owned()
}
