//! What peers, services and DNS servers bring about must not fill a disk: each kind of line that they can cause goes through a throttle.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// Happenings that only the operator brings about.
const OF_THE_OPERATOR: [&str; 4] = ["ConfigReloaded", "ConfigRefused", "Listening", "NotFlushed"];

/// Files outside of `telemetry/event/` with lines of their own. Each is about what the operator, the operating system or the start and the
/// end of the process bring about.
const OTHERS: [&str; 15] = [
    "src/admin/routes.rs",
    "src/app/admin.rs",
    "src/app/listener.rs",
    "src/app/mod.rs",
    "src/app/reload.rs",
    // Looked at once a second, and told when that changes.
    "src/app/socket.rs",
    "src/app/systemd.rs",
    "src/cli/open_files.rs",
    "src/cli/run.rs",
    "src/control/mod.rs",
    "src/control/stop.rs",
    "src/control/watch.rs",
    "src/otlp/export.rs",
    "src/otlp/mod.rs",
    // Panics, throttled as well.
    "src/telemetry/log.rs",
];

const LEVELS: [&str; 5] = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];

fn says_something(code: &str) -> bool {
    LEVELS.iter().any(|level| {
        code.match_indices(level).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    })
}

/// The code of a file, without its tests.
fn code(path: &Path) -> String {
    let text = read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

fn source() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(&root.join("src"), &mut found);
    found.into_iter().map(|path| (path.strip_prefix(root).unwrap().display().to_string(), path)).collect()
}

#[test]
fn every_happening_of_others_is_throttled() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for (name, path) in source().into_iter().filter(|(name, _)| name.starts_with("src/telemetry/event/")) {
        for part in code(&path).split("\nimpl ").skip(1) {
            let happening: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !says_something(part) && !part.contains("detail!(") || OF_THE_OPERATOR.contains(&&*happening) {
                continue;
            }
            seen += 1;
            if !part.contains(".admit()") && !part.contains("Throttle::admit") && !part.contains("detail!(") {
                wrong.push(format!("{name}: {happening}"));
            }
        }
    }
    assert!(seen > 20, "{seen} happenings were found");
    assert!(
        wrong.is_empty(),
        "these lines need a throttle, or stand for something that only the operator brings about: {wrong:#?}"
    );
}

#[test]
fn nothing_else_speaks_of_what_others_bring_about() {
    let speaks = |path: &Path| {
        let code = code(path);
        code.contains("tracing::") && says_something(&code)
    };
    let found = source().into_iter().filter(|(name, _)| !name.starts_with("src/telemetry/event/"));
    let found: Vec<_> = found.filter(|(_, path)| speaks(path)).map(|(name, _)| name).collect();
    let unknown: Vec<_> = found.iter().filter(|name| !OTHERS.contains(&name.as_str())).collect();
    assert!(
        unknown.is_empty(),
        "if others can bring it about, make it a happening of telemetry::event with a throttle: {unknown:#?}"
    );
    let gone: Vec<_> = OTHERS.iter().filter(|name| !found.iter().any(|found| found == *name)).collect();
    assert!(gone.is_empty(), "no longer needed in the list: {gone:#?}");
}
