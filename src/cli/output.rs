//! What commands print. Its reader may go away in the middle, as `head` does, and its disk may be full.

use std::fmt;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::sync::OnceLock;

use super::exit::{Exit, Failure};
use crate::printable::{PrintableLines, printable_json, without_passwords};

/// Why the first part of the output that is missing could not be written.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// Prints to standard output.
pub(super) fn print(text: fmt::Arguments<'_>) {
    keep(stdout().write_fmt(text));
}

/// Prints JSON. Text of others in it does nothing to a terminal, and is the same for programs.
pub(super) fn say_json(json: impl fmt::Display) {
    write(format!("{}\n", printable_json(&json.to_string())).as_bytes());
}

/// Prints bytes as they are.
pub(super) fn write(bytes: &[u8]) {
    keep(stdout().write_all(bytes));
}

/// Prints to standard error why a command fails, or what it warns of. With nobody to read it the exit code has to do.
pub(super) fn complain(message: impl fmt::Display) {
    let _ = writeln!(stderr(), "spop-bridge: {}", PrintableLines(without_passwords(&message.to_string())));
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
