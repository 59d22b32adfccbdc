//! Files that are right and files that are wrong.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

/// A folder with `ca.pem`, `good.crt`, `good.key`, and whatever a test adds.
struct Folder {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Folder {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let folder = Self { folder: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key) };
        folder.write("ca.pem", certificate);
        folder.issue("good", |_| {});
        folder
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{name}.crt"), params.signed_by(&key, &self.issuer).unwrap().pem());
        self.write(&format!("{name}.key"), key.serialize_pem());
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Loads a configuration in which `$DIR` is this folder.
    fn load(&self, text: &str) -> Result<Material, Vec<String>> {
        let directory = self.folder.path().to_str().unwrap();
        let (config, _) = Config::from_yaml(&text.replace("$DIR", directory), "test.yaml", &|_| None).unwrap();
        let texts =
            |problems: Vec<Problem>| problems.iter().map(|problem| problem.to_string().replace(directory, "$DIR")).collect();
        Material::load(&config).map_err(texts)
    }

    fn problems_of_listener(&self, tls: &str) -> Vec<String> {
        let text = format!("listeners: [{{bind: 'a:1', tls: {{{tls}}}}}]\nbackends: {{a: {{endpoints: ['http://a:1']}}}}");
        self.load(&text).expect_err(tls)
    }
}

const BOTH: &str = "
listeners:
- {bind: 'a:1', tls: {certificate: $DIR/good.crt, key: $DIR/good.key, client_ca: $DIR/ca.pem, allowed_sans: [a]}}
- {bind: 'a:2'}
backends:
  plain: {endpoints: ['http://a:1']}
  tls: {endpoints: ['https://a:1'], tls: {ca: $DIR/ca.pem, certificate: $DIR/good.crt, key: $DIR/good.key, min_version: '1.3'}}
routes: [{messages: [a], backend: plain}, {backend: tls}]";

#[test]
fn what_is_right_is_ready_for_use() {
    let material = Folder::new().load(BOTH).unwrap();
    assert_eq!(material.warnings, []);
    let [Some(listener), None] = material.listeners.as_slice() else { panic!("two listeners, the first with TLS") };
    let [None, Some(backend)] = material.backends.as_slice() else { panic!("two backends, the second with TLS") };
    assert!(listener.alpn_protocols.is_empty(), "SPOP has no name there");
    assert_eq!(backend.alpn_protocols, [b"h2"]);
}

