//! `run`: every case of every round, then the report.
//!
//! The rivals take turns: each round measures all of them once, and each starts with the next. What the machine does besides
//! then falls on all of them, and ratios are made within a round.

mod cases;
mod chart;
mod child;
mod http;
mod idle;
mod load;
mod machine;
mod report;
mod results;
mod table;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use cases::CASES;
use results::Results;

/// Whatever goes wrong ends the run.
type Fallible<T> = Result<T, Box<dyn Error>>;

#[derive(clap::Args)]
pub struct Args {
    /// The program that is measured: a release build of spop-bridge
    #[arg(long)]
    bridge: PathBuf,
    #[arg(long)]
    haproxy_2_6: PathBuf,
    #[arg(long)]
    haproxy_3_2: PathBuf,
    #[arg(long)]
    envoy: PathBuf,
    #[arg(long, default_value = "wrk")]
    wrk: PathBuf,
    /// Folder of the configurations
    #[arg(long, default_value = "tests/bench/configs")]
    configs: PathBuf,
    /// Where raw results and the programs' output go
    #[arg(long, default_value = ".cache/bench")]
    work: PathBuf,
    /// Where benchmarks.md and benchmarks.svg are
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
    /// Seconds that each measurement takes, after a second of warm-up
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only cases whose name starts so, and no report
    #[arg(long)]
    only: Option<String>,
    /// Measure nothing: make the report from the results of the last run
    #[arg(long)]
    render: bool,
}

pub fn main(args: &Args) -> Fallible<()> {
    let file = args.work.join("results.json");
    let results = if args.render { serde_json::from_slice(&fs::read(&file)?)? } else { measure(args)? };
    print!("{}", results.lines());
    if args.only.is_none() {
        fs::write(&file, serde_json::to_string_pretty(&results)?)?;
        report::write(&args.docs, &results)?;
        println!("\nwritten: {0}/benchmarks.md, {0}/benchmarks.svg, {1}", args.docs.display(), file.display());
    }
    let refused = results.refused();
    if !refused.is_empty() {
        let log = args.work.join("refused.log");
        return Err(format!(
            "requests without a decision: {}; HAProxy's reasons for the last are in {}",
            refused.join(", "),
            log.display()
        )
        .into());
    }
    Ok(())
}

fn measure(args: &Args) -> Fallible<Results> {
    fs::create_dir_all(&args.work)?;
    let start = Instant::now();
    let mut results = Results::new(args)?;
    let cases: Vec<_> = CASES.iter().filter(|case| args.only.as_ref().is_none_or(|only| case.name.starts_with(only))).collect();
    for round in 0..args.rounds {
        for position in 0..cases.len() {
            let case = cases[(position + round * ROTATION) % cases.len()];
            eprintln!("{:4.0} s  round {}/{}  {}", start.elapsed().as_secs_f64(), round + 1, args.rounds, case.name);
            let figures = (case.measure)(args).map_err(|error| format!("{}: {error}", case.name))?;
            results.add(case.name, figures);
        }
    }
    Ok(results)
}

/// By how many places a round's order differs from the last; shares no factor with the number of cases.
const ROTATION: usize = 7;
