//! The measure of everything else: a tonic client that calls the service itself, from one thread.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;
use spop_bridge::pb::v1::{DecideRequest, decision_service_client::DecisionServiceClient};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::{process, request};

/// A route's timeout; the bridges are given the same.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Nothing takes longer, in nanoseconds: a call that reaches its timeout has failed.
const LONGEST: u64 = 1_000_000_000;

#[derive(clap::Args)]
pub struct Args {
    /// The service
    #[arg(long, default_value = "127.0.0.1:19050")]
    service: SocketAddr,
    /// Calls at a time
    #[arg(long, default_value_t = 80)]
    in_flight: usize,
    /// Seconds before anything is counted
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds that count
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The service's process, to tell its CPU time too
    #[arg(long)]
    pid: u32,
}

/// Latencies since the warm-up, in nanoseconds.
type Latencies = Arc<Mutex<Histogram<u64>>>;

pub fn main(args: &Args) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args))
}

async fn measure(args: &Args) -> Result<(), Box<dyn Error>> {
    let channel = Endpoint::from_shared(format!("http://{}", args.service))?.connect().await?;
    let latencies = Arc::new(Mutex::new(Histogram::new_with_bounds(1, LONGEST, 3)?));
    let mut calls = JoinSet::new();
    for _ in 0..args.in_flight {
        calls.spawn(call_forever(DecisionServiceClient::new(channel.clone()), Arc::clone(&latencies)));
    }
    sleep(args.warmup, &mut calls).await?;
    lock(&latencies).reset();
    let (start, own, service) = (Instant::now(), process::cpu(std::process::id())?, process::cpu(args.pid)?);
    sleep(args.seconds, &mut calls).await?;
    let spent = [process::cpu(std::process::id())? - own, process::cpu(args.pid)? - service];
    println!("{}", report(&lock(&latencies), start.elapsed(), spent, args.pid)?);
    Ok(())
}

/// The calls go on meanwhile; one that fails ends it.
async fn sleep(seconds: f64, calls: &mut JoinSet<tonic::Status>) -> Result<(), Box<dyn Error>> {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => Ok(()),
        Some(failed) = calls.join_next() => Err(format!("a call failed: {}", failed?).into()),
    }
}

async fn call_forever(mut client: DecisionServiceClient<Channel>, latencies: Latencies) -> tonic::Status {
    let template = request::decide_request();
    loop {
        let start = Instant::now();
        match client.decide(with_timeout(template.clone())).await {
            Ok(response) if response.get_ref().actions.len() == 3 => {}
            Ok(response) => return tonic::Status::internal(format!("{} actions", response.get_ref().actions.len())),
            Err(status) => return status,
        }
        lock(&latencies).saturating_record(nanos(start.elapsed()));
    }
}

fn with_timeout(request: DecideRequest) -> Request<DecideRequest> {
    let mut request = Request::new(request);
    request.set_timeout(TIMEOUT);
    request
}

/// In the words of `spop-bridge bench --json`.
fn report(
    latencies: &Histogram<u64>,
    elapsed: Duration,
    spent: [Duration; 2],
    service: u32,
) -> std::io::Result<serde_json::Value> {
    let calls = latencies.len() as f64;
    let micros = |nanos: u64| nanos as f64 / 1e3;
    let [own_cpu, service_cpu] = spent.map(|spent| spent.as_secs_f64() * 1e6 / calls);
    let own = std::process::id();
    Ok(json!({
        "decisions": latencies.len(),
        "decisions_per_second": calls / elapsed.as_secs_f64(),
        "latency_us": {
            "min": micros(latencies.min()),
            "mean": latencies.mean() / 1e3,
            "p50": micros(latencies.value_at_quantile(0.5)),
            "p90": micros(latencies.value_at_quantile(0.9)),
            "p99": micros(latencies.value_at_quantile(0.99)),
            "p99_9": micros(latencies.value_at_quantile(0.999)),
            "max": micros(latencies.max()),
        },
        "load": { "cpu_us_per_decision": own_cpu, "resident_kib": process::resident_kib(own)? },
        "processes": [{ "pid": service, "cpu_us_per_decision": service_cpu, "resident_kib": process::resident_kib(service)? }],
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
