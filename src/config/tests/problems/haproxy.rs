//! HAProxy's side, for `haproxy generate`.

use super::*;

/// The problems of a route for the message `m` with this `haproxy`, without the path.
fn of_haproxy(haproxy: &str) -> Vec<String> {
    let text = format!("{BACKEND}routes: [{{messages: [m], backend: a, haproxy: {{{haproxy}}}}}]");
    problems(&text).iter().map(|line| line.trim_start_matches("routes[0].haproxy.").to_owned()).collect()
}

#[test]
fn haproxy_of_a_route() {
    let name = "a name of letters, digits, _, ., : and -";
    let events = "on-client-session, on-frontend-tcp-request, on-frontend-http-request, on-backend-tcp-request, \
                  on-backend-http-request, on-server-session, on-tcp-response or on-http-response";
    let acls = "ACLs in braces set off by spaces, such as { path_beg /api }, or HAProxy's own, such as METH_POST";
    let sample = "name=sample,converter or a sample alone, without spaces outside quotes";
    let statuses = "400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429, 500, 501, 502, 503 or 504";
    for (haproxy, expected) in [
        ("event: on-http-request", format!("event: found on-http-request, expected {events}")),
        ("event: on-http-response, group: g", "event: found on-http-response beside group, expected one of them".to_owned()),
        ("group: a b", format!("group: found a b, expected {name}")),
        ("args: ['ip=src path=path']", format!("args[0]: found ip=src path=path, expected {sample}")),
        ("args: ['ip=']", format!("args[0]: found ip=, expected {sample}")),
        ("args: ['ip=src', 'x=str(\"a)']", "args[1]: found x=str(\"a), expected quotes in pairs".to_owned()),
        ("args: ['x=str(#)']", "args[0]: found x=str(#), expected a # in quotes, where it begins no comment".to_owned()),
        ("args: [\"a=src\\nevent x\"]", "args[0]: found a=src\\nevent x, expected no control characters".to_owned()),
        ("condition: is_api", format!("condition: found is_api, expected {acls}")),
        ("condition: '{ path /a'", "condition: found { path /a, expected a } behind each {".to_owned()),
        ("condition: \"TRUE\\nuser root\"", "condition: found TRUE\\nuser root, expected no control characters".to_owned()),
        (
            "variables: [allow]",
            "variables[0]: found allow, expected scope.name with the scope proc, sess, txn, req or res".to_owned(),
        ),
        ("variables: [txn.allow, txn.allow]", "variables[1]: found txn.allow, expected each variable once".to_owned()),
        (
            "variables: [txn.allow, txn.error]",
            "variables[1]: found txn.error, expected another variable: HAProxy sets this one itself".to_owned(),
        ),
        ("variables: [txn.pool]", "verdict: found txn.allow, expected txn.pool or none, to deny nothing".to_owned()),
        (
            "verdict: txn.alow",
            "verdict: found txn.alow, expected txn.allow, txn.reason, txn.score or none, to deny nothing".to_owned(),
        ),
        ("deny_status: 200", "deny_status: found 200, expected 400 to 504".to_owned()),
        ("no_verdict_status: 451", format!("no_verdict_status: found 451, expected {statuses}")),
        ("no_verdict: pass", "no_verdict: found pass, expected deny or allow".to_owned()),
    ] {
        assert_eq!(of_haproxy(haproxy), [expected], "{haproxy}");
    }
    let args = format!("args: [{}]", vec!["src"; 256].join(", "));
    assert_eq!(of_haproxy(&args), ["args: found a list, expected a list"]);
    let long = format!("variables: [txn.{}, txn.allow]", "n".repeat(43));
    assert!(of_haproxy(&long)[0].contains("at most 63 are possible"), "{:?}", of_haproxy(&long));
}

#[test]
fn haproxy_sends_messages_by_their_names() {
    let exact = "exact names of messages beside haproxy, which sends them by their names";
    assert_problems("routes: [{backend: a, haproxy: {}}]", &[&format!("routes[0].messages: found nothing, expected {exact}")]);
    assert_problems(
        "routes: [{messages: [a, 'waf-*', 'b c'], backend: a, haproxy: {}}]",
        &[
            &format!("routes[0].messages[1]: found waf-*, expected {exact}"),
            "routes[0].messages[2]: found b c, expected a name of letters, digits, _, ., : and -",
        ],
    );
    assert_problems(
        "haproxy: {engine: a b, bufsize: 8KiB}",
        &[
            "haproxy.bufsize: found 8KiB, expected 16KiB to 16MiB",
            "haproxy.engine: found a b, expected a name of letters, digits, _, ., : and -",
        ],
    );
}

#[test]
fn haproxy_of_several_routes() {
    let routes = |first: &str, second: &str| {
        format!(
            "routes: [{{messages: [x], backend: a, haproxy: {{{first}}}}}, {{messages: [y], backend: a, haproxy: {{{second}}}}}]"
        )
    };
    let own = "a variable of its own, since that of routes[0] would pass for it; or the same event and two conditions that exclude each other";
    let shared = format!("routes[1].haproxy.verdict: found txn.allow, expected {own}");
    let on_a = "condition: '{ path /a }'";
    for (first, second) in
        [("", ""), (on_a, ""), (on_a, on_a), ("", "group: g"), (on_a, "event: on-client-session, condition: METH_GET")]
    {
        assert_problems(&routes(first, second), &[&shared]);
    }
    let group = |more: &str| format!("group: g, verdict: none{more}");
    assert_problems(
        &routes(&group(", condition: METH_POST"), &group("")),
        &["routes[1].haproxy.condition: found nothing, expected that of routes[0], which is in the same group"],
    );
    assert_problems(
        "listeners: [{bind: 'a:1'}, {bind: 'a:2'}]\n\
         routes: [{messages: [x], listeners: ['a:1'], backend: a, haproxy: {verdict: none}}, {messages: [x], backend: a, haproxy: {}}]",
        &["routes[1].messages[0]: found x, expected a message that routes[0] does not describe for HAProxy"],
    );
}
