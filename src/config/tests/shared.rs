//! Warnings of what several routes of one NOTIFY set, and of what does not fit into a frame.

use super::read;
use crate::spop::Actions;

const BACKENDS: &str = "backends: {a: {endpoints: ['http://a:1']}, b: {endpoints: ['http://b:1']}}\n";

/// What a file with two backends and the lines `text` is warned of.
fn warned(text: &str) -> Vec<String> {
    let (_, warnings) = read(&format!("{BACKENDS}{text}"));
    let short = |text: String| text.split([';', ':']).next().unwrap().to_owned() + " " + text.split(' ').nth(2).unwrap();
    warnings.iter().map(|warning| short(warning.to_string())).collect()
}

fn two(one: &str, other: &str) -> Vec<String> {
    warned(&format!(
        "listeners: [{{name: l1, bind: 'a:1'}}, {{name: l2, bind: 'a:2'}}]\nroutes:\n- {{messages: [x], backend: a, {one}}}\n- {{messages: [y], backend: b, {other}}}"
    ))
}

#[test]
fn routes_that_set_one_variable_are_told() {
    let deny = "on_failure: {default: {set: {txn.allow: false}}}";
    let by_fallback = ["routes[1].on_failure txn.allow,"];
    assert_eq!(two(deny, deny), by_fallback);
    assert_eq!(two(deny, "on_failure: {internal: {unset: [txn.allow]}}"), by_fallback);
    assert_eq!(two(deny, "variables: [txn.allow]"), ["routes[1].variables txn.allow,"]);
    assert_eq!(two("variables: [txn.allow]", deny), by_fallback);
    assert_eq!(two("variables: [txn.allow]", "variables: [txn.allow]"), ["routes[1].variables txn.allow,"]);
    assert_eq!(two("variables: ['txn.a*']", "variables: ['txn.*w']"), ["routes[1].variables txn.*w,"]);
    assert_eq!(two(deny, "variables: ['txn.*']"), ["routes[1].variables txn.allow,"]);
    for other in [
        "variables: ['txn.waf_*']",
        "variables: [sess.allow]",
        "variables: [txn.Allow]",
        "variables: []",
        "on_failure: {default: {set: {sess.allow: false}}}",
    ] {
        assert_eq!(two(deny, other), [""; 0], "{other}");
    }
    // From the top level, where neither route has anything to say.
    let inherited =
        "routes: [{messages: [x], backend: a}, {messages: [y], backend: b}]\non_failure: {default: {set: {txn.allow: false}}}";
    assert_eq!(warned(inherited), by_fallback);
    // A line for each variable, not for each pair.
    let many: String =
        (0..300).map(|n| format!("- {{messages: [m{n}], backend: {}}}\n", if n > 0 { "a" } else { "b" })).collect();
    assert_eq!(warned(&format!("routes:\n{many}on_failure: {{default: {{set: {{txn.allow: false}}}}}}")), by_fallback);
}

#[test]
fn routes_that_never_meet_may_set_one_variable() {
    let with = |more: &str| format!("{more}, variables: [txn.allow], on_failure: {{default: {{set: {{txn.allow: false}}}}}}");
    let pair = |one: &str, other: &str| two(&with(one), &with(other)).len();
    assert_eq!(pair("listeners: [l1]", "listeners: [l2]"), 0);
    assert_eq!(pair("listeners: [l1]", "listeners: [l2, l1]"), 1);
    assert_eq!(pair("listeners: [l1]", "timeout: 20ms"), 1);
    assert_eq!(pair("engines: [e1]", "engines: ['e2*']"), 0);
    assert_eq!(pair("engines: ['e*']", "engines: ['*2']"), 1);
    assert_eq!(pair("haproxy: {condition: '{ path_beg /a }'}", "haproxy: {condition: '!{ path_beg /a }'}"), 0);
    let quiet = "haproxy: {verdict: none";
    assert_eq!(pair(&format!("{quiet}}}"), &format!("{quiet}, event: on-http-response}}")), 0);
    assert_eq!(pair(&format!("{quiet}, group: g}}"), &format!("{quiet}, group: h}}")), 0);
    assert_eq!(pair(&format!("{quiet}, group: g}}"), &format!("{quiet}, group: g}}")), 1);
    assert_eq!(pair(&format!("{quiet}}}"), "timeout: 20ms"), 1);
}

