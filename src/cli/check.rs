//! `spop-bridge check`: all problems of a configuration, without running it.

use std::path::PathBuf;

use clap::Parser;

use super::exit::Failure;
use super::run::load;
use crate::config::Overrides;
use crate::control::{Loaded, Source};

/// Check a configuration file and the files that it names, and print all of their problems.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The file to check; - for standard input.
    #[arg(long, short, env = "SPOP_BRIDGE_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  Before a rollout; ends with 3 if there are problems:
    spop-bridge check --config bridge.yaml

  Variables that the file asks for must be there:
    DECISIONS_TOKEN=any spop-bridge check --config bridge.yaml";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let source = Source::Once { path: args.config.clone(), overrides: Overrides::default() };
    let Loaded { config, warnings, .. } = load(&source)?;
    for warning in &warnings {
        say!("warning: {warning}");
    }
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    say!(
        "{}: ok, {}, {}, {}",
        source.name(),
        count(config.listeners.len(), "listener"),
        count(config.backends.len(), "backend"),
        count(config.routes.len(), "route"),
    );
    Ok(())
}
