//! `spop-bridge bench`: SPOP load against any agent, as wrk and ghz are for HTTP and gRPC.
#![allow(clippy::indexing_slicing, reason = "a tool that may end by a panic; its positions come from loops over the same array")]

mod answers;
mod connection;
mod expect;
mod in_flight;
mod progress;
mod report;
mod round;
mod tally;
mod template;
mod timer;
mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use connection::Connection;
use expect::{Expect, Expected};
use report::{Latency, Load, Process, Report, micros, per_decision};
use round::{Length, Plan, Round};
use tally::Tally;
use template::Template;
use tokio::task::JoinSet;
use usage::{Meter, ProcessSpent, Spent};

use super::engine::Engine;
use super::exit::{Exit, Failure};
use super::value::{FORMS, parse_arg};
use crate::config::parse_duration;

/// Put load on any SPOP agent: how many decisions a second, how long each takes, what they cost.
///
/// Plays HAProxy's part on a few connections, checks every ACK, and prints throughput, latencies and CPU time.
///
/// Without --rate each connection keeps --in-flight NOTIFYs waiting, a closed loop: it shows what the agent can do. With --rate
/// NOTIFYs are due by a schedule, and latency counts from when each was due, also while a full window holds it back: it shows
/// what requests would feel. Only what is sent after the warm-up counts. Ctrl-C ends early and still reports.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The agent: host:port or unix:/path.
    #[arg(long, value_name = "ADDRESS")]
    agent: String,
    /// Connections to open.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = RangedU64ValueParser::<u64>::new().range(1..=65_536))]
    connections: u64,
    /// NOTIFYs that may wait for their ACK on each connection, with --rate too. HAProxy's own limit is 20.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    in_flight: usize,
    /// How long to send [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "requests")]
    duration: Option<Duration>,
    /// Send so many NOTIFYs instead.
    #[arg(long, value_name = "NUMBER", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    requests: Option<u64>,
    /// How long to send before it counts.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    warmup: Duration,
    /// Decisions a second in all, by schedule. Above 1000/s on a connection, those of a millisecond are due together.
    #[arg(long, value_name = "NUMBER", value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000_000_000))]
    rate: Option<u64>,
    /// The message's name.
    #[arg(long, value_name = "NAME", default_value = "check-request")]
    message: String,
    /// An arg of the message: name=type:value, or name=text. Repeat it. Without any, ten like those of a real request.
    #[arg(long, value_name = "NAME=VALUE", long_help = format!("An arg of the message: name=value. Repeat it; without any, ten like those of a real request. Values: {FORMS}; anything else is a string."))]
    arg: Vec<String>,
    /// A set-var that every ACK must hold: scope.name=type:value, as in txn.allow=bool:true. Repeat it for more.
    #[arg(long, value_name = "VARIABLE=VALUE")]
    expect: Vec<Expected>,
    /// How many actions every ACK must hold.
    #[arg(long, value_name = "NUMBER")]
    expect_actions: Option<usize>,
    /// A process to tell CPU time and memory of, on this machine. Repeat it for more.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// How long connecting and hello may take, and each answer. A NOTIFY without ACK by then is lost.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
    /// The engine id to say hello with.
    #[arg(long, default_value = "spop-bridge-bench")]
    engine_id: String,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
    /// Show no progress, which otherwise goes to a terminal on standard error.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let plan = plan(args).and_then(|plan| {
        // A wrong pid is said before the load, not after it.
        Meter::start(&args.pid)?;
        Ok(Arc::new(plan))
    });
    let plan = plan.map_err(|message| Failure::new(Exit::Usage, message))?;
    // One thread: the load shares the machine with what it measures.
    let report = super::control_runtime()?.block_on(bench(args, &plan))?;
    if args.json {
        let json = serde_json::to_string(&report).map_err(|error| Failure::new(Exit::Failed, error))?;
        super::output::say_json(json);
    } else {
        report.print();
    }
    report.verdict()
}

fn plan(args: &Args) -> Result<Plan, String> {
    let given = if args.arg.is_empty() { &DEFAULT_ARGS.map(String::from)[..] } else { &args.arg };
    let parsed = given.iter().map(|arg| parse_arg(arg)).collect::<Result<Vec<_>, _>>()?;
    let template = Template::new(&args.message, &parsed).map_err(|error| error.to_string())?;
    Ok(Plan {
        template,
        expect: Expect { variables: args.expect.clone(), actions: args.expect_actions },
        connections: args.connections,
        rate: args.rate,
        timeout: args.timeout,
        stop: AtomicBool::new(false),
    })
}

