//! The doctor as a whole; each finding on configurations of its own is in `tests/corpus/haproxy`.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::finding::ALL;
use super::*;

const HAPROXY: &str = "\
defaults
    mode http
    timeout connect 1s
    timeout server 3m
frontend www
    bind 127.0.0.1:8080
    filter spoe engine bridge config spoe.cfg
    http-request deny if { var(txn.br.allow) -m found } !{ var(txn.br.allow) -m bool }
    http-request deny if { var(txn.br.error) -m found }
backend spop-bridge
    mode spop
    option spop-check
    server bridge1 127.0.0.1:9000 check
";

const SPOE: &str = "\
[bridge]
spoe-agent bridge
    messages check-request
    option var-prefix br
    option set-on-error error
    timeout processing 100ms
    use-backend spop-bridge
spoe-message check-request
    args path=path
    event on-frontend-http-request
";

fn examine_as(version: Version, haproxy: &str, spoe: &str) -> Report {
    let read = |name: &str| if name.ends_with("spoe.cfg") { Ok(spoe.to_owned()) } else { Err("no such file".to_owned()) };
    let context = Context { version, read: &read, env: &|_| None, given: &[], bridge: None };
    examine(&[Source { name: "haproxy.cfg".into(), text: haproxy.into() }], &context)
}

/// Ids and lines.
fn found(haproxy: &str, spoe: &str) -> Vec<(&'static str, usize)> {
    let report = examine_as(Version::DEFAULT, haproxy, spoe);
    report.findings.iter().map(|finding| (finding.rule.id, finding.place.line)).collect()
}

#[test]
fn a_good_configuration_has_no_findings() {
    assert_eq!(found(HAPROXY, SPOE), []);
}

#[test]
fn findings_have_the_line_that_they_are_about() {
    assert_eq!(found(&HAPROXY.replace(" check\n", "\n"), SPOE), [("no-check", 13)]);
    assert_eq!(found(&HAPROXY.replace("txn.br.allow", "txn.bridge.allow"), SPOE), [("wrong-prefix", 8)]);
    assert_eq!(found(HAPROXY, &SPOE.replace("[bridge]", "[other]")), [("engine-scope", 7)]);
}

/// Several proxies that use the same file, or a `defaults` line that several inherit, make one finding.
#[test]
fn nothing_is_found_twice() {
    let second = HAPROXY
        .replace("backend spop-bridge", "frontend two\n    filter spoe engine bridge config spoe.cfg\nbackend spop-bridge");
    assert_eq!(found(&second, &SPOE.replace("timeout processing 100ms", "log global")), [("processing-timeout", 2)]);
}

/// What only HAProxy sees (values of the environment, conditional blocks) is named, and nothing else said of it. With Lua absence
/// proves nothing.
#[test]
fn what_cannot_be_told_is_named() {
    for (from, to) in [
        ("server bridge1 127.0.0.1:9000 check", "server bridge1 127.0.0.1:9000 \"${CHECK}\""),
        ("    mode spop\n", "    mode \"$MODE\"\n"),
        ("    mode spop\n", ".if defined(TCP)\n    mode tcp\n.else\n    mode spop\n.endif\n"),
        ("    option spop-check\n", ".if defined(CHECK)\n    option spop-check\n.endif\n"),
        ("config spoe.cfg", "config \"${FOLDER}/other.cfg\""),
        ("engine bridge", "engine \"$ENGINE\""),
    ] {
        assert!(HAPROXY.contains(from));
        let found = found(&HAPROXY.replace(from, to), SPOE);
        assert!(found.len() == 1 && found[0].0 == "not-checked", "{to}: {found:?}");
    }
    let prefix = SPOE.replace("var-prefix br", "var-prefix \"$PREFIX\"");
    assert_eq!(found(HAPROXY, &prefix), [("not-checked", 4)]);
    let both = HAPROXY.replace("    bind", ".if defined(X)\n    filter spoe engine bridge config spoe.cfg\n.endif\n    bind");
    assert_eq!(found(&both, SPOE), [("not-checked", 7)], "a second filter that may not be there");
    let never_set = HAPROXY.replace("txn.br.allow", "txn.mine");
    assert_eq!(found(&never_set, SPOE), [("no-prefix", 8)]);
    assert_eq!(found(&format!("global\n    lua-load x.lua\n{never_set}"), SPOE), []);
    assert_eq!(found(&never_set.replace("    bind", "    http-request set-var(txn.mine) bool(true)\n    bind"), SPOE), []);
}

