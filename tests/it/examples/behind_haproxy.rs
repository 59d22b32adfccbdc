//! Each service behind the bridge and a real HAProxy: what clients get, and what a restart costs them.

use nix::sys::signal::Signal;

use super::{PATIENCE, Service, in_each_language};
use crate::support::bridge::Bridge;
use crate::support::haproxy::{self, Haproxy, Setup};
use crate::support::http::{Reply, get};
use crate::support::load::Load;
use crate::support::{eventually, free_address};

in_each_language!(decide, decide_stream, rolling_restart);

fn decide(language: &str) {
    clients_get(language, "decide", 0);
}

fn decide_stream(language: &str) {
    clients_get(language, "decide_stream", 1);
}

/// Over all languages and both methods each release line has its turn at least twice.
fn line_of(language: &str, shift: usize) -> &'static str {
    haproxy::LINES[(language.len() + shift) % haproxy::LINES.len()]
}

/// The rules of examples/README.md.
fn setup() -> Setup {
    Setup {
        proxies: "frontend fe\n    bind $FE\n    filter spoe engine br config $DIR/spoe.cfg\n    \
                  http-after-response set-header x-reason %[var(txn.br.reason)]\n    \
                  http-after-response set-header x-score %[var(txn.br.score)]\n    \
                  http-request deny deny_status 503 if { var(txn.br.error) -m found }\n    \
                  http-request return status 429 hdr retry-after \"%[var(txn.br.retry_after)]\" if { var(txn.br.retry_after) -m found }\n    \
                  http-request deny deny_status 403 if !{ var(txn.br.allow) -m bool }\n    \
                  http-request return status 200 content-type text/plain string served\n\n\
                  backend bridge\n    mode tcp\n    option spop-check\n    server s1 $BRIDGE check inter 200ms\n"
            .into(),
        spoe: "[br]\nspoe-agent br\n    messages check-request\n    option var-prefix br\n    option set-on-error error\n    \
               timeout hello 2s\n    timeout idle 30s\n    timeout processing 5s\n    use-backend bridge\n\
               spoe-message check-request\n    args ip=req.hdr_ip(x-client) path=path token=req.hdr(x-token)\n    \
               event on-frontend-http-request\n"
            .into(),
        global: String::new(),
        master: false,
    }
}

fn bridge(services: &[&Service], protocol: &str) -> Bridge {
    // The first answer of a cold interpreter takes more than the default of a second on a busy machine.
    let health = "{ timeout: 10s }";
    let endpoints: Vec<_> = services.iter().map(|service| service.uri()).collect();
    Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: {endpoints:?}, protocol: {protocol}, health: {health} }} }}\n\
         routes:\n  - messages: [check-request]\n    backend: decisions\n    timeout: 4s\n    \
         on_failure: {{ default: {{ set: {{ txn.allow: true, txn.reason: fallback }} }} }}"
    ))
}

fn clients_get(language: &str, protocol: &str, shift: usize) {
    let line = line_of(language, shift);
    let Some(binary) = haproxy::find_or_skip(&format!("examples::{language}"), line) else { return };
    let folder = tempfile::tempdir().unwrap();
    let blocklist = folder.path().join("blocklist");
    std::fs::write(&blocklist, "198.51.100.0/24\n").unwrap();
    let flags = ["--blocklist", blocklist.to_str().unwrap(), "--rate", "0.01", "--burst", "3"];
    let Some(mut service) = Service::start(language, "127.0.0.1:0", &flags) else { return };
    let bridge = bridge(&[&service], protocol);
    let haproxy = Haproxy::start(&binary, bridge.address(), &setup());
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    let ask = |client: &str, path: &str, token: &str| {
        get(path).header("x-client", client.as_bytes()).header("x-token", token.as_bytes()).send(haproxy.frontend())
    };
    let asked = |client: &str, path: &str, token: &str| {
        let reply = ask(client, path, token);
        (reply.status, reply.header("x-reason"), reply.header("x-score"))
    };
    let case = format!("{language}, {protocol}, HAProxy {line}");
    let first = eventually(PATIENCE, || Some(asked("192.0.2.1", "/", "")).filter(|(_, reason, _)| reason != "fallback"));
    assert_eq!(first, Some((200, "public path".into(), "0".into())), "{case}: {:?}", bridge.log());
    assert_eq!(asked("198.51.100.7", "/", ""), (403, "listed: 198.51.100.0/24".into(), "100".into()), "{case}");
    let without = (403, "admin path without token from 2001:db8::1".into(), "100".into());
    assert_eq!(asked("2001:db8::1", "/admin/users", "wrong"), without, "{case}");
    assert_eq!(asked("192.0.2.2", "/admin", "let-me-in"), (200, "token accepted".into(), "10".into()), "{case}");
    let statuses: Vec<_> = (0..3).map(|_| ask("192.0.2.9", "/", "").status).collect();
    assert_eq!(statuses, [200; 3], "{case}");
    let limited = ask("192.0.2.9", "/", "");
    assert_eq!((limited.status, limited.header("x-reason")), (429, "rate limit".into()), "{case}");
    let retry_after = limited.header("retry-after").parse::<u64>();
    assert!(retry_after.is_ok_and(|seconds| (50..=100).contains(&seconds)), "{case}: {}", limited.header("retry-after"));
    says_not_serving(&mut service, &bridge, &case);
    assert_eq!(asked("192.0.2.1", "/", "").1, "fallback", "{case}");
}

