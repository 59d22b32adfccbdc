//! `haproxy generate`: what it prints and writes, and when it does not.

use super::{code, file, spop_bridge};

const CONFIG: &str = "backends: { decisions: { endpoints: [\"http://127.0.0.1:50051\"] } }\n\
                      routes: [{ messages: [check-request], backend: decisions, haproxy: {} }]\n";

fn generate(text: &str, more: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let config = file(directory.path(), text);
    spop_bridge(&[&["haproxy", "generate", "--config", config.to_str().unwrap()], more].concat())
}

#[test]
fn prints_the_parts_with_their_names() {
    let (exit, out, err) = generate(CONFIG, &[]);
    assert_eq!((exit, &err[..]), (code::SUCCESS, ""));
    let places =
        ["# spoe.cfg #", "spoe-agent bridge", "# backend.cfg #", "\nbackend spop-bridge", "# rules.cfg #", "filter spoe"];
    let places: Vec<_> = places.iter().map(|part| out.find(part).unwrap_or_else(|| panic!("{part} in {out}"))).collect();
    assert!(places.is_sorted(), "{out}");
    let (exit, out, _) = generate(CONFIG, &["--only", "backend", "--haproxy-version", "3.0.11-1"]);
    assert!(exit == code::SUCCESS && out.contains("mode tcp") && !out.contains("spoe-agent"), "{out}");
}

/// What a newer line changed is not known: it is taken for the newest that is, and that is said.
#[test]
fn newer_lines_are_taken_with_a_warning() {
    let says = |version: &str| {
        let (exit, out, err) = generate(CONFIG, &["--haproxy-version", version]);
        assert!(exit == code::SUCCESS && out.contains("mode spop"), "{err}");
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().to_str().unwrap();
        assert_eq!(generate(CONFIG, &["--output", output]).0, code::SUCCESS);
        let doctor = ["haproxy", "doctor", &format!("{output}/haproxy.cfg"), "--haproxy-version", version];
        let (exit, out, doctors) = spop_bridge(&doctor);
        assert_eq!(exit, code::SUCCESS, "{out}");
        assert_eq!(err, doctors);
        err
    };
    for known in ["3.1", "3.2.26", "3.3", "3.3.10-1", "3.4", "3.4.7-1"] {
        assert_eq!(says(known), "", "{known}");
    }
    for newer in ["3.5-dev5", "3.5.1", "4.0"] {
        assert!(says(newer).contains("is newer than 3.4"), "{newer}");
    }
    assert_eq!(generate(CONFIG, &["--haproxy-version", "2.10"]).0, code::USAGE);
}

#[test]
fn writes_files_and_replaces_none_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new");
    let output = ["--output", folder.to_str().unwrap()];
    let (exit, out, err) = generate(CONFIG, &output);
    assert_eq!((exit, &err[..], out.lines().count()), (code::SUCCESS, "", 4), "{out}");
    let files = ["spoe.cfg", "backend.cfg", "rules.cfg", "haproxy.cfg"].map(|name| folder.join(name));
    assert!(files.iter().all(|file| file.metadata().unwrap().len() > 100));

    std::fs::write(&files[2], "mine").unwrap();
    std::fs::remove_file(&files[0]).unwrap();
    let (exit, _, err) = generate(CONFIG, &output);
    assert!(exit == code::FAILED && err.contains("--force"), "{err}");
    assert_eq!(std::fs::read_to_string(&files[2]).unwrap(), "mine");
    assert!(!files[0].exists(), "all or nothing");
    assert_eq!(generate(CONFIG, &[&output[..], &["--force"]].concat()).0, code::SUCCESS);
    assert!(files[0].exists() && std::fs::read_to_string(&files[2]).unwrap().contains("filter spoe"));
}

#[test]
fn says_what_to_do_when_there_is_nothing_to_write() {
    let (exit, out, err) = generate(&CONFIG.replace(", haproxy: {}", ""), &[]);
    assert_eq!((exit, &out[..]), (code::CONFIG, ""));
    assert!(err.contains("haproxy: {}") && err.contains("backend: decisions"), "{err}");
    let (exit, _, err) = generate(&CONFIG.replace("check-request", "'check-*'"), &[]);
    assert!(exit == code::CONFIG && err.contains("routes[0].messages[0]: found check-*, expected exact names"), "{err}");
    assert_eq!(generate(CONFIG, &["--haproxy-version", "1.8"]).0, code::USAGE);
    assert_eq!(generate(CONFIG, &["--server", "nowhere"]).0, code::USAGE);
    assert_eq!(generate(CONFIG, &["--force"]).0, code::USAGE);
}

/// The key of a certificate lies where the bridge runs, and need not be here.
#[test]
fn files_of_the_bridge_need_not_be_here() {
    let tls = "listeners: [{ bind: \"0.0.0.0:9000\", tls: { certificate: /none/tls.crt, key: /none/tls.key } }]\n";
    let (exit, out, err) = generate(&format!("{tls}{CONFIG}"), &["--only", "backend"]);
    assert!(exit == code::SUCCESS && out.contains("ssl verify required ca-file CHANGE-ME"), "{out}");
    assert_eq!(err.lines().count(), 2, "what stands there for what is not known: {err}");
}

/// What docs/haproxy.md shows is what comes out, in that order.
#[test]
fn the_documentation_shows_what_is_printed() {
    let text = include_str!("../../../docs/haproxy.md");
    let block = |language: &str| {
        let start = format!("```{language}\n");
        text.split(start.as_str()).nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_else(|| panic!("no {language}"))
    };
    let (exit, out, _) = generate(block("yaml"), &["--haproxy-version", "3.2"]);
    assert_eq!(exit, code::SUCCESS);
    let mut printed = out.lines();
    for shown in block("haproxy").lines().filter(|line| line.trim() != "...") {
        assert!(printed.any(|line| line == shown), "{shown:?} is not there in {out}");
    }
}
