//! What is written, on strings. What HAProxy says of it is asked in `tests/it/haproxy_config`.

use super::{GenerateError, Options, Parts, Target, TlsFiles, generate};
use crate::config::Config;
use crate::haproxy::Version;

const BACKENDS: &str = "backends: {a: {endpoints: ['http://a:1']}, b: {endpoints: ['http://b:1']}}\n";

fn options(version: &str) -> Options {
    Options {
        version: version.parse::<Version>().unwrap(),
        servers: Vec::new(),
        listeners: Vec::new(),
        spoe_file: "spoe.cfg".to_owned(),
        tls: TlsFiles::default(),
    }
}

fn config(text: &str) -> Config {
    Config::from_yaml(&format!("{BACKENDS}{text}"), "test.yaml", &|_| None).unwrap_or_else(|error| panic!("{error}")).0
}

fn parts_of(text: &str, options: &Options) -> Parts {
    generate(&config(text), options).unwrap_or_else(|error| panic!("{error}"))
}

fn parts(text: &str) -> Parts {
    parts_of(text, &options("3.2"))
}

fn error(text: &str, options: &Options) -> GenerateError {
    generate(&config(text), options).unwrap_err()
}

/// One route with this `haproxy`.
fn route(haproxy: &str) -> String {
    format!("routes: [{{messages: [m], backend: a, haproxy: {{{haproxy}}}}}, {{backend: b}}]\n")
}

/// The lines that are not comments, trimmed.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The line that begins with `start`.
#[track_caller]
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    lines(text).into_iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"))
}

#[test]
fn the_least_that_can_be_said() {
    let parts = parts(&route(""));
    let spoe = [
        "[bridge]",
        "spoe-agent bridge",
        "messages m",
        "option var-prefix br",
        "register-var-names allow reason score bridge_status",
        "option set-on-error error",
        "option set-process-time process_ms",
        "option continue-on-error",
        "option pipelining",
        "timeout processing 100ms",
        "use-backend spop-bridge",
        "log global",
        "option dontlog-normal",
        "spoe-message m",
        "args ip=src method=method path=path,url_dec token=req.hdr(x-token)",
        "event on-frontend-http-request",
    ];
    assert_eq!(lines(&parts.spoe), spoe);
    let rules = [
        "filter spoe engine bridge config spoe.cfg",
        "http-request deny deny_status 403 if { var(txn.br.allow) -m found } !{ var(txn.br.allow) -m bool }",
        "http-request deny deny_status 503 if !{ var(txn.br.allow) -m found }",
    ];
    assert_eq!(lines(&parts.rules), rules);
    assert!(lines(&parts.backend).contains(&"server bridge1 127.0.0.1:9000"), "{}", parts.backend);
    for part in [&parts.rules, &parts.backend] {
        assert!(lines(part).iter().all(|line| lines(&parts.complete).contains(line)), "{}", parts.complete);
    }
}

#[test]
fn the_same_gives_the_same() {
    let text = route("group: g, args: ['body=req.body']");
    let (one, other) = (parts(&text), parts(&text));
    assert_eq!((one.spoe, one.backend, one.rules, one.complete), (other.spoe, other.backend, other.rules, other.complete));
}

#[test]
fn releases_differ() {
    let old = ["2.6", "3.0"].map(|version| parts_of(&route(""), &options(version)));
    for parts in &old {
        let spoe = lines(&parts.spoe);
        for wanted in ["timeout hello 500ms", "timeout idle 2m", "no option send-frag-payload", "no option async"] {
            assert!(spoe.contains(&wanted), "{wanted}");
        }
        assert_eq!(line(&parts.backend, "mode"), "mode tcp");
        assert!(parts.spoe.contains("2: no server"));
    }
    let new = parts(&route(""));
    assert_eq!(line(&new.backend, "mode"), "mode spop");
    assert!(!new.spoe.contains("timeout hello") && !new.spoe.contains("send-frag") && new.spoe.contains("257: no server"));
}

#[test]
fn haproxy_waits_longer_than_the_bridge() {
    let text = "routes: [{messages: [m], backend: a, timeout: 2500us, haproxy: {}}, {messages: [n], backend: a, timeout: 200ms, \
                haproxy: {group: g, verdict: none}}, {messages: [o], backend: b, timeout: 9s}]";
    assert_eq!(line(&parts(text).spoe, "timeout processing"), "timeout processing 250ms");
    let text = text.replace("200ms", "3ms").replace("2500us", "3500us");
    assert_eq!(line(&parts(&text).spoe, "timeout processing"), "timeout processing 54ms");
}

