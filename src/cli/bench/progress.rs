//! A line on the terminal, once a second.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Arc;
use std::time::Duration;

use super::round::{Round, SECOND};

/// Whether somebody looks: standard error is a terminal, and a report in JSON does not go elsewhere.
pub(super) fn wanted(quiet: bool, json: bool) -> bool {
    !quiet && stderr().is_terminal() && (!json || stdout().is_terminal())
}

/// Shows how a round goes, until dropped by its caller.
pub(super) async fn show(name: &'static str, round: Arc<Round>) {
    let _cleared = Line;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut before = 0;
    loop {
        tick.tick().await;
        let (decisions, errors) = {
            let tally = round.tally();
            (tally.decisions(), tally.errors)
        };
        let (seconds, rate) = (round.now() / SECOND, decisions - before);
        before = decisions;
        let of = round.end().map(|end| format!(" of {}", end.div_ceil(SECOND))).unwrap_or_default();
        print(&format!("{name} {seconds}{of} s: {decisions} decisions, {rate}/s, errors: {errors}"));
    }
}

/// The line that is overwritten; gone when dropped, so that the report stands alone.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        print("");
    }
}

fn print(text: &str) {
    // Back to the begin, and erase.
    let _ = write!(stderr(), "\r\x1b[K{text}");
    let _ = stderr().flush();
}
