//! The command line: one file a command, and the exit codes.

/// Prints a line of a command's output, or several. Text of others in it does nothing to a terminal.
macro_rules! say {
    ($($arg:tt)*) => {
        crate::cli::output::print(format_args!("{}\n", crate::printable::PrintableLines(format_args!($($arg)*))))
    };
}

mod bench;
mod check;
mod completions;
mod demo;
mod engine;
mod exit;
mod haproxy;
mod man;
mod notify;
mod open_files;
mod output;
mod run;
mod schema;
mod status;
mod value;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::{Exit, Failure, exit_codes};

/// Decisions for HAProxy, from a gRPC service in any language.
///
/// A sidecar that speaks SPOP to HAProxy and gRPC to a decision service.
#[derive(Debug, Parser)]
#[command(name = "spop-bridge", version, after_help = NOTES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where to begin, and how commands end.
const NOTES: &str = concat!(
    "\
Where to begin:
  spop-bridge demo                               see it work on this machine
  spop-bridge run --backend http://host:50051    put it in front of a decision service
  spop-bridge notify --agent 127.0.0.1:9000 --message check-request --arg path=/
                                                 ask it without HAProxy
  spop-bridge haproxy generate --config FILE     write HAProxy's side
  spop-bridge haproxy doctor FILE                find out why HAProxy does not ask, or does not listen
  spop-bridge status                             how a running bridge is

",
    exit_codes!()
);

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Schema(schema::Args),
    Haproxy(haproxy::Args),
    Demo(demo::Args),
    Notify(notify::Args),
    Status(status::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    // The matches are kept: `notify` needs the order in which options were given.
    let matches = Cli::command().try_get_matches();
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are printed this way too, and are no errors.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let result = match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Schema(args) => {
            schema::run(args);
            Ok(())
        }
        Command::Haproxy(args) => haproxy::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Notify(args) => match matches.subcommand() {
            Some((_, matches)) => notify::run(args, matches),
            None => Ok(()),
        },
        Command::Status(args) => status::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => {
            completions::run(args);
            Ok(())
        }
        Command::Man(args) => man::run(args),
    };
    crate::telemetry::flush(FLUSH);
    match result.and_then(|()| output::finish()) {
        Ok(()) => Exit::Success.into(),
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                output::complain(&message);
            }
            exit.into()
        }
    }
}

/// For what is left of the logs when the process ends: their readers may have stalled.
const FLUSH: Duration = Duration::from_secs(1);

/// The runtime of the control thread, which is the main thread.
fn control_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Start, format!("cannot start a runtime: {error}")))
}
