//! What the repository shows is as safe as its best example: `/admin` gets the same answer however a client writes it, with the service up,
//! with the service gone and with the bridge gone; and without a verdict nothing passes unless the text says that it fails open.
//!
//! Configurations are found by walking the repository, so that a new example is held to it, too.

mod found;
mod scene;

use std::fs;

use self::found::{Found, configurations, is_bridge, line, sources};
pub(crate) use self::scene::PATHS;
use self::scene::{Statuses, run};
use crate::support::bridge::command;
use crate::support::figure;
use crate::support::haproxy::LINES;

/// What cannot be run as it stands, and why.
const NOT_RUN: [(&str, &str); 4] = [
    ("docs/haproxy.md", "an excerpt of what `haproxy generate` prints, which is run whole"),
    ("deploy/helm/spop-bridge/files/haproxy.cfg", "a template of Helm's; deploy/kustomize/base/sidecar has what becomes of it"),
    ("deploy/ingress/haproxy-ingress", "half of a file, run where the controller puts it by tests/deploy/test_ingress.py"),
    ("deploy/ingress/haproxytech", "the same"),
];

/// What lets pass without a verdict, and says so.
const FAILS_OPEN: [(&str, &str); 2] = [
    ("docs/how-to/rate-limit.md", "a limit that is down should not take the site with it"),
    ("docs/how-to/ab-routing.md", "nothing is denied, another backend is chosen"),
];

fn is_listed(list: &[(&str, &str)], file: &str) -> bool {
    list.iter().any(|(start, _)| file.starts_with(start))
}

/// One release for each: those with `mode spop`, or any.
fn release_for(found: &Found, position: usize) -> &'static str {
    let lines: Vec<_> = if found.main.contains("mode spop") {
        LINES.into_iter().filter(|line| !["2.6", "2.8", "3.0"].contains(line)).collect()
    } else {
        LINES.to_vec()
    };
    lines[position % lines.len()]
}

fn hold(found: &Found, release: &str) {
    let Some(Statuses { up, service_gone, bridge_gone }) = run(found, release) else { return };
    let what = format!("{}, HAProxy {release}", found.file);
    figure(&what, format_args!("{} {} {}", up[0], service_gone[0], bridge_gone[0]));
    for (state, statuses) in [("up", &up), ("the service gone", &service_gone), ("the bridge gone", &bridge_gone)] {
        assert!(statuses.iter().all(|status| *status == statuses[0]), "{what}, {state}: {statuses:?} for {PATHS:?}");
    }
    if is_listed(&FAILS_OPEN, &found.file) {
        assert_eq!(bridge_gone[0], 200, "{what} is said to fail open");
    } else {
        assert!([401, 403, 429].contains(&up[0]), "{what}: {up:?}");
        assert_eq!(bridge_gone[0], 503, "{what}: no verdict");
    }
}

#[test]
fn every_configuration_shown_answers_alike_however_a_path_is_written() {
    let all = configurations();
    for (start, _) in NOT_RUN.iter().chain(&FAILS_OPEN) {
        assert!(all.iter().any(|found| found.file.starts_with(start)), "{start} is listed and not there");
    }
    let run: Vec<_> = all.iter().filter(|found| !is_listed(&NOT_RUN, &found.file)).collect();
    assert!(run.len() >= 12, "{:?}", run.iter().map(|found| &found.file).collect::<Vec<_>>());
    for (position, found) in run.into_iter().enumerate() {
        hold(found, release_for(found, position));
    }
}

/// What `haproxy generate` makes of the configurations that pages show.
#[test]
fn every_generated_configuration_answers_alike_however_a_path_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    let mut tried = 0;
    for source in sources().into_iter().filter(|source| is_bridge(&source.text) && source.text.contains(" haproxy: ")) {
        let release = LINES[tried % LINES.len()];
        fs::write(&file, &source.text).unwrap();
        let mut generate = command();
        generate.args(["haproxy", "generate", "--force", "--haproxy-version", release, "--config"]).arg(&file);
        let output = generate.arg("--output").arg(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", source.file);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let found = Found {
            file: format!("{}, generated", source.file),
            main: read("haproxy.cfg"),
            spoe: read("spoe.cfg"),
            bridge: Some(source.text),
        };
        hold(&found, release);
        tried += 1;
    }
    assert!(tried >= 2, "{tried}");
}

/// Also in what is no whole configuration: single rules, and the args of messages.
#[test]
fn no_rule_shown_compares_a_path_as_it_was_written() {
    // What a path that is written otherwise gains nothing by: it is not let through by them.
    let harmless = [
        "http-request use-service prometheus-exporter if { path /metrics }",
        "acl public path /health",
        "acl public path_reg ^/public/[a-z0-9][a-z0-9.-]*$",
    ];
    let raw =
        ["path_", "path -", "{ path ", "pathq", "url_beg", "url_dir", "url_sub", "url_reg", "{ url ", "base_", "acl public path"];
    let mut wrong = Vec::new();
    for source in sources() {
        let is_haproxys =
            ["args ", "http-re", "acl ", "event ", "tcp-re"].iter().any(|start| line(&source.text, start).is_some());
        if !is_haproxys || is_bridge(&source.text) {
            continue;
        }
        for line in source.text.lines().map(str::trim).filter(|line| !line.starts_with('#') && !harmless.contains(line)) {
            let compares = ["http-re", "acl ", "event ", "tcp-re", "use_backend"].iter().any(|start| line.starts_with(start));
            let compares = compares && raw.iter().any(|raw| line.contains(raw));
            let sends =
                line.starts_with("args ") && line.split_whitespace().any(|word| word == "path" || word.ends_with("=path"));
            if compares || sends {
                wrong.push(format!("{}: {line}", source.file));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// The bridge's own files: `check` has no warning for any of them.
#[test]
fn every_configuration_of_the_bridge_checks_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    let mut tried = 0;
    for source in sources().into_iter().filter(|source| is_bridge(&source.text)) {
        let mut config: serde_json::Value = serde_saphyr::from_str(&source.text).unwrap();
        // Their certificates are elsewhere.
        let sections = ["listeners", "backends"].into_iter();
        for part in sections.flat_map(|key| config.get(key).cloned().map(|_| key)).collect::<Vec<_>>() {
            let parts = &mut config[part];
            let parts: Vec<_> = match parts {
                serde_json::Value::Array(parts) => parts.iter_mut().collect(),
                serde_json::Value::Object(parts) => parts.values_mut().collect(),
                _ => Vec::new(),
            };
            parts.into_iter().filter_map(|part| part.as_object_mut()).for_each(|part| _ = part.remove("tls"));
        }
        let text = config.to_string().replace("https://", "http://");
        fs::write(&file, text).unwrap();
        let output = command().arg("check").arg("--config").arg(&file).env("DECISIONS_TOKEN", "t").output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && !said.contains("warning"), "{}: {said}", source.file);
        tried += 1;
    }
    assert!(tried >= 14, "{tried}");
}
