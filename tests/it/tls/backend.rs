//! Decisions by TLS: what the service sees.

use std::sync::{Arc, Mutex};

use spop_bridge::agent::rustls::ProtocolVersion;
use spop_bridge::agent::rustls::version::TLS12;

use super::{assert_allowed, calling};
use crate::support::host::{Bound, FOREVER, Host};
use crate::support::service::{Answer, Methods, Service, allow};
use crate::support::tls::{Ca, Seen};
use crate::support::{eventually, figure};

fn service(bound: Bound, methods: Methods) -> Service {
    Service::with(methods, bound, FOREVER, |_| Answer::Actions(vec![allow()]))
}

/// The first handshake that the service has seen to its end.
#[track_caller]
fn first(seen: &Mutex<Vec<Seen>>) -> Seen {
    eventually(std::time::Duration::from_secs(10), || seen.lock().unwrap().first().cloned()).expect("a handshake")
}

#[test]
fn both_methods_by_mutual_tls() {
    for methods in [Methods::Both, Methods::Unary] {
        let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
        let identity = clients.issue(&["spiffe://example.org/spop-bridge"]);
        let (bound, seen) = Bound::tls(ca.issue(&["localhost"]).grpc_server(Some(&clients)));
        let service = service(bound, methods);
        let endpoint = service.uri().replace("127.0.0.1", "localhost");
        let bridge = calling(&endpoint, &format!(", tls: {{ ca: {}, {} }}", ca.file().display(), identity.yaml()));
        let mut engine = bridge.engine();
        for stream in 1..=50 {
            assert_allowed(&mut engine, stream);
        }
        let seen = first(&seen);
        assert_eq!((seen.server_name.as_deref(), seen.version), (Some("localhost"), ProtocolVersion::TLSv1_3));
        assert_eq!(seen.certificate, Some(identity.der()));
        assert_eq!(service.calls()[0].is_streamed(), methods == Methods::Both);
        let line = super::logged(&bridge, "endpoint connected");
        assert_eq!(line["endpoint"], endpoint);
    }
}

/// No SNI for an address (RFC 6066), and the certificate must have it.
#[test]
fn an_address_is_a_name_too() {
    let ca = Ca::new("ca");
    let (bound, seen) = Bound::tls(ca.issue(&["127.0.0.1"]).grpc_server(None));
    let service = service(bound, Methods::Both);
    let bridge = calling(service.uri(), &format!(", tls: {{ ca: {} }}", ca.file().display()));
    assert_allowed(&mut bridge.engine(), 1);
    assert_eq!(first(&seen).server_name, None);
}

#[test]
fn a_service_that_speaks_1_2_only() {
    let ca = Ca::new("ca");
    let (bound, seen) = Bound::tls(ca.issue(&["127.0.0.1"]).server(None, &[&TLS12], &["h2", "http/1.1"]));
    let service = service(bound, Methods::Both);
    let bridge = calling(service.uri(), &format!(", tls: {{ ca: {} }}", ca.file().display()));
    assert_allowed(&mut bridge.engine(), 1);
    assert_eq!(first(&seen).version, ProtocolVersion::TLSv1_2);
}

#[test]
fn a_unix_socket_with_tls() {
    let ca = Ca::new("ca");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decisions.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let bound = Bound::UnixTls(listener, ca.issue(&["localhost"]).grpc_server(None));
    let service = service(bound, Methods::Both);
    let bridge = calling(service.uri(), &format!(", tls: {{ ca: {} }}", ca.file().display()));
    assert_allowed(&mut bridge.engine(), 1);
}

/// A server that remembers what the head of each request says.
fn heads(bound: Bound) -> (Host, Arc<Mutex<Vec<http::Uri>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let remember = Arc::clone(&heads);
    let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        remember.lock().unwrap().push(request.uri().clone());
        let answer = http::Response::builder().header("content-type", "application/grpc").header("grpc-status", "12");
        std::future::ready(Ok::<_, std::convert::Infallible>(answer.body(String::new()).unwrap()))
    });
    (Host::start(bound, FOREVER, service), heads)
}

/// What is asked for (SNI), what requests name, and what the certificate must have are three things.
#[test]
fn server_name_and_authority() {
    let ca = Ca::new("ca");
    let cases = [
        ("", "localhost", "localhost:PORT"),
        (", server_name: api.example.com", "api.example.com", "localhost:PORT"),
        (", authority: api.example.com", "api.example.com", "api.example.com"),
        (", server_name: api.example.com, authority: \"other.test:443\"", "api.example.com", "other.test:443"),
        (", server_name: unknown.test, allowed_sans: [api.example.com]", "unknown.test", "localhost:PORT"),
    ];
    for (settings, sni, authority) in cases {
        let (bound, seen) = Bound::tls(ca.issue(&["localhost", "api.example.com"]).grpc_server(None));
        let (host, heads) = heads(bound);
        let endpoint = host.uri().replace("127.0.0.1", "localhost");
        let bridge = calling(&endpoint, &format!(", tls: {{ ca: {} {settings} }}", ca.file().display()));
        bridge.engine().ask(1, "m", &[]);
        assert_eq!(first(&seen).server_name.as_deref(), Some(sni), "{settings}");
        let port = endpoint.rsplit(':').next().unwrap();
        for uri in heads.lock().unwrap().iter() {
            let found = (uri.scheme_str(), uri.authority().map(|authority| authority.to_string()));
            assert_eq!(found, (Some("https"), Some(authority.replace("PORT", port))), "{settings}");
        }
        let paths: Vec<_> = heads.lock().unwrap().iter().map(|uri| uri.path().to_owned()).collect();
        assert!(paths.contains(&"/spopbridge.v1.DecisionService/DecideStream".to_owned()), "{paths:?}");
        assert!(paths.contains(&"/spopbridge.v1.DecisionService/Decide".to_owned()), "{paths:?}");
    }
}

/// A reconnect costs no signature and no chain to be checked.
#[test]
fn sessions_are_resumed() {
    let ca = Ca::new("ca");
    let (bound, seen) = Bound::tls(ca.issue(&["127.0.0.1"]).grpc_server(None));
    let age = std::time::Duration::from_secs(2);
    let service = Service::with(Methods::Both, bound, age, |_| Answer::Actions(vec![allow()]));
    let bridge = calling(service.uri(), &format!(", tls: {{ ca: {} }}", ca.file().display()));
    let mut engine = bridge.engine();
    let mut stream = 0;
    let resumed = eventually(std::time::Duration::from_secs(15), || {
        stream += 1;
        assert_allowed(&mut engine, stream);
        seen.lock().unwrap().iter().any(|seen| seen.is_resumed).then_some(())
    });
    assert!(resumed.is_some(), "{:?}", seen.lock().unwrap());
    figure("decisions until a session was resumed", stream);
}