#[test]
fn everything_that_is_set_is_registered() {
    let text = "routes: [{messages: [m], backend: a, haproxy: {variables: [txn.ok, sess.ok, txn.why], verdict: txn.ok}, \
                on_failure: {timeout: {set: {txn.late: true}}, default: {unset: [txn.why]}}}, {backend: b}]\n\
                on_failure: {unrouted: {set: {txn.lost: 1}}}\ndecision_variables: txn.d\nstatus_variable: txn.s";
    let spoe = parts(text).spoe;
    let names: Vec<_> = lines(&spoe).into_iter().filter_map(|line| line.strip_prefix("register-var-names ")).collect();
    assert_eq!(names.join(" "), "ok why late lost s d.cause d.latency_us d.attempts d.source");
}

#[test]
fn bodies_are_cut_to_fit() {
    let body = |more: &str, args: &str| parts(&format!("{more}{}", route(&format!("group: g, args: [{args}]")))).spoe;
    for (more, args, expected) in [
        ("", "'body=req.body'", "args body=req.body,bytes(0,12000)"),
        ("", "'req.body,lower'", "args req.body,bytes(0,12000),lower"),
        ("", "'a=req.body', 'b=req.body,lower'", "args a=req.body,bytes(0,6000) b=req.body,bytes(0,6000),lower"),
        ("haproxy: {bufsize: 64KiB}\n", "'body=req.body'", "args body=req.body,bytes(0,61152)"),
        ("listeners: [{bind: 'h:1', max_frame_size: 8KiB}]\n", "'body=req.body'", "args body=req.body,bytes(0,3812)"),
        ("", "'body=req.body,bytes(0,100)'", "args body=req.body,bytes(0,100)"),
        ("", "'hash=req.body,sha2(256)', 'n=req.body_size'", "args hash=req.body,sha2(256) n=req.body_size"),
    ] {
        assert_eq!(line(&body(more, args), "args"), expected);
    }
    let small = "listeners: [{bind: 'h:1', max_frame_size: 8KiB}]\n";
    assert_eq!(line(&parts(&format!("{small}{}", route(""))).spoe, "max-frame-size"), "max-frame-size 8192");
    let tiny = small.replace("8KiB", "256B");
    assert_eq!(
        error(&format!("{tiny}{}", route("args: ['req.body']")), &options("3.2")),
        GenerateError::FrameTooSmall { frame: 256, message: "m".to_owned() }
    );
}

#[test]
fn messages_of_one_moment_share_a_frame() {
    let text = "routes: [{messages: [m, n], backend: a, haproxy: {args: ['req.body']}}, \
                {messages: [o], backend: b, haproxy: {args: ['req.body'], verdict: none}}, \
                {messages: [p], backend: b, haproxy: {group: g, args: ['req.body'], verdict: none}}]";
    let spoe = parts(text).spoe;
    let args: Vec<_> = lines(&spoe).into_iter().filter(|line| line.starts_with("args")).collect();
    let [shared, alone] = [4_000, 12_000].map(|bytes| format!("args req.body,bytes(0,{bytes})"));
    assert_eq!(args, [&shared, &shared, &shared, &alone]);
}

#[test]
fn what_the_service_does_not_see_is_refused() {
    let rules = parts(&route("group: g, args: ['body=req.body'], condition: 'METH_POST'")).rules;
    let expected = [
        "filter spoe engine bridge config spoe.cfg",
        "http-request wait-for-body time 5s if METH_POST",
        "http-request send-spoe-group bridge g if METH_POST",
        "http-request deny deny_status 403 if { var(txn.br.allow) -m found } !{ var(txn.br.allow) -m bool }",
        "http-request deny deny_status 413 if METH_POST { req.body_size gt 12000 }",
        "http-request deny deny_status 413 if METH_POST !{ var(txn.br.allow) -m found } { var(txn.br.error) -m int 3 }",
        "http-request deny deny_status 503 if METH_POST !{ var(txn.br.allow) -m found }",
    ];
    assert_eq!(lines(&rules), expected);
    let open = parts(&route("group: g, args: ['body=req.body'], condition: 'METH_POST', no_verdict: allow")).rules;
    let all_but_the_last = expected.split_last().unwrap().1;
    assert_eq!(lines(&open), all_but_the_last, "a client decides how long a body is");
}

