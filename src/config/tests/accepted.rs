//! What becomes of files that are right.

use std::time::Duration;

use super::{BACKEND, EVERYTHING, read};
use crate::config::{
    AdaptiveLimitConfig, AdminConfig, BackendTls, Bind, BudgetConfig, Cause, Config, DnsConfig, EndpointConfig, Event,
    HaproxyConfig, HealthConfig, HedgingConfig, HedgingDelay, Identity, LogFormat, LogLevel, Moment, NoVerdict, OnFailure,
    OutlierConfig, Overrides, Pattern, Protocol, RetryConfig, San, StatusCode, SuccessRateConfig, TlsVersion, Verdict,
};
use crate::spop::{Action, TypedData};

/// Fallback actions as text, in order.
fn printed(on_failure: &OnFailure, cause: Cause) -> Vec<String> {
    let print = |action: Action<'_>| match action {
        Action::SetVar { scope, name, value } => {
            let value = match value {
                TypedData::String(text) => format!("{:?}", String::from_utf8_lossy(text)),
                other => format!("{other:?}"),
            };
            format!("{scope}.{}={value}", String::from_utf8_lossy(name))
        }
        Action::UnsetVar { scope, name } => format!("unset {scope}.{}", String::from_utf8_lossy(name)),
    };
    on_failure.actions(cause).iter().map(print).collect()
}

