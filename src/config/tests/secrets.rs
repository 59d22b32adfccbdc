//! What came from the environment, metadata and passwords in URLs are shown nowhere, whatever they are called and wherever they stand.

use serde_json::{Value, json};

use super::{EVERYTHING, read};
use crate::config::{Config, tree};

/// The values of `everything.yaml` that are no list and no set of keys, as pointers into its tree.
fn scalars() -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| walk(item, &format!("{at}/{index}"), found)),
            Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, &format!("{at}/{key}"), found)),
            Value::Null => {}
            _ => found.push(at.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(&everything(), "", &mut found);
    found
}

fn everything() -> Value {
    tree::read(EVERYTHING, "test.yaml").unwrap()
}

/// `everything.yaml` with other values at some places.
fn with(values: &[(&str, Value)]) -> String {
    let mut tree = everything();
    for (at, value) in values {
        *tree.pointer_mut(at).unwrap_or_else(|| panic!("{at}")) = value.clone();
    }
    tree.to_string()
}

/// All that is said of a file: its problems, or its warnings and what it comes to.
fn said(text: &str, secret: &str) -> String {
    match Config::from_yaml(text, "test.yaml", &|name| (name == "SECRET").then(|| secret.to_owned())) {
        Ok((config, warnings)) => {
            let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            format!("{:#}\n{}", config.effective.tree(), warnings.join("\n"))
        }
        Err(error) => error.to_string(),
    }
}

/// A right value by `${SECRET}` stays `${SECRET}`.
#[test]
fn what_came_from_the_environment_is_shown_as_it_is_written() {
    for at in scalars() {
        let before = everything().pointer(&at).unwrap().clone();
        let secret = before.as_str().map_or_else(|| before.to_string(), str::to_owned);
        let text = with(&[(&at, json!("${SECRET}"))]);
        let env = |name: &str| (name == "SECRET").then(|| secret.clone());
        let config = Config::from_yaml(&text, "test.yaml", &env).unwrap_or_else(|error| panic!("{at}: {error}")).0;
        let shown = config.effective.tree().pointer(&at).cloned();
        let expected = if at.contains("/metadata/") { "(redacted)" } else { "${SECRET}" };
        assert_eq!(shown, Some(json!(expected)), "{at}");
        assert!(
            config == Config { effective: config.effective.clone(), ..read(&with(&[(&at, before)])).0 },
            "{at} means the same"
        );
    }
}

/// A wrong one, in whole or in part, with whatever else is wrong beside it.
#[test]
fn secrets_are_in_no_problem() {
    const SECRET: &str = "s3cr3tA9";
    let others = [
        ("/routes/0/listeners/0", json!("nope")),
        ("/backends/decisions/dns/min_ttl", json!("60m")),
        ("/backends/decisions/dns/max_ttl", json!("1s")),
        ("/ack_margin", json!("1s")),
        ("/routes/1/haproxy/verdict", json!("txn.nope")),
        ("/listeners/0/bind", json!("unix:/run/spop-bridge/spop.sock")),
        ("/listeners/1/name", json!("main")),
        ("/routes/0/name", json!("check-body")),
        ("/listeners/1/bind", json!("host:1")),
    ];
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
    let values = [
        SECRET.to_owned(),
        format!("Bearer {SECRET}"),
        format!("http://user:{SECRET}@host:1"),
        format!("txn.{SECRET}"),
        format!("{SECRET}ms"),
        format!("{SECRET}\n\u{1b}[2J"),
        pem,
        // A number may be one, too.
        "739184620577".to_owned(),
    ];
    let hides = |text: &str, secret: &str, what: &str| {
        let said = said(text, secret);
        assert!(!said.contains(SECRET) && !said.contains("739184620577"), "{what}:\n{said}\n{text}");
        assert!(!said.contains('\u{1b}'), "{what}: {said:?}");
    };
    let scalars = scalars();
    // Alone it may be a right value, and something else is wrong.
    for at in &scalars {
        let alone = (at.as_str(), json!("${SECRET}"));
        let others: Vec<_> = others.iter().filter(|(other, _)| other != at).cloned().chain([alone.clone()]).collect();
        let is_variable = everything().pointer(at).and_then(Value::as_str).is_some_and(|text| text.starts_with("txn."));
        let secret = if is_variable { "txn.s3cr3tA9" } else { SECRET };
        hides(&with(std::slice::from_ref(&alone)), secret, at);
        hides(&with(&others), secret, at);
    }
    for secret in &values {
        for written in ["${SECRET}", "a${SECRET}", "${SECRET}b", "txn.${SECRET}", "${NOPE:-${SECRET}", "${NOPE:-}${SECRET}$$"] {
            let everywhere: Vec<_> = scalars.iter().map(|at| (at.as_str(), json!(written))).collect();
            hides(&with(&everywhere), secret, written);
        }
    }
}