async fn bench(args: &Args, plan: &Arc<Plan>) -> Result<Report, Failure> {
    let mut connections = open(args, plan).await?;
    let single = connections.iter().filter(|connection| connection.window() < args.in_flight).count();
    stop_on_signal(plan)?;

    let visible = progress::wanted(args.quiet, args.json);
    let warm_up = Arc::new(Round::start(plan, Length::Time(args.warmup)));
    connections = play(connections, &warm_up, visible.then_some("warm-up")).await;

    let meter = Meter::start(&args.pid).map_err(|message| Failure::new(Exit::Failed, message))?;
    let length = args.requests.map_or(Length::Time(args.duration.unwrap_or(DEFAULT_DURATION)), Length::Requests);
    let round = Arc::new(Round::start(plan, length));
    connections = play(connections, &round, visible.then_some("measuring")).await;
    let spent = meter.read();
    let elapsed = round.now();
    for connection in connections {
        connection.close().await;
    }

    let mut tally = round.tally();
    tally.inherit(&warm_up.tally());
    // Waiting for what is lost is not part of it.
    let nanos = tally.last_ack.max(round.end().unwrap_or_default()).min(elapsed);
    Ok(report(args, plan, &tally, nanos, spent, single))
}

/// Opens every connection, one after the other.
async fn open(args: &Args, plan: &Plan) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for index in 0..args.connections {
        let connecting = tokio::time::timeout(args.timeout, Engine::connect(&args.agent, &args.engine_id)).await;
        let engine = connecting
            .map_err(|_| Failure::new(Exit::NoAnswer, format!("no hello from {} within {:?}", args.agent, args.timeout)))?
            .map_err(|error| Failure::new(Exit::Refused, error))?;
        let (has, takes) = (plan.template.max_frame_len(), engine.hello().max_frame_size);
        if has > takes as usize {
            let message = format!("a NOTIFY of {has} bytes is too long for {}: its max-frame-size is {takes}", args.agent);
            return Err(Failure::new(Exit::Usage, message));
        }
        let connection = Connection::new(index, engine, args.in_flight, args.timeout);
        connections.push(connection.map_err(|error| Failure::new(Exit::Start, format!("cannot make a timer: {error}")))?);
    }
    Ok(connections)
}

/// The first signal ends the round; what was sent is still waited for. The second ends the process.
fn stop_on_signal(plan: &Arc<Plan>) -> Result<(), Failure> {
    let (mut stop, plan) = (super::run::stop()?, Arc::clone(plan));
    tokio::spawn(async move {
        stop.received().await;
        plan.stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Plays a round on every connection; returns those that are still open.
async fn play(connections: Vec<Connection>, round: &Arc<Round>, progress: Option<&'static str>) -> Vec<Connection> {
    let progress = progress.map(|name| tokio::spawn(progress::show(name, Arc::clone(round))));
    let tasks: JoinSet<_> = connections.into_iter().map(|connection| connection.run(Arc::clone(round))).collect();
    let open = tasks.join_all().await.into_iter().flatten().collect();
    if let Some(progress) = progress {
        progress.abort();
        // Until its line is erased.
        let _ = progress.await;
    }
    open
}

fn report(args: &Args, plan: &Plan, tally: &Tally, nanos: u64, spent: Spent, single: usize) -> Report {
    let (decisions, seconds) = (tally.decisions(), micros(nanos as f64) / 1e6);
    let cost = |spent: &ProcessSpent| per_decision(spent.cpu_nanos, decisions);
    let own = spent.own.as_ref();
    let load = Load { cpu_us_per_decision: own.and_then(cost), resident_kib: own.map(|own| own.memory.resident_kib) };
    let process = |(pid, spent): (u32, Option<ProcessSpent>)| Process {
        pid,
        cpu_us_per_decision: spent.as_ref().and_then(cost),
        resident_kib: spent.as_ref().map(|spent| spent.memory.resident_kib),
        peak_resident_kib: spent.as_ref().map(|spent| spent.memory.peak_resident_kib),
    };
    Report {
        agent: args.agent.clone(),
        connections: args.connections,
        in_flight: args.in_flight,
        rate: args.rate,
        seconds,
        decisions,
        errors: tally.errors,
        decisions_per_second: if nanos > 0 { (decisions as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 },
        latency_us: Latency::of(&tally.latency),
        notify_bytes: plan.template.wire_len(),
        load,
        processes: spent.others.into_iter().map(process).collect(),
        samples: tally.samples.clone(),
        single,
    }
}

/// What a rule about a browser's request would ask for: with the names, about 500 bytes.
const DEFAULT_ARGS: [&str; 10] = [
    "method=GET",
    "path=/shop/products/4711/reviews?page=2&sort=newest",
    "host=www.example.com",
    "user-agent=Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "referer=https://www.example.com/shop/products/4711",
    "cookie=session=3f9c2a7be1d04c58a6b7; consent=all; theme=dark; lang=en",
    "authorization=Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0NzExIn0.MEUCIQDx0yq3T9vYkqPz",
    "unique-id=8c5a1f0e-6b1d-4c55-9d2e-2f6d0c8e4b7a",
    "ip=ipv4:198.51.100.23",
    "content-length=int:1273",
];

const DEFAULT_DURATION: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  What the agent can do, and what a decision costs it:
    spop-bridge bench --agent 127.0.0.1:9000 --pid $(pidof my-agent) --expect txn.allow=bool:true

  Latencies at 20,000 decisions a second for a minute, as JSON:
    spop-bridge bench --agent unix:/run/spop.sock --rate 20000 --duration 1m --json";