#[test]
fn every_key_arrives() {
    let (config, mut warnings) = read(EVERYTHING);
    // That its routes share their variables is told by tests of its own.
    warnings.retain(|warning| !warning.path.to_string().ends_with("on_failure"));
    assert_eq!(warnings, []);
    assert_eq!(config.workers.get(), 2);
    assert_eq!(config.ack_margin, Duration::from_micros(500));
    assert_eq!(config.status_variable.to_string(), "txn.bridge_state");
    assert_eq!((config.drain.delay, config.drain.grace_period), (Duration::from_secs(7), Duration::from_secs(20)));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
    let variables = config.decision_variables.as_ref().unwrap();
    let variables = [&variables.cause, &variables.latency, &variables.attempts, &variables.source].map(ToString::to_string);
    assert_eq!(variables, ["cause", "latency_us", "attempts", "source"].map(|part| format!("txn.decision.{part}")));
    let args = &config.trace_context;
    assert_eq!([&*args.traceparent, &*args.tracestate, &*args.baggage], ["tp", "ts", "luggage"]);
    let log = config.decision_log.as_ref().unwrap();
    assert_eq!((log.failures, log.one_in, log.max_per_second, log.args), (false, 1_000, 10, true));
    assert_eq!(log.max_bytes_per_second, 16 << 10);
    assert_eq!(log.redact.iter().map(Pattern::as_str).collect::<Vec<_>>(), ["cookie", "x-*"]);

    let path = "/run/spop-bridge/admin.sock".into();
    let admin = Bind::Unix { path, mode: 0o600, user: Some("root".to_owned()), group: Some("monitoring".to_owned()) };
    assert_eq!(config.admin, AdminConfig { bind: Some(admin), is_default: false, hosts: vec!["bridge.example.com".to_owned()] });

    let [main, local] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((&*main.name, &main.bind), ("main", &Bind::Tcp("0.0.0.0:9000".to_owned())));
    assert_eq!((main.max_connections, main.max_in_flight, main.max_frame_size), (100, 64, 65_536));
    let timeouts = [main.handshake_timeout, main.read_timeout, main.write_timeout];
    assert_eq!(timeouts, [1, 2, 3].map(Duration::from_secs));
    assert_eq!((main.idle_timeout, main.var_prefix.as_deref()), (Some(Duration::from_secs(300)), Some("br")));
    let path = "/run/spop-bridge/spop.sock".into();
    let unix = Bind::Unix { path, mode: 0o600, user: Some("haproxy".to_owned()), group: Some("1000".to_owned()) };
    assert_eq!((&local.bind, local.idle_timeout), (&unix, None));

    let tls = main.tls.as_ref().unwrap();
    let identity = |certificate: &str, key: &str| Identity { certificate: certificate.into(), key: key.into() };
    assert_eq!(tls.identity, identity("/etc/spop-bridge/tls.crt", "/etc/spop-bridge/tls.key"));
    let clients = tls.clients.as_ref().unwrap();
    let names: Vec<_> = clients.allowed_sans.iter().map(ToString::to_string).collect();
    assert_eq!(clients.ca.to_str(), Some("/etc/spop-bridge/haproxy-ca.crt"));
    assert_eq!(names, ["haproxy.example.com", "192.0.2.1", "spiffe://example.org/haproxy"]);
    assert_eq!((tls.min_version, &local.tls), (TlsVersion::V1_3, &None));

    let [decisions, waf] = config.backends.as_slice() else { panic!("{:?}", config.backends) };
    assert_eq!((&*decisions.name, &*waf.name), ("decisions", "waf"));
    let endpoints: Vec<_> = decisions.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(
        endpoints,
        [
            "http://127.0.0.1:50051",
            "http://[::1]:50051",
            "unix:/run/decisions.sock",
            "dns://10.0.0.10:53/decisions.default.svc:50051"
        ]
    );
    assert_eq!(decisions.dns, DnsConfig { min_ttl: Duration::from_secs(2), max_ttl: Duration::from_secs(30) });
    let health =
        HealthConfig { service: "decisions".to_owned(), interval: Duration::from_secs(2), timeout: Duration::from_millis(500) };
    assert_eq!((&decisions.health, &waf.health), (&Some(health), &None));
    assert_eq!(decisions.connect_timeout, Duration::from_millis(250));
    assert_eq!((decisions.keepalive_timeout, waf.keepalive_timeout), (Duration::from_secs(3), Duration::from_secs(5)));
    assert_eq!((decisions.required, waf.required), (true, false));
    assert_eq!((decisions.protocol, waf.protocol), (Protocol::Decide, Protocol::Auto));
    assert_eq!(decisions.metadata.len(), 2);
    assert_eq!((decisions.max_in_flight, decisions.max_connections), (500, 2));
    assert_eq!(decisions.adaptive_limit, Some(AdaptiveLimitConfig { min: 5, tolerance: 200 }));
    let retryable_status_codes = vec![StatusCode::Unavailable, StatusCode::Aborted];
    assert_eq!(decisions.retry, RetryConfig { max_attempts: 2, retryable_status_codes });
    let delay = HedgingDelay::Fixed(Duration::from_millis(10));
    assert_eq!(decisions.hedging, Some(HedgingConfig { max_attempts: 3, delay }));
    assert_eq!(decisions.retry_budget, BudgetConfig { percent: 10, min_per_second: 3 });
    let success_rate = Some(SuccessRateConfig { stdev_factor: 1500, minimum_hosts: 3, request_volume: 50 });
    let outliers = OutlierConfig {
        consecutive_failures: Some(7),
        interval: Duration::from_secs(5),
        base_ejection_time: Duration::from_secs(2),
        max_ejection_time: Duration::from_secs(30),
        max_ejection_percent: 30,
        success_rate,
    };
    assert_eq!(decisions.outlier_detection, outliers);
    assert_eq!((waf.retry.max_attempts, waf.hedging, waf.adaptive_limit), (3, None, None));
    assert_eq!((waf.max_in_flight, waf.outlier_detection.consecutive_failures), (16_384, Some(5)));
    assert_eq!((&decisions.tls, waf.endpoints[0].to_string()), (&None, "https://waf.default.svc:50051".to_owned()));
    let tls = waf.tls.as_ref().unwrap();
    assert_eq!(tls.ca.as_deref(), Some("/etc/spop-bridge/waf-ca.crt".as_ref()));
    assert_eq!(tls.identity, Some(identity("/etc/spop-bridge/client.pem", "/etc/spop-bridge/client.pem")));
    assert_eq!(tls.server_name.as_ref().map(|name| name.to_str().into_owned()).as_deref(), Some("waf.example.com"));
    assert_eq!(tls.authority.as_ref().map(|authority| authority.as_str()), Some("waf.example.com:443"));
    assert_eq!(tls.allowed_sans, [San::Uri("spiffe://example.org/waf".to_owned())]);
    assert_eq!(tls.min_version, TlsVersion::V1_3);

    let [checks, body, pick, rest] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!((&*checks.name, &*rest.name), ("checks", "waf-*"));
    assert_eq!((checks.backend, rest.backend), (0, 1));
    assert_eq!(checks.haproxy, None);
    let haproxy = body.haproxy.as_ref().unwrap();
    assert_eq!(
        (&haproxy.moment, haproxy.args.as_slice()),
        (&Moment::Group("body".to_owned()), ["path=path", "body=req.body"].map(str::to_owned).as_slice())
    );
    assert_eq!(haproxy.condition.as_ref().unwrap().alternatives().count(), 2);
    assert_eq!(haproxy.variables.iter().map(ToString::to_string).collect::<Vec<_>>(), ["txn.body_allow", "txn.rule"]);
    let variable = "txn.body_allow".parse().unwrap();
    assert_eq!(
        haproxy.verdict,
        Some(Verdict { variable, deny_status: 429, no_verdict: NoVerdict::Allow, no_verdict_status: 500 })
    );
    let haproxy = pick.haproxy.as_ref().unwrap();
    assert_eq!((&haproxy.moment, &haproxy.verdict), (&Moment::Event(Event::OnHttpResponse), &None));
    let haproxy = HaproxyConfig {
        engine: "edge".to_owned(),
        backend: "deciders".to_owned(),
        bufsize: 65_536,
        body_timeout: Duration::from_secs(2),
    };
    assert_eq!(config.haproxy, haproxy);
    assert_eq!((checks.listeners.as_slice(), rest.listeners.as_slice()), ([1].as_slice(), [].as_slice()));
    assert!(checks.messages[1].matches(b"check-v2") && checks.engines[0].matches(b"waf-1") && rest.engines.is_empty());
    assert_eq!((checks.timeout, rest.timeout), (Duration::from_millis(20), Duration::from_millis(50)));
    assert_eq!((checks.timeout_arg.as_deref(), checks.timeout_arg_min), (Some("deadline_ms"), Duration::from_millis(5)));
    let variables: Vec<_> = checks.variables.iter().flatten().map(ToString::to_string).collect();
    assert_eq!((variables.join(" "), &rest.variables), ("txn.allow txn.waf_?* sess.seen".to_owned(), &None));
}

