//! A report as text: a few lines, and tables.
#![allow(clippy::indexing_slicing, reason = "of JSON, where what is not there is null")]

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::report::{Report, Route};
use crate::printable::Printable;
use crate::telemetry::metrics::families as f;

/// Before a certificate ends, for people to renew it.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

pub(super) fn draw(report: &Report<'_>) -> String {
    let mut screen = String::new();
    head(&mut screen, report);
    listeners(&mut screen, report);
    routes(&mut screen, report);
    backends(&mut screen, report);
    let warnings = warnings(report);
    if !warnings.is_empty() {
        screen.push_str("\nWARNINGS\n");
        warnings.iter().for_each(|warning| _ = writeln!(screen, "  {warning}"));
    }
    screen.truncate(screen.trim_end().len());
    screen
}

fn head(screen: &mut String, report: &Report<'_>) {
    let (config, obstacles) = (&report.seen.config, &report.seen.obstacles);
    let ready = if obstacles.is_empty() { "ready" } else { "NOT READY" };
    let _ = writeln!(screen, "spop-bridge {}, up {}, {ready}", text(&config["version"]), age(report.uptime));
    obstacles.iter().for_each(|obstacle| _ = writeln!(screen, "  {obstacle}"));
    let (source, loaded) = (text(&config["source"]), text(&config["loaded_at"]));
    let _ = writeln!(screen, "configuration {} from {source}, of {loaded}", config["generation"]);
}

fn listeners(screen: &mut String, report: &Report<'_>) {
    let mut table = Table::new(&["LISTENER", "ADDRESS", "CONNECTIONS", "IN FLIGHT"]);
    for listener in list(&report.seen.connections["listeners"]) {
        table.row(["name", "address", "connections", "in_flight"].map(|key| text(&listener[key])));
    }
    table.draw(screen);
}

fn routes(screen: &mut String, report: &Report<'_>) {
    let per_second =
        if report.since_start { "PER S (since the start)".to_owned() } else { format!("PER S (last {:.1} s)", report.over) };
    let heads = ["ROUTE", "DECISIONS", &per_second, "FALLBACKS", "P50", "P99", "TIMEOUT", "CAUSES"];
    let mut table = Table::new(&heads);
    for route in &report.routes {
        let Route { name, decisions, fallbacks, causes, p50, p99, timeout } = route;
        let causes: Vec<_> = causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        let share = if *decisions > 0.0 { format!("{:.2} %", 100.0 * fallbacks / decisions) } else { "-".to_owned() };
        table.row([
            if name.is_empty() { "(no route)".to_owned() } else { (*name).to_owned() },
            decisions.to_string(),
            format!("{:.1}", decisions / report.over.max(f64::MIN_POSITIVE)),
            share,
            seconds(*p50),
            seconds(*p99),
            seconds(*timeout),
            causes.join(", "),
        ]);
    }
    table.draw(screen);
}

fn backends(screen: &mut String, report: &Report<'_>) {
    let mut table =
        Table::new(&["BACKEND", "ENDPOINT", "STATE", "PROTOCOL", "CONNECTIONS", "IN FLIGHT", "LATENCY (PEAK)", "WHY"]);
    for backend in list(&report.seen.backends["backends"]) {
        let mut name = text(&backend["name"]);
        if backend["required"] == true {
            name.push_str(" (required)");
        }
        for endpoint in list(&backend["endpoints"]) {
            let mut why = text(&endpoint["reason"]);
            if let Some(until) = endpoint["ejected_until"].as_str() {
                why = format!("out until {until} {why}");
            }
            table.row([
                std::mem::take(&mut name),
                text(&endpoint["endpoint"]),
                states(endpoint),
                text(&endpoint["protocol"]),
                text(&endpoint["connections"]),
                text(&endpoint["in_flight"]),
                seconds(endpoint["latency_ms"].as_f64().map(|millis| millis / 1e3)),
                why,
            ]);
        }
        if let Some(reason) = backend["unresolved"]["reason"].as_str() {
            let endpoint = text(&backend["unresolved"]["endpoint"]);
            table.row(
                [name, endpoint, "unresolved".to_owned()]
                    .into_iter()
                    .chain((0..4).map(|_| "-".to_owned()))
                    .chain([reason.to_owned()]),
            );
        } else if backend["resolving"] == true && !name.is_empty() {
            table.row([name, "-".to_owned(), "resolving".to_owned()]);
        }
    }
    table.draw(screen);
}

/// The endpoint's state; those of workers where they see different ones.
fn states(endpoint: &Value) -> String {
    match endpoint["workers"].as_object() {
        Some(workers) if workers.len() > 1 => {
            workers.iter().map(|(state, workers)| format!("{state} {workers}")).collect::<Vec<_>>().join(", ")
        }
        _ => text(&endpoint["state"]),
    }
}

fn warnings(report: &Report<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let refused = &report.seen.config["refused"];
    if let Some(at) = refused["at"].as_str() {
        warnings.push(format!("the configuration of {at} was refused, the one before goes on:"));
        warnings.extend(list(&refused["problems"]).iter().map(|problem| format!("  {}", text(problem))));
    }
    for (what, count) in &report.dropped {
        warnings.push(format!("telemetry lost since the start: {what} {count}"));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    for (place, end) in report.seen.samples.of(&f::CERTIFICATE_EXPIRY) {
        let (place, left) = (place.concat(), end - now);
        if left < 0.0 {
            warnings.push(format!("certificate ended {} ago: {place}", age(-left)));
        } else if left < EXPIRES_SOON.as_secs_f64() {
            warnings.push(format!("certificate ends in {}: {place}", age(left)));
        }
    }
    warnings
}

/// Columns as wide as what is in them. Numbers are on the right.
struct Table(Vec<Vec<String>>);

impl Table {
    fn new(heads: &[&str]) -> Self {
        Self(vec![heads.iter().map(|head| (*head).to_owned()).collect()])
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().map(|cell| Printable(cell).to_string()).collect());
    }

    fn draw(&self, screen: &mut String) {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| self.0.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        screen.push('\n');
        for row in &self.0 {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let is_number = cell.starts_with(|c: char| c.is_ascii_digit()) && !cell.contains(':');
                let _ = if is_number { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
            }
            let _ = writeln!(screen, "{}", line.trim_end());
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A value as it is read, on one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => Printable(text).to_string(),
        value => value.to_string(),
    }
}

fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 1e-3 => format!("{:.0} us", value * 1e6),
        Some(value) if value < 1.0 => format!("{:.1} ms", value * 1e3),
        Some(value) => format!("{value:.1} s"),
    }
}

/// With the two largest of its units.
fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!([12.0, 75.0, 3_700.0, 200_000.0].map(age), ["12 s", "1 min 15 s", "1 h 1 min", "2 d 7 h"]);
        assert_eq!([None, Some(0.000_05), Some(0.0123), Some(2.0)].map(seconds), ["-", "50 us", "12.3 ms", "2.0 s"]);
    }

    #[test]
    fn a_terminal_carries_nothing_out() {
        assert_eq!(text(&Value::from("a\u{1b}[2Jb\u{9b}c\nd")), "a\\u{1b}[2Jb\\u{9b}c\\nd");
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(&["NAME", "COUNT", "WHY"]);
        table.row(["a", "5", "-"].map(str::to_owned));
        table.row(["longer", "1234567", "because"].map(str::to_owned));
        let mut screen = String::new();
        table.draw(&mut screen);
        assert_eq!(screen, "\nNAME    COUNT    WHY\na             5  -\nlonger  1234567  because\n");
    }
}
