//! Peers that do not get in: what they are told, and what the operator reads.

use std::io::{Read, Write};
use std::sync::Arc;

use spop_bridge::agent::rustls::version::{TLS12, TLS13};
use spop_bridge::agent::rustls::{AlertDescription, ClientConfig, Error as TlsError};

use super::{assert_allowed, listening, logged};
use crate::support::bridge::Bridge;
use crate::support::engine::{Engine, hello_frame};
use crate::support::service::Service;
use crate::support::tls::{Ca, client};

/// A listener that wants clients of `clients`, with these names.
fn demanding(service: &Service, ca: &Ca, clients: &Ca, allowed_sans: &str) -> Bridge {
    let tls = format!("{}, client_ca: {} {allowed_sans}", ca.issue(&["localhost"]).yaml(), clients.file().display());
    listening(service, &tls, "")
}

/// The alert that an engine gets instead of an AGENT-HELLO. It speaks first, as HAProxy does: what it has sent must not cost the alert.
fn alert(bridge: &Bridge, config: &Arc<ClientConfig>) -> AlertDescription {
    let mut engine = Engine::connect_tls(bridge.address(), config);
    let hello = hello_frame(16380, "refused").encode();
    let refused = engine.try_send(&hello).and_then(|()| engine.tls().read(&mut [0; 64]).map(drop));
    let error = refused.expect_err("no way in").downcast::<TlsError>();
    match error.unwrap_or_else(|error| panic!("an alert, not {error:?}")) {
        TlsError::AlertReceived(alert) => alert,
        other => panic!("an alert, not {other}"),
    }
}

fn error(bridge: &Bridge) -> String {
    let line = logged(bridge, "TLS handshake failed");
    assert_eq!((&line["listener"], &line["level"]), (&"main".into(), &"WARN".into()));
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    line["error"].as_str().unwrap().to_owned()
}

#[test]
fn clients_without_the_right_certificate() {
    let service = Service::allowing();
    let (ca, clients, stranger) = (Ca::new("ca"), Ca::new("clients"), Ca::new("stranger"));
    let expired = clients.issue_expired(&["haproxy"]);
    let unknown = stranger.issue(&["haproxy"]);
    let cases = [
        (
            None,
            AlertDescription::CertificateRequired,
            "peer sent no certificates. Clients must show a certificate here: `crt FILE`",
        ),
        (Some(&unknown), AlertDescription::UnknownCA, "UnknownIssuer. The certificate behind `crt`"),
        (Some(&expired), AlertDescription::CertificateExpired, "Renew the certificate behind `crt`"),
    ];
    for (identity, expected, said) in cases {
        let bridge = demanding(&service, &ca, &clients, "");
        assert_eq!(alert(&bridge, &client(&ca, identity, &[&TLS13])), expected, "{said}");
        assert!(error(&bridge).contains(said), "{}", error(&bridge));
        // By TLS 1.2 as well; those who have the right one come in.
        alert(&bridge, &client(&ca, identity, &[&TLS12]));
        let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, Some(&clients.issue(&["haproxy"])), &[&TLS12]));
        engine.hello();
        assert_allowed(&mut engine, 1);
    }
}

#[test]
fn clients_with_another_name() {
    let service = Service::allowing();
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    let allowed = ", allowed_sans: [spiffe://example.org/edge/haproxy, lb.example.com, 192.0.2.7]";
    let bridge = demanding(&service, &ca, &clients, allowed);
    for names in [
        &["spiffe://example.org/edge/haproxy"][..],
        &["lb.example.com"],
        &["LB.example.COM"],
        &["*.example.com"],
        &["192.0.2.7"],
        &["a.test", "spiffe://example.org/other", "lb.example.com"],
    ] {
        let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, Some(&clients.issue(names)), &[&TLS13]));
        engine.hello();
        assert_allowed(&mut engine, 1);
    }
    let refused = [
        &["spiffe://example.org/edge/haproxy2"][..],
        &["spiffe://example.org/edge/HAProxy"],
        &["*.lb.example.com"],
        &["192.0.2.8"],
        &[],
        &["spiffe://example.org/edge", "evil.example.net"],
    ];
    for names in refused {
        let config = client(&ca, Some(&clients.issue(names)), &[&TLS13]);
        assert_eq!(alert(&bridge, &config), AlertDescription::CertificateUnknown, "{names:?}");
    }
    let said = error(&bridge);
    assert!(said.contains("its certificate is for spiffe://example.org/edge/haproxy2, and allowed_sans has spiffe://"), "{said}");
    assert!(said.contains("add a name that it has, if it is the right one. `openssl x509 -text`"), "{said}");
}