#[test]
fn fallback_actions_are_resolved_for_each_cause() {
    let (config, _) = read(EVERYTHING);
    let [checks, .., rest] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    let of_checks = |cause| printed(&checks.on_failure, cause);
    assert_eq!(of_checks(Cause::Timeout), ["txn.allow=Bool(false)", "txn.reason=\"late\"", "unset txn.score"]);
    // A route's default goes before what the top level says for the cause.
    assert_eq!(of_checks(Cause::Unavailable), ["txn.allow=Bool(true)"]);

    let of_rest = |cause| printed(&rest.on_failure, cause);
    assert_eq!(of_rest(Cause::Timeout), ["sess.late=Int64(1)"]);
    assert_eq!(of_rest(Cause::Unavailable), ["txn.address=Ipv4(192.0.2.1)", "txn.address6=Ipv6(2001:db8::1)"]);
    assert_eq!(of_rest(Cause::Overloaded), ["req.bytes=Binary([0, 255])"]);
    assert_eq!(of_rest(Cause::Rejected), ["res.none=Null"]);
    assert_eq!(of_rest(Cause::InvalidResponse), ["unset proc.total"]);
    assert_eq!(of_rest(Cause::Internal), ["txn.allow=Bool(false)"]);
    assert_eq!(printed(&config.on_failure, Cause::Unrouted), ["txn.allow=Bool(true)"]);
}

#[test]
fn only_a_backend_must_be_named() {
    let (config, warnings) = read(BACKEND);
    assert_eq!(warnings, []);
    assert!((1..=256).contains(&config.workers.get()));
    assert_eq!(config.listeners.len(), 1);
    let listener = &config.listeners[0];
    assert_eq!((&*listener.name, &listener.bind), ("127.0.0.1:9000", &Bind::Tcp("127.0.0.1:9000".to_owned())));
    assert_eq!((listener.max_connections, listener.max_in_flight, listener.max_frame_size), (4_096, 1_024, 131_072));
    let timeouts = [listener.handshake_timeout, listener.read_timeout, listener.write_timeout];
    assert_eq!((timeouts, listener.idle_timeout), ([5, 10, 10].map(Duration::from_secs), None));
    let [route] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!((&*route.name, route.backend, route.timeout), ("*", 0, Duration::from_millis(50)));
    assert!(route.messages[0].is_any());
    assert!(Cause::ALL.iter().all(|cause| route.on_failure.actions(*cause).is_empty()));
    assert_eq!(config.status_variable.to_string(), "txn.bridge_status");
    assert_eq!((config.drain.delay, config.drain.grace_period), (Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Auto));
}