#[test]
fn what_is_too_big_to_ask_is_refused() {
    let refused = |text: &str| {
        parts(text).rules.contains("deny_status 413 if !{ var(txn.br.allow) -m found } { var(txn.br.error) -m int 3 }")
    };
    let two = "routes: [{messages: [m, n], backend: a, haproxy: {no_verdict: allow}}]\n";
    assert!(refused(two) && parts(two).spoe.matches("ignore too-big").count() == 2);
    assert!(refused(&route("no_verdict: allow, args: ['a=req.hdr(a),hex']")));
    assert!(refused(&route("no_verdict: allow, args: ['a=path', 'b=path,url_dec']")));
    assert!(refused(&format!("listeners: [{{bind: 'h:1', max_frame_size: 8KiB}}]\n{}", route("no_verdict: allow"))));
    assert!(!refused(&route("no_verdict: allow")), "a request fits into a frame once");
}

#[test]
fn groups_are_sent_by_rules() {
    let rules = parts(&route("group: g, condition: '{ path /a } || { path /b }', verdict: none")).rules;
    assert!(lines(&rules).contains(&"http-request send-spoe-group bridge g if { path /a } || { path /b }"), "{rules}");
    let waits = |condition: &str| {
        let rules = parts(&route(&format!("group: g, args: ['req.body'], condition: '{condition}'"))).rules;
        line(&rules, "http-request wait-for-body").to_owned()
    };
    assert_eq!(waits("METH_POST"), "http-request wait-for-body time 5s if METH_POST");
    assert_eq!(waits("{ req.body_size gt 0 }"), "http-request wait-for-body time 5s", "chunked bodies have no size before");
    let kept = "http-request wait-for-body time 5s if { path_beg /upload }";
    assert_eq!(waits("{ path_beg /upload } { req.body_size gt 0 }"), kept);
    assert_eq!(waits("!{ req.body_param(a) -m found } { path_beg /upload }"), kept);
    let either = "{ req.body_len gt 0 } METH_PUT or !METH_GET { path /a,} }";
    assert_eq!(waits(either), "http-request wait-for-body time 5s if METH_PUT || !METH_GET { path /a,} }");
    assert_eq!(waits("METH_PUT or { req.body_size gt 9 }"), "http-request wait-for-body time 5s");
    assert_eq!(waits("{ path_beg /req.body }"), "http-request wait-for-body time 5s if { path_beg /req.body }");
    let at_event = parts(&route("condition: '{ req.body_size gt 0 }'")).rules;
    assert!(lines(&at_event).contains(&"option http-buffer-request") && !at_event.contains("413"), "{at_event}");
    let hashed = parts(&route("group: g, args: ['hash=req.body,sha1']")).rules;
    assert!(hashed.contains("wait-for-body") && hashed.contains("-m int 3") && !hashed.contains("body_size"), "{hashed}");
}

#[test]
fn a_verdict_that_outlives_its_request_is_forgotten_first() {
    let rules = |haproxy: &str| parts(&route(&format!("variables: [sess.ok], verdict: sess.ok{haproxy}"))).rules;
    let unset = "tcp-request content unset-var(sess.br.ok)";
    assert!(lines(&rules("")).contains(&unset) && lines(&rules(", group: g")).contains(&unset));
    assert!(!rules(", event: on-client-session").contains("unset-var"), "it is asked for once a session");
}

#[test]
fn the_time_for_bodies_is_a_key() {
    for moment in ["group: g", "event: on-backend-http-request"] {
        let text = format!("haproxy: {{body_timeout: 90s}}\n{}", route(&format!("{moment}, args: ['body=req.body']")));
        let rules = parts(&text).rules;
        assert!(rules.contains("time 90s") || rules.contains("timeout http-request 90s"), "{rules}");
    }
    assert!(!parts(&route("")).rules.contains("timeout http-request"));
}

/// The body is not there, or all requests would have to wait for theirs.
#[test]
fn bodies_that_cannot_be_waited_for_are_refused() {
    let error = |haproxy: &str| error(&route(haproxy), &options("3.2"));
    let message = || "m".to_owned();
    for response in [
        "event: on-http-response, args: ['b=res.body,bytes(0,9)']",
        "group: g, args: ['res.body_size']",
        "event: on-http-response, condition: '{ res.body -m sub x }'",
    ] {
        assert_eq!(error(response), GenerateError::ResponseBody { message: message() }, "{response}");
    }
    for event in
        ["on-client-session", "on-frontend-tcp-request", "on-backend-tcp-request", "on-server-session", "on-http-response"]
    {
        let refused = error(&format!("event: {event}, args: ['req.body_len']")).to_string();
        assert!(refused.contains(event), "{refused}");
    }
    let refused = error("args: ['body=req.body'], condition: '{ path_beg /upload } { req.body_size gt 0 }'").to_string();
    assert!(refused.contains("`group`") && refused.ends_with("only if { path_beg /upload }"), "{refused}");
}

