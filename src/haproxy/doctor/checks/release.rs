//! Releases of HAProxy that are known to be bad for SPOE.

use super::super::case::Case;
use super::super::finding::{self, Findings};

/// A release line, the first release without the fault, and the fault. docs/haproxy.md has what the bridge does about some.
const FAULTS: [(&str, u16, &str); 3] = [
    ("3.2", 5, "a NOTIFY without messages when no condition of an event holds (dc6e8dde2)"),
    ("3.2", 14, "requests stay in the queue until `timeout queue` (haproxy#3290)"),
    ("3.2", 20, "a loop after a 413 (haproxy#3425)"),
];

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
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
