//! The command line: one file a command, and the exit codes.

/// Prints a line of a command's output. A reader that has gone, as behind `| head`, is no reason to panic.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arg)*);
    }};
}

mod bench;
mod check;
mod demo;
mod engine;
mod exit;
mod notify;
mod open_files;
mod run;
mod schema;
mod status;
mod value;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::{Exit, Failure, TABLE};

/// Decisions for HAProxy, from a gRPC service in any language.
///
/// A sidecar that speaks SPOP to HAProxy and gRPC to a decision service.
#[derive(Debug, Parser)]
#[command(name = "spop-bridge", version, after_help = TABLE, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    Demo(demo::Args),
    Notify(notify::Args),
    Status(status::Args),
    Bench(bench::Args),
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
        Command::Schema => {
            schema::run();
            Ok(())
        }
        Command::Demo(args) => demo::run(args),
        Command::Notify(args) => match matches.subcommand() {
            Some((_, matches)) => notify::run(args, matches),
            None => Ok(()),
        },
        Command::Status(args) => status::run(args),
        Command::Bench(args) => bench::run(args),
    };
    crate::telemetry::flush();
    match result {
        Ok(()) => Exit::Success.into(),
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                eprint(&message);
            }
            exit.into()
        }
    }
}

#[allow(clippy::print_stderr, reason = "why the command failed; a log may not exist yet")]
fn eprint(message: &str) {
    eprintln!("spop-bridge: {message}");
}

/// The runtime of the control thread, which is the main thread.
fn control_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Start, format!("cannot start a runtime: {error}")))
}