#[test]
fn keys_are_never_printed() {
    let folder = Folder::new();
    let material = folder.load(BOTH).unwrap();
    let key = folder.read("good.key");
    let line = key.lines().nth(1).unwrap();
    let live = Live::new(material.listeners[0].clone());
    for printed in [format!("{material:?}"), format!("{live:?}")] {
        assert!(!printed.contains(line) && !printed.contains("key"), "{printed}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new();
    assert_eq!(
        folder.problems_of_listener("certificate: $DIR/none.crt, key: $DIR, client_ca: $DIR/none.crt"),
        [
            "listeners[0].tls.certificate: found $DIR/none.crt, which cannot be read: No such file or directory (os error 2), expected a PEM file with a certificate",
            "listeners[0].tls.client_ca: found $DIR/none.crt, which cannot be read: No such file or directory (os error 2), expected a PEM file with a certificate",
            "listeners[0].tls.key: found $DIR, which is a directory, not a regular file, expected a PEM file with a private key that is not encrypted (RSA of 2048 bits or more, ECDSA P-256 or P-384, Ed25519)",
        ]
    );
    folder.write("large.crt", vec![b'\n'; 5 << 20]);
    let problems = folder.problems_of_listener("certificate: $DIR/large.crt, key: $DIR/good.key");
    assert!(problems[0].contains("found $DIR/large.crt, which is larger than 4 MiB"), "{problems:?}");
}

#[test]
fn files_with_something_else_in_them() {
    let folder = Folder::new();
    folder.write("empty.crt", "");
    folder.write("text.crt", "hello\n");
    for name in ["empty.crt", "text.crt", "good.key"] {
        let problems = folder.problems_of_listener(&format!("certificate: $DIR/{name}, key: $DIR/good.key"));
        let expected = format!(
            "listeners[0].tls.certificate: found $DIR/{name} with no certificate in it, expected a PEM file with a certificate"
        );
        assert_eq!(problems, [expected]);
    }
    folder.write("cut.crt", &folder.read("good.crt")[..200]);
    folder.write("odd.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (name, said) in [("cut.crt", "which is not PEM"), ("odd.crt", "with a certificate that cannot be used")] {
        let problems = folder.problems_of_listener(&format!("certificate: $DIR/{name}, key: $DIR/good.key"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("listeners[0].tls.certificate: found $DIR/{name}")), "{problems:?}");
        assert!(problems[0].contains(said), "{problems:?}");
        let ca = folder.problems_of_listener(&format!("certificate: $DIR/good.crt, key: $DIR/good.key, client_ca: $DIR/{name}"));
        assert!(ca[0].starts_with(&format!("listeners[0].tls.client_ca: found $DIR/{name}")), "{ca:?}");
    }
}

#[test]
fn keys_that_are_none_or_others_are_not_repeated() {
    let folder = Folder::new();
    folder.issue("other", |_| {});
    let secret = "c2VjcmV0";
    folder.write(
        "encrypted.key",
        format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{secret}\n-----END ENCRYPTED PRIVATE KEY-----\n"),
    );
    folder.write("odd.key", format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"));
    folder.write("cut.key", format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"));
    folder.write("junk.key", format!("-----BEGIN PRIVATE KEY-----\n{secret}!%&\n-----END PRIVATE KEY-----\n"));
    let cases = [
        ("encrypted.key", "$DIR/encrypted.key with an encrypted private key in it"),
        ("odd.key", "$DIR/odd.key with a key that cannot be used"),
        ("cut.key", "$DIR/cut.key with no private key in it"),
        ("junk.key", "$DIR/junk.key with no private key in it"),
        ("good.crt", "$DIR/good.crt with no private key in it"),
        (
            "other.key",
            "$DIR/other.key, which is not the key of $DIR/good.crt, expected the key of the first certificate in that file",
        ),
    ];
    for (name, said) in cases {
        let problems = folder.problems_of_listener(&format!("certificate: $DIR/good.crt, key: $DIR/{name}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("listeners[0].tls.key: found {said}")), "{problems:?}");
        assert!(!problems[0].contains(secret), "{problems:?}");
    }
}

#[test]
fn certificates_out_of_date_are_warned_of() {
    let folder = Folder::new();
    folder.issue("old", |params| params.not_after = date_time_ymd(2020, 2, 1));
    folder.issue("new", |params| params.not_before = date_time_ymd(2100, 2, 1));
    for (name, said) in
        [("old", "expired on Sat, 01 Feb 2020 00:00:00 GMT"), ("new", "is valid from Mon, 01 Feb 2100 00:00:00 GMT")]
    {
        // A whole chain is looked at: the second certificate is out of date as well as the first could be.
        folder.write("chain.crt", format!("{}{}", folder.read("good.crt"), folder.read(&format!("{name}.crt"))));
        let text = "backends: {a: {endpoints: ['https://a:1'], tls: {ca: $DIR/ca.pem, certificate: $DIR/chain.crt, key: $DIR/good.key}}}";
        let warnings = folder.load(text).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let warning = warnings[0].to_string();
        assert!(warning.starts_with("backends.a.tls.certificate: ") && warning.ends_with(said), "{warning}");
    }
}

/// What ring cannot do is said when the file is read, not when HAProxy connects.
#[test]
fn kinds_of_keys() {
    let folder = Folder::new();
    for (name, algorithm) in [("p384", &rcgen::PKCS_ECDSA_P384_SHA384), ("ed25519", &rcgen::PKCS_ED25519)] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        folder.write("kind.crt", params.signed_by(&key, &folder.issuer).unwrap().pem());
        folder.write("kind.key", key.serialize_pem());
        let text =
            "backends: {a: {endpoints: ['https://a:1'], tls: {ca: $DIR/ca.pem, certificate: $DIR/kind.crt, key: $DIR/kind.key}}}";
        assert!(folder.load(text).is_ok(), "{name}");
    }
}

#[test]
fn what_is_live_can_be_replaced() {
    let material = Folder::new().load(BOTH).unwrap();
    let first = material.listeners[0].clone();
    let live = Live::new(first.clone());
    let shared = live.clone();
    shared.replace(None);
    assert!(live.current().is_none());
    shared.replace(first.clone());
    assert!(Arc::ptr_eq(&live.current().unwrap(), &first.unwrap()));
}