#[test]
fn values_are_those_of_the_configuration_and_of_the_command_line() {
    let unchecked = |haproxy: &str, given: &[(&str, &str)]| {
        let given: Vec<_> = given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let read = |name: &str| if name.ends_with("spoe.cfg") { Ok(SPOE.to_owned()) } else { Err("no such file".to_owned()) };
        let context = Context { version: Version::DEFAULT, read: &read, env: &|_| None, given: &given, bridge: None };
        let report = examine(&[Source { name: "haproxy.cfg".into(), text: haproxy.into() }], &context);
        let others: Vec<_> = report.findings.iter().map(|finding| finding.rule.id).filter(|id| *id != "not-checked").collect();
        assert_eq!(others, [""; 0], "{haproxy}");
        (report.engines, report.unchecked())
    };
    let asks = HAPROXY.replace("engine bridge", "engine \"${ENGINE}\"");
    assert_eq!(unchecked(&asks, &[]), (0, 1), "never a silent pass");
    assert_eq!(unchecked(&asks, &[("ENGINE", "bridge")]), (1, 0));
    for global in ["setenv ENGINE bridge", "presetenv ENGINE bridge", "setenv X bridge\n setenv ENGINE \"$X\""] {
        assert_eq!(unchecked(&format!("global\n {global}\n{asks}"), &[]), (1, 0), "{global}");
    }
    for global in ["setenv ENGINE \"$OTHER\"", "resetenv ENGINE", ".if defined(X)\n setenv ENGINE bridge\n.endif"] {
        assert_eq!(unchecked(&format!("global\n {global}\n{asks}"), &[]), (0, 1), "{global}");
    }
    assert_eq!(unchecked(&asks.replace("${ENGINE}", "${ENGINE-bridge}"), &[]), (1, 0));
    assert_eq!(unchecked(&format!("{asks}global\n setenv ENGINE bridge\n"), &[]), (0, 1), "from the top to the bottom");
}

#[test]
fn files_are_looked_for_where_haproxy_does() {
    let asked = |global: &str, path: &str| {
        let asked = std::cell::RefCell::new(Vec::new());
        let read = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            Err("no".to_owned())
        };
        let context = Context { version: Version::DEFAULT, read: &read, env: &|_| None, given: &[], bridge: None };
        let text = format!("global\n    {global}\nfrontend f\n    filter spoe config {path}\n");
        examine(&[Source { name: "/etc/haproxy/conf/a.cfg".into(), text }], &context);
        asked.into_inner().join(" ")
    };
    for (global, path, expected) in [
        ("", "spoe.cfg", "spoe.cfg"),
        ("default-path current", "spoe.cfg", "spoe.cfg"),
        ("default-path config", "x/spoe.cfg", "/etc/haproxy/conf/x/spoe.cfg"),
        ("default-path parent", "spoe.cfg", "/etc/haproxy/conf/../spoe.cfg"),
        ("default-path origin /srv/", "spoe.cfg", "/srv/spoe.cfg"),
        ("default-path config", "/abs/spoe.cfg", "/abs/spoe.cfg"),
    ] {
        assert_eq!(asked(global, path), expected, "{global} {path}");
    }
}

