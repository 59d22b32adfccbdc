//! Variables that are the bridge's own, and those that a route lists.

use super::super::{BACKEND, problems, read};
use super::assert_problems;

const STATUS: &str = "another variable: the bridge sets status_variable itself";
const DECISION: &str = "another variable: the bridge sets decision_variables itself";

#[test]
fn nothing_else_sets_the_bridges_own_variables() {
    let status = "status_variable: txn.why\n";
    assert_problems(
        &format!("{status}on_failure: {{default: {{unset: [txn.why]}}}}"),
        &[&format!("on_failure.default.unset[0]: found txn.why, expected {STATUS}")],
    );
    assert_problems(
        "routes: [{backend: a, variables: [txn.allow, txn.bridge_status]}]",
        &[&format!("routes[0].variables[1]: found txn.bridge_status, expected {STATUS}")],
    );
    let decision = "decision_variables: txn.why\n";
    for part in ["cause", "latency_us", "attempts", "source"] {
        assert_problems(
            &format!(
                "{decision}on_failure: {{timeout: {{set: {{txn.why.{part}: 1}}}}}}\nroutes: [{{backend: a, variables: [txn.why.{part}]}}]"
            ),
            &[
                &format!(r#"on_failure.timeout.set["txn.why.{part}"]: found txn.why.{part}, expected {DECISION}"#),
                &format!("routes[0].variables[0]: found txn.why.{part}, expected {DECISION}"),
            ],
        );
    }
    assert_problems(
        "routes: [{messages: [m], backend: a, haproxy: {variables: [txn.allow, txn.bridge_status]}}]",
        &[&format!("routes[0].haproxy.variables[1]: found txn.bridge_status, expected {STATUS}")],
    );
    assert_problems(
        "status_variable: txn.why.cause\ndecision_variables: txn.why",
        &["status_variable: found txn.why.cause, expected a variable other than those of decision_variables"],
    );
    // Globs stand for what is left; other scopes and other names are other variables.
    let fine = "decision_variables: txn.why\nroutes: [{backend: a, variables: ['txn.*', sess.bridge_status, txn.Bridge_status, txn.why.other]}]";
    assert_eq!(read(&format!("{BACKEND}{fine}")).1, []);
}

#[test]
fn variables_of_routes_are_names_or_globs() {
    let expected = "scope.name with the scope proc, sess, txn, req or res";
    let found = |text: &str| problems(&format!("{BACKEND}routes: [{{backend: a, variables: [{text}]}}]"));
    for text in ["allow", "'*'", "'*.allow'", "'var.*'", "'txn.'", "'txn.a-*'"] {
        let bare = text.trim_matches('\'');
        let [problem] = &found(text)[..] else { panic!("{text}") };
        assert!(problem.starts_with(&format!("routes[0].variables[0]: found {bare}, expected {expected}")), "{problem}");
    }
    assert_eq!(found("txn.a, txn.a"), ["routes[0].variables[1]: found txn.a, expected each variable once"]);
    // The listener's prefix counts.
    let long = format!("listeners: [{{bind: 'a:1', var_prefix: {}}}]\nstatus_variable: txn.s\n", "p".repeat(50));
    let found = problems(&format!("{BACKEND}{long}routes: [{{backend: a, variables: ['txn.too_long_*']}}]"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        read(&format!("{BACKEND}routes: [{{backend: a, variables: []}}]")).0.routes[0].variables.as_deref(),
        Some(&[][..])
    );
}

#[test]
fn haproxy_waits_for_what_the_service_may_set() {
    let route = |variables: &str, haproxy: &str| {
        format!("routes: [{{messages: [m], backend: a, variables: [{variables}], haproxy: {{{haproxy}}}}}]")
    };
    assert_problems(
        &route("'txn.waf_*'", ""),
        &["routes[0].haproxy.verdict: found txn.allow, expected a variable that the route's variables let the service set"],
    );
    assert_eq!(read(&format!("{BACKEND}{}", route("txn.allow", ""))).1, []);
    assert_eq!(read(&format!("{BACKEND}{}", route("sess.x", "verdict: none"))).1, []);
    let (_, warnings) = read(&format!("{BACKEND}{}", route("txn.allow", "variables: [txn.allow, txn.rule]")));
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["routes[0].haproxy.variables[1]: the route's variables do not let the service set txn.rule"]);
}
