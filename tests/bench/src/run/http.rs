//! End to end: wrk against a proxy that asks for a decision on each request, or against one that asks for none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::child::{DECIDED, Running, Service, UNDECIDED};
use super::results::Figures;
use super::{Args, Fallible};
use crate::process;

const CONNECTIONS: u64 = 64;

/// What `configs/wrk.lua` prints.
#[derive(Deserialize)]
struct Report {
    requests: u64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    refused: u64,
    failed: u64,
}

/// Who stands between wrk and the service.
#[derive(Clone, Copy)]
pub enum Proxy {
    Haproxy26,
    Haproxy32,
    Envoy,
}

impl Proxy {
    fn start(self, args: &Args) -> Fallible<Running> {
        let mut command;
        match self {
            Self::Haproxy26 | Self::Haproxy32 => {
                command = Command::new(if matches!(self, Self::Haproxy26) { &args.haproxy_2_6 } else { &args.haproxy_3_2 });
                command.arg("-db").arg("-f").arg(args.configs.join("haproxy.cfg"));
            }
            Self::Envoy => {
                command = Command::new(&args.envoy);
                command.args(["--concurrency", "2", "--disable-hot-restart", "--log-level", "warning"]);
                command.arg("-c").arg(args.configs.join("envoy.yaml"));
            }
        }
        Running::start(args, command, DECIDED)
    }
}

/// Requests that are decided: through `bridge`, or without one.
pub fn decided(args: &Args, proxy: Proxy, bridge: Option<fn(&Args) -> Fallible<Running>>) -> Fallible<Figures> {
    let mut service = Service::start(args)?;
    let bridge = bridge.map(|start| start(args)).transpose()?;
    let proxy = proxy.start(args)?;
    for (path, status) in [("/denied", 403), ("/", 200)] {
        let found = status_of(path)?;
        if found != status {
            return Err(format!("{path}: found status {found}, expected {status}").into());
        }
    }
    let warm_up = wrk(args, DECIDED, 1)?;
    let (before, _) = settled(&mut service)?;
    let processes = [("proxy_cpu", Some(&proxy)), ("cpu", bridge.as_ref()), ("service_cpu", Some(&service.running))];
    let (report, mut figures) = measured(args, DECIDED, &processes)?;
    let (after, bytes) = settled(&mut service)?;
    let decisions = after - before;
    // wrk leaves when its time is over, with at most one request on the way on each connection.
    if !(report.requests - report.refused..=report.requests + CONNECTIONS).contains(&decisions) {
        return Err(format!("{} requests, but {decisions} decisions", report.requests).into());
    }
    if warm_up.refused + report.refused > 0 {
        // The next HAProxy starts its log anew; Envoy says nothing.
        let _ = std::fs::copy(args.work.join(format!("haproxy-{DECIDED}.log")), args.work.join("refused.log"));
    }
    figures.insert("request_bytes".into(), bytes as f64);
    figures.insert("refused".into(), (warm_up.refused + report.refused) as f64);
    if let Some(bridge) = bridge {
        figures.insert("resident_kib".into(), bridge.resident_kib()?);
    }
    Ok(figures)
}

/// What the service has to tell when those requests are through that wrk has left behind.
fn settled(service: &mut Service) -> Fallible<(u64, u64)> {
    std::thread::sleep(Duration::from_millis(200));
    service.decisions()
}

/// Requests that the proxy answers by itself.
pub fn undecided(args: &Args, proxy: Proxy) -> Fallible<Figures> {
    let proxy = proxy.start(args)?;
    wrk(args, UNDECIDED, 1)?;
    Ok(measured(args, UNDECIDED, &[("proxy_cpu", Some(&proxy))])?.1)
}

fn measured(args: &Args, port: u16, processes: &[(&str, Option<&Running>)]) -> Fallible<(Report, Figures)> {
    let times =
        || processes.iter().map(|(_, process)| process.map_or(Ok(Duration::ZERO), Running::cpu)).collect::<Fallible<Vec<_>>>();
    let (before, own) = (times()?, process::cpu_of_ended_children()?);
    let report = wrk(args, port, args.seconds)?;
    let (after, load) = (times()?, process::cpu_of_ended_children()? - own);
    let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / report.requests as f64;
    let mut figures = Figures::from([
        ("per_second".into(), report.requests as f64 / report.seconds),
        ("p50".into(), report.p50_us),
        ("p99".into(), report.p99_us),
        ("load_cpu".into(), micros(load)),
    ]);
    for (((name, process), before), after) in processes.iter().zip(before).zip(after) {
        if process.is_some() {
            figures.insert((*name).into(), micros(after - before));
        }
    }
    Ok((report, figures))
}

/// A request without a decision gets 403, and counts as refused.
fn wrk(args: &Args, port: u16, seconds: u32) -> Fallible<Report> {
    let mut command = Command::new(&args.wrk);
    command.args(["--threads", "2", "--connections", &CONNECTIONS.to_string(), "--duration", &format!("{seconds}s")]);
    command.arg("--script").arg(args.configs.join("wrk.lua")).arg(format!("http://127.0.0.1:{port}"));
    let output = command.output().map_err(|error| format!("{}: {error}", args.wrk.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line =
        text.lines().rfind(|line| line.starts_with('{')).ok_or_else(|| format!("{command:?} printed no report: {text}"))?;
    let report: Report = serde_json::from_str(line)?;
    if report.failed > 0 {
        return Err(format!("{} requests failed, of {}", report.failed, report.requests).into());
    }
    Ok(report)
}

fn status_of(path: &str) -> Fallible<u16> {
    let mut socket = TcpStream::connect(("127.0.0.1", DECIDED))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(socket, "GET {path} HTTP/1.1\r\nhost: www.example.com\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().parse()?)
}