#[test]
fn spoe_files_are_examined_alone_too() {
    let context =
        Context { version: Version::new(3, 0), read: &|_| Err(String::new()), env: &|_| None, given: &[], bridge: None };
    let report = examine(&[Source { name: "spoe.cfg".into(), text: SPOE.into() }], &context);
    let ids: Vec<_> = report.findings.iter().map(|finding| finding.rule.id).collect();
    assert_eq!((report.engines, ids), (1, vec!["fragments", "hello-idle-timeout"]));
}

#[test]
fn releases_that_are_known_to_be_bad() {
    let ids = |version: &str| {
        let report = examine_as(version.parse().unwrap(), HAPROXY, SPOE);
        report.findings.into_iter().map(|finding| (finding.rule.id, finding.why)).collect::<Vec<_>>()
    };
    let [(id, why)] = &ids("3.2.13-1")[..] else { panic!("one finding") };
    assert_eq!(*id, "known-bad");
    assert!(why.contains("#3290") && why.contains("#3425") && !why.contains("dc6e8dde2"), "{why}");
    assert_eq!((ids("3.2.26"), ids("3.2")), (vec![], vec![]));
}

/// In the releases of 3.4 without the fix of each; what no engine asks is HAProxy's own affair, but wrong all the same.
#[test]
fn actions_that_some_releases_get_wrong() {
    let rule = |action: &str| {
        HAPROXY.replace(
            "http-request deny if { var(txn.br.error)",
            &format!("{action} var(txn.br.headers)\n    http-request deny if {{ var(txn.br.error)"),
        )
    };
    let ids = |action: &str, version: &str| {
        let report = examine_as(version.parse().unwrap(), &rule(action), SPOE);
        report.findings.iter().map(|finding| (finding.rule.id, finding.place.line)).collect::<Vec<_>>()
    };
    for (action, fixed) in [("set-headers-bin", 1), ("add-headers-bin", 1), ("del-headers-bin", 3)] {
        for rules in ["http-request", "http-response", "http-after-response"] {
            let action = format!("{rules} {action}");
            assert_eq!(ids(&action, &format!("3.4.{}", fixed - 1)), [("known-bad", 9)], "{action}");
            assert_eq!((ids(&action, &format!("3.4.{fixed}")), ids(&action, "3.4")), (vec![], vec![]), "{action}");
        }
    }
}

/// 3.4.0 to 3.4.4 run only the filters that the sequence names; all others refuse the keyword.
#[test]
fn filter_sequences() {
    let findings = |sequence: &str, version: &str, spoe: &str| {
        let text = HAPROXY.replace(
            "    http-request deny if { var(txn.br.allow)",
            &format!("    filter-sequence {sequence}\n    http-request deny if {{ var(txn.br.allow)"),
        );
        let report = examine_as(version.parse().unwrap(), &text, spoe);
        report.findings.iter().map(|finding| (finding.rule.id, finding.severity)).collect::<Vec<_>>()
    };
    for version in ["2.6", "3.2", "3.3.1", "3.4", "3.4.5"] {
        let old = if version == "2.6" {
            SPOE.replace(
                "spoe-agent bridge\n",
                "spoe-agent bridge\n    no option send-frag-payload\n    timeout hello 1s\n    timeout idle 1s\n",
            )
        } else {
            SPOE.into()
        };
        assert!(findings("request spoe", version, &old).contains(&("filter-sequence", Severity::Error)), "{version}");
    }
    for version in ["3.4.0", "3.4.4"] {
        assert_eq!(findings("request comp-req,spoe", version, SPOE), [("filter-sequence", Severity::Warning)]);
        assert_eq!(
            findings("response comp-res", version, SPOE),
            [("filter-sequence", Severity::Warning)],
            "nothing is asked of responses"
        );
        assert_eq!(findings("request comp-req", version, SPOE), [("event-never-fires", Severity::Error)]);
        let response = SPOE.replace("on-frontend-http-request", "on-http-response");
        assert!(findings("response comp-res", version, &response).contains(&("event-never-fires", Severity::Error)));
    }
}

