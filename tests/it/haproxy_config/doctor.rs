//! `haproxy doctor` on a corpus of configurations, good and broken, and what HAProxy itself says of them; and that what it finds is
//! true, with HAProxy running.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::bridge::{Bridge, command};
use crate::support::haproxy::{ALL_LINES, Haproxy, Setup, find_or_skip};
use crate::support::http::{get, post};
use crate::support::service::Service;

pub(super) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the first comment lines of a configuration say: which findings there are, and what releases of HAProxy say.
pub(super) struct Case {
    pub(super) folder: PathBuf,
    pub(super) finds: BTreeSet<String>,
    /// A release line, and `refuses`, `warns` or `silent`.
    pub(super) haproxy: Vec<(String, String)>,
}

pub(super) fn cases(kind: &str) -> Vec<Case> {
    let folders = std::fs::read_dir(repository("tests/corpus/haproxy").join(kind)).unwrap();
    let mut cases: Vec<_> = folders.map(|entry| case(entry.unwrap().path())).collect();
    cases.sort_by(|a, b| a.folder.cmp(&b.folder));
    cases
}

fn case(folder: PathBuf) -> Case {
    let text = std::fs::read_to_string(folder.join("haproxy.cfg")).unwrap();
    let mut lines = text.lines();
    let finds = lines.next().and_then(|line| line.strip_prefix("# finds:")).expect("ids in the first line");
    let says = lines.next().and_then(|line| line.strip_prefix("# haproxy ")).expect("HAProxy's word in the second line");
    let haproxy: Vec<_> = says.split("; ").flat_map(each_says).collect();
    let lines: Vec<_> = haproxy.iter().map(|(line, _)| &line[..]).collect();
    let (applet, mux) = ALL_LINES.split_at(3);
    assert!([&ALL_LINES, applet, mux].contains(&&lines[..]), "{}: a line is missing, of {ALL_LINES:?}", folder.display());
    Case { folder, finds: finds.split_whitespace().map(str::to_owned).collect(), haproxy }
}

/// Of `2.6 3.0: warns`, each line with the word.
fn each_says(text: &str) -> Vec<(String, String)> {
    let (lines, says) = text.split_once(": ").unwrap();
    lines.split_whitespace().map(|line| (line.to_owned(), says.to_owned())).collect()
}