/// `||` binds less than two terms side by side: each alternative needs the guard.
#[test]
fn guards_hold_for_each_alternative() {
    let rules = parts(&route("condition: '{ path /a } !METH_GET or { path /b }'")).rules;
    let guard = "!{ var(txn.br.allow) -m found }";
    let expected = format!("http-request deny deny_status 503 if {{ path /a }} !METH_GET {guard} || {{ path /b }} {guard}");
    assert!(lines(&rules).contains(&expected.as_str()), "{rules}");
}

#[test]
fn each_event_has_its_rules_where_haproxy_runs_them() {
    for (event, rule, in_backend) in [
        ("on-client-session", "tcp-request content reject", false),
        ("on-frontend-tcp-request", "tcp-request content reject", false),
        ("on-frontend-http-request", "http-request deny deny_status 403", false),
        ("on-backend-tcp-request", "tcp-request content reject", true),
        ("on-backend-http-request", "http-request deny deny_status 403", true),
        ("on-server-session", "tcp-response content reject", true),
        ("on-tcp-response", "tcp-response content reject", true),
        ("on-http-response", "http-response deny deny_status 403", false),
    ] {
        let rules = parts(&route(&format!("event: {event}"))).rules;
        let (frontend, backend) = rules.split_once("# For the backends").unwrap_or((&rules, ""));
        assert!(line(if in_backend { backend } else { frontend }, rule).contains("-m bool"), "{event}: {rules}");
        assert_eq!(lines(if in_backend { frontend } else { backend }).len(), usize::from(in_backend), "{event}: {rules}");
    }
}

#[test]
fn servers_are_the_listeners() {
    let server = |bind: &str| {
        let parts = parts(&format!("listeners: [{{bind: '{bind}'}}]\n{}", route("")));
        line(&parts.backend, "server").to_owned()
    };
    assert_eq!(server("0.0.0.0:9000"), "server bridge1 127.0.0.1:9000");
    assert_eq!(server("[::]:9000"), "server bridge1 [::1]:9000");
    assert_eq!(server("10.0.0.5:9000"), "server bridge1 10.0.0.5:9000");
    assert_eq!(server("unix:/run/a.sock"), "server bridge1 unix@/run/a.sock");
    assert_eq!(server("unix:/run/a b#.sock"), "server bridge1 'unix@/run/a b#.sock'");
}

#[test]
fn servers_can_be_elsewhere() {
    let targets = ["10.0.0.5:9000", "unix:/s", "dns:///bridges.default.svc:9000"].map(|text| text.parse::<Target>().unwrap());
    let options = Options { servers: targets.to_vec(), ..options("3.2") };
    let backend = parts_of(&format!("listeners: [{{bind: 'h:0'}}]\n{}", route("")), &options).backend;
    let servers: Vec<_> = lines(&backend).into_iter().filter(|line| line.starts_with("server")).collect();
    let template = "server-template bridge3- 10 bridges.default.svc:9000 resolvers spop-bridge-dns init-addr none";
    assert_eq!(servers, ["server bridge1 10.0.0.5:9000", "server bridge2 unix@/s", template]);
    assert!(backend.contains("resolvers spop-bridge-dns"));
    for wrong in
        ["", "host", "host:0", "host:99999", "a b:1", "unix:s", "unix:/a\nb", "dns:///name", "dns:///10.0.0.1:2:3", "a#:1"]
    {
        assert!(wrong.parse::<Target>().is_err(), "{wrong}");
    }
}

#[test]
fn checks_are_done_before_a_bridge_has_drained() {
    let inter = |delay: &str| {
        let backend = parts(&format!("drain: {{delay: {delay}}}\n{}", route(""))).backend;
        line(&backend, "default-server").to_owned()
    };
    let expected =
        |inter: &str, fast: &str| format!("default-server check inter {inter} fastinter {fast} downinter 500ms fall 2 rise 1");
    assert_eq!(inter("5s"), expected("1s", "200ms"));
    assert_eq!(inter("1s"), expected("333ms", "200ms"));
    assert_eq!(inter("300ms"), expected("100ms", "100ms"));
    assert_eq!(inter("0s"), expected("1s", "200ms"));
}

const TLS: &str = "listeners: [{name: t, bind: 'h:1', tls: {certificate: c, key: k, client_ca: a, min_version: '1.3'}}, {name: p, bind: 'h:2'}]\n";