#[test]
fn comments_silence_one_finding_each() {
    let comment = HAPROXY.replace("127.0.0.1:9000 check", "127.0.0.1:9000 # spop-bridge: ignore no-check watched elsewhere");
    let report = examine_as(Version::DEFAULT, &comment, SPOE);
    assert_eq!((report.findings.len(), report.silenced), (0, 1));
    let other = comment.replace("ignore no-check", "ignore send-proxy");
    assert_eq!(found(&other, SPOE), [("no-check", 13)]);
}

#[test]
fn ids_are_unique_and_documented() {
    let ids: BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), ALL.len());
    let page = include_str!("../../../docs/doctor.md");
    let documented: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let expected: Vec<_> = ALL.iter().map(|rule| rule.id).collect();
    assert_eq!(documented, expected, "docs/doctor.md has the findings in the order of the code");
    for rule in ALL {
        let section = page.split(&format!("### `{}`\n", rule.id)).nth(1).unwrap().split("\n#").next().unwrap();
        let severity = rule.severity.to_string();
        assert!(section.trim_start().to_lowercase().starts_with(&severity), "{}: {severity}", rule.id);
        let says = match rule.haproxy {
            Haproxy::Refuses => "`haproxy -c` refuses it",
            Haproxy::Warns => "`haproxy -c` warns",
            Haproxy::WarnsOfMilder | Haproxy::Silent => "`haproxy -c` says nothing",
        };
        assert!(section.contains(says), "{}: {says}", rule.id);
    }
}

/// Words of the language in any order, to get further than any text would.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "global",
        "defaults",
        "frontend",
        "backend",
        "listen",
        "from",
        "x",
        "mode",
        "http",
        "tcp",
        "spop",
        "\n",
        "\n",
        "\n",
        "[x]\n",
        "filter spoe engine x config spoe.cfg\n",
        "filter spoe config spoe.cfg\n",
        "spoe-agent",
        "spoe-message",
        "spoe-group",
        "messages",
        "groups",
        "http-request",
        "deny",
        "send-spoe-group x x",
        "if",
        "unless",
        "{",
        "}",
        "!{",
        "!",
        "or",
        "var(txn.x.x)",
        "var(",
        "-m found",
        "-m bool",
        "acl",
        "server",
        "server-template",
        "check",
        "unix@",
        "abns@x",
        ".if",
        ".elif",
        ".else",
        ".endif",
        "true",
        "&&",
        "option",
        "no",
        "default",
        "var-prefix",
        "set-on-error",
        "timeout",
        "processing",
        "server",
        "9999999999999999999999d",
        "args",
        "a=req.body,bytes(0,99999999999999999999)",
        "a=req.hdrs,hex",
        "b=req.hdr(a)",
        "event",
        "on-frontend-http-request",
        "on-http-response",
        "tune.bufsize",
        "tune.maxrewrite",
        "0",
        "18446744073709551615",
        "max-frame-size",
        "chroot",
        "/",
        "\"",
        "'",
        "\\",
        "\\x",
        "\"${A",
        "\"$A\"",
        "#",
        "use-backend",
        "# spop-bridge: ignore",
        "register-var-names",
        "\u{e9}",
        "default-path",
        "origin",
        "default-server",
        "maxconn",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn any_text_is_examined_to_its_end(haproxy in ".{0,400}", spoe in ".{0,400}", minor in 4_u8..9) {
        examine_as(Version::new(2, minor), &haproxy, &spoe);
    }

    #[test]
    fn any_words_are_examined_to_their_end(
        haproxy in prop::collection::vec(word(), 0..120),
        spoe in prop::collection::vec(word(), 0..120),
        minor in 0_u8..5,
    ) {
        let haproxy = format!("frontend x\nfilter spoe engine x config spoe.cfg\n{}", haproxy.join(" "));
        let spoe = format!("[x]\nspoe-agent x\nuse-backend x\n{}", spoe.join(" "));
        examine_as(Version::new(3, minor), &haproxy, &spoe);
    }
}
