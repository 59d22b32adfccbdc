//! What the process tells its caller.

use std::process::ExitCode;

/// The table of exit codes, as `--help` shows it.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  success
  1  failed while running; status: the bridge is not ready; haproxy doctor: errors were found
  2  wrong use of the command line
  3  the configuration is invalid; haproxy doctor: a file cannot be read
  4  cannot start: an address cannot be bound, a right is missing
  5  notify, bench, status: the other side refused, went away, or broke the protocol
  6  notify, bench, status: no answer in time
  7  bench: an ACK does not hold what --expect says"
    };
}
pub(super) use exit_codes;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Success = 0,
    Failed = 1,
    Usage = 2,
    Config = 3,
    Start = 4,
    Refused = 5,
    NoAnswer = 6,
    Mismatch = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: what to print, and the code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl ToString) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// With nothing to say that has not been printed.
    pub(super) fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }
}
