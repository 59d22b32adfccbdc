//! What the doctor finds about order, ways and headers is true, and what it proposes helps: cases of the corpus in a running HAProxy,
//! as they are and with the proposal.

use std::path::Path;
use std::time::Duration;

use spop_bridge::pb::v1::VarScope;
use spop_bridge::pb::v1::value::Kind;

use crate::support::bridge::Bridge;
use crate::support::haproxy::{ALL_LINES, Haproxy, Setup, find_or_skip};
use crate::support::http::{Client, get};
use crate::support::service::{Answer, Service, allow, argument, set, set_txn};
use crate::support::{eventually, free_address};

/// A case between a client and a service.
struct Running {
    service: Service,
    bridge: Bridge,
    haproxy: Haproxy,
}

/// `from` in either file becomes `to`.
type Change<'a> = (&'a str, &'a str);

impl Running {
    fn start(binary: &Path, name: &str, service: Service, changes: &[Change<'_>]) -> Running {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/haproxy").join(name);
        let read = |file: &str| {
            let mut text = std::fs::read_to_string(folder.join(file)).unwrap();
            for (from, to) in changes {
                text = text.replace(from, to);
            }
            text
        };
        let (haproxy, spoe) = (read("haproxy.cfg"), read("spoe.cfg"));
        let proxies = haproxy[haproxy.find("frontend www").unwrap()..]
            .replace("127.0.0.1:8080", "$FE")
            .replace("config spoe.cfg", "config $DIR/spoe.cfg")
            .replace("server bridge1 127.0.0.1:9000", "server bridge1 $BRIDGE");
        let global = if proxies.contains("normalize-uri") { "expose-experimental-directives" } else { "" };
        let bridge = Bridge::simple(service.uri(), "3s");
        let spoe = spoe.replace("timeout processing 100ms", "timeout processing 5s");
        let setup = Setup { proxies, spoe, global: global.into(), master: false };
        let haproxy = Haproxy::start(binary, bridge.address(), &setup);
        Running { service, bridge, haproxy }
    }

    /// The text of an arg of the last question.
    fn arg(&self, name: &str) -> Option<String> {
        match self.service.calls().last()?.arg(name)? {
            Kind::StringValue(text) => Some(text),
            Kind::Int64Value(number) => Some(number.to_string()),
            Kind::NullValue(_) => None,
            other => Some(format!("{other:?}")),
        }
    }
}

fn on_each_line(test: &str, topic: impl Fn(&Path)) {
    ALL_LINES.iter().filter_map(|line| find_or_skip(test, line)).for_each(|binary| topic(&binary));
}

/// The service gets NULL, or another value; with the rule in its earlier form it gets what the rule sets.
#[test]
fn what_is_set_too_late() {
    for (name, arg, before, after) in [
        ("set-too-late", "tenant", None, Some("shop")),
        ("set-too-late-counter", "rate", None, Some("1")),
        ("set-too-late-capture", "tenant", None, Some("shop")),
    ] {
        on_each_line("what_is_set_too_late", |binary| {
            let ask = |changes: &[Change<'_>]| {
                let running = Running::start(binary, &format!("broken/{name}"), Service::allowing(), changes);
                get("/").header("x-tenant", b"shop").send(running.haproxy.frontend());
                assert_eq!(running.service.calls().len(), 1, "{name}");
                running.arg(arg).filter(|text| !text.is_empty())
            };
            assert_eq!(ask(&[]).as_deref(), before, "{name}");
            let earlier = ["set-var", "track-sc0", "capture"]
                .map(|action| (format!("http-request {action}"), format!("tcp-request content {action}")));
            let earlier: Vec<_> = earlier.iter().map(|(from, to)| (&from[..], &to[..])).collect();
            assert_eq!(ask(&earlier).as_deref(), after, "{name}");
        });
    }
}

#[test]
fn a_condition_on_what_is_set_too_late_never_holds() {
    on_each_line("a_condition_on_what_is_set_too_late_never_holds", |binary| {
        let asked = |changes: &[Change<'_>]| {
            let running = Running::start(binary, "broken/set-too-late-condition", Service::allowing(), changes);
            get("/").send(running.haproxy.frontend());
            running.service.calls().len()
        };
        let always = ("rand(100) lt 50", "always_true");
        assert_eq!(asked(&[always]), 0);
        assert_eq!(asked(&[always, ("http-request set-var-fmt", "tcp-request content set-var-fmt")]), 1);
    });
}

#[test]
fn headers_and_addresses_that_are_set_too_late_are_the_clients() {
    on_each_line("headers_and_addresses_that_are_set_too_late_are_the_clients", |binary| {
        let running = Running::start(binary, "broken/set-too-late-header", Service::allowing(), &[]);
        get("/").header("x-real-ip", b"192.0.2.1").send(running.haproxy.frontend());
        assert_eq!(running.arg("ip").as_deref(), Some("192.0.2.1"));
        let address = |changes: &[Change<'_>]| {
            let running = Running::start(binary, "broken/set-too-late-address", Service::allowing(), changes);
            get("/").header("x-forwarded-for", b"192.0.2.1").send(running.haproxy.frontend());
            format!("{:?}", running.service.calls().last().and_then(|call| call.arg("ip")))
        };
        let (before, after) = (address(&[]), address(&[("http-request set-src", "tcp-request content set-src")]));
        assert_ne!(before, after, "the service gets the address that the rule sets, and not before");
    });
}

/// An application that says who it thinks asks.
const ECHO: Change<'_> = ("content-type text/plain string served", "content-type text/plain lf-string \"%[req.hdr(x-user)]\"");

#[test]
fn a_header_that_is_not_deleted_is_forged() {
    on_each_line("a_header_that_is_not_deleted_is_forged", |binary| {
        let user = |name: &str, changes: &[Change<'_>]| {
            let changes = [&[ECHO], changes].concat();
            let running = Running::start(binary, name, Service::allowing(), &changes);
            let reply = get("/").header("x-user", b"admin").send(running.haproxy.frontend());
            String::from_utf8(reply.body).unwrap()
        };
        assert_eq!(user("broken/forged-header", &[]), "admin");
        let deleted = ("http-request set-header", "http-request del-header X-User\n    http-request set-header");
        assert_eq!(user("broken/forged-header", &[deleted]), "");
        assert_eq!(user("broken/forged-header-conditional", &[]), "admin");
        // Without a condition the client's own is replaced, by nothing if need be.
        let always = (" if { var(txn.br.user) -m found }", "");
        assert_eq!(user("broken/forged-header", &[always]), "");
    });
}

/// The first request of a connection is allowed, about the second the service says nothing.
#[test]
fn a_verdict_of_the_session_outlives_its_request() {
    on_each_line("a_verdict_of_the_session_outlives_its_request", |binary| {
        let second = |changes: &[Change<'_>]| {
            let service = Service::start(|request| {
                let first = matches!(argument(request, "path"), Some(Kind::StringValue(text)) if text == "/first");
                let score = set(VarScope::Session, "score", Kind::Int64Value(90));
                Answer::Actions(if first { vec![score] } else { Vec::new() })
            });
            let running = Running::start(binary, "broken/stale-verdict", service, changes);
            let mut client = Client::connect(running.haproxy.frontend()).unwrap();
            assert_eq!(client.send(get("/first")).unwrap().status, 200);
            client.send(get("/second")).unwrap().status
        };
        assert_eq!(second(&[]), 200, "by the verdict of the first");
        let unset = (
            "    http-request deny deny_status 401",
            "    tcp-request content unset-var(sess.br.score)\n    http-request deny deny_status 401",
        );
        assert_eq!(second(&[unset]), 401);
    });
}

#[test]
fn a_frontend_without_the_filter_leads_around_it() {
    on_each_line("a_frontend_without_the_filter_leads_around_it", |binary| {
        let other = free_address();
        let text = other.to_string();
        let server = ("server app1 127.0.0.1:8081", "http-request return status 200");
        let asked = |changes: &[Change<'_>]| {
            let changes = [&[("127.0.0.1:8090", &text[..]), server], changes].concat();
            let running = Running::start(binary, "broken/no-filter-around", Service::allowing(), &changes);
            let status = get("/").send(other).status;
            (status, running.service.calls().len())
        };
        assert_eq!(asked(&[]), (503, 0), "the guard refuses what was not asked about");
        let filter = format!("{text}\n    filter spoe engine bridge config spoe.cfg");
        assert_eq!(asked(&[(&text, &filter)]).0, 200);
    });
}

/// One decision hangs; the next waits for `timeout connect`, not for its own.
#[test]
fn streams_beyond_maxconn_wait_and_fail() {
    for line in ["3.2", "3.4"] {
        let Some(binary) = find_or_skip("streams_beyond_maxconn_wait_and_fail", line) else { continue };
        let error = |changes: &[Change<'_>]| {
            let service = Service::start(|request| match argument(request, "path") {
                Some(Kind::StringValue(text)) if text == "/slow" => Answer::Never,
                _ => Answer::Actions(vec![allow(), set_txn("seen", Kind::BoolValue(true))]),
            });
            let status = ("503 unless", "503 hdr x-error %[var(txn.br.error)] unless");
            let changes = [&[("maxconn 2", "maxconn 1"), status], changes].concat();
            let running = Running::start(&binary, "broken/server-maxconn-streams", service, &changes);
            let frontend = running.haproxy.frontend();
            let slow = std::thread::spawn(move || get("/slow").send(frontend));
            eventually(Duration::from_secs(10), || (running.service.in_flight() > 0).then_some(()))
                .expect("the slow one is asked about");
            let error = get("/").send(frontend).header("x-error");
            drop(slow);
            error
        };
        assert_eq!(error(&[]), "257", "{line}");
        assert_eq!(error(&[(" maxconn 1", "")]), "-", "{line}");
    }
}

#[test]
fn a_check_with_a_proxy_header_finds_the_bridge_down() {
    on_each_line("a_check_with_a_proxy_header_finds_the_bridge_down", |binary| {
        let running = Running::start(binary, "broken/send-proxy-check", Service::allowing(), &[]);
        running.haproxy.wait_for_server("spop-bridge", "bridge1", "DOWN").unwrap();
        let named = || {
            running.bridge.log().iter().any(|line| line.to_string().contains("the first bytes of a PROXY header")).then_some(())
        };
        eventually(Duration::from_secs(10), named).expect("the bridge says whose bytes these are");
    });
}

/// What a rule waits for is there; what leaves with the headers is not.
#[test]
fn the_body_of_a_response_is_there_when_it_is_waited_for() {
    use std::io::{Read, Write};

    on_each_line("the_body_of_a_response_is_there_when_it_is_waited_for", |binary| {
        let application = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = application.local_addr().unwrap().to_string();
        let server =
            ("    http-request return status 200 content-type text/plain string served", format!("    server app1 {address}"));
        let running = Running::start(binary, "good/response", Service::allowing(), &[(server.0, &server.1)]);
        std::thread::spawn(move || {
            let (mut stream, _) = application.accept().unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").unwrap();
            // The rest comes in a packet of its own.
            stream.flush().unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(b"world").unwrap();
        });
        let reply = get("/").send(running.haproxy.frontend());
        assert_eq!(reply.body, b"helloworld");
        let calls = running.service.calls();
        let body = calls.iter().find_map(|call| call.arg("body"));
        assert!(matches!(&body, Some(Kind::BytesValue(bytes)) if &bytes[..] == b"helloworld"), "{body:?}");
    });
}
