//! TLS of listeners and backends.

use super::*;

#[test]
fn tls_of_listeners() {
    let with = |tls: &str| format!("listeners: [{{bind: 'a:1', tls: {{{tls}}}}}]");
    let file = "expected the path of a PEM file";
    assert_problems(
        &with(""),
        &[
            &format!("listeners[0].tls.certificate: found nothing, {file}"),
            &format!("listeners[0].tls.key: found nothing, {file}"),
        ],
    );
    assert_problems(
        &with("certificate: '', key: 5, client_ca: true"),
        &[
            &format!("listeners[0].tls.certificate: found an empty text, {file}"),
            &format!("listeners[0].tls.client_ca: found true, {file}"),
            &format!("listeners[0].tls.key: found 5, {file}"),
        ],
    );
    assert_problems(
        &with("certificate: c, key: k, allowed_sans: [haproxy]"),
        &[
            "listeners[0].tls.allowed_sans: found names of clients, expected client_ca beside it: names count only in certificates that are asked for",
        ],
    );
    assert_problems(
        &with("certificate: c, key: k, client_ca: a, allowed_sans: []"),
        &["listeners[0].tls.allowed_sans: found an empty list, expected a list with at least one item"],
    );
    let san = "a DNS name, an IP address, or a URI such as spiffe://example.org/haproxy";
    assert_problems(
        &with(
            "certificate: c, key: k, client_ca: a, allowed_sans: ['a b', 'spiffe://', '*.example.com', '://x', 'haproxy:9000']",
        ),
        &[
            &format!("listeners[0].tls.allowed_sans[0]: found a b, expected {san}"),
            &format!("listeners[0].tls.allowed_sans[1]: found spiffe://, expected {san}"),
            &format!("listeners[0].tls.allowed_sans[2]: found *.example.com, expected {san}"),
            &format!("listeners[0].tls.allowed_sans[3]: found ://x, expected {san}"),
            &format!("listeners[0].tls.allowed_sans[4]: found haproxy:9000, expected {san}"),
        ],
    );
    for version in ["1.3", "'1.1'", "TLSv1.3"] {
        let found = version.trim_matches('\'');
        assert_problems(
            &with(&format!("certificate: c, key: k, min_version: {version}")),
            &[&format!(r#"listeners[0].tls.min_version: found {found}, expected "1.2" or "1.3", in quotes"#)],
        );
    }
}

#[test]
fn tls_of_backends() {
    let with = |endpoints: &str, tls: &str| problems(&format!("backends: {{a: {{endpoints: [{endpoints}], tls: {{{tls}}}}}}}"));
    let https = "expected https://host:port: TLS is for a backend as a whole";
    assert_eq!(
        with("'http://a:1', 'https://a:1'", ""),
        [format!("backends.a.endpoints[0]: found http://a:1 beside tls, {https}")]
    );
    assert_eq!(
        problems("backends: {a: {endpoints: ['https://a:1', 'http://a:2']}}"),
        [format!("backends.a.endpoints[1]: found http://a:2 beside https://, {https}")]
    );
    let a = "'https://a:1'";
    assert_eq!(with(a, "certificate: c"), ["backends.a.tls.key: found nothing, expected the file of the certificate's key"]);
    assert_eq!(with(a, "key: k"), ["backends.a.tls.certificate: found nothing, expected the file of the key's certificate"]);
    assert_eq!(
        with(a, "server_name: 'a b', authority: 'x/y'"),
        [
            "backends.a.tls.authority: found x/y, expected host or host:port",
            "backends.a.tls.server_name: found a b, expected a DNS name or an IP address",
        ]
    );
    let host = format!("https://{}:1", "n".repeat(64));
    assert_eq!(
        with(&format!("'{host}'"), ""),
        [format!(
            "backends.a.endpoints[0]: found {host}, expected tls.server_name beside it: its host cannot be in a certificate"
        )]
    );
    for tls in ["server_name: b", "authority: 'b:443'", "authority: '[::1]:443'"] {
        let text = format!("backends: {{a: {{endpoints: ['{host}', 'https://[::1]:1'], tls: {{{tls}}}}}}}");
        assert!(Config::from_yaml(&text, "test.yaml", &env).is_ok(), "{tls}");
    }
}
