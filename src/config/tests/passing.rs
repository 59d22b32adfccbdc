//! Warnings of fallbacks that let requests pass for what a client can bring about.

use super::{BACKEND, read};

/// The places that a file with one backend `a` and the lines `text` is warned of, and the causes.
fn warned(text: &str) -> Vec<String> {
    let (_, warnings) = read(&format!("{BACKEND}{text}"));
    let about = warnings.iter().filter(|warning| warning.message.contains("client can bring about"));
    let short = |message: &str| message.split(" for ").nth(1).unwrap().split(" too").next().unwrap().to_owned();
    about.map(|warning| format!("{}: {}", warning.path, short(&warning.message))).collect()
}

const ALL: &str = "timeout, rejected and invalid_response";

#[test]
fn a_default_that_lets_pass_has_to_name_what_a_client_can_bring_about() {
    let route = |on_failure: &str| warned(&format!("routes: [{{backend: a, on_failure: {{{on_failure}}}}}]"));
    let at = |causes: &str| vec![format!("routes[0].on_failure.default: {causes}")];
    assert_eq!(route("default: {set: {txn.allow: true}}"), at(ALL));
    assert_eq!(route("default: {set: {txn.allow: true}}, overloaded: {set: {txn.allow: false}}"), at(ALL));
    assert_eq!(route("default: {set: {txn.blocked: false}}"), at(ALL));
    assert_eq!(route("default: {unset: [txn.deny]}"), at(ALL));
    let three = "timeout: {set: {txn.allow: false}}, rejected: {set: {txn.allow: false}}";
    assert_eq!(route(&format!("default: {{set: {{txn.allow: true}}}}, {three}")), at("invalid_response"));
    // What is said is meant.
    assert_eq!(
        route(&format!("default: {{set: {{txn.allow: true}}}}, {three}, invalid_response: {{set: {{txn.allow: true}}}}")),
        [""; 0]
    );
    for denies in [
        "default: {set: {txn.allow: false}}",
        "default: {set: {txn.block: true, txn.score: 0}}",
        "default: {}",
        "unavailable: {set: {txn.allow: true}}",
    ] {
        assert_eq!(route(denies), [""; 0], "{denies}");
    }
}

#[test]
fn the_default_that_counts_is_the_one_to_mend() {
    let passes = "{default: {set: {txn.allow: true}}}";
    let named =
        "{timeout: {set: {txn.allow: false}}, rejected: {set: {txn.allow: false}}, invalid_response: {set: {txn.allow: false}}}";
    assert_eq!(warned(&format!("on_failure: {passes}")), [format!("on_failure.default: {ALL}")]);
    // One line, however many routes come to it.
    let routes = "routes: [{messages: [x], backend: a}, {messages: [y], backend: a, on_failure: {timeout: {}}}, {messages: [z], backend: a}]";
    assert_eq!(warned(&format!("on_failure: {passes}\n{routes}")), [format!("on_failure.default: {ALL}")]);
    // A route's default goes before what the top level names.
    let text = format!("on_failure: {named}\nroutes: [{{backend: a, on_failure: {passes}}}]");
    assert_eq!(warned(&text), [format!("routes[0].on_failure.default: {ALL}")]);
    // Where every route names them, the top level's default is for messages without a route.
    assert_eq!(warned(&format!("on_failure: {passes}\nroutes: [{{messages: [x], backend: a, on_failure: {named}}}]")), [""; 0]);
    assert_eq!(warned(""), [""; 0]);
}

#[test]
fn the_verdict_tells_what_lets_pass() {
    let route = |haproxy: &str, on_failure: &str| {
        warned(&format!("routes: [{{messages: [m], backend: a, haproxy: {{{haproxy}}}, on_failure: {{{on_failure}}}}}]"))
    };
    let other = "variables: [txn.go], verdict: txn.go";
    let default = |causes: &str| vec![format!("routes[0].on_failure.default: {causes}")];
    assert_eq!(route(other, "default: {set: {txn.go: true}}"), default(ALL));
    assert_eq!(route(other, "default: {set: {txn.go: 1}}"), default(ALL));
    assert_eq!(route(other, "default: {set: {txn.go: false, txn.score: 0}}"), [""; 0]);
    // The rules deny what has no verdict, whatever else is set.
    assert_eq!(route(other, "default: {set: {txn.allow: true}}"), [""; 0]);
    assert_eq!(route(other, "default: {set: {sess.go: true}}"), [""; 0]);
    let open = format!("{other}, no_verdict: allow");
    assert_eq!(route(&open, "default: {set: {txn.reason: down}}"), default(ALL));
    assert_eq!(route(&open, "default: {unset: [txn.go]}"), default(ALL));
    assert_eq!(route(&open, "default: {set: {txn.go: false}}"), [""; 0]);
    assert_eq!(route(&open, ""), [format!("routes[0].haproxy.no_verdict: {ALL}")]);
    assert_eq!(route(&open, "timeout: {set: {txn.go: false}}"), ["routes[0].haproxy.no_verdict: rejected and invalid_response"]);
    // Nothing is denied by the verdict, so names and values count again.
    assert_eq!(route("verdict: none", "default: {set: {txn.allow: true}}"), default(ALL));
}