#[test]
fn tls_says_what_is_missing() {
    let parts = parts(&format!("{TLS}{}", route("")));
    assert_eq!(
        line(&parts.backend, "server bridge1"),
        "server bridge1 h:1 ssl verify required ca-file CHANGE-ME/bridge-ca.pem verifyhost change-me.example.com \
         ssl-min-ver TLSv1.3 crt CHANGE-ME/haproxy.pem"
    );
    assert_eq!(line(&parts.backend, "server bridge2"), "server bridge2 h:2");
    assert_eq!(parts.warnings.len(), 3, "{:?}", parts.warnings);

    let said = |text: &str| Some(text.to_owned());
    let tls = TlsFiles { ca: said("/ca.pem"), name: said("bridge.test"), certificate: said("/my own.pem") };
    let parts = parts_of(&format!("{TLS}{}", route("")), &Options { tls, listeners: vec!["t".to_owned()], ..options("3.2") });
    assert_eq!(
        line(&parts.backend, "server bridge1"),
        "server bridge1 h:1 ssl verify required ca-file /ca.pem verifyhost bridge.test ssl-min-ver TLSv1.3 crt '/my own.pem'"
    );
    assert!(parts.warnings.is_empty() && !parts.backend.contains("bridge2"));
}

#[test]
fn conditions_that_are_got_past_are_warned_of() {
    let warnings = |condition: &str| parts(&route(&format!("condition: \"{condition}\""))).warnings;
    let warned = "m: the condition `path_beg /admin` is got past by /%61dmin, //admin, and those requests are not asked about; write { \
                  path,url_dec -m reg ^/+admin }";
    assert_eq!(warnings("METH_POST { path_beg /admin }"), [warned]);
    let whole = warnings("{ path /admin }").concat();
    assert!(whole.ends_with("write { path,url_dec -m reg ^/+admin$$ }"), "as bridge.yaml has it: {whole}");
    for raw in ["{ path 'a dmin' }", "{ url_beg /admin } or TRUE", "METH_PUT or ! { path_beg /public }"] {
        assert_eq!(warnings(raw).len(), 1, "{raw}");
    }
    for sound in
        ["METH_POST", "{ path,url_dec -i -m dir admin }", "{ path,url_dec -m reg ^/+admin$$ }", "{ hdr(x) -m str path_beg }"]
    {
        assert_eq!(warnings(sound), [""; 0], "{sound}");
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let default = options("3.2");
    assert_eq!(
        error("routes: [{messages: [m], backend: a}, {backend: b}]", &default),
        GenerateError::NothingAsked { backend: "a".to_owned() }
    );
    let on = |name: &str| Options { listeners: vec![name.to_owned()], ..default.clone() };
    let unknown = GenerateError::UnknownListener { name: "x".to_owned(), known: "t, p".to_owned() };
    assert_eq!(error(&format!("{TLS}{}", route("")), &on("x")), unknown);
    let apart = "routes: [{messages: [m], backend: a, listeners: [t], haproxy: {}}, \
                 {messages: [n], backend: b, listeners: [p], haproxy: {verdict: none}}]";
    assert_eq!(error(&format!("{TLS}{apart}"), &default), GenerateError::NoListener);
    let prefixes = "listeners: [{name: x, bind: 'h:1', var_prefix: a}, {name: y, bind: 'h:2', var_prefix: b}]\n";
    let listeners = "x, y".to_owned();
    assert_eq!(error(&format!("{prefixes}{}", route("")), &default), GenerateError::Prefixes { listeners });
    assert!(parts_of(&format!("{prefixes}{}", route("")), &on("y")).rules.contains("txn.b.allow"));
    let elsewhere = Options { servers: vec!["h:1".parse().unwrap()], ..default.clone() };
    let listeners = "t, p".to_owned();
    assert_eq!(error(&format!("{TLS}{}", route("")), &elsewhere), GenerateError::MixedTls { listeners });
    let any = format!("listeners: [{{name: main, bind: '127.0.0.1:0'}}]\n{}", route(""));
    let unknown = GenerateError::UnknownPort { name: "main".to_owned(), bind: "127.0.0.1:0".to_owned() };
    assert_eq!(error(&any, &default), unknown);
}

#[test]
fn long_lists_take_several_lines() {
    let variables: Vec<_> = (0..80).map(|n| format!("txn.variable_{n}")).collect();
    let args: Vec<_> = (0..100).map(|n| format!("arg_{n}=src")).collect();
    let haproxy = format!("variables: [{}], args: [{}], verdict: none", variables.join(", "), args.join(", "));
    let spoe = parts(&route(&haproxy)).spoe;
    assert!(spoe.lines().all(|line| line.len() < 140 && line.split_whitespace().count() < 60), "{spoe}");
    assert_eq!(spoe.matches("=src").count(), 100);
}