#[test]
fn names_and_health_have_defaults() {
    let text = "
        backends: {a: {endpoints: ['dns:///a:1'], health: {}}, b: {endpoints: ['dns:///b'], dns: {max_ttl: 5s}}}
        routes: [{backend: a, messages: [a]}, {backend: b}]";
    let (config, _) = read(text);
    let [a, b] = config.backends.as_slice() else { panic!("{:?}", config.backends) };
    let [five, sixty] = [5, 60].map(Duration::from_secs);
    assert_eq!(a.dns, DnsConfig { min_ttl: five, max_ttl: sixty });
    assert_eq!(a.health, Some(HealthConfig { service: String::new(), interval: five, timeout: Duration::from_secs(1) }));
    assert_eq!((b.dns.max_ttl, &b.health), (five, &None));
}

#[test]
fn socket_files_have_modes() {
    for (written, mode) in [("{}", 0o660), ("{mode: '0600'}", 0o600), ("{mode: 0777}", 0o777), ("{mode: '666'}", 0o666)] {
        let (config, _) = read(&format!("{BACKEND}listeners: [{{bind: 'unix:/s', unix: {written}}}]"));
        assert!(matches!(config.listeners[0].bind, Bind::Unix { mode: found, .. } if found == mode), "{written}");
    }
}

#[test]
fn the_environment_fills_in_values_of_any_type() {
    let text = "
        workers: ${WORKERS}
        backends: {a: {endpoints: ['http://${DECISIONS_HOST}:${PORT:-50051}'], metadata: {x-cost: $$5}}}
        on_failure: {default: {set: {txn.allow: '${FAIL_OPEN}', txn.host: '${DECISIONS_HOST}'}}}
        log: {level: '${LEVEL:-warn}'}";
    let (config, _) = read(text);
    assert_eq!(config.workers.get(), 3);
    assert_eq!(config.backends[0].endpoints[0].to_string(), "http://decisions:50051");
    assert_eq!(config.backends[0].metadata, [("x-cost".to_owned(), "$5".to_owned())]);
    assert_eq!(printed(&config.on_failure, Cause::Timeout), ["txn.allow=Bool(true)", "txn.host=\"decisions\""]);
    assert_eq!(config.log.level, LogLevel::Warn);
}

#[test]
fn odd_but_valid_files_get_warnings() {
    let text = "
        backends: {a: {endpoints: ['http://a:1']}, spare: {endpoints: ['http://b:1'], dns: {}}}
        routes: [{backend: a, on_failure: {default: {set: {txn.allow: yes}}}}]";
    let (_, warnings) = read(text);
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "backends.spare: no route uses it",
        "backends.spare.dns: no endpoint is dns:///host:port",
        "routes[0].on_failure.default: may let requests pass for timeout, rejected and invalid_response too, which a client can bring about by what it sends: say in on_failure what HAProxy gets for each of these causes, such as timeout: { set: { txn.allow: ... } }",
        r#"routes[0].on_failure.default.set["txn.allow"]: a text, not a boolean: write true or false if one is meant"#,
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn routes_without_names_get_different_ones() {
    let text = format!(
        "{BACKEND}routes:
        - {{messages: [x], engines: [one], backend: a}}
        - {{messages: [x], backend: a}}
        - {{messages: [y], backend: a, name: z}}
        - {{messages: [z], backend: a}}"
    );
    let (config, _) = read(&text);
    let names: Vec<_> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["x", "routes[1]", "z", "routes[3]"]);
}

#[test]
fn flags_do_without_a_file() {
    let backend = ["http://a:1".to_owned(), "unix:/run/$a.sock".to_owned()];
    let config = Config::quick(&["0.0.0.0:9000".to_owned()], &backend, Some(Duration::from_millis(20))).unwrap();
    assert_eq!(config.listeners[0].bind, Bind::Tcp("0.0.0.0:9000".to_owned()));
    assert_eq!(config.backends[0].endpoints[1], EndpointConfig::Unix { path: "/run/$a.sock".into() });
    let [route] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!((&*route.name, &*config.backends[0].name), ("*", "default"));
    assert_eq!(route.timeout, Duration::from_millis(20));
    let config = Config::quick(&[], &["dns:///decisions:50051".to_owned()], None).unwrap();
    assert_eq!(config.backends[0].endpoints[0].to_string(), "dns:///decisions:50051");
}

