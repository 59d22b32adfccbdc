//! Decisions without HAProxy: `spop-bridge bench` and the bare client.

use std::process::Command;

use serde::Deserialize;

use super::child::{Running, SPOP, Service, own};
use super::results::Figures;
use super::{Args, Fallible};

/// What `spop-bridge bench --json` and the bare client print, as far as it is of use here.
#[derive(Deserialize)]
struct Report {
    decisions_per_second: f64,
    latency_us: Latency,
    load: Load,
    processes: Vec<Process>,
}

#[derive(Deserialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p99: f64,
}

#[derive(Deserialize)]
struct Load {
    cpu_us_per_decision: f64,
}

#[derive(Deserialize)]
struct Process {
    cpu_us_per_decision: f64,
    resident_kib: f64,
}

/// How many decisions wait at a time: on so many connections, so many on each.
#[derive(Clone, Copy)]
pub struct Window(pub u32, pub u32);

/// As HAProxy: 20 on a connection.
pub const FULL: Window = Window(4, 20);
pub const ONE: Window = Window(1, 1);

/// Calls of the client itself.
pub fn bare(args: &Args, Window(connections, in_flight): Window) -> Fallible<Figures> {
    let service = Service::start(args)?;
    let mut command = own("bare-client")?;
    command.args(["--in-flight", &(connections * in_flight).to_string()]);
    command.args(["--seconds", &args.seconds.to_string()]).args(["--pid", &service.running.pid().to_string()]);
    let report = report(command)?;
    let mut figures = figures(&report);
    figures.insert("cpu".into(), report.load.cpu_us_per_decision);
    figures.insert("service_cpu".into(), report.processes[0].cpu_us_per_decision);
    Ok(figures)
}

/// Decisions through an agent.
pub fn agent(args: &Args, window: Window, start: impl FnOnce() -> Fallible<Running>) -> Fallible<Figures> {
    let service = Service::start(args)?;
    let agent = start()?;
    let Window(connections, in_flight) = window;
    let mut command = Command::new(&args.bridge);
    command.arg("bench").args(["--agent", &format!("127.0.0.1:{SPOP}")]);
    command.args(["--connections", &connections.to_string()]).args(["--in-flight", &in_flight.to_string()]);
    command.args(["--duration", &format!("{}s", args.seconds)]).args(["--warmup", "1s", "--json"]);
    command.args(["--expect", "txn.allow=bool:true", "--expect-actions", "3"]);
    command.args(["--pid", &agent.pid().to_string()]).args(["--pid", &service.running.pid().to_string()]);
    let report = report(command)?;
    let mut figures = figures(&report);
    figures.insert("cpu".into(), report.processes[0].cpu_us_per_decision);
    figures.insert("resident_kib".into(), report.processes[0].resident_kib);
    figures.insert("service_cpu".into(), report.processes[1].cpu_us_per_decision);
    figures.insert("load_cpu".into(), report.load.cpu_us_per_decision);
    Ok(figures)
}

/// Runs a load generator; lost or wrong answers are an error, which it tells by its exit code.
fn report(mut command: Command) -> Fallible<Report> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn figures(report: &Report) -> Figures {
    let Latency { mean, p50, p99 } = report.latency_us;
    [("per_second", report.decisions_per_second), ("mean", mean), ("p50", p50), ("p99", p99)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}
