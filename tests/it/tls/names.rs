//! Services whose TLS is not as it should be: no decision goes there, and the log says what is wrong and what to do.

use std::io::{Read, Write};
use std::net::TcpListener;

use spop_bridge::agent::rustls::DEFAULT_VERSIONS;
use spop_bridge::agent::rustls::version::{TLS12, TLS13};

use super::{assert_allowed, calling, not_connected};
use crate::support::host::Bound;
use crate::support::service::Service;
use crate::support::tls::Ca;
use crate::support::wire::Data;

/// What the log says of `endpoint`, after a NOTIFY that got the fallback.
fn problem(endpoint: &str, backend: &str) -> String {
    let bridge = calling(endpoint, backend);
    let ack = bridge.engine().ask(1, "m", &[]);
    assert_eq!(ack.value("txn.bridge_status"), Some(&Data::from("unavailable")), "{ack:?}");
    not_connected(&bridge, endpoint)
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in {said}");
}

fn allowing(bound: Bound) -> Service {
    Service::bound(bound, |_| crate::support::service::Answer::Actions(vec![crate::support::service::allow()]))
}

#[test]
fn a_certificate_for_somebody_else() {
    let ca = Ca::new("ca");
    let (bound, _) = Bound::tls(ca.issue(&["other.example.com", "192.0.2.1"]).grpc_server(None));
    let service = allowing(bound);
    let ca = ca.file();
    let said = problem(service.uri(), &format!(", tls: {{ ca: {} }}", ca.display()));
    assert_says(
        &said,
        &["not valid for name \"127.0.0.1\"", "other.example.com", "192.0.2.1", "Set tls.server_name or tls.allowed_sans"],
    );
    // Told what to expect, it is right.
    for settings in ["server_name: other.example.com", "server_name: 192.0.2.1", "allowed_sans: [x.test, other.example.com]"] {
        let bridge = calling(service.uri(), &format!(", tls: {{ ca: {}, {settings} }}", ca.display()));
        assert_allowed(&mut bridge.engine(), 1);
    }
}

#[test]
fn a_workload_by_its_spiffe_id() {
    let ca = Ca::new("ca");
    let (bound, _) = Bound::tls(ca.issue(&["spiffe://example.org/decisions"]).grpc_server(None));
    let service = allowing(bound);
    let tls = |sans: &str| format!(", tls: {{ ca: {}, allowed_sans: [{sans}] }}", ca.file().display());
    assert_allowed(&mut calling(service.uri(), &tls("spiffe://example.org/decisions")).engine(), 1);
    let said = problem(service.uri(), &tls("spiffe://example.org/waf, waf.example.com"));
    assert_says(
        &said,
        &[
            "its certificate is for spiffe://example.org/decisions, and allowed_sans has spiffe://example.org/waf, waf.example.com: add a name",
        ],
    );
    // The name that it is reached by does not help where others are demanded.
    let (bound, _) = Bound::tls(ca.issue(&["127.0.0.1"]).grpc_server(None));
    let service = allowing(bound);
    assert_says(&problem(service.uri(), &tls("spiffe://example.org/decisions")), &["no URI and no DNS name"]);
}

#[test]
fn a_certificate_of_an_unknown_ca() {
    let (bound, _) = Bound::tls(Ca::new("ca").issue(&["127.0.0.1"]).grpc_server(None));
    let service = allowing(bound);
    let another = Ca::new("another");
    let said = problem(service.uri(), &format!(", tls: {{ ca: {} }}", another.file().display()));
    assert_says(&said, &["UnknownIssuer", "Put the CA of the server's certificate into the file of tls.ca"]);
}

#[test]
fn a_certificate_that_has_expired() {
    let ca = Ca::new("ca");
    let (bound, _) = Bound::tls(ca.issue_expired(&["127.0.0.1"]).grpc_server(None));
    let service = allowing(bound);
    let said = problem(service.uri(), &format!(", tls: {{ ca: {} }}", ca.file().display()));
    assert_says(&said, &["certificate expired", "Renew the server's certificate, or set the clock right"]);
}

/// By 1.3 the refusal comes in place of the first answer, by 1.2 within the handshake.
#[test]
fn a_service_that_wants_another_client_certificate() {
    let (ca, clients, stranger) = (Ca::new("ca"), Ca::new("clients"), Ca::new("stranger"));
    let unknown = stranger.issue(&["bridge"]);
    for version in [&TLS12, &TLS13] {
        let (bound, _) = Bound::tls(ca.issue(&["127.0.0.1"]).server(Some(&clients), &[version], &["h2"]));
        let service = allowing(bound);
        let said = problem(service.uri(), &format!(", tls: {{ ca: {} }}", ca.file().display()));
        assert_says(&said, &["client certificate", "tls.certificate"]);
        let said = problem(service.uri(), &format!(", tls: {{ ca: {}, {} }}", ca.file().display(), unknown.yaml()));
        assert_says(&said, &["UnknownCA", "does not take the client certificate of tls.certificate"]);
    }
}

#[test]
fn a_service_without_http2() {
    let ca = Ca::new("ca");
    for alpn in [&[][..], &["http/1.1"]] {
        let (bound, _) = Bound::tls(ca.issue(&["127.0.0.1"]).server(None, DEFAULT_VERSIONS, alpn));
        let service = allowing(bound);
        let said = problem(service.uri(), &format!(", tls: {{ ca: {} }}", ca.file().display()));
        assert_says(&said, &["It may be no gRPC server, or one behind a proxy that speaks HTTP/1.1 only"]);
    }
}

#[test]
fn a_service_below_the_least_version() {
    let ca = Ca::new("ca");
    let (bound, _) = Bound::tls(ca.issue(&["127.0.0.1"]).server(None, &[&TLS12], &["h2"]));
    let service = allowing(bound);
    let said = problem(service.uri(), &format!(", tls: {{ ca: {}, min_version: \"1.3\" }}", ca.file().display()));
    assert_says(&said, &["There is no TLS version or cipher in common: look at tls.min_version"]);
}

#[test]
fn a_plain_service_at_https() {
    let service = Service::allowing();
    let ca = Ca::new("ca");
    let endpoint = service.uri().replace("http://", "https://");
    let said = problem(&endpoint, &format!(", tls: {{ ca: {} }}", ca.file().display()));
    assert_says(&said, &["TLS: ", "The server does not speak TLS on this port: take http:// if that is right"]);
}

#[test]
fn a_service_with_tls_at_http() {
    let ca = Ca::new("ca");
    let (bound, _) = Bound::tls(ca.issue(&["127.0.0.1"]).grpc_server(None));
    let service = allowing(bound);
    let said = problem(&service.uri().replace("https://", "http://"), "");
    assert_says(&said, &["speaks TLS", "https://"]);
}

/// Accepts, and says nothing: `connect_timeout` is for the handshake as well.
#[test]
fn a_service_that_does_not_shake_hands() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let ca = Ca::new("ca");
    let said = problem(&endpoint, &format!(", connect_timeout: 300ms, tls: {{ ca: {} }}", ca.file().display()));
    assert_says(&said, &["not connected within connect_timeout"]);
}

/// Hangs up in the middle of the handshake.
#[test]
fn a_service_that_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let _hello = socket.read(&mut [0; 4096]);
            let _half_a_record = socket.write_all(&[0x16, 3, 3, 0]);
        }
    });
    let ca = Ca::new("ca");
    let said = problem(&endpoint, &format!(", tls: {{ ca: {} }}", ca.file().display()));
    assert_says(&said, &["TLS: the server closed the connection without a word"]);
}