#[test]
fn flags_win_over_the_file() {
    let overrides = Overrides {
        workers: Some(1),
        listen: vec!["127.0.0.1:0".to_owned()],
        log_level: Some(LogLevel::Error),
        log_format: Some(LogFormat::Text),
        drain_delay: Some(Duration::from_secs(1)),
        grace_period: Some(Duration::from_millis(1_500)),
        admin: None,
    };
    let file = "{workers: 9, listeners: [{name: main, bind: 'a:1', max_connections: 7}, {bind: 'b:1'}], backends: {a: {endpoints: ['http://a:1']}}}";
    let (config, _) = Config::from_yaml_with(file, "test.yaml", &|_| None, &overrides).unwrap();
    assert_eq!(config.workers.get(), 1);
    let [listener] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((&*listener.name, listener.max_connections), ("main", 7));
    assert_eq!(listener.bind, Bind::Tcp("127.0.0.1:0".to_owned()));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Error, LogFormat::Text));
    assert_eq!((config.drain.delay, config.drain.grace_period), (Duration::from_secs(1), Duration::from_millis(1_500)));
}

#[test]
fn hedging_waits_for_the_95th_percentile_unless_told_otherwise() {
    let (config, _) = read("backends: {a: {endpoints: ['http://a:1'], idempotent: true, hedging: {}, adaptive_limit: {}}}");
    let backend = &config.backends[0];
    assert_eq!(backend.hedging, Some(HedgingConfig { max_attempts: 2, delay: HedgingDelay::P95 }));
    assert_eq!(backend.adaptive_limit, Some(AdaptiveLimitConfig { min: 20, tolerance: 150 }));
}

#[test]
fn failures_in_a_row_need_not_matter() {
    let (config, _) = read("backends: {a: {endpoints: ['http://a:1'], outlier_detection: {consecutive_failures: 0}}}");
    assert_eq!(config.backends[0].outlier_detection.consecutive_failures, None);
}

#[test]
fn https_is_tls_with_its_defaults() {
    let (config, _) = read("backends: {a: {endpoints: ['https://a:1', 'unix:/s']}}");
    assert_eq!(config.backends[0].tls, Some(BackendTls::default()));
    assert_eq!(config.backends[0].tls.as_ref().unwrap().min_version, TlsVersion::V1_2);
    let (config, _) = read("backends: {a: {endpoints: ['unix:/s'], tls: {ca: ca.pem}}}");
    assert!(config.backends[0].tls.is_some());
    let (config, _) = read(BACKEND);
    assert_eq!(config.backends[0].tls, None);
}

#[test]
fn all_files_are_listed_once() {
    let (config, _) = read(EVERYTHING);
    let files: Vec<_> = config.files().iter().map(|file| file.display().to_string()).collect();
    let expected = ["client.pem", "haproxy-ca.crt", "tls.crt", "tls.key", "waf-ca.crt"];
    assert_eq!(files, expected.map(|file| format!("/etc/spop-bridge/{file}")));
}

#[test]
fn admin() {
    let admin = |text: &str| read(&format!("{BACKEND}{text}")).0.admin;
    let default = Some(Bind::Tcp("127.0.0.1:9902".to_owned()));
    let hosts = vec!["127.0.0.1".to_owned()];
    assert_eq!(admin(""), AdminConfig { bind: default.clone(), is_default: true, hosts: hosts.clone() });
    assert_eq!(admin("admin: {bind: '127.0.0.1:9902'}"), AdminConfig { bind: default, is_default: false, hosts });
    assert_eq!(admin("admin: {bind: off}"), AdminConfig { bind: None, is_default: false, hosts: Vec::new() });
    let overrides = Overrides { admin: Some("a:1".to_owned()), ..Overrides::default() };
    let text = format!("{BACKEND}admin: {{bind: 'unix:/a', unix: {{mode: '0600'}}}}");
    let (config, _) = Config::from_yaml_with(&text, "test.yaml", &|_| None, &overrides).unwrap();
    assert_eq!(config.admin.bind, Some(Bind::Tcp("a:1".to_owned())));
}

