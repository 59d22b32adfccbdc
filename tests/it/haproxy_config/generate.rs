//! `spop-bridge haproxy generate`: HAProxy of each line takes what it writes without a warning, and decides by it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{Action, DecideRequest, VarScope};
use tempfile::TempDir;

use crate::support::bridge::{Bridge, command};
use crate::support::haproxy::{ALL_LINES, Haproxy, Setup, find_or_skip, has_mux};
use crate::support::http::{Reply, get, post};
use crate::support::service::{Answer, Service, argument, set, set_txn};
use crate::support::tls::Ca;
use crate::support::{eventually, figure, free_address};

/// Runs `topic` with each line of HAProxy that is here.
fn on_each_line(test: &str, topic: impl Fn(&str, &Path)) {
    for line in ALL_LINES {
        if let Some(binary) = find_or_skip(test, line) {
            figure("HAProxy", line);
            topic(line, &binary);
        }
    }
}

/// What the command writes for the bridge configuration in `file`.
fn generated(file: &Path, line: &str, more: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command();
    command.args(["haproxy", "generate", "--haproxy-version", line, "--config"]).arg(file).arg("--output").arg(folder.path());
    let output = command.args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// The doctor finds nothing in it.
fn assert_healthy(folder: &Path, line: &str, what: &str) {
    let mut command = command();
    command.args(["haproxy", "doctor", "--haproxy-version", line]).arg(folder.join("haproxy.cfg"));
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(said.contains("1 engine: 0 errors, 0 warnings"), "{what}: {said}");
}

/// `haproxy -c` takes it without a warning.
fn assert_good(binary: &Path, folder: &Path, what: &str) {
    let output = Command::new(binary).arg("-c").arg("-f").arg(folder.join("haproxy.cfg")).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let text = ["haproxy.cfg", "spoe.cfg"].map(|file| std::fs::read_to_string(folder.join(file)).unwrap()).join("\n");
    assert!(output.status.success() && !said.contains("[WARNING]"), "{what}: {said}\n{text}");
}

const BACKENDS: &str = "backends: { a: { endpoints: [\"http://127.0.0.1:1\"] }, b: { endpoints: [\"http://127.0.0.1:2\"] } }\n";

#[test]
fn every_kind_of_configuration_passes_haproxys_check() {
    let (ca, clients) = (Ca::new("bridges"), Ca::new("proxies"));
    let (mine, theirs) = (ca.issue(&["bridge.test"]), clients.issue(&["haproxy.test"]));
    let tls = format!(
        "listeners: [{{ name: t, bind: \"127.0.0.1:9443\", tls: {{ {}, client_ca: {} }} }}]",
        mine.yaml(),
        clients.file().display()
    );
    let (ca_file, crt) = (ca.file().display().to_string(), theirs.pem().display().to_string());
    let tls_files = ["--tls-ca", &ca_file, "--tls-name", "bridge.test", "--tls-crt", &crt];
    let events = |haproxy: &str| format!("routes: [{{ messages: [m], backend: a, haproxy: {{ {haproxy} }} }}, {{ backend: b }}]");
    let long: Vec<_> = (0..200).map(|n| format!("h{n}=req.hdr(x-{n})")).collect();
    let mut cases: Vec<(String, Vec<&str>)> = [
        "event: on-client-session, variables: [sess.allow], verdict: sess.allow",
        "event: on-frontend-tcp-request, condition: \"{ src 10.0.0.0/8 }\"",
        "event: on-frontend-http-request, condition: \"{ path,url_dec -m reg ^/+a } METH_POST or !{ hdr(x-y) -m str 'a # b' }\"",
        "event: on-frontend-http-request, args: [\"body=req.body\", \"n=req.body_size\"]",
        "event: on-backend-tcp-request",
        "event: on-backend-http-request, args: [\"req.body\"]",
        "event: on-server-session",
        "event: on-tcp-response",
        "event: on-http-response, args: [\"status=status\", \"type=res.hdr(content-type)\"], deny_status: 502",
        "group: body, args: [\"path=path,url_dec\", \"body=req.body\"], condition: \"{ path,url_dec -m reg ^/+upload } { req.body_size gt 0 } or METH_PUT !{ req.body -m sub '} || {' }\"",
        "group: body, args: [\"body=req.body\"], no_verdict: allow",
        "group: body, args: [\"body=req.body,bytes(0,2000)\"], no_verdict: allow",
        "group: body, args: [\"body=req.body,bytes(0,2000)\"], verdict: none",
        "args: [\"a=req.hdr(a),hex\", \"url\", \"path\", \"h=req.hdrs\", \"c=req.hdr(cookie)\"]",
        "no_verdict: allow, args: [\"a=path\", \"b=path,url_dec\"]",
        "group: body, args: [\"path=path\", \"body=req.body\"], condition: \"{ req.body_size gt 0 }\"",
        "group: body, args: [\"hash=req.body,sha1,hex\", \"s=str('a b')\", \"src\"], no_verdict: allow",
        "verdict: none, args: []",
        "variables: [sess.ok], verdict: sess.ok",
        "group: g, variables: [sess.ok], verdict: sess.ok",
        "verdict: none, variables: [proc.total, sess.a, req.b, res.c, txn.waf.score]",
        "deny_status: 429, no_verdict_status: 500",
        &format!("args: [{}]", long.join(", ")),
    ]
    .iter()
    .map(|haproxy| (events(haproxy), vec![]))
    .collect();
    cases.extend(
        [
            "routes: [{ messages: [x], backend: a, timeout: 20ms, haproxy: { condition: \"{ req.hdr(host) -m str a }\" } },\n\
             { messages: [y], backend: b, timeout: 1s, haproxy: { args: [ip=src], condition: \"!{ req.hdr(host) -m str a }\" } },\n\
             { messages: [z, zz], backend: b, haproxy: { group: g, args: [ip=src], variables: [txn.body_allow], verdict: txn.body_allow } },\n\
             { messages: [w], backend: b, haproxy: { group: h, verdict: none } }]\n\
             on_failure: { default: { set: { txn.allow: true, txn.degraded: true }, unset: [txn.score] } }\n\
             decision_variables: txn.decision\nstatus_variable: sess.state",
            "routes: [{ messages: [check-a, check-b], backend: a, haproxy: {} }, { backend: b }]",
            "routes: [{ messages: [check-a, check-b], backend: a, haproxy: { verdict: none } }, { backend: b }]",
            "routes: [{ messages: [x, y], backend: a, haproxy: { group: g, args: [\"req.body\"], no_verdict: allow } },\n\
             { messages: [z], backend: b, haproxy: { group: g, verdict: none } },\n\
             { messages: [t, tt], backend: b, haproxy: { event: on-frontend-tcp-request, verdict: none } }]\n\
             haproxy: { body_timeout: 30s }",
            "listeners: [{ bind: \"127.0.0.1:9000\", max_frame_size: 8KiB }]\n\
             routes: [{ messages: [m], backend: a, haproxy: { no_verdict: allow } }, { backend: b }]",
            "listeners: [{ bind: \"unix:/run/spop bridge/spop.sock\", var_prefix: waf.v1 }]\n\
             routes: [{ messages: [m], backend: a, haproxy: {} }, { backend: b }]\n\
             haproxy: { engine: edge:1, backend: deciders, bufsize: 128KiB }",
            "listeners: [{ bind: \"0.0.0.0:9000\" }, { bind: \"[::]:9001\", max_frame_size: 8KiB }]\n\
             routes: [{ messages: [m], backend: a, timeout: 60s, haproxy: { group: g, args: [\"req.body\"] } }, { backend: b }]\n\
             drain: { delay: 1s }",
        ]
        .iter()
        .map(|text| ((*text).to_owned(), vec![])),
    );
    cases.push((format!("{tls}\n{}", events("")), tls_files.to_vec()));
    cases.push((events(""), vec!["--server", "10.0.0.5:9000", "--server", "dns:///bridges.default.svc:9000"]));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bridge.yaml");
    on_each_line("haproxy_config::generate", |line, binary| {
        for (text, more) in &cases {
            std::fs::write(&file, format!("{BACKENDS}{text}\n")).unwrap();
            let (folder, what) = (generated(&file, line, more), format!("{line}: {text}"));
            assert_good(binary, folder.path(), &what);
            assert_healthy(folder.path(), line, &what);
        }
    });
}

/// Starts HAProxy with what is written for a running bridge, with an application behind it if it wants one.
fn start(line: &str, binary: &Path, bridge: &Bridge, more: &[&str]) -> Haproxy {
    let folder = generated(&bridge.directory().join("bridge.yaml"), line, more);
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let complete = file("haproxy.cfg").replace("127.0.0.1:8080", "$FE").replace("127.0.0.1:8081", "unix@$DIR/app.sock");
    let app = "\nfrontend application\n    bind unix@$DIR/app.sock\n    http-request return status 200 content-type text/plain string served\n";
    let proxies = if complete.contains("app.sock") { format!("{complete}{app}") } else { complete };
    let setup = Setup { proxies, spoe: file("spoe.cfg"), global: String::new(), master: false };
    let haproxy = Haproxy::start(binary, bridge.address(), &setup);
    haproxy.wait_for_server("spop-bridge", "bridge1", "UP").unwrap();
    haproxy
}

/// A bridge with a Unix socket and this service as its backend `a`; the slack of a busy machine is in the routes' timeouts.
fn bridge(service: &Service, text: &str) -> Bridge {
    Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"unix:$DIR/spop.sock\", var_prefix: br }}]\n\
         backends: {{ a: {{ endpoints: [\"{}\"] }} }}\n{text}\n",
        service.uri()
    ))
}