#[test]
fn a_message_without_a_route_must_not_let_pass_in_place_of_another() {
    let route = |more: &str, top: &str| {
        warned(&format!("routes: [{{messages: [x], backend: a, {more}}}, {{messages: [y], backend: b}}]\non_failure: {{{top}}}"))
    };
    let deny = "on_failure: {default: {set: {txn.allow: false}}}";
    let named = "timeout: {}, rejected: {}, invalid_response: {}, unavailable: {}, overloaded: {}, internal: {}";
    let told = ["on_failure let"];
    assert_eq!(route(deny, &format!("{named}, default: {{set: {{txn.allow: true}}}}")), told);
    assert_eq!(route(deny, "unrouted: {set: {txn.allow: true}}"), told);
    assert_eq!(route("variables: [txn.allow]", "unrouted: {set: {txn.allow: true}}"), told);
    assert_eq!(route("variables: ['txn.a*']", "unrouted: {set: {txn.allow: true}}"), told);
    for top in ["unrouted: {set: {txn.allow: false}}", "unrouted: {set: {txn.other: true}}", "unrouted: {}"] {
        assert_eq!(route("variables: [txn.allow]", top), [""; 0], "{top}");
    }
    // Where a route takes every message, there is none without one.
    let text = "routes: [{messages: [x], backend: b, variables: [sess.x]}, {backend: a, variables: [txn.allow]}]\non_failure: {unrouted: {set: {txn.allow: true}}}";
    assert_eq!(warned(text), [""; 0]);
}

#[test]
fn fallbacks_that_do_not_fit_together_are_told() {
    let text = |length: usize| "x".repeat(length);
    let routes = |count: usize, length: usize| -> String {
        let route = |n: usize| {
            format!(
                "- {{messages: [m{n}], backend: {}, on_failure: {{default: {{set: {{txn.reason{n}: {}}}}}}}}}\n",
                ["a", "b"][n % 2],
                text(length)
            )
        };
        format!("routes:\n{}", (0..count).map(route).collect::<String>())
    };
    // 16 KiB of HAProxy's buffer are the frame, whatever the listener could take.
    assert_eq!(warned(&routes(2, 7_900)), [""; 0]);
    assert_eq!(warned(&routes(3, 7_900)), ["listeners[0] fallbacks"]);
    assert_eq!(warned(&format!("{}haproxy: {{bufsize: 64KiB}}", routes(3, 7_900))), [""; 0]);
    assert_eq!(
        warned(&format!("{}listeners: [{{bind: 'a:1', max_frame_size: 256B}}]", routes(2, 100))),
        ["listeners[0] fallbacks"]
    );
    // More than a NOTIFY can hold need not fit.
    assert_eq!(warned(&routes(400, 30)), [""; 0]);
}

/// Where the bridge cannot tell the routes it says what all of them say.
#[test]
fn the_last_resort_is_what_all_say_alike() {
    let last = |route: &str, top: &str| {
        let text = format!(
            "{BACKENDS}listeners: [{{name: l1, bind: 'a:1'}}, {{name: l2, bind: 'a:2'}}]\n\
             routes: [{{messages: [x], backend: a, {route}}}, {{messages: [y], backend: b, listeners: [l2]}}]\non_failure: {{{top}}}"
        );
        let (config, _) = read(&text);
        config.last_resorts.iter().map(Actions::count).collect::<Vec<_>>()
    };
    let allow = "default: {set: {txn.allow: true, txn.lost: true}}";
    assert_eq!(last("timeout: 20ms", allow), [2, 2]);
    assert_eq!(last("on_failure: {default: {set: {txn.allow: false, txn.lost: true}}}", allow), [1, 1]);
    assert_eq!(last("on_failure: {internal: {}}", allow), [0, 0]);
    assert_eq!(last("listeners: [l2], on_failure: {internal: {set: {txn.allow: false}}}", allow), [2, 0]);
    // What the top level does not say nothing says for it.
    assert_eq!(last("on_failure: {default: {set: {txn.allow: false}}}", ""), [0, 0]);
    let routes = "routes: [{messages: [x], backend: a}, {backend: b}]";
    let text = format!("{BACKENDS}{routes}\non_failure: {{internal: {{set: {{txn.reason: {}}}}}}}", "x".repeat(300));
    let (_, warnings) = read(&text);
    assert_eq!(warnings.iter().filter(|warning| warning.message.contains("at the end of a drain")).count(), 1, "{warnings:?}");
}