/// A stop is seen by the bridge's health check, and it goes elsewhere.
fn says_not_serving(service: &mut Service, bridge: &Bridge, case: &str) {
    service.process.signal(Signal::SIGTERM);
    let told = eventually(PATIENCE, || {
        bridge.log().iter().find(|event| event["reason"] == "health check: NOT_SERVING").map(|event| event["message"].clone())
    });
    assert_eq!(told, Some("endpoint unhealthy, it gets no decisions".into()), "{case}: {:?}", bridge.log());
    assert_eq!(service.process.exit_code(PATIENCE), 0, "{case}: {:?}", service.process.output.all());
}

/// One after the other of two services is stopped and started anew: every request gets a verdict of the rule's.
fn rolling_restart(language: &str) {
    let line = line_of(language, 2);
    let Some(binary) = haproxy::find_or_skip(&format!("examples::{language}"), line) else { return };
    let addresses = [(); 2].map(|()| free_address().to_string());
    let start = |address: &String| Service::start(language, address, &[]);
    let (Some(first), Some(second)) = (start(&addresses[0]), start(&addresses[1])) else { return };
    let mut services = [first, second];
    let bridge = bridge(&[&services[0], &services[1]], "auto");
    let haproxy = Haproxy::start(&binary, bridge.address(), &setup());
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    // Whether the last of these messages about an endpoint is the first of them.
    let last_is = |address: &String, messages: [&str; 2]| {
        let of = |event: &serde_json::Value| event["endpoint"].as_str().is_some_and(|uri| uri.ends_with(address));
        let log = bridge.log();
        let last = log.iter().rfind(|event| of(event) && messages.iter().any(|message| event["message"] == *message));
        last.is_some_and(|event| event["message"] == messages[0])
    };
    let connected = |address: &String| last_is(address, ["endpoint connected", "endpoint not connected, trying on"]);
    let healthy = |address: &String| last_is(address, ["endpoint healthy", "endpoint unhealthy, it gets no decisions"]);
    let both_ready = || addresses.iter().all(connected).then_some(());
    assert!(eventually(PATIENCE, both_ready).is_some(), "{language}: {:?}", bridge.log());
    let load = Load::start(4, haproxy.frontend(), outcome);
    for (service, address) in services.iter_mut().zip(&addresses) {
        assert!(load.wait_for(1, "decided"), "{language}");
        service.process.signal(Signal::SIGTERM);
        assert_eq!(service.process.exit_code(PATIENCE), 0, "{language}: {:?}", service.process.output.all());
        *service = start(address).expect("it was there before");
        // That is enough to go on: nothing is lost while the bridge is still connecting.
        let back = || healthy(address).then_some(());
        assert!(eventually(PATIENCE, back).is_some(), "{language}: {:?}", bridge.log());
    }
    assert!(load.wait_for(100, "decided"), "{language}");
    let tally = load.stop();
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["decided"], "{language}, HAProxy {line}: {tally:?}\n{:?}", bridge.log());
}

fn outcome(reply: &Reply) -> String {
    match (reply.status, &reply.header("x-reason")[..]) {
        (200, "public path") => "decided".into(),
        (status, reason) => format!("{status} {reason}"),
    }
}