#[test]
fn versions_below_the_least() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let bridge = listening(&service, &format!("{}, min_version: \"1.3\"", ca.issue(&["localhost"]).yaml()), "");
    assert_eq!(alert(&bridge, &client(&ca, None, &[&TLS12])), AlertDescription::ProtocolVersion);
    let said = error(&bridge);
    assert!(said.contains("look at min_version here"), "{said}");
}

/// HAProxy does not trust our certificate: it says so by an alert, and the log says where to look.
#[test]
fn our_certificate_is_not_taken() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), "");
    let mut engine = Engine::connect_tls(bridge.address(), &client(&Ca::new("another"), None, &[&TLS13]));
    assert!(engine.try_send(b"x").is_err());
    let said = error(&bridge);
    assert!(said.contains("UnknownCA") && said.contains("`ca-file`"), "{said}");
}

/// `ssl` was forgotten on the server line.
#[test]
fn plain_spop_on_a_tls_listener() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let mut bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), "");
    let begin = std::time::Instant::now();
    for _ in 0..3 {
        let mut engine = Engine::connect(bridge.address());
        engine.send_frame(&hello_frame(16380, "plain"));
        // An alert, which is no frame.
        let answer = engine.read_to_end();
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
    let said = error(&bridge);
    assert!(said.contains("does not speak TLS, which this listener does: `ssl` is missing on HAProxy's server line"), "{said}");
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let totals = logged(&bridge, "stopped")["totals"].as_str().unwrap().to_owned();
    assert!(totals.contains("tls_refused=3") && !totals.contains("protocol_errors"), "{totals}");
    let lines = bridge.log().iter().filter(|line| line["message"] == "TLS handshake failed").count();
    let most = 2 + begin.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&lines), "at most one a second: {lines}");
}

/// `ssl` is there, `tls` was forgotten here.
#[test]
fn tls_on_a_plain_listener() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let bridge = Bridge::simple(service.uri(), "1s");
    let mut engine = Engine::connect_tls(bridge.address(), &client(&ca, None, &[&TLS13]));
    assert!(engine.try_send(b"x").is_err());
    let line = logged(&bridge, "connection ended: the peer does not keep to SPOP");
    let said = line["error"].as_str().unwrap();
    assert!(said.contains("these are the first bytes of TLS, which is not on here"), "{said}");
}

/// Port scanners and checks of the fourth layer connect and hang up: no line for them, and none for a reset.
#[test]
fn who_only_knocks_is_no_news() {
    let (service, ca) = (Service::allowing(), Ca::new("ca"));
    let mut bridge = listening(&service, &ca.issue(&["localhost"]).yaml(), "");
    drop(Engine::connect(bridge.address()));
    let mut half = Engine::connect(bridge.address());
    half.send(&[0x16, 3, 1]);
    drop(half);
    let mut flood = Engine::connect(bridge.address());
    // Refused, and goes on talking: it is read for a second, and then the door is shut.
    flood.send(b"no TLS at all, and not SPOP either");
    let _shut = (0..1000).try_for_each(|_| {
        std::thread::sleep(std::time::Duration::from_millis(2));
        flood.writer().write_all(&[b'x'; 4096])
    });
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    let refused = bridge.log().iter().filter(|line| line["level"] == "WARN").count();
    assert_eq!(refused, 1, "only the one that spoke: {:#?}", bridge.log());
}
