//! What runs: the configuration, backends, connections.

use serde_json::json;

use super::{config, json, metric};
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::free_address;
use crate::support::service::Service;
use crate::support::tls::Ca;

#[test]
fn the_configuration_without_secrets() {
    let service = Service::allowing();
    let text = config(&service, "status_variable: txn.state\n")
        .replace("] }", "], metadata: { authorization: \"Bearer hunter2\", x-api-key: hunter2, x-tenant: shop } }");
    let bridge = Bridge::start(&text);
    let shown = json(&bridge, "/config");
    assert!(!shown.to_string().contains("hunter2"), "{shown}");
    let metadata = json!({ "authorization": "(redacted)", "x-api-key": "(redacted)", "x-tenant": "(redacted)" });
    assert_eq!(shown["config"]["backends"]["decisions"]["metadata"], metadata);
    assert_eq!(shown["config"]["status_variable"], "txn.state");
    assert_eq!(shown["config"]["ack_margin"], "2ms", "a default");
    assert_eq!((&shown["generation"], &shown["refused"]), (&json!(1), &json!(null)));
    let file = bridge.directory().join("bridge.yaml");
    assert_eq!(shown["source"], file.to_str().unwrap());
    // It is a configuration, and the same one.
    let mut again = shown["config"].clone();
    again["backends"]["decisions"]["metadata"] =
        json!({ "authorization": "Bearer hunter2", "x-api-key": "hunter2", "x-tenant": "shop" });
    std::fs::write(&file, again.to_string()).unwrap();
    bridge.signal(nix::sys::signal::Signal::SIGHUP);
    let reload = bridge.wait_for_reload(0);
    assert_eq!(
        (reload["message"].as_str(), reload["changes"].as_str()),
        (Some("configuration reloaded"), Some("none")),
        "{reload}"
    );
}

#[test]
fn a_refused_reload_is_seen_until_a_good_one() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    bridge.reload(&config(&service, "status_variable: nope\nworkerz: 1\n"));
    let refused = &json(&bridge, "/config")["refused"];
    let problems: Vec<_> = refused["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap()).collect();
    assert_eq!(problems, bridge.problems());
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(metric(&bridge, "spop_bridge_config_refused"), Some(1.0));
    assert_eq!(metric(&bridge, "spop_bridge_config_reloads_total{outcome=\"refused\"}"), Some(1.0));
    bridge.reload(&config(&service, "status_variable: txn.fine\n"));
    let shown = json(&bridge, "/config");
    assert_eq!((&shown["refused"], &shown["generation"]), (&json!(null), &json!(2)));
    assert_eq!(shown["config"]["status_variable"], "txn.fine");
    assert_eq!(metric(&bridge, "spop_bridge_config_refused"), Some(0.0));
    assert_eq!(metric(&bridge, "spop_bridge_config_generation"), Some(2.0));
}

#[test]
fn backends_and_their_endpoints() {
    let mut service = Service::allowing();
    let dead = free_address();
    let bridge = Bridge::start(&format!(
        "workers: 2\nbackends: {{ decisions: {{ endpoints: [\"{}\", \"http://{dead}\"], max_in_flight: 7, adaptive_limit: {{ min: 3 }} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 10s }}]\n",
        service.uri()
    ));
    let endpoint = |index: usize| json(&bridge, "/backends")["backends"][0]["endpoints"][index].clone();
    let all_ready =
        || (endpoint(0)["workers"] == json!({ "ready": 2 }) && endpoint(1)["workers"] == json!({ "failed": 2 })).then_some(());
    assert!(eventually(PATIENCE, all_ready).is_some(), "{}", json(&bridge, "/backends"));
    bridge.engine().ask(1, "m", &[]);
    let backend = json(&bridge, "/backends")["backends"][0].clone();
    assert_eq!(
        (&backend["name"], &backend["max_in_flight"], &backend["adaptive_limits"], &backend["in_flight"]),
        (&json!("decisions"), &json!(7), &json!([3, 3]), &json!(0))
    );
    let ready = endpoint(0);
    assert_eq!((&ready["endpoint"], &ready["state"], &ready["reason"]), (&json!(service.uri()), &json!("ready"), &json!(null)));
    assert_eq!((&ready["protocol"], &ready["connections"]), (&json!("stream"), &json!(2)));
    assert!(ready["latency_ms"].as_f64().is_some(), "{ready}");
    let failed = endpoint(1);
    assert_eq!((&failed["state"], &failed["protocol"], &failed["latency_ms"]), (&json!("failed"), &json!(null), &json!(null)));
    assert!(failed["reason"].as_str().unwrap().contains("refused"), "{failed}");
    let by_state = |state: &str| {
        metric(&bridge, &format!("spop_bridge_backend_endpoints{{spop_bridge_backend=\"decisions\",state=\"{state}\"}}"))
    };
    assert_eq!([by_state("ready"), by_state("failed"), by_state("ejected")], [Some(1.0), Some(1.0), Some(0.0)]);
    assert_eq!((by_state("draining"), by_state("leaving")), (Some(0.0), None));
    service.kill();
    assert!(eventually(PATIENCE, || (endpoint(0)["state"] == "failed").then_some(())).is_some(), "{}", endpoint(0));
    assert_eq!(by_state("failed"), Some(2.0));
}

