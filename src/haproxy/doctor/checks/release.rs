//! Releases of HAProxy that are known to be bad for SPOE, and a keyword that came and went.

use super::super::case::{Case, Engine, event};
use super::super::finding::{self, Findings, Severity};
use super::super::line::Line;
use super::super::proxy::Proxy;
use super::super::settings::Settings;
use crate::haproxy::Version;

/// A release line, the first release without the fault, and the fault. docs/haproxy.md has what the bridge does about some.
const FAULTS: [(&str, u16, &str); 3] = [
    ("3.2", 5, "a NOTIFY without messages when no condition of an event holds (dc6e8dde2)"),
    ("3.2", 14, "requests stay in the queue until `timeout queue` (haproxy#3290)"),
    ("3.2", 20, "a loop after a 413 (haproxy#3425)"),
];

/// An action of 3.4 that takes headers from a variable, and the first release of 3.4 without its fault.
const HEADERS_BIN: [(&str, u16); 3] = [("set-headers-bin", 1), ("add-headers-bin", 1), ("del-headers-bin", 3)];
/// The line that had `filter-sequence`, and the first release of it that has it no more.
const FILTER_SEQUENCE: (Version, u16) = (Version::new(3, 4), 5);

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    faults(case, out);
    headers_bin(case, out);
    for (position, proxy) in case.config.proxies.iter().enumerate() {
        for line in proxy.lines().iter().filter(|line| line.is(&["filter-sequence"])) {
            filter_sequence(case, position, proxy, line, out);
        }
    }
}

fn headers_bin(case: &Case<'_>, out: &mut Findings) {
    let (release, Some(patch)) = case.version.release() else { return };
    if release != Version::new(3, 4) {
        return;
    }
    for line in case.config.all_lines() {
        let rules = matches!(line.get(0), Some("http-request" | "http-response" | "http-after-response"));
        let action = HEADERS_BIN.iter().find(|(action, fixed)| rules && line.get(1) == Some(action) && patch < *fixed);
        if let Some((action, fixed)) = action {
            out.add(
                &finding::KNOWN_BAD,
                line,
                format!("`{action}` of HAProxy {} may do what nobody wrote", case.version),
                format!(
                    "until {release}.{fixed} it reads the headers from memory that it writes to meanwhile (43932db85, be9e357f9)"
                ),
                format!("the latest {release}"),
            );
        }
    }
}

fn filter_sequence(case: &Case<'_>, position: usize, proxy: &Proxy, line: &Line, out: &mut Findings) {
    let (release, patch) = case.version.release();
    let fix = "the `filter` lines in the order in which they are to run";
    let known = release == FILTER_SEQUENCE.0 && patch.is_some_and(|patch| patch < FILTER_SEQUENCE.1);
    if !known {
        let what = format!("HAProxy {} does not know `filter-sequence`", case.version);
        out.add(&finding::FILTER_SEQUENCE, line, what, "only 3.4.0 to 3.4.4 do", fix);
        return;
    }
    let names = line.get(2).unwrap_or_default();
    let left_out = !names.split(',').any(|name| name == "spoe");
    let of_responses = line.get(1) == Some("response");
    let asked = |engine: &&Engine| {
        engine.uses.iter().any(|used| used.proxy == position)
            && engine.by_event().any(|message| event(message).known().is_some_and(|event| is_of_response(event) == of_responses))
    };
    match case.engines.iter().find(asked).filter(|_| left_out) {
        Some(engine) => out.add(
            &finding::EVENT_NEVER_FIRES,
            line,
            format!("the engine `{}` is never asked in {}: `filter-sequence` leaves it out", engine.name, proxy.title()),
            format!("HAProxy {} runs only filters that it names, and `spoe` is not among them", case.version),
            fix,
        ),
        None => {
            let what = "`filter-sequence` is known to 3.4.0 to 3.4.4 only";
            out.add_as(&finding::FILTER_SEQUENCE, Severity::Warning, line, what, "the next update of HAProxy refuses it", fix);
        }
    }
}

/// Whether an event is of the way from the server to the client.
fn is_of_response(event: &str) -> bool {
    matches!(event, "on-server-session" | "on-tcp-response" | "on-http-response")
}

fn faults(case: &Case<'_>, out: &mut Findings) {
    let (line, Some(patch)) = case.version.release() else { return };
    let faults = FAULTS.iter().filter(|(of, fixed, _)| *of == line.to_string() && patch < *fixed);
    let faults: Vec<_> = faults.map(|(_, fixed, fault)| format!("{fault}, until {line}.{fixed}")).collect();
    let used = case.engines.iter().find_map(|engine| engine.uses.first());
    if let (Some(used), false) = (used, faults.is_empty()) {
        out.add(
            &finding::KNOWN_BAD,
            &used.line,
            format!("HAProxy {} is known to be bad for SPOE", case.version),
            faults.join("; "),
            format!("the latest {line}"),
        );
    }
}
