//! The decision services in Rust, Python and Go decide for a real HAProxy; the latter two are made from the contract by those
//! languages' own tools.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::bridge::{Bridge, binary};
use crate::support::haproxy::{self, Haproxy, Setup};
use crate::support::http::get;
use crate::support::process::Process;
use crate::support::skipped;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn rust_decides() {
    // Cargo builds examples beside the binaries, but only with all of the tests.
    let example = binary().with_file_name("examples").join("decision_service");
    if !example.exists() {
        skipped("examples::rust_decides", "the built Rust service (cargo build --example decision_service)");
        return;
    }
    decides("rust", &mut Command::new(example));
}

#[test]
fn python_decides() {
    let interpreter = repository(".cache/python/bin/python");
    if !interpreter.exists() {
        skipped("examples::python_decides", "a Python with grpcio (.cache/python)");
        return;
    }
    decides("python", Command::new(interpreter).arg(repository("examples/python/decision_service.py")));
}

#[test]
fn go_decides() {
    let binary = repository(".cache/go/decision-service");
    if !binary.exists() {
        skipped("examples::go_decides", "the built Go service (.cache/go)");
        return;
    }
    decides("go", &mut Command::new(binary));
}

/// The rule of the examples, as README shows it, through a running HAProxy of every line.
fn decides(language: &str, service: &mut Command) {
    let process = Process::start(language, service.args(["--listen", "127.0.0.1:0"]));
    // Interpreters take their time on a busy machine.
    let address = process.output.wait_for(Duration::from_secs(30), |lines| {
        lines.iter().find_map(|line| line.strip_prefix("listening on ").map(str::to_string))
    });
    let address = address.unwrap_or_else(|| panic!("{language}: {:?}", process.output.all()));
    let bridge = Bridge::simple(&format!("http://{address}"), "5s");
    for line in haproxy::LINES {
        let Some(binary) = haproxy::find_or_skip(language, line) else { continue };
        let haproxy = Haproxy::start(&binary, bridge.address(), &setup());
        let asked = |path: &str, token: &str| {
            let reply = get(path).header("x-token", token.as_bytes()).send(haproxy.frontend());
            (reply.status, reply.header("x-reason"), reply.header("x-score"))
        };
        assert_eq!(asked("/", ""), (200, "public path".into(), "0".into()), "{language}, {line}");
        assert_eq!(asked("/admin", "let-me-in"), (200, "token accepted".into(), "10".into()), "{language}, {line}");
        let (status, reason, score) = asked("/admin/users", "wrong");
        assert_eq!((status, &score[..]), (403, "100"), "{language}, {line}: {reason}");
        assert!(reason.contains("127.0.0.1"), "the client's address arrived: {reason}");
    }
}

fn setup() -> Setup {
    Setup {
        proxies: "frontend fe\n    bind $FE\n    filter spoe engine br config $DIR/spoe.cfg\n    \
                  http-after-response set-header x-reason %[var(txn.br.reason)]\n    \
                  http-after-response set-header x-score %[var(txn.br.score)]\n    \
                  http-request deny deny_status 503 if { var(txn.br.error) -m found }\n    \
                  http-request deny if !{ var(txn.br.allow) -m bool }\n    \
                  http-request return status 200 content-type text/plain string served\n\n\
                  backend bridge\n    mode tcp\n    option spop-check\n    server s1 $BRIDGE check inter 200ms\n"
            .into(),
        spoe: "[br]\nspoe-agent br\n    messages check-request\n    option var-prefix br\n    option set-on-error error\n    \
               timeout hello 2s\n    timeout idle 30s\n    timeout processing 5s\n    use-backend bridge\n\
               spoe-message check-request\n    args ip=src path=path token=req.hdr(x-token)\n    event on-frontend-http-request\n"
            .into(),
        global: String::new(),
        master: false,
    }
}
