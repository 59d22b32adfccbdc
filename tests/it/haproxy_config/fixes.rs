//! The fixes that `haproxy doctor` proposes, carried out: HAProxy takes the file, the doctor is content with it, and a request gets
//! what it got before, or what the fix promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use spop_bridge::pb::v1::value::Kind;
use tempfile::TempDir;

use super::doctor::{Case, cases, report_in};
use crate::support::bridge::Bridge;
use crate::support::free_address;
use crate::support::haproxy::{Haproxy, Setup, find_or_skip};
use crate::support::http::get;
use crate::support::service::{Answer, Service, set_txn};

/// Findings with cases in which the fix is the operator's to make, each with the reason.
const PROSE: [(&str, &str); 39] = [
    ("abstract-socket", "the bridge has to listen elsewhere"),
    ("arguments", "what is meant is not there; only words too many can be left out"),
    ("body-not-there", "a response waits for its body only before a group"),
    ("body-size", "responses have no size that HAProxy knows"),
    ("bridge-address", "the other side is the bridge's file"),
    ("bridge-frame", "the other side is the bridge's file"),
    ("bridge-prefix", "the other side is the bridge's file"),
    ("bridge-warning", "the other side is the bridge's file"),
    ("chroot-socket", "the bridge has to listen elsewhere, unless the path is inside already"),
    ("duplicate", "which of two sections is meant is not there"),
    ("engine-scope", "either name may be the right one"),
    ("error-not-read", "who is to know of errors, log or rule, is a decision"),
    ("event-never-fires", "the filter has to go elsewhere, unless backends have the event"),
    ("filter-sequence", "the order of filters is a decision"),
    ("forged-header", "where a client may send it is a decision"),
    ("name-too-long", "a name is a decision"),
    ("no-check", "`no-check` is somebody's decision"),
    ("no-filter", "which frontend is to ask, and when, is a decision"),
    ("no-server", "the address is not there"),
    ("not-checked", "HAProxy's environment is not there"),
    ("other-engine", "the filter has to go elsewhere, unless the proxy has one engine"),
    ("prefix-overlap", "another prefix goes with the names that rules read"),
    ("raw-path", "which spelling is meant is a decision"),
    ("read-too-early", "an earlier event is a decision, unless the rule can go further down"),
    ("server-maxconn", "`default-server` or another section may have it"),
    ("set-too-late", "where the variable can be set is a decision"),
    ("socket-rights", "users and groups are the system's"),
    ("spoe-file", "the file is not there"),
    ("stale-verdict", "the service has to set it in another scope"),
    ("syntax", "what is meant is not there"),
    ("unknown-acl", "what is meant is not there"),
    ("unknown-group", "the group is not there, unless it is merely not listed"),
    ("unknown-keyword", "what is meant is not there"),
    ("unknown-message", "the message is not there"),
    ("unrouted", "the other side is the bridge's file"),
    ("use-backend", "the backend is not there"),
    ("var-prefix", "the names that rules read go with it"),
    ("var-scope", "the service has to set it in another scope, unless it is HAProxy's own"),
    ("wrong-check", "which port answers is not there"),
];

/// What a request gets while the service allows, while it denies, while the agent is away, and while only the first of several
/// verdicts is there.
type Outcome = [u16; 4];

/// What carrying out a fix must come to.
enum Promise {
    /// The same as before.
    Same,
    /// The same while there are verdicts, and refused without.
    RefusedAway,
    /// The same while there are verdicts, and served without.
    ServedAway,
    /// What it was before is what was wrong; then the service decides.
    Decides,
}

fn promise(finding: &Value) -> Promise {
    match finding["id"].as_str().unwrap() {
        "fails-open" => Promise::RefusedAway,
        "fails-closed" => Promise::ServedAway,
        // Names and listeners of a configuration that is not the bridge's here.
        _ if finding["severity"] == "error" => Promise::Decides,
        _ => Promise::Same,
    }
}

/// The bridge and its service, for all configurations of a line.
struct Decisions {
    allow: Arc<AtomicBool>,
    /// The answer has one verdict, not all of them.
    one: Arc<AtomicBool>,
    _service: Service,
    bridge: Bridge,
}

