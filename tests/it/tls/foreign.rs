//! Peers that are not rustls: gRPC's own library, and OpenSSL's certificates. HAProxy, which is OpenSSL too, is among `real_haproxy`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use prost::Message;
use spop_bridge::agent::rustls::DEFAULT_VERSIONS;
use spop_bridge::pb::v1::DecideResponse;

use super::{assert_allowed, calling, listening, not_connected};
use crate::support::engine::Engine;
use crate::support::process::Process;
use crate::support::service::{Service, allow};
use crate::support::skipped;
use crate::support::tls::{Ca, client_of, roots};

/// Python's grpcio: BoringSSL below the C core of gRPC.
#[test]
fn a_service_by_grpcio() {
    let interpreter = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/python/bin/python");
    if !interpreter.exists() {
        skipped("tls::foreign::a_service_by_grpcio", "a Python with grpcio (.cache/python)");
        return;
    }
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    let (server, identity) = (ca.issue(&["localhost"]), clients.issue(&["spiffe://example.org/spop-bridge"]));
    let answer: String =
        DecideResponse { actions: vec![allow()] }.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls/service.py");
    let mut command = Command::new(interpreter);
    command.arg(script).arg(answer).arg(server.certificate()).arg(server.key()).arg(clients.file());
    let process = Process::start("grpcio", &mut command);
    let line = |prefix: &'static str| {
        process.output.wait_for(Duration::from_secs(30), move |lines| {
            lines.iter().find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
        })
    };
    let endpoint = format!("https://{}", line("listening on ").unwrap_or_else(|| panic!("{:?}", process.output.all())));
    let bridge = calling(&endpoint, &format!(", tls: {{ ca: {}, {} }}", ca.file().display(), identity.yaml()));
    let mut engine = bridge.engine();
    (1..=20).for_each(|stream| assert_allowed(&mut engine, stream));
    let seen = line("peer ").unwrap();
    assert!(seen.contains("spiffe://example.org/spop-bridge"), "{seen}");

    // Without a certificate it lets nobody in; what it says about that is up to BoringSSL.
    let bridge = calling(&endpoint, &format!(", tls: {{ ca: {} }}", ca.file().display()));
    bridge.engine().ask(1, "m", &[]);
    let said = not_connected(&bridge, &endpoint);
    assert!(said.contains("tls.certificate"), "{said}");
}

/// RSA and a certificate of one's own, as `openssl req -x509` makes them.
#[test]
fn a_certificate_by_openssl() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("own.crt"), folder.path().join("own.key"));
    let make = |more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=bridge",
            "-addext",
            "subjectAltName=DNS:localhost",
        ]);
        command.args(more).arg("-out").arg(&certificate).arg("-keyout").arg(&key).output()
    };
    if make(&[]).is_err() {
        skipped("tls::foreign::a_certificate_by_openssl", "openssl");
        return;
    }
    let yaml = format!("certificate: {}, key: {}", certificate.display(), key.display());
    let service = Service::allowing();
    let bridge = listening(&service, &yaml, "");
    let mut engine = Engine::connect_tls(bridge.address(), &client_of(roots(&certificate), None, DEFAULT_VERSIONS));
    // It says of itself that it is a CA's, which OpenSSL does not mind and rustls does. HAProxy has OpenSSL.
    assert!(engine.try_send(b"x").is_err());
    make(&["-addext", "basicConstraints=critical,CA:FALSE"]).unwrap();
    let bridge = listening(&service, &yaml, "");
    let mut engine = Engine::connect_tls(bridge.address(), &client_of(roots(&certificate), None, DEFAULT_VERSIONS));
    engine.hello();
    assert_allowed(&mut engine, 1);
}
