//! What commands print. Its reader may go away in the middle, as `head` does, and its disk may be full.

use std::fmt;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::sync::OnceLock;

use super::exit::{Exit, Failure};

/// Why the first part of the output that is missing could not be written.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// Prints to standard output.
pub(super) fn print(text: fmt::Arguments<'_>) {
    keep(stdout().write_fmt(text));
}

/// Prints what is more than a line.
pub(super) fn write(bytes: &[u8]) {
    keep(stdout().write_all(bytes));
}

/// Prints to standard error why a command fails, or what it warns of. With nobody to read it the exit code has to do.
pub(super) fn complain(message: impl fmt::Display) {
    let _ = writeln!(stderr(), "spop-bridge: {message}");
}

/// Whether all of the output has been written. A reader that has seen enough is none of a command's business.
///
/// # Errors
/// When some of it was lost otherwise.
pub(super) fn finish() -> Result<(), Failure> {
    keep(stdout().flush());
    match BROKEN.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

fn keep(result: io::Result<()>) {
    if let Err(error) = result {
        let _ = BROKEN.set(error);
    }
}