fn one_route(haproxy: &str) -> String {
    format!("routes: [{{ messages: [check-request], backend: a, timeout: 3s, haproxy: {{ {haproxy} }} }}]")
}

/// Says no to what has `denied` in its path or its body, in the variable `verdict`.
fn decide(verdict: &'static str) -> impl Fn(&DecideRequest) -> Answer + Send + Sync {
    move |request| Answer::Actions(actions(request, verdict))
}

fn actions(request: &DecideRequest, verdict: &str) -> Vec<Action> {
    let denied = ["path", "body"].iter().any(|arg| {
        let text = match argument(request, arg) {
            Some(Kind::StringValue(text)) => text,
            Some(Kind::BytesValue(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            _ => String::new(),
        };
        text.contains("denied")
    });
    let reason = if denied { "no \"way\"" } else { "fine" };
    vec![set_txn(verdict, Kind::BoolValue(!denied)), set_txn("reason", Kind::StringValue(reason.into()))]
}

fn body(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// A line of HAProxy's log with all of `words`.
fn logged(haproxy: &Haproxy, words: &[&str]) -> String {
    let line = eventually(Duration::from_secs(5), || {
        haproxy.log().lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    });
    line.unwrap_or_else(|| panic!("no {words:?} in {}", haproxy.log()))
}

/// `haproxy: {}`: allowed, denied; then no service, then no bridge, and both are seen.
#[test]
fn the_defaults_decide_and_fail_closed() {
    on_each_line("haproxy_config::generate", |line, binary| {
        let mut service = Service::start(decide("allow"));
        let mut bridge = bridge(&service, &one_route(""));
        let haproxy = start(line, binary, &bridge, &[]);
        let ask = |path: &str| get(path).send(haproxy.frontend());

        let reply = ask("/hello");
        assert_eq!(reply.status, 200);
        assert!(body(&reply).contains("path=/hello") && body(&reply).contains("reason=fine"), "{}", body(&reply));
        assert_eq!(ask("/x?y").status, 200);
        assert_eq!(ask("/%64enied").status, 403, "the path is decoded");
        logged(&haproxy, &[" 403 ", "allow=\"0\"", r#"reason="no \"way\"""#, "spoe_error=-"]);

        service.kill();
        assert_eq!(ask("/no-service").status, 503);
        logged(&haproxy, &["/no-service", " 503 ", "bridge_status=unavailable", "spoe_error=-"]);

        bridge.terminate();
        assert_eq!(bridge.exit_code(), 0);
        haproxy.wait_for_server("spop-bridge", "bridge1", "DOWN").unwrap();
        assert_eq!(ask("/no-bridge").status, 503);
        let error = if has_mux(binary) { "spoe_error=257" } else { "spoe_error=2 " };
        logged(&haproxy, &["/no-bridge", " 503 ", error]);
    });
}

/// Fails open where that is said, by HAProxy or by the bridge, and the log tells.
#[test]
fn failing_open_is_seen() {
    on_each_line("haproxy_config::generate", |line, binary| {
        let mut service = Service::start(decide("allow"));
        let on_failure = "\non_failure: { unavailable: { set: { txn.allow: true, txn.degraded: true } } }";
        let bridge = bridge(&service, &format!("{}{on_failure}", one_route("no_verdict: allow")));
        let haproxy = start(line, binary, &bridge, &[]);
        assert_eq!(get("/denied").send(haproxy.frontend()).status, 403);
        service.kill();
        assert_eq!(get("/denied").send(haproxy.frontend()).status, 200);
        logged(&haproxy, &["GET /denied", " 200 ", "bridge_status=unavailable", "allow=\"1\""]);
        drop(bridge);
        haproxy.wait_for_server("spop-bridge", "bridge1", "DOWN").unwrap();
        assert_eq!(get("/no-bridge").send(haproxy.frontend()).status, 200);
        logged(&haproxy, &["/no-bridge", " 200 ", "spoe_error=2", "allow=\"\""]);
    });
}

/// A body goes to the service as far as it fits, by a group and by an event. What the service does not see is refused.
#[test]
fn bodies_are_seen_or_refused() {
    on_each_line("haproxy_config::generate", |line, binary| {
        for moment in ["group: body, condition: \"{ req.body_size gt 0 }\"", "event: on-frontend-http-request"] {
            let service = Service::start(decide("allow"));
            let bridge = bridge(&service, &one_route(&format!("{moment}, args: [\"path=path\", \"body=req.body\"]")));
            let haproxy = start(line, binary, &bridge, &[]);
            let send = |body: Vec<u8>| post("/", body).send(haproxy.frontend()).status;
            assert_eq!(send(b"a=1".to_vec()), 200);
            assert_eq!(send(b"denied".to_vec()), 403);
            assert_eq!(send(vec![b'x'; 12_000]), 200, "{moment}");
            let longest = service.calls().last().and_then(|call| call.arg("body"));
            assert!(matches!(longest, Some(Kind::BytesValue(body)) if body.len() == 12_000), "{moment}");
            // The service sees the beginning, and has nothing against it.
            assert_eq!(send([vec![b'x'; 12_000], b"denied".to_vec()].concat()), 413, "{moment}");
            assert_eq!(get("/").send(haproxy.frontend()).status, 200);
        }
    });
}

/// A body that comes later than the headers is waited for, also by a condition that looks at it.
#[test]
fn late_bodies_are_waited_for() {
    let body = "args: [\"path=path\", \"body=req.body\"]";
    let some = "condition: \"{ req.body_size gt 0 }\"";
    on_each_line("haproxy_config::generate", |line, binary| {
        for moment in ["group: body", "event: on-frontend-http-request", "event: on-backend-http-request"] {
            let service = Service::start(decide("allow"));
            let bridge = bridge(&service, &one_route(&format!("{moment}, {body}, {some}")));
            let haproxy = start(line, binary, &bridge, &[]);
            let mut client = TcpStream::connect(haproxy.frontend()).unwrap();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            // Time for HAProxy to act on the headers, if it did.
            std::thread::sleep(Duration::from_millis(150));
            client.write_all(b"6\r\ndenied\r\n0\r\n\r\n").unwrap();
            let mut reply = String::new();
            client.read_to_string(&mut reply).unwrap();
            assert!(reply.starts_with("HTTP/1.1 403"), "{moment}: {reply}");
        }
    });
}

/// Only bodies that are asked about are waited for, and only for as long as the configuration says.
#[test]
fn slow_bodies_of_other_requests_are_not_waited_for() {
    let asked = "group: body, args: [\"path=path,url_dec\", \"body=req.body\"], \
                 condition: \"{ path,url_dec -m reg ^/+upload } { req.body_size gt 0 }\"";
    on_each_line("haproxy_config::generate", |line, binary| {
        let service = Service::start(decide("allow"));
        let bridge = bridge(&service, &format!("{}\nhaproxy: {{ body_timeout: 100ms }}", one_route(asked)));
        let haproxy = start(line, binary, &bridge, &[]);
        // Bodies that never come: HAProxy answers these requests without them, or it has waited.
        for framing in ["content-length: 10", "transfer-encoding: chunked"] {
            let status = |path: &str| unfinished(haproxy.frontend(), path, framing);
            assert_eq!(status("/comments"), 200, "{framing}");
            assert_eq!(status("/upload"), 408, "{framing}");
        }
        assert_eq!(post("/upload", b"a=1".to_vec()).send(haproxy.frontend()).status, 200);
        assert_eq!(post("/upload", b"denied".to_vec()).send(haproxy.frontend()).status, 403);
        assert_eq!(get("/upload").send(haproxy.frontend()).status, 200);
    });
}

/// The status for a POST whose body does not come.
fn unfinished(frontend: SocketAddr, path: &str, framing: &str) -> u16 {
    let mut client = TcpStream::connect(frontend).unwrap();
    write!(client, "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{framing}\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
}

/// What is too big for a frame is not sent: refused, also if the route fails open, since a client can bring it about; and seen in the log.
#[test]
fn what_is_too_big_for_a_frame_is_seen() {
    on_each_line("haproxy_config::generate", |line, binary| {
        for no_verdict in ["deny", "allow"] {
            let service = Service::start(decide("allow"));
            let own = "args: [\"body=req.body,bytes(0,12000)\"]";
            let config = format!(
                "listeners: [{{ name: main, bind: \"unix:$DIR/spop.sock\", max_frame_size: 8KiB }}]\n\
                 backends: {{ a: {{ endpoints: [\"{}\"] }} }}\n{}",
                service.uri(),
                one_route(&format!("group: body, {own}, no_verdict: {no_verdict}"))
            );
            let bridge = Bridge::start(&config);
            let haproxy = start(line, binary, &bridge, &[]);
            assert_eq!(post("/small", vec![b'x'; 7_000]).send(haproxy.frontend()).status, 200);
            assert_eq!(post("/big", vec![b'x'; 9_000]).send(haproxy.frontend()).status, 413, "{no_verdict}");
            logged(&haproxy, &["/big", "spoe_error=3 ", "allow=\"\""]);
            assert_eq!(service.calls().len(), 1);
        }
    });
}

/// Two services, each for its paths, by one variable.
#[test]
fn routes_for_different_requests() {
    on_each_line("haproxy_config::generate", |line, binary| {
        let (one, mut other) = (Service::start(decide("allow")), Service::start(decide("allow")));
        let route = |name: &str, condition: &str| {
            format!("{{ messages: [{name}], backend: {name}, timeout: 3s, haproxy: {{ condition: \"{condition}\" }} }}")
        };
        let address = free_address();
        let bridge = Bridge::start(&format!(
            "listeners: [{{ name: main, bind: \"{address}\" }}]\n\
             backends: {{ one: {{ endpoints: [\"{}\"] }}, other: {{ endpoints: [\"{}\"] }} }}\nroutes: [{}, {}]\n\
             decision_variables: txn.decision",
            one.uri(),
            other.uri(),
            route("one", "{ path_beg /one } || { path_beg /1 }"),
            route("other", "!{ path_beg /one } !{ path_beg /1 }"),
        ));
        let haproxy = start(line, binary, &bridge, &[]);
        let ask = |path: &str| get(path).send(haproxy.frontend()).status;
        assert_eq!([ask("/one"), ask("/1"), ask("/2"), ask("/1/denied"), ask("/2/denied")], [200, 200, 200, 403, 403]);
        assert_eq!((one.calls().len(), other.calls().len()), (3, 2));
        other.kill();
        assert_eq!([ask("/one"), ask("/1"), ask("/2")], [200, 200, 503], "each guard is for its own requests");
        logged(&haproxy, &["GET /2 ", "decision.source=fallback"]);
    });
}

/// Sessions, backends and responses are decided about too, each where HAProxy runs its rules.
#[test]
fn other_events_decide() {
    on_each_line("haproxy_config::generate", |line, binary| {
        for (haproxy, denied) in [
            ("event: on-frontend-tcp-request, args: [\"path=str(denied)\"]", None),
            ("event: on-client-session, args: [\"path=str(denied)\"]", None),
            ("event: on-backend-http-request", Some(403)),
            (
                "event: on-http-response, args: [\"path=res.hdr(content-type)\", \"body=str(denied)\"], deny_status: 502",
                Some(502),
            ),
        ] {
            let service = Service::start(decide("allow"));
            let bridge = bridge(&service, &one_route(haproxy));
            let haproxy = start(line, binary, &bridge, &[]);
            let status = |path: &str| get(path).try_send(haproxy.frontend()).ok().map(|reply| reply.status);
            assert_eq!(status("/denied"), denied, "{}", haproxy.log());
            assert_eq!(service.calls().len(), 1);
        }
        let service = Service::start(|_| Answer::Actions(vec![set(VarScope::Session, "ok", Kind::BoolValue(true))]));
        let session = "event: on-client-session, variables: [sess.ok], verdict: sess.ok";
        let bridge = bridge(&service, &one_route(session));
        let haproxy = start(line, binary, &bridge, &[]);
        assert_eq!(get("/").send(haproxy.frontend()).status, 200);
        logged(&haproxy, &["ok=\"1\""]);
    });
}

/// With certificates on both sides, from options and from a bridge elsewhere.
#[test]
fn tls_decides() {
    on_each_line("haproxy_config::generate", |line, binary| {
        let (service, ca, clients) = (Service::start(decide("allow")), Ca::new("bridges"), Ca::new("proxies"));
        let identity = clients.issue(&["haproxy.test"]);
        let bridge = Bridge::start(&format!(
            "listeners: [{{ name: main, bind: \"127.0.0.1:0\", tls: {{ {}, client_ca: {}, allowed_sans: [haproxy.test] }} }}]\n\
             backends: {{ a: {{ endpoints: [\"{}\"] }} }}\n{}",
            ca.issue(&["bridge.test"]).yaml(),
            clients.file().display(),
            service.uri(),
            one_route("")
        ));
        let (ca, crt) = (ca.file().display().to_string(), identity.pem().display().to_string());
        let address = bridge.address().for_command_line();
        let more = ["--server", &address, "--tls-ca", &ca, "--tls-name", "bridge.test", "--tls-crt", &crt];
        let haproxy = start(line, binary, &bridge, &more);
        let ask = |path: &str| get(path).send(haproxy.frontend()).status;
        assert_eq!([ask("/"), ask("/denied")], [200, 403]);
    });
}