/// By themselves, without `${}`: they are meant to be secret.
#[test]
fn metadata_is_secret_by_where_it_stands() {
    let keys = ["x-auth", "x-api-key-id", "x-credential", "x-jwt", "x-passwd", "x-session", "x-signature", "apikey2", "x-tenant"];
    for key in keys {
        let said = said(&with(&[("/backends/decisions/metadata", json!({ key: "s3cr3t" }))]), "");
        assert!(!said.contains("s3cr3t") && said.contains("(redacted)"), "{key}: {said}");
    }
    for wrong in [
        json!("s3cr3t"),
        json!(["s3cr3t"]),
        json!({ "a": "s3cr3t ä" }),
        json!({ "a": { "s3cr3t": "s3cr3t" } }),
        json!({ "te": "s3cr3t" }),
    ] {
        let said = said(&with(&[("/backends/decisions/metadata", wrong.clone())]), "");
        assert!(said.contains("metadata") && !said.contains("s3cr3t"), "{wrong}: {said}");
    }
    let config = read(&with(&[("/backends/decisions/metadata", json!({ "x-tenant": "s3cr3t" }))])).0;
    assert!(!format!("{config:?}").contains("s3cr3t"));
}

#[test]
fn passwords_in_urls_are_not_repeated() {
    let urls = [
        "http://u:s3cr3t@h:1",
        "u:s3cr3t@h:1",
        "https://s3cr3t@h:1/p",
        "dns://s3cr3t:@9.9.9.9/h:1",
        "dns:s3cr3t@h:1",
        "http://u:s3/cr3t@h",
        "ftp://u:s3cr3t@h",
    ];
    for at in scalars()
        .iter()
        .filter(|at| at.contains("endpoints") || at.contains("bind") || at.contains("authority") || at.contains("server_name"))
    {
        for url in urls {
            let said = said(&with(&[(at, json!(url))]), "");
            assert!(!said.contains("s3cr3t") && !said.contains("cr3t@"), "{at}: {said}");
        }
    }
    let said = said(&with(&[("/backends/waf/endpoints", json!("http://u:s3cr3t@h:1"))]), "");
    assert!(!said.contains("s3cr3t"), "{said}");
    let error = Config::quick(&["u:s3cr3t@h:1".to_owned()], &["http://u:s3cr3t@h:1".to_owned()], None).unwrap_err().to_string();
    assert!(!error.contains("s3cr3t"), "{error}");
}

/// What writes HAProxy's side asks for nothing that HAProxy has no use for.
#[test]
fn haproxys_side_needs_no_secret_of_the_bridge() {
    let text = "backends: {a: {endpoints: ['http://${HOST}:1'], metadata: {authorization: 'Bearer ${TOKEN}'}, tls: {key: '${KEY}'}}}\n\
                log: {level: '${LEVEL}'}\nroutes: [{messages: [m], backend: a, haproxy: {}}]";
    assert!(Config::from_yaml(text, "test.yaml", &|_| None).is_err());
    let config = Config::for_haproxy(text, "test.yaml", &|_| None).unwrap().0;
    assert_eq!((&*config.routes[0].name, &*config.backends[0].name), ("m", "a"));
    let error = Config::for_haproxy("backends: {a: }\nroutes: [{backend: b, haproxy: {}}]", "test.yaml", &|_| None).unwrap_err();
    assert!(error.to_string().contains("routes[0].backend: found b, expected a"), "{error}");
}