fn doctor(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = command().current_dir(folder).args(["haproxy", "doctor"]).args(arguments).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn report(case: &Case, version: &str) -> (i32, Value) {
    report_in(&case.folder, version)
}

pub(super) fn report_in(folder: &Path, version: &str) -> (i32, Value) {
    let mut arguments = vec!["haproxy.cfg", "--haproxy-version", version, "--format", "json"];
    if folder.join("bridge.yaml").exists() {
        arguments.extend(["--config", "bridge.yaml"]);
    }
    let (exit, out) = doctor(folder, &arguments);
    (exit, serde_json::from_str(&out).unwrap())
}

/// Exactly the ids that a case names. Notes count only where they are what it's about.
#[test]
fn the_corpus() {
    let mut wrong = Vec::new();
    for case in cases("good").iter().chain(&cases("broken")) {
        for (version, _) in &case.haproxy {
            let (exit, report) = report(case, version);
            let findings = report["findings"].as_array().unwrap();
            let counts = |finding: &&Value| finding["severity"] != "note" || case.finds.contains(finding["id"].as_str().unwrap());
            let found: BTreeSet<_> =
                findings.iter().filter(counts).map(|finding| finding["id"].as_str().unwrap().to_owned()).collect();
            let errors = report["errors"].as_u64().unwrap();
            if found != case.finds || exit != i32::from(errors > 0) {
                wrong.push(format!("{} ({version}): exit {exit}, found {found:?}, not {:?}", case.folder.display(), case.finds));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each broken folder is named after a finding, and each finding has one, but for those that need a release or can't be had in files.
#[test]
fn every_finding_has_a_case() {
    let page = std::fs::read_to_string(repository("docs/doctor.md")).unwrap();
    let ids = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).filter(|id| *id != "known-bad");
    let cases = cases("broken");
    for id in ids {
        assert!(cases.iter().any(|case| case.finds.contains(id)), "no case for {id}");
    }
}

/// The corpus is of real configurations: good ones pass HAProxy's own check without a warning, and of broken ones HAProxy says what
/// their second line has. Where the doctor claims that HAProxy refuses or warns, it does.
#[test]
fn haproxy_itself() {
    let mut wrong = Vec::new();
    for line in ALL_LINES {
        let Some(binary) = find_or_skip("haproxy_config::doctor", line) else { continue };
        for case in cases("good").iter().chain(&cases("broken")) {
            let Some((_, expected)) = case.haproxy.iter().find(|(version, _)| version == line) else { continue };
            let output = Command::new(&binary)
                .args(["-c", "-f", "haproxy.cfg"])
                .current_dir(&case.folder)
                .env_remove("BRIDGE")
                .output()
                .unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let says = match (output.status.success(), text.contains("[WARNING]")) {
                (false, _) => "refuses",
                (true, true) => "warns",
                (true, false) => "silent",
            };
            if says != expected {
                wrong.push(format!("{} ({line}): {says}\n{text}", case.folder.display()));
            }
            let (_, report) = report(case, line);
            let claims: Vec<_> = report["findings"].as_array().unwrap().iter().map(|finding| &finding["haproxy"]).collect();
            // What is not checked nobody claims anything of.
            let unknown = case.finds.contains("not-checked");
            let claimed = unknown
                || match says {
                    "refuses" => claims.iter().any(|claim| **claim == "refuses it"),
                    "warns" => claims.iter().any(|claim| **claim != "refuses it"),
                    _ => claims.iter().all(|claim| **claim == "says nothing"),
                };
            if !claimed {
                wrong.push(format!("{} ({line}): HAProxy {says}, the doctor says it {claims:?}", case.folder.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the project hands out is clean.
#[test]
fn the_projects_own_files() {
    let folder = repository("deploy/haproxy");
    for (file, versions) in [
        ("haproxy-2.x-3.0.cfg", &["2.6", "2.8", "3.0"][..]),
        ("haproxy-3.1.cfg", &["3.1", "3.2.26", "3.3", "3.4"]),
        ("tracing.cfg", &ALL_LINES),
        ("tls.cfg", &ALL_LINES),
    ] {
        for version in versions {
            let (exit, out) = doctor(&folder, &[file, "--haproxy-version", version, "--deny-warnings"]);
            assert_eq!(exit, 0, "{file} {version}: {out}");
        }
    }
}

#[test]
fn text_exit_codes_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for name in ["etc", "etc/haproxy"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let case = repository("tests/corpus/haproxy/broken/no-check");
    let text = |name: &str| std::fs::read_to_string(case.join(name)).unwrap();
    // Two files in a folder, in the order of their names; the SPOE file by its place in another file system.
    let haproxy = text("haproxy.cfg").replace("config spoe.cfg", "config /etc/haproxy/spoe.conf");
    let (first, second) = haproxy.split_at(haproxy.find("frontend www").unwrap());
    write("etc/haproxy/10-defaults.cfg", first);
    write("etc/haproxy/20-www.cfg", second);
    write("etc/haproxy/.hidden.cfg", "'");
    write("etc/haproxy/spoe.conf", &text("spoe.cfg"));
    let run = |arguments: &[&str]| {
        doctor(folder.path(), &[&["etc/haproxy", "--root", ".", "--haproxy-version", "3.0"], arguments].concat())
    };
    let (exit, out) = run(&[]);
    assert_eq!(exit, 0, "a warning is no error: {out}");
    let finding = out.lines().next().unwrap();
    assert!(
        finding.starts_with("etc/haproxy/20-www.cfg:15: warning: server `bridge1`") && finding.ends_with("[no-check]"),
        "{out}"
    );
    assert!(
        out.contains("\n    why:  ") && out.contains("\n    fix:  ") && out.contains("1 engine: 0 errors, 1 warning"),
        "{out}"
    );
    assert_eq!(run(&["--deny-warnings"]).0, 1);
    assert_eq!(doctor(folder.path(), &["etc/haproxy"]).0, 1, "without --root the SPOE file isn't there");

    let fails = |arguments: &[&str]| {
        let output = command().current_dir(folder.path()).args(["haproxy", "doctor"]).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(fails(&[]).0, 2);
    assert_eq!(fails(&["etc/haproxy", "--haproxy-version", "1.8"]).0, 2);
    let (exit, err) = fails(&["nowhere.cfg"]);
    assert!(exit == 3 && err.contains("nowhere.cfg"), "{err}");
    write("bridge.yaml", "colour: green\n");
    assert_eq!(fails(&["etc/haproxy", "--config", "bridge.yaml"]).0, 3);
}

/// A case of the corpus in a running HAProxy, between a client and a bridge whose service allows everything.
struct Live {
    service: Service,
    _bridge: Bridge,
    haproxy: Haproxy,
}

impl Live {
    /// `rules` are added to its frontend, to show what a request got.
    fn start(binary: &Path, kind_and_name: &str) -> Live {
        let folder = repository("tests/corpus/haproxy").join(kind_and_name);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let show = "    http-after-response set-header x-allow %[var(txn.br.allow)] if { var(txn.br.allow) -m found }\n    \
                    http-after-response set-header x-error %[var(txn.br.error)] if { var(txn.br.error) -m found }\n    default_backend app\n";
        let text = read("haproxy.cfg");
        let proxies = text[text.find("frontend www").unwrap()..]
            .replace("127.0.0.1:8080", "$FE")
            .replace("config spoe.cfg", "config $DIR/spoe.cfg")
            .replace("server bridge1 127.0.0.1:9000", "server bridge1 $BRIDGE")
            .replacen("    default_backend app\n", show, 1);
        let spoe = read("spoe.cfg").replace("timeout processing 100ms", "timeout processing 5s");
        let service = Service::allowing();
        let bridge = Bridge::simple(service.uri(), "3s");
        let setup = Setup { proxies, spoe, global: String::new(), master: false };
        let haproxy = Haproxy::start(binary, bridge.address(), &setup);
        Live { service, _bridge: bridge, haproxy }
    }

    /// Status, verdict and HAProxy's error of a request.
    fn get(&self) -> (u16, String, String) {
        let reply = get("/").send(self.haproxy.frontend());
        (reply.status, reply.header("x-allow"), reply.header("x-error"))
    }

    fn asked(&self) -> usize {
        self.service.calls().len()
    }
}

fn on_each_line(test: &str, topic: fn(&Path)) {
    for line in ALL_LINES {
        if let Some(binary) = find_or_skip(test, line) {
            topic(&binary);
        }
    }
}

fn seen(status: u16, allow: &str, error: &str) -> (u16, String, String) {
    (status, allow.to_owned(), error.to_owned())
}

#[test]
fn good_ones_ask_and_decide() {
    on_each_line("good_ones_ask_and_decide", |binary| {
        for name in ["good/event", "good/group"] {
            let live = Live::start(binary, name);
            assert_eq!((live.get(), live.asked()), (seen(200, "1", "-"), 1), "{name}");
        }
    });
}

#[test]
fn true_group_never_sent() {
    on_each_line("true_group_never_sent", |binary| {
        let live = Live::start(binary, "broken/group-never-sent");
        assert_eq!((live.get(), live.asked()), (seen(503, "-", "-"), 0), "nobody was asked, and nothing says so");
    });
}

#[test]
fn true_wrong_prefix() {
    on_each_line("true_wrong_prefix", |binary| {
        let live = Live::start(binary, "broken/wrong-prefix");
        assert_eq!((live.get().0, live.asked()), (503, 1), "the service allows it, and no rule sees that");
    });
}

#[test]
fn true_event_in_group_and_in_backend() {
    on_each_line("true_event_in_group_and_in_backend", |binary| {
        let live = Live::start(binary, "broken/event-in-backend");
        assert_eq!((live.get().0, live.asked()), (503, 0));
        let live = Live::start(binary, "broken/event-in-group");
        assert_eq!((live.get().0, live.asked()), (200, 1), "by the group, not by the event");
    });
}

#[test]
fn true_read_too_early() {
    on_each_line("true_read_too_early", |binary| {
        let live = Live::start(binary, "broken/read-too-early");
        assert_eq!(live.get().0, 503);
        assert_eq!(live.asked(), 0, "the rules above the group have refused it already");
    });
}

/// A long cookie takes a body along past the service: nothing is sent, and without a look at the error the request goes on.
#[test]
fn true_too_big() {
    on_each_line("true_too_big", |binary| {
        let live = Live::start(binary, "broken/too-big");
        let send = |cookie: usize| {
            let request = post("/", vec![b'x'; 20_000]).header("cookie", &vec![b'y'; cookie]);
            let reply = request.send(live.haproxy.frontend());
            (reply.header("x-allow"), reply.header("x-error"))
        };
        assert_eq!(send(10), ("1".into(), "-".into()));
        assert_eq!(send(6000), ("-".into(), "3".into()));
        assert_eq!(live.asked(), 1, "the second was never seen");
    });
}

/// What is said of it is not that it doesn't fit, but that the service can't tell: it gets a buffer's worth.
#[test]
fn true_body_size() {
    on_each_line("true_body_size", |binary| {
        let live = Live::start(binary, "broken/body-size");
        let reply = post("/", vec![b'x'; 100_000]).send(live.haproxy.frontend());
        assert_eq!((reply.status, reply.header("x-allow"), live.asked()), (200, "1".into(), 1));
    });
}

#[test]
fn true_body_not_there() {
    use std::io::{Read, Write};

    use spop_bridge::pb::v1::value::Kind;

    on_each_line("true_body_not_there", |binary| {
        let live = Live::start(binary, "broken/body-not-there-group");
        // The headers alone; the body only when the question has come.
        let mut stream = std::net::TcpStream::connect(live.haproxy.frontend()).unwrap();
        write!(stream, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nconnection: close\r\n\r\n").unwrap();
        let asked = crate::support::eventually(std::time::Duration::from_secs(10), || live.service.calls().into_iter().next());
        let body = asked.expect("asked before the body has come").arg("body");
        write!(stream, "hello").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            matches!(&body, None | Some(Kind::NullValue(_))) || body == Some(Kind::BytesValue(Vec::new().into())),
            "{body:?}"
        );
    });
}

/// The service is away: without a rule about that everything passes, and with one it doesn't.
#[test]
fn true_fails_open_and_fails_closed() {
    on_each_line("true_fails_open_and_fails_closed", |binary| {
        for (name, status) in [("broken/fails-open", 200), ("broken/fails-closed", 403), ("good/event", 503)] {
            let mut live = Live::start(binary, name);
            live.service.kill();
            assert_eq!(live.get().0, status, "{name}");
        }
    });
}
