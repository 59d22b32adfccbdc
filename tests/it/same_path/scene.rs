//! A configuration that was found, run: HAProxy, a bridge with what goes with it, and a service that looks at the segments of paths.

use std::time::Duration;

use serde_json::{Value, json};
use spop_bridge::pb::v1::DecideRequest;
use spop_bridge::pb::v1::value::Kind;

use super::found::{Found, line};
use crate::support::bridge::Bridge;
use crate::support::eventually;
use crate::support::haproxy::{self, Haproxy, Setup};
use crate::support::http::post;
use crate::support::service::{Answer, Service, argument, set_txn};

/// The same place, for most applications.
pub(crate) const PATHS: [&str; 5] = ["/admin", "/%61dmin", "//admin", "/./admin", "/x/../admin"];

const PATIENCE: Duration = Duration::from_secs(20);

/// The statuses of the paths in each state.
#[derive(Debug)]
pub(super) struct Statuses {
    pub(super) up: Vec<u16>,
    pub(super) service_gone: Vec<u16>,
    pub(super) bridge_gone: Vec<u16>,
}

/// Runs it with HAProxy of `line`; `None` if that is not here.
pub(super) fn run(found: &Found, release: &str) -> Option<Statuses> {
    let binary = haproxy::find_or_skip("same_path", release)?;
    let mut service = Service::start(decide);
    let mut bridge = Bridge::start(&bridge_of(found, service.uri()));
    let backend = line(&found.spoe, "use-backend").unwrap().split_whitespace().last().unwrap();
    let haproxy = Haproxy::start(&binary, bridge.address(), &setup(found, backend));
    haproxy.wait_for_server(backend, "s1", "UP").unwrap_or_else(|state| panic!("{}: {state}\n{}", found.file, haproxy.log()));
    // Some look at bodies only.
    let statuses = || PATHS.map(|path| post(path, b"a=1".to_vec()).send(haproxy.frontend()).status).to_vec();
    // A worker of the bridge that has not connected yet, or has not noticed an end, answers as in another state.
    let settled = |is_right: &dyn Fn() -> bool| {
        let mut last = statuses();
        let alike = || {
            last = statuses();
            (is_right() && last.windows(2).all(|pair| pair[0] == pair[1])).then_some(())
        };
        eventually(PATIENCE, alike);
        last
    };
    let up = settled(&|| service.calls().len() >= PATHS.len());
    service.kill();
    let service_gone = settled(&|| true);
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    haproxy.wait_for_server(backend, "s1", "DOWN").unwrap();
    Some(Statuses { up, service_gone, bridge_gone: statuses() })
}

/// Denies what has a segment `admin`, in all variables that the configurations test.
fn decide(request: &DecideRequest) -> Answer {
    let guarded = match argument(request, "path") {
        Some(Kind::StringValue(path)) => path.to_lowercase().split('/').any(|segment| segment == "admin"),
        _ => true,
    };
    let mut actions = vec![set_txn("allow", Kind::BoolValue(!guarded)), set_txn("body_allow", Kind::BoolValue(!guarded))];
    if guarded {
        actions.push(set_txn("status", Kind::Int64Value(403)));
    }
    Answer::Actions(actions)
}

/// The bridge's configuration with what the test has: routes and fallbacks stay.
fn bridge_of(found: &Found, service: &str) -> String {
    let plain = "backends: { d: {} }\nroutes: [{ messages: [\"*\"], backend: d }]";
    let mut config: Value = serde_saphyr::from_str(found.bridge.as_deref().unwrap_or(plain)).unwrap();
    let top = config.as_object_mut().unwrap();
    for key in ["listeners", "admin", "log", "haproxy"] {
        top.remove(key);
    }
    // What one request was told holds for all.
    top.insert("workers".into(), json!(1));
    top.insert("drain".into(), json!({ "delay": "0s" }));
    for backend in top["backends"].as_object_mut().unwrap().values_mut() {
        *backend = json!({ "endpoints": [service] });
    }
    for route in top["routes"].as_array_mut().unwrap() {
        route["timeout"] = json!("5s");
        // The test's service sets all that any of them tests.
        ["listeners", "variables"].iter().for_each(|key| _ = route.as_object_mut().unwrap().remove(*key));
    }
    let listed: Vec<_> = top.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    listed.join("\n")
}

/// With this machine's addresses, and times that a busy machine can keep.
fn setup(found: &Found, agents: &str) -> Setup {
    let mut proxies = String::new();
    let mut section = String::new();
    let mut sockets = 0;
    for line in found.main.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if !line.starts_with([' ', '#']) && !words.is_empty() {
            section = words[words.len().min(2) - 1].to_owned();
        }
        match &words[..] {
            ["bind", ":8080" | "127.0.0.1:8080"] => proxies.push_str("    bind $FE\n"),
            ["bind", ..] => {
                sockets += 1;
                proxies.push_str(&format!("    bind unix@$DIR/{sockets}.sock\n"));
            }
            ["server" | "server-template", ..] if section == agents => {
                proxies.push_str("    server s1 $BRIDGE check inter 200ms\n")
            }
            ["server", ..] => proxies.push_str("    http-request return status 200 content-type text/plain string served\n"),
            ["filter", "spoe", .., _] => {
                let file = words.last().unwrap();
                proxies.push_str(&line.replace(file, "$DIR/spoe.cfg"));
                proxies.push('\n');
            }
            ["timeout", "connect" | "check", _] => proxies.push_str(&format!("    timeout {} 10s\n", words[1])),
            _ => {
                proxies.push_str(line);
                proxies.push('\n');
            }
        }
    }
    if !proxies.lines().any(|line| line.trim_end() == "backend app") && proxies.contains("default_backend app") {
        proxies.push_str("\nbackend app\n    http-request return status 200 content-type text/plain string served\n");
    }
    let patient = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["timeout", "processing" | "hello", ..] => {
            format!("    timeout {} 10s\n", line.split_whitespace().nth(1).unwrap())
        }
        _ => format!("{line}\n"),
    };
    Setup { proxies, spoe: found.spoe.lines().map(patient).collect(), global: String::new(), master: false }
}
