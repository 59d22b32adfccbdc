//! SPOP by TLS: what `ssl` on a server line needs, and what HAProxy says when something is not right.

use std::path::Path;
use std::time::Duration;

use super::{VERDICT, engine, frontend, on_each_line, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::haproxy::Haproxy;
use crate::support::http::get;
use crate::support::service::Service;
use crate::support::tls::{Ca, Issued};
use crate::support::{eventually, figure};

on_each_line!(mutual_tls, one_way_tls, what_haproxy_sees_of_a_refusal, many_at_once);

fn spoe() -> String {
    engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n")
}

/// The bridge with this certificate, and HAProxy with this behind the address on its server line.
fn connect(haproxy: &Path, service: &Service, certificate: &Issued, listener: &str, server: &str) -> (Bridge, Haproxy) {
    let bridge = Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"127.0.0.1:0\", tls: {{ {} {listener} }} }}]\n\
         backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 3s }}]",
        certificate.yaml(),
        service.uri()
    ));
    let proxies = frontend(&reflect(&VERDICT)).replace("$BRIDGE", &format!("$BRIDGE {server}"));
    let haproxy = start(haproxy, &bridge, proxies, spoe());
    (bridge, haproxy)
}

fn checked(haproxy: &Haproxy) -> String {
    format!("{} {}", haproxy.server("bridge", "s1", "check_status"), haproxy.server("bridge", "s1", "last_chk"))
}

/// Both sides show certificates, and each knows who the other has to be. `option spop-check` goes by TLS too.
fn mutual_tls(haproxy: &Path) {
    let (service, ca, clients) = (Service::allowing(), Ca::new("bridges"), Ca::new("proxies"));
    let identity = clients.issue(&["spiffe://example.org/haproxy"]);
    let listener = format!(", client_ca: {}, allowed_sans: [\"spiffe://example.org/haproxy\"]", clients.file().display());
    let server =
        format!("ssl verify required ca-file {} verifyhost bridge.test crt {}", ca.file().display(), identity.pem().display());
    let (mut bridge, haproxy) = connect(haproxy, &service, &ca.issue(&["bridge.test"]), &listener, &server);
    let passed = eventually(Duration::from_secs(10), || checked(&haproxy).starts_with("L7OK").then_some(()));
    assert!(passed.is_some(), "{}", checked(&haproxy));
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    for _ in 0..20 {
        let reply = get("/").send(haproxy.frontend());
        assert_eq!((reply.header("x-allow"), reply.header("x-error")), ("1".into(), "-".into()));
    }
    figure("spop-check by TLS", checked(&haproxy));
    // Ends in order, for both.
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let complaints: Vec<_> = bridge.log().into_iter().filter(|line| line["level"] == "WARN").collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// With what HAProxy has by default on its side, and no certificate of its own.
fn one_way_tls(haproxy: &Path) {
    let (service, ca) = (Service::allowing(), Ca::new("bridges"));
    let server = format!("ssl verify required ca-file {} ssl-min-ver TLSv1.2", ca.file().display());
    for min_version in ["1.2", "1.3"] {
        let listener = format!(", min_version: \"{min_version}\"");
        let server = if min_version == "1.2" { format!("{server} ssl-max-ver TLSv1.2") } else { server.clone() };
        let (_bridge, haproxy) = connect(haproxy, &service, &ca.issue(&["bridge.test"]), &listener, &server);
        haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
        assert_eq!(get("/").send(haproxy.frontend()).header("x-allow"), "1");
    }
}

/// The server is DOWN, requests go on with an error in the variable, and both logs say why.
fn what_haproxy_sees_of_a_refusal(haproxy: &Path) {
    let service = Service::allowing();
    let (ca, clients, stranger) = (Ca::new("bridges"), Ca::new("proxies"), Ca::new("stranger"));
    let good = ca.issue(&["bridge.test"]);
    let demand = format!(", client_ca: {}", clients.file().display());
    let only = format!("{demand}, allowed_sans: [lb.example.com]");
    let trust = format!("ssl verify required ca-file {}", ca.file().display());
    let with = |issued: Issued| format!("{trust} crt {}", issued.pem().display());
    let cases = [
        ("no client certificate", &good, &demand[..], trust.clone()),
        ("a client certificate of another CA", &good, &demand, with(stranger.issue(&["lb.example.com"]))),
        ("an expired client certificate", &good, &demand, with(clients.issue_expired(&["lb.example.com"]))),
        ("a client certificate for another name", &good, &only, with(clients.issue(&["web.example.com"]))),
        ("an expired certificate of the bridge", &ca.issue_expired(&["bridge.test"]), "", trust.clone()),
        ("a certificate of the bridge from another CA", &stranger.issue(&["bridge.test"]), "", trust.clone()),
        ("a certificate of the bridge for another name", &good, "", format!("{trust} verifyhost other.test")),
        ("no ssl on the server line", &good, "", String::new()),
    ];
    for (what, certificate, listener, server) in cases {
        let (bridge, haproxy) = connect(haproxy, &service, certificate, listener, &server);
        haproxy.wait_for_server("bridge", "s1", "DOWN").unwrap_or_else(|state| panic!("{what}: {state}"));
        let reply = get("/").send(haproxy.frontend());
        assert_eq!((reply.status, reply.header("x-allow")), (200, "-".into()), "{what}");
        let failed = eventually(Duration::from_secs(5), || {
            bridge.log().into_iter().find(|line| line["message"] == "TLS handshake failed")
        });
        let failed = failed.unwrap_or_else(|| panic!("{what}: {:#?}", bridge.log()));
        assert!(failed["suppressed"].is_u64() && failed["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{what}: {failed}");
        let said = failed["error"].as_str().unwrap();
        figure(what, format!("HAProxy: {}; error={}; bridge: {said}", checked(&haproxy), reply.header("x-error")));
    }
}

/// Requests side by side by TLS, most of them with a decision on a connection that was there already.
fn many_at_once(haproxy: &Path) {
    let (service, ca, clients) = (Service::allowing(), Ca::new("bridges"), Ca::new("proxies"));
    let listener = format!(", client_ca: {}", clients.file().display());
    let identity = clients.issue(&["haproxy"]);
    let server = format!("ssl verify required ca-file {} crt {}", ca.file().display(), identity.pem().display());
    let (_bridge, haproxy) = connect(haproxy, &service, &ca.issue(&["bridge.test"]), &listener, &server);
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    let load = crate::support::load::Load::start(8, haproxy.frontend(), super::outcome);
    assert!(load.wait_for(2000, "decided"));
    let tally = load.stop();
    figure("load by TLS", format!("{tally:?}"));
    assert_eq!(tally.len(), 1, "{tally:?}");
}