impl Decisions {
    fn start() -> Decisions {
        let allow = Arc::new(AtomicBool::new(true));
        let one = Arc::new(AtomicBool::new(false));
        let (says, alone) = (Arc::clone(&allow), Arc::clone(&one));
        let service = Service::start(move |_| {
            let allow = says.load(Ordering::SeqCst);
            let text = |pass: &str, deny: &str| Kind::StringValue(if allow { pass } else { deny }.into());
            let number = |pass, deny| Kind::Int64Value(if allow { pass } else { deny });
            let mut actions = vec![
                set_txn("allow", Kind::BoolValue(allow)),
                set_txn("block", Kind::BoolValue(!allow)),
                set_txn("action", text("pass", "deny")),
                set_txn("reason", text("fine", "tor")),
                set_txn("fail", number(0, 1)),
                set_txn("score", number(7, 90)),
            ];
            if alone.load(Ordering::SeqCst) {
                actions.truncate(1);
            }
            Answer::Actions(actions)
        });
        let bridge = Bridge::simple(service.uri(), "5s");
        Decisions { allow, one, _service: service, bridge }
    }

    fn outcome(&self, binary: &Path, folder: &Path) -> Outcome {
        let haproxy = Haproxy::start(binary, self.bridge.address(), &setup(folder));
        // A connection that is closed has no status.
        let status = || get("/").try_send(haproxy.frontend()).map_or(0, |reply| reply.status);
        // First without the agent: connections that are there outlive its server's maintenance.
        haproxy.command("set server spop-bridge/bridge1 state maint");
        let away = status();
        haproxy.command("set server spop-bridge/bridge1 state ready");
        let [allowed, denied] = [true, false].map(|allow| {
            self.allow.store(allow, Ordering::SeqCst);
            status()
        });
        self.allow.store(true, Ordering::SeqCst);
        self.one.store(true, Ordering::SeqCst);
        let partly = status();
        self.one.store(false, Ordering::SeqCst);
        [allowed, denied, away, partly]
    }
}

/// A case's files for a HAProxy of the tests, with the patience of a busy machine.
fn setup(folder: &Path) -> Setup {
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let times = ["timeout processing 100ms", "timeout hello 500ms", "timeout connect 200ms"];
        let text = times.iter().fold(text, |text, time| text.replace(time, &format!("{} 5s", time.rsplit_once(' ').unwrap().0)));
        text.replace("inter 1s fastinter 200ms", "inter 1m fastinter 1m")
    };
    let text = read("haproxy.cfg");
    let (global, proxies) = text.split_once("\ndefaults").unwrap();
    let global = global.lines().skip_while(|line| *line != "global").skip(1);
    let global: Vec<_> = global.filter(|line| !line.contains("default-path") && !line.contains("log stdout")).collect();
    let proxies = format!("defaults{proxies}")
        .replace("127.0.0.1:8080", "$FE")
        .replace("127.0.0.1:8081", &free_address().to_string())
        .replace("127.0.0.1:9000", "$BRIDGE")
        .replace("config spoe.cfg", "config $DIR/spoe.cfg")
        .replace("actions.map", folder.join("actions.map").to_str().unwrap());
    let global = global.join("\n").replace("presetenv FOLDER .", "presetenv FOLDER $DIR");
    Setup { proxies, spoe: read("spoe.cfg"), global, master: false }
}

/// A copy of a case with the edits of a fix.
fn fixed(case: &Case, edits: &[Value]) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&case.folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let own: Vec<_> = edits.iter().filter(|edit| edit["file"].as_str().unwrap().trim_start_matches("./") == name).collect();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(copy.path().join(&name), edited(&text, &own)).unwrap();
    }
    copy
}

