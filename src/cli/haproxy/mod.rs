//! `spop-bridge haproxy`: HAProxy's side of things, written and examined.

mod doctor;
mod generate;

use clap::{Parser, Subcommand};

use super::exit::Failure;
use super::output;

/// Write HAProxy's side of a bridge, or find what is wrong with one.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  What HAProxy 3.2 needs to ask this bridge:
    spop-bridge haproxy generate --config bridge.yaml --haproxy-version 3.2

  What is wrong with what HAProxy has, its SPOE files included:
    spop-bridge haproxy doctor /etc/haproxy/haproxy.cfg";

#[derive(Debug, Subcommand)]
enum Command {
    Generate(generate::Args),
    Doctor(doctor::Args),
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Generate(args) => generate::run(args),
        Command::Doctor(args) => doctor::run(args),
    }
}

/// On standard error: standard output is a file of HAProxy's, or a report.
fn warn(warning: &str) {
    output::complain(format_args!("warning: {warning}"));
}
