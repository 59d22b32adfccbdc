//! Who may import whom: each folder of `src/` only what is to its right in the design.
//!
//! `main → cli → app → {worker, control} → {agent, bridge, admin} → grpc → tls → telemetry → config → {spop, pb, printable, protobuf, deadline, timer, shutdown}`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A folder or file of `src/`, and what it may name after `crate::`.
const ALLOWED: [(&str, &[&str]); 24] = [
    ("spop", &[]),
    ("pb", &[]),
    ("deadline", &[]),
    ("printable", &[]),
    ("protobuf", &[]),
    ("timer", &[]),
    ("shutdown", &[]),
    // What may block, on threads beside the others; files are read that way.
    ("aside", &[]),
    ("files", &["aside"]),
    // What a service author builds: nothing of the bridge.
    ("service", &["pb", "shutdown"]),
    ("config", &["spop", "printable"]),
    ("telemetry", &["config", "spop", "printable"]),
    ("tls", &["config", "printable", "files", "aside"]),
    ("haproxy", &["config", "spop"]),
    ("otlp", &["telemetry", "tls", "config", "aside"]),
    ("agent", &["spop", "shutdown", "timer", "telemetry::event", "telemetry::metrics", "telemetry::connections"]),
    (
        "bridge",
        &[
            "spop",
            "pb",
            "deadline",
            "config",
            "printable",
            "protobuf",
            "telemetry",
            "grpc::CallError",
            "grpc::Request",
            "grpc::Trail",
        ],
    ),
    ("grpc", &["pb", "protobuf", "deadline", "timer", "tls", "config", "telemetry", "aside"]),
    ("admin", &["grpc", "telemetry", "config", "printable"]),
    // What benchmarks and fuzz targets reach: the translation alone.
    (
        "internals",
        &["bridge::request", "bridge::response", "grpc::item", "grpc::Request", "config", "telemetry::TraceContext", "spop"],
    ),
    ("worker", &["agent", "bridge", "grpc", "tls", "telemetry", "config", "spop", "pb", "deadline", "shutdown"]),
    (
        "app",
        &[
            "worker",
            "control",
            "agent",
            "bridge",
            "admin",
            "grpc",
            "tls",
            "telemetry",
            "config",
            "spop",
            "pb",
            "deadline",
            "shutdown",
            "aside",
            "files",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "control",
            "haproxy",
            "otlp",
            "agent",
            "service",
            "tls",
            "telemetry",
            "config",
            "spop",
            "pb",
            "printable",
            "deadline",
            "shutdown",
            "aside",
            "files",
        ],
    ),
    (
        "control",
        &["aside", "files", "agent", "bridge", "grpc", "tls", "telemetry", "config", "spop", "pb", "deadline", "shutdown"],
    ),
];

#[test]
fn modules_import_to_their_right_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_string();
        if ["lib", "main"].contains(&&module[..]) {
            continue;
        }
        let (_, allowed) = ALLOWED.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("no rule for src/{module}"));
        for file in rust_files(&path) {
            let text = std::fs::read_to_string(&file).unwrap();
            for import in imports(&text) {
                let own = within(&import, &module);
                if !own && !allowed.iter().any(|allowed| within(&import, allowed)) {
                    wrong.push(format!("{}: crate::{import}", file.strip_prefix(&source).unwrap().display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not to their right:\n{}", wrong.join("\n"));
}

/// The protocol knows no sockets, no runtime, no clock and no log.
#[test]
fn spop_is_pure() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spop");
    for file in rust_files(&source) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = code_lines(&text).collect::<Vec<_>>().join("\n");
        for word in ["tokio", "tracing", "std::net::Tcp", "std::io", "std::fs", "Instant::now", "SystemTime", "std::thread"] {
            assert!(!code.contains(word), "{}: {word}", file.display());
        }
    }
}

fn within(import: &str, module: &str) -> bool {
    import == module || import.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
}

/// What tests name is their own affair.
fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name == "tests" || name == "testing")
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| !is_test(path)).flat_map(|path| rust_files(&path));
    files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// Lines before the tests, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines.filter(|line| !line.trim_start().starts_with("//"))
}

/// What follows `crate::` anywhere in the code, groups in braces taken apart one level.
fn imports(text: &str) -> BTreeSet<String> {
    let code = code_lines(text).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
        match rest[path.len()..].strip_prefix('{') {
            // `crate::telemetry::{event, Count}`.
            Some(group) => {
                let group = &group[..group.find('}').unwrap_or(group.len())];
                let names = group.split(',').map(|name| name.trim().split([':', ' ', '{']).next().unwrap_or_default());
                found.extend(names.filter(|name| !name.is_empty()).map(|name| format!("{path}{name}")));
            }
            None => _ = found.insert(path),
        }
    }
    found
}