fn edited(text: &str, edits: &[&Value]) -> String {
    let mut all = String::new();
    for (index, line) in text.lines().enumerate() {
        let of = |change: &str| {
            let own = edits.iter().filter(|edit| edit["line"] == index + 1 && edit["change"] == *change);
            own.map(|edit| edit["text"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let (replaced, removed) = (of("replace"), !of("remove").is_empty());
        let own = if replaced.is_empty() && !removed { vec![line.to_owned()] } else { replaced };
        for line in [of("before"), own, of("after")].into_iter().flatten() {
            all.push_str(&line);
            all.push('\n');
        }
    }
    all
}

fn takes(binary: &Path, folder: &Path) -> Result<(), String> {
    let output = Command::new(binary).args(["-c", "-f", "haproxy.cfg"]).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn findings(folder: &Path, line: &str) -> Vec<Value> {
    report_in(folder, line).1["findings"].as_array().unwrap().clone()
}

fn all_cases() -> impl Iterator<Item = Case> {
    cases("broken").into_iter().chain(cases("good"))
}

/// The findings of a case that have edits, those of a kind together: one rule that is right does not help beside one that is not.
fn kinds(all: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for finding in all.iter().filter(|finding| finding["edits"].as_array().is_some_and(|edits| !edits.is_empty())) {
        kinds.entry(finding["id"].as_str().unwrap().to_owned()).or_default().push(finding);
    }
    kinds
}

/// Each fix that is an edit, on one release line of HAProxy.
fn fixes_of(line: &str) {
    let Some(binary) = find_or_skip("haproxy_config::fixes", line) else { return };
    let decisions = Decisions::start();
    let mut wrong = Vec::new();
    let here = |case: &Case| case.haproxy.iter().any(|(own, _)| own == line) && !case.finds.contains("not-checked");
    for case in all_cases().filter(here) {
        let all = findings(&case.folder, line);
        for (id, found) in kinds(&all) {
            let mut edits: Vec<Value> = Vec::new();
            for edit in found.iter().flat_map(|finding| finding["edits"].as_array().unwrap()) {
                if !edits.contains(edit) {
                    edits.push(edit.clone());
                }
            }
            let copy = fixed(&case, &edits);
            let name = format!("{} ({line}) {id}", case.folder.file_name().unwrap().display());
            let same = |other: &Value| found.iter().any(|one| other["id"] == one["id"] && other["what"] == one["what"]);
            if findings(copy.path(), line).iter().any(same) {
                wrong.push(format!("{name}: found again after its fix: {edits:?}"));
            }
            // What else is refused has a fix of its own.
            if all.iter().any(|finding| finding["haproxy"] == "refuses it" && finding["id"] != *id) {
                continue;
            }
            if let Err(said) = takes(&binary, copy.path()) {
                wrong.push(format!("{name}: refused after its fix: {edits:?}\n{said}"));
                continue;
            }
            // Notes that every case has, such as `tcp-mode`, are tried where they are what it's about.
            let text = std::fs::read_to_string(case.folder.join("haproxy.cfg")).unwrap();
            if !case.finds.contains(&id) || !text.contains("server bridge1 127.0.0.1:9000") {
                continue;
            }
            let after = decisions.outcome(&binary, copy.path());
            let was = || decisions.outcome(&binary, &case.folder);
            let promise = promise(found[0]);
            let was = if matches!(promise, Promise::Decides) { after } else { was() };
            let (same, flips) = (after[..2] == was[..2], |at: usize, before: bool| {
                (was[at] == was[0]) == before && (after[at] == after[0]) != before
            });
            let kept = match promise {
                Promise::Same => after == was,
                Promise::RefusedAway => same && (flips(2, true) || flips(3, true)),
                Promise::ServedAway => same && flips(2, false),
                Promise::Decides => after[0] == 200 && after[1] != 200,
            };
            if !kept {
                wrong.push(format!("{name}: {was:?} became {after:?}: {edits:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keep_what_is_meant_on_2_6() {
    fixes_of("2.6");
}

#[test]
fn keep_what_is_meant_on_2_8() {
    fixes_of("2.8");
}

#[test]
fn keep_what_is_meant_on_3_0() {
    fixes_of("3.0");
}

#[test]
fn keep_what_is_meant_on_3_2() {
    fixes_of("3.2");
}

#[test]
fn keep_what_is_meant_on_3_4() {
    fixes_of("3.4");
}

/// A fix that only people can make has a reason, and each reason has a case.
#[test]
fn prose_is_where_a_decision_is() {
    let mut bare: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for case in all_cases() {
        for (line, _) in &case.haproxy {
            for finding in findings(&case.folder, line) {
                if finding["edits"].as_array().unwrap().is_empty() {
                    let cases = bare.entry(finding["id"].as_str().unwrap().to_owned()).or_default();
                    cases.insert(case.folder.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
    }
    let argued: BTreeSet<_> = PROSE.iter().map(|(id, _)| *id).collect();
    let unargued: Vec<_> = bare.iter().filter(|(id, _)| !argued.contains(&***id)).collect();
    let unused: Vec<_> = argued.iter().filter(|id| !bare.contains_key(**id)).collect();
    assert!(unargued.is_empty() && unused.is_empty(), "without a reason: {unargued:?}, without a case: {unused:?}");
}
