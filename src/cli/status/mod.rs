//! `spop-bridge status`: what the admin port says, on one screen.

mod client;
mod report;
mod samples;
mod screen;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Parser;
use client::Client;
use http::StatusCode;
use report::Report;
use samples::Samples;
use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::config::parse_duration;
use crate::printable::{PrintableLines, printable_json};

/// Show how a running bridge is: whether it is ready and why not, decisions and fallbacks, backends, warnings.
///
/// Reads the admin port. Ends with 0 if the bridge is ready and with 1 if not.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The bridge's admin port: host:port or unix:/path.
    #[arg(long, env = "SPOP_BRIDGE_ADMIN", value_name = "ADDRESS", default_value = "127.0.0.1:9902")]
    admin: String,
    /// Print one JSON object, with everything that the admin port says.
    #[arg(long)]
    json: bool,
    /// Do so again and again, with rates and percentiles of the time in between.
    #[arg(long, value_name = "INTERVAL", value_parser = parse_interval, num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    watch: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  Look on while requests come in:
    spop-bridge status --watch

  Wait in a script until the bridge is ready:
    until spop-bridge status --admin unix:/run/spop-bridge/admin.sock >/dev/null; do sleep 1; done";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.admin == "off" {
        return Err(Failure::new(Exit::Usage, "the admin port is off, so that nobody can tell how the bridge is"));
    }
    super::control_runtime()?.block_on(async {
        match args.watch {
            None => once(args).await,
            Some(interval) => watch(args, interval).await,
        }
    })
}

async fn once(args: &Args) -> Result<(), Failure> {
    let seen = Seen::now(&args.admin).await?;
    let report = Report::new(&seen, None);
    if args.json {
        super::output::say_json(report.show(true));
    } else {
        say!("{}", report.show(false));
    }
    if seen.obstacles.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::Failed)) }
}

/// Until the reader has gone, or somebody ends it.
async fn watch(args: &Args, interval: Duration) -> Result<(), Failure> {
    let clear = !args.json && std::io::stdout().is_terminal();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        ticks.tick().await;
        let shown = match Seen::now(&args.admin).await {
            Ok(seen) => {
                let shown = Report::new(&seen, before.as_ref()).show(args.json);
                before = Some(seen);
                shown
            }
            // It may come back.
            Err(Failure { message, .. }) if args.json => serde_json::json!({ "error": message }).to_string(),
            Err(Failure { message, .. }) => message,
        };
        if print(shown, args.json, clear).is_err() {
            return Ok(());
        }
    }
}

fn print(text: String, json: bool, clear: bool) -> std::io::Result<()> {
    let text = if json { printable_json(&text).into_owned() } else { PrintableLines(text).to_string() };
    let mut out = std::io::stdout().lock();
    if clear {
        // From the top, and nothing of before.
        out.write_all(b"\x1b[H\x1b[2J")?;
    }
    writeln!(out, "{text}")?;
    out.flush()
}

/// What the admin port says at one moment.
#[derive(Debug)]
struct Seen {
    /// Why it is not ready.
    obstacles: Vec<String>,
    samples: Samples,
    config: Value,
    backends: Value,
    connections: Value,
}

impl Seen {
    async fn now(address: &str) -> Result<Self, Failure> {
        let mut client = Client::connect(address).await?;
        let (ready, obstacles) = client.get("/ready").await?;
        let obstacles = match ready {
            StatusCode::OK => Vec::new(),
            StatusCode::SERVICE_UNAVAILABLE => obstacles.lines().map(str::to_owned).collect(),
            status => return Err(client.stranger(format_args!("it answers /ready with {status}"))),
        };
        let (_, metrics) = client.get("/metrics").await?;
        let samples = Samples::parse(&metrics);
        let mut json = async |path: &str| {
            let (status, body) = client.get(path).await?;
            serde_json::from_str::<Value>(&body)
                .map_err(|error| client.stranger(format_args!("it answers {path} with {status}, and {error}")))
        };
        let (config, backends, connections) = (json("/config").await?, json("/backends").await?, json("/connections").await?);
        Ok(Self { obstacles, samples, config, backends, connections })
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) { Err("expected 100ms or more".to_owned()) } else { Ok(interval) }
}
