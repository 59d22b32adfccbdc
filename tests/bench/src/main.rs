//! What `make bench` runs: the null service, the rivals, and `run`, which puts them side by side.
//!
//! One program, so that all of them are built in the same way.

mod bare_client;
mod null_collector;
mod null_service;
mod process;
mod request;
mod run;
mod straightforward;

use std::error::Error;

use clap::Parser;

#[derive(Parser)]
#[command(about)]
enum Command {
    /// Answers every decision at once, over `Decide`, `DecideStream` and Envoy's ext_authz
    NullService(null_service::Args),
    /// Takes traces by OTLP, and forgets them
    NullCollector(null_collector::Args),
    /// Calls `Decide` without a bridge
    BareClient(bare_client::Args),
    /// The bridge that one writes in an afternoon
    Straightforward(straightforward::Args),
    /// Measures everything and writes the report
    Run(run::Args),
}

fn main() -> Result<(), Box<dyn Error>> {
    match Command::parse() {
        Command::NullService(args) => null_service::main(&args),
        Command::NullCollector(args) => null_collector::main(&args),
        Command::BareClient(args) => bare_client::main(&args),
        Command::Straightforward(args) => straightforward::main(&args),
        Command::Run(args) => run::main(&args),
    }
}
