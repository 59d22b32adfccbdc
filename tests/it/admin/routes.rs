//! Paths, methods and forms.

use std::process::Command;

use serde_json::json;

use super::{config, json, metric, port, text};
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::eventually;
use crate::support::http::{Client, Request, get};
use crate::support::prometheus::{find_or_skip, promtool};
use crate::support::service::Service;
use crate::support::skipped;

const PATHS: [&str; 8] = ["/", "/live", "/ready", "/metrics", "/config", "/backends", "/connections", "/log-level"];

#[test]
fn every_path_is_listed_and_answers() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let port = port(&bridge);
    let list = text(&get("/").send(port));
    let mut client = Client::connect(port).unwrap();
    for path in PATHS {
        let reply = client.send(get(path)).expect("on one connection");
        assert_eq!(reply.status, 200, "{path}: {}", text(&reply));
        assert_eq!((&*reply.header("cache-control"), &*reply.header("access-control-allow-origin")), ("no-store", "-"), "{path}");
        assert!(list.contains(path), "{path} in {list}");
    }
    for path in ["/nothing", "/metrics/", "/config/..", "//live", "/live%20"] {
        let reply = get(path).send(port);
        assert_eq!(reply.status, 404, "{path}");
        assert!(text(&reply).contains("/backends"), "{path} lists what there is");
    }
    assert_eq!(get("/ready?verbose").send(port).status, 200, "a query changes nothing");
}

#[test]
fn methods() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let port = port(&bridge);
    for path in PATHS {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
            if (method, path) == ("PUT", "/log-level") {
                continue;
            }
            let reply = Request::new(method, path).header("content-length", b"0").send(port);
            let allowed = if path == "/log-level" { "GET, HEAD, PUT" } else { "GET, HEAD" };
            assert_eq!((reply.status, &*reply.header("allow")), (405, allowed), "{method} {path}");
        }
    }
    let mut head = Command::new("curl");
    let Ok(output) = head.args(["-sI", &format!("http://{port}/config")]).output() else {
        return skipped("admin::routes::methods", "curl");
    };
    let head = String::from_utf8(output.stdout).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("content-length: 0"), "{head}");
}

#[test]
fn metrics_in_two_forms() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    bridge.engine().ask(1, "m", &[]);
    let port = port(&bridge);
    let classic = get("/metrics").send(port);
    assert_eq!(classic.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let open = get("/metrics").header("accept", b"application/openmetrics-text;version=1.0.0,*/*;q=0.1").send(port);
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text(&open).ends_with("\n# EOF\n") && text(&open).contains("# UNIT process_uptime_seconds seconds\n"));
    let connected = || metric(&bridge, "spop_bridge_backend_endpoints{spop_bridge_backend=\"decisions\",state=\"ready\"}");
    assert_eq!(eventually(PATIENCE, || (connected() == Some(1.0)).then_some(())), Some(()), "{}", text(&classic));
    for (series, expected) in [
        ("spop_bridge_ready", 1.0),
        ("spop_bridge_config_generation", 1.0),
        ("spop_bridge_config_refused", 0.0),
        ("spop_bridge_route_timeout_seconds{spop_bridge_route=\"*\"}", 10.0),
        ("spop_bridge_backend_endpoints{spop_bridge_backend=\"decisions\",state=\"failed\"}", 0.0),
        ("spop_bridge_backend_in_flight{spop_bridge_backend=\"decisions\"}", 0.0),
        ("spop_bridge_backend_in_flight_limit{spop_bridge_backend=\"decisions\"}", 16_384.0),
        ("spop_bridge_backend_retry_budget{spop_bridge_backend=\"decisions\"}", 1_000.0 * bridge.workers() as f64),
        (concat!("spop_bridge_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(metric(&bridge, series), Some(expected), "{series}");
    }
    assert!(metric(&bridge, "process_memory_usage_bytes").unwrap() > 1e6);
    let (told, counted) = (metric(&bridge, "process_unix_file_descriptors").unwrap(), bridge.open_files() as f64);
    assert!((told - counted).abs() < 5.0, "{told} told, {counted} counted a moment later");
}

/// The linter of Prometheus has nothing to say.
#[test]
fn promtool_is_content() {
    let Some(tool) = find_or_skip("admin::routes::promtool_is_content", "promtool") else { return };
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    bridge.engine().ask(1, "m", &[]);
    let metrics = get("/metrics").send(port(&bridge)).body;
    let (is_content, words) = promtool(&tool, &["check", "metrics"], &metrics);
    assert!(is_content, "{words}");
}

#[test]
fn the_log_level_changes_until_a_reload() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let port = port(&bridge);
    let put = |body: &[u8]| {
        let length = body.len().to_string();
        Request::new("PUT", "/log-level").header("content-length", length.as_bytes()).body(body).send(port)
    };
    let levels = || {
        let value = json(&bridge, "/log-level");
        (value["level"].clone(), value["configured"].clone())
    };
    let lines_of_debug = || bridge.log().iter().filter(|line| line["level"] == "DEBUG").count();
    bridge.engine().ask(1, "m", &[]);
    assert_eq!((lines_of_debug(), levels()), (0, (json!("info"), json!("info"))));
    assert_eq!(put(b" debug\n").status, 200);
    assert_eq!(levels(), (json!("debug"), json!("info")));
    bridge.engine().ask(1, "m", &[]);
    assert!(eventually(PATIENCE, || (lines_of_debug() > 0).then_some(())).is_some(), "{:?}", bridge.log());
    for bad in [&b"loud"[..], b"", b"\xff", &[b'x'; 100_000]] {
        let reply = put(bad);
        assert_eq!(reply.status, 400, "{} bytes", bad.len());
        assert!(text(&reply).contains("expected error, warn, info, debug or trace"), "{}", text(&reply));
    }
    assert_eq!(levels().0, "debug");
    bridge.reload(&config(&service, "status_variable: txn.other\n"));
    assert_eq!(levels(), (json!("info"), json!("info")));
}