/// Calls are told from streams, and a backend that a reload has replaced is not counted beside its successor.
#[test]
fn after_a_reload_there_is_the_new_backend_only() {
    let (old, new) = (Service::allowing(), Service::allowing());
    let bridge = Bridge::start(&config(&old, ""));
    bridge.reload(&config(&new, "").replace("] }", "], protocol: decide }"));
    let connected = || {
        let endpoints = json(&bridge, "/backends")["backends"][0]["endpoints"].clone();
        let [endpoint] = endpoints.as_array().unwrap().as_slice() else { panic!("{endpoints}") };
        (endpoint["endpoint"] == new.uri() && endpoint["protocol"] == "calls").then_some(())
    };
    assert!(eventually(PATIENCE, connected).is_some(), "{}", json(&bridge, "/backends"));
    assert_eq!(metric(&bridge, "spop_bridge_backend_endpoints{spop_bridge_backend=\"decisions\",state=\"ready\"}"), Some(1.0));
}

#[test]
fn listeners_are_told_with_their_addresses() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let crate::support::address::Address::Tcp(address) = bridge.address() else { panic!("TCP") };
    let listeners = json(&bridge, "/connections")["listeners"].clone();
    assert_eq!((&listeners[0]["name"], &listeners[0]["address"]), (&json!("main"), &json!(address.to_string())));
}

#[test]
fn certificates_by_when_they_end() {
    let service = Service::allowing();
    let ca = Ca::new("admin");
    let issued = ca.issue(&["localhost"]);
    let listener = format!("listeners: [{{ name: main, bind: \"127.0.0.1:0\", tls: {{ {} }} }}]\n", issued.yaml());
    let bridge = Bridge::start(&config(&service, &listener));
    let end =
        metric(&bridge, "spop_bridge_tls_certificate_expiry_seconds{spop_bridge_certificate=\"listeners[0].tls.certificate\"}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(end.expect("a certificate") > now, "{end:?}");
    assert!(json(&bridge, "/config")["certificates_end"]["listeners[0].tls.certificate"].is_string());
}

#[test]
fn who_is_connected() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    let _silent = Engine::connect(bridge.address());
    let mut engine = Engine::connect(bridge.address());
    let id = "e\u{e9}\"\n".repeat(40);
    engine.hello_with(4_096, &id);
    for stream in 1..=3 {
        engine.ask(stream, "m", &[]);
    }
    let both = || Some(json(&bridge, "/connections")).filter(|value| value["listeners"][0]["connections"] == 2);
    let value = eventually(PATIENCE, both).expect("two connections");
    let one = |engine: &serde_json::Value| {
        let connections = value["connections"].as_array().unwrap().iter();
        connections.clone().find(|connection| connection["engine"] == *engine).unwrap_or_else(|| panic!("{value}")).clone()
    };
    let known = one(&json!(id.chars().take(64).collect::<String>()));
    assert_eq!(
        ["listener", "engine_slot", "max_frame_size", "notifies", "in_flight"].map(|key| known[key].clone()),
        [json!("main"), json!("0"), json!(4_096), json!(3), json!(0)]
    );
    assert!(known["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{known}");
    let silent = one(&json!(null));
    assert_eq!((&silent["engine_slot"], &silent["notifies"]), (&json!(null), &json!(0)));
    drop(engine);
    let gone = || (json(&bridge, "/connections")["listeners"][0]["connections"] == 1).then_some(());
    assert!(eventually(PATIENCE, gone).is_some(), "{}", json(&bridge, "/connections"));
}