#[test]
fn haproxy_has_defaults() {
    let (config, warnings) = read(&format!("{BACKEND}routes: [{{messages: [check-request], backend: a, haproxy: {{}}}}]"));
    assert_eq!(warnings, []);
    assert_eq!(
        config.haproxy,
        HaproxyConfig {
            engine: "bridge".to_owned(),
            backend: "spop-bridge".to_owned(),
            bufsize: 16_384,
            body_timeout: Duration::from_secs(5),
        }
    );
    let haproxy = config.routes[0].haproxy.as_ref().unwrap();
    assert_eq!((&haproxy.moment, &haproxy.condition), (&Moment::Event(Event::OnFrontendHttpRequest), &None));
    assert_eq!(haproxy.args, ["ip=src", "method=method", "path=path,url_dec", "token=req.hdr(x-token)"]);
    assert_eq!(haproxy.variables.iter().map(ToString::to_string).collect::<Vec<_>>(), ["txn.allow", "txn.reason", "txn.score"]);
    let variable = "txn.allow".parse().unwrap();
    assert_eq!(
        haproxy.verdict,
        Some(Verdict { variable, deny_status: 403, no_verdict: NoVerdict::Deny, no_verdict_status: 503 })
    );
    for event in ["on-client-session", "on-tcp-response", "on-http-response"] {
        let (config, _) = read(&format!("{BACKEND}routes: [{{messages: [m], backend: a, haproxy: {{event: {event}}}}}]"));
        let args = &config.routes[0].haproxy.as_ref().unwrap().args;
        assert!(args.contains(&"ip=src".to_owned()) && !args.contains(&"method=method".to_owned()), "{event}: {args:?}");
    }
}

#[test]
fn routes_for_different_requests_may_have_one_verdict() {
    let text = "backends: {a: {endpoints: ['http://a:1']}, b: {endpoints: ['http://b:1']}}
routes:
- {messages: [x], backend: a, haproxy: {condition: '{ path_beg /a }'}}
- {messages: [y], backend: b, haproxy: {condition: '!{ path_beg /a }'}}";
    assert_eq!(read(text).1, []);
}

/// The service is asked whatever the arg says: there is time left beside the margin for the ACK, and never more than the timeout.
#[test]
fn an_arg_leaves_time_to_ask() {
    let min = |route: &str, more: &str| {
        let (config, _) = read(&format!("{BACKEND}routes: [{{backend: a, {route}}}]\n{more}"));
        config.routes[0].timeout_arg_min
    };
    let ms = Duration::from_millis;
    assert_eq!(min("timeout: 50ms", ""), ms(10));
    assert_eq!(min("timeout: 50ms, timeout_arg_min: 20ms", ""), ms(20));
    assert_eq!(min("timeout: 5ms", ""), ms(5));
    assert_eq!(min("timeout: 5ms, timeout_arg_min: 1m", ""), ms(5));
    assert_eq!(min("timeout: 50ms", "ack_margin: 30ms"), ms(31));
    assert_eq!(min("timeout: 50ms, timeout_arg_min: 1ms", ""), ms(3));
}

#[test]
fn an_arg_that_shortens_the_timeout_must_be_sent() {
    let with = |args: &str| {
        let text = format!("{BACKEND}routes: [{{messages: [m], backend: a, timeout_arg: budget, haproxy: {{args: [{args}]}}}}]");
        read(&text).1.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(with("ip=src"), ["routes[0].haproxy.args: none is called budget, the route's timeout_arg"]);
    assert!(with("budget=int(10)").is_empty());
}

/// A place for anchors, as Compose and OpenAPI have it.
#[test]
fn keys_of_the_operator_s_own() {
    let text = "x-defaults: &defaults { timeout: 70ms, backend: a, note: ${NOT_SET} }\nx-route: &route { timeout: 70ms, backend: a }\n\
                backends: {a: {endpoints: ['http://a:1']}}\nroutes: [{<<: *route, messages: [m]}]\n";
    let (config, _) = Config::from_yaml(&text.replace("${NOT_SET}", "'${NOT_SET}'"), "a.yaml", &|_| None).unwrap();
    assert_eq!(config.routes[0].timeout, Duration::from_millis(70));
    assert!(Config::from_yaml("backends: {a: {endpoints: ['http://a:1'], x-own: 1}}", "a.yaml", &|_| None).is_err());
}
