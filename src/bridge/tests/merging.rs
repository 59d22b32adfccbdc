//! What of several branches' actions is in the ACK.

use super::super::merge::{Part, merge};
use super::decisions::answer_by;
use super::*;
use crate::bridge::error::NotifyError;
use crate::config::{Cause, OnFailure, Pattern, VariablePattern};
use crate::spop::Action;

/// A value that tells whose action it is.
fn actions(list: &[(&str, i64)]) -> Actions {
    let mut actions = Actions::new();
    for (name, value) in list {
        actions.set_var(VarScope::Transaction, name, TypedData::Int64(*value)).unwrap();
    }
    actions
}

fn shown(actions: &Actions) -> Vec<(String, i64)> {
    let show = |action: Action<'_>| match action {
        Action::SetVar { name, value: TypedData::Int64(value), .. } => (String::from_utf8_lossy(name).into_owned(), value),
        other => panic!("{other:?}"),
    };
    actions.iter().map(show).collect()
}

const ROOM: usize = 10_000;
const STATUS: usize = 40;

fn failed() -> NotifyError {
    NotifyError::Call(CallError::Timeout)
}

#[test]
fn an_answer_counts_before_a_fallback_in_whatever_order() {
    let (allow, none) = (OnFailure::new(|_| actions(&[("allow", 1), ("mine", 1)])), OnFailure::new(|_| Actions::new()));
    let answer = || Ok(actions(&[("allow", 0)]));
    for order in [[0, 1], [1, 0]] {
        let mut parts = vec![Part::new(answer(), &none), Part::new(Err(failed()), &allow)];
        if order[0] == 1 {
            parts.reverse();
        }
        let mut merged = shown(&merge(&mut parts, ROOM, STATUS));
        merged.sort();
        assert_eq!(merged, [("allow".to_owned(), 0), ("mine".to_owned(), 1)]);
        assert_eq!(parts.iter().map(|part| part.left_out.to_string()).collect::<String>(), "txn.allow: answered");
    }
}

#[test]
fn of_answers_and_of_fallbacks_the_first_counts() {
    let fallback = |value| OnFailure::new(move |_| actions(&[("allow", value)]));
    let (one, two, three) = (fallback(10), fallback(20), fallback(30));
    let mut parts = vec![
        Part::new(Ok(actions(&[("reason", 1), ("reason", 2)])), &one),
        Part::new(Ok(actions(&[("reason", 3), ("score", 3)])), &two),
        Part::new(Err(failed()), &two),
        Part::new(Err(failed()), &three),
    ];
    let merged = shown(&merge(&mut parts, ROOM, STATUS));
    // What one service says twice about a variable is its own matter: HAProxy takes the last.
    assert_eq!(
        merged.iter().map(|(name, value)| (&name[..], *value)).collect::<Vec<_>>(),
        [("reason", 1), ("reason", 2), ("score", 3), ("allow", 20)]
    );
    let left_out: Vec<_> = parts.iter().map(|part| part.left_out.to_string()).collect();
    assert_eq!(left_out, ["", "txn.reason: conflict", "", "txn.allow: conflict"]);
}

#[test]
fn a_variable_is_its_scope_and_its_exact_name() {
    let mut other = Actions::new();
    other.set_var(VarScope::Session, "allow", TypedData::Int64(1)).unwrap();
    other.set_var(VarScope::Transaction, "Allow", TypedData::Int64(2)).unwrap();
    other.unset_var(VarScope::Transaction, "allow").unwrap();
    let none = OnFailure::new(|_| Actions::new());
    let mut parts = [Part::new(Ok(actions(&[("allow", 0)])), &none), Part::new(Ok(other), &none)];
    let merged = merge(&mut parts, ROOM, STATUS);
    assert_eq!((merged.count(), parts[1].left_out.to_string().as_str()), (3, "txn.allow: conflict"));
}

#[test]
fn an_unset_counts_like_a_set() {
    let mut unset = Actions::new();
    unset.unset_var(VarScope::Transaction, "allow").unwrap();
    let fallback = OnFailure::new(|_| actions(&[("allow", 1)]));
    let mut parts = [Part::new(Err(failed()), &fallback), Part::new(Ok(unset.clone()), &fallback)];
    assert_eq!(merge(&mut parts, ROOM, STATUS), unset);
    let fallback = OnFailure::new(|_| unset.clone());
    let mut parts = [Part::new(Ok(actions(&[("allow", 0)])), &fallback), Part::new(Err(failed()), &fallback)];
    assert_eq!(merge(&mut parts, ROOM, STATUS), actions(&[("allow", 0)]));
}

fn long(name: &str, bytes: usize) -> Actions {
    let mut actions = Actions::new();
    actions.set_var(VarScope::Transaction, name, TypedData::String(&vec![b'x'; bytes])).unwrap();
    actions
}

/// What repeats a client's request at length must not cost another service its verdict, wherever it comes.
#[test]
fn the_longest_answer_gives_way() {
    let fallback = OnFailure::new(|cause| actions(&[("echo_failed", i64::from(cause == Cause::InvalidResponse))]));
    let none = OnFailure::new(|_| Actions::new());
    for echo_at in [0, 1, 2] {
        let mut parts = vec![Part::new(Ok(actions(&[("allow", 0)])), &none), Part::new(Err(failed()), &fallback)];
        parts.insert(echo_at, Part::new(Ok(long("echo", 200)), &fallback));
        let merged = merge(&mut parts, 200, STATUS);
        assert!(merged.len_bytes() + STATUS <= 200);
        assert!(merged.iter().any(|action| action.variable().1 == b"allow"), "{merged:?}");
        assert!(matches!(parts[echo_at].decision, Err(NotifyError::NoRoom { room: 200, .. })));
        assert_eq!(parts.iter().filter(|part| part.decision.is_ok()).count(), 1);
    }
}

#[test]
fn answers_that_fill_the_frame_alone_need_no_room_for_a_status() {
    let none = OnFailure::new(|_| Actions::new());
    let answers = [long("a", 80), long("b", 80)];
    let room = answers.iter().map(Actions::len_bytes).sum();
    let mut parts = answers.clone().map(|answer| Part::new(Ok(answer), &none));
    assert_eq!(merge(&mut parts, room, STATUS).len_bytes(), room);
    let mut parts = answers.map(|answer| Part::new(Ok(answer), &none));
    merge(&mut parts, room - 1, STATUS);
    assert_eq!(parts.map(|part| part.decision.is_ok()), [true, false], "of equals the last");
}

#[test]
fn of_fallbacks_that_do_not_fit_the_first_ones_go() {
    let fallbacks = [60, 90, 60].map(|length| OnFailure::new(move |_| long(if length == 90 { "long" } else { "short" }, length)));
    let mut parts = fallbacks.each_ref().map(|fallback| Part::new(Err(failed()), fallback));
    let merged = merge(&mut parts, 190, STATUS);
    let names: Vec<_> = merged.iter().map(|action| action.variable().1.to_vec()).collect();
    assert_eq!(names, [b"short"]);
    assert_eq!(parts.map(|part| part.left_out.to_string()), ["", "txn.long: no_room", "txn.short: conflict"]);
}

fn parts() -> impl Strategy<Value = Vec<(Option<Actions>, Actions)>> {
    let action = ("[abc]", 0_usize..60, any::<bool>());
    let list = vec(action, 0..4).prop_map(|list| {
        let mut actions = Actions::new();
        for (name, length, set) in list {
            match set {
                true => actions.set_var(VarScope::Transaction, name, TypedData::String(&vec![b'x'; length])).map(|_| ()),
                false => actions.unset_var(VarScope::Transaction, name).map(|_| ()),
            }
            .unwrap();
        }
        actions
    });
    vec((option::of(list.clone()), list), 1..5)
}

proptest! {
    #[test]
    fn whatever_comes_together(list in parts(), room in 231_usize..600) {
        let fallbacks: Vec<_> = list.iter().map(|(_, fallback)| OnFailure::new(|_| fallback.clone())).collect();
        let mut parts: Vec<_> = list.iter().zip(&fallbacks).map(|((answer, _), fallback)| {
            Part::new(answer.clone().ok_or_else(failed), fallback)
        }).collect();
        let merged = merge(&mut parts, room, STATUS);
        let failed = parts.iter().any(|part| part.decision.is_err());
        let status = if failed { STATUS } else { 0 };
        prop_assert!(merged.len_bytes() + status <= room);
        // Whatever a service that was heard has named has the value of a service that was heard, and no fallback's.
        let answers: Vec<_> = parts.iter().filter_map(|part| part.decision.as_ref().ok()).collect();
        for action in &merged {
            let named = answers.iter().find(|answer| answer.iter().any(|other| other.variable() == action.variable()));
            if let Some(answer) = named {
                prop_assert!(answer.iter().any(|other| other == action));
            }
        }
        for answer in &answers {
            for action in answer.iter() {
                prop_assert!(merged.iter().any(|other| other.variable() == action.variable()), "nothing is lost unsaid");
            }
        }
        // All is there or said.
        let whole: usize = list.iter().zip(&parts).map(|((answer, fallback), part)| {
            if part.decision.is_ok() { answer.as_ref().unwrap_or(fallback) } else { fallback }.count()
        }).sum();
        let said: usize = parts.iter().map(|part| part.left_out.variables().count()).sum();
        prop_assert_eq!(merged.count() + said, whole);
    }
}

const CONFIG: &str = "
listeners: [{name: main, bind: '127.0.0.1:0'}]
backends:
  waf: {endpoints: ['http://127.0.0.1:1']}
  check: {endpoints: ['http://127.0.0.1:2']}
routes:
  - {messages: [waf], backend: waf, variables: [txn.allow, 'txn.waf_*', sess.seen]}
  - {messages: [check], backend: check, on_failure: {default: {set: {txn.allow: true}}}}
on_failure: {default: {set: {txn.allow: true, txn.lost: true}}}
decision_variables: txn.why
";

fn response(list: &[(i32, &str, Option<bool>)]) -> Result<pb::DecideResponse, CallError> {
    let action = |(scope, name, value): &(i32, &str, Option<bool>)| match value {
        Some(value) => {
            let value = Some(pb::Value { kind: Some(value::Kind::BoolValue(*value)), ..pb::Value::default() });
            action::Action::SetVar(pb::SetVar { scope: *scope, name: (*name).to_owned(), value })
        }
        None => action::Action::UnsetVar(pb::UnsetVar { scope: *scope, name: (*name).to_owned() }),
    };
    Ok(pb::DecideResponse { actions: list.iter().map(|one| pb::Action { action: Some(action(one)) }).collect() })
}

async fn asked(
    names: &[&str],
    waf: Result<pb::DecideResponse, CallError>,
    check: Result<pb::DecideResponse, CallError>,
) -> Vec<String> {
    let messages: Messages = names.iter().map(|name| (name.as_bytes().to_vec(), Vec::new())).collect();
    let (mut actions, _) = answer_by(CONFIG, notify(1, &messages, 16_380), [(0, check), (1, waf)]).await;
    actions.retain(|action| !action.starts_with("why."));
    actions.sort();
    actions
}

/// An outage, or a typo in a name, does not undo what a service has denied.
#[tokio::test]
async fn a_deny_stays_a_deny() {
    let deny = || response(&[(3, "allow", Some(false))]);
    let down = || Err(CallError::Timeout);
    for names in [["waf", "check"], ["check", "waf"]] {
        assert_eq!(asked(&names, deny(), down()).await, ["allow=no", "bridge_status=timeout"]);
    }
    for names in [&["waf", "typo"][..], &["typo", "waf"], &["typo", "waf", "typo"]] {
        assert_eq!(asked(names, deny(), down()).await, ["allow=no", "bridge_status=unrouted", "lost"]);
    }
    assert_eq!(asked(&["typo", "check", "waf"], deny(), down()).await, ["allow=no", "bridge_status=unrouted", "lost"]);
}

/// What is not a service's own makes its whole answer a failure, whether it is set or removed.
#[tokio::test]
async fn variables_have_owners() {
    for foreign in [
        &[(3, "other", Some(true))][..],
        &[(3, "other", None)],
        &[(0, "other", Some(true))],
        &[(3, "Allow", Some(true))],
        &[(2, "allow", Some(true))],
        &[(4, "waf_score", Some(true))],
        &[(3, "allow", Some(false)), (3, "waf", Some(true))],
    ] {
        let seen = asked(&["waf"], response(foreign), Err(CallError::Timeout)).await;
        assert_eq!(seen, ["allow", "bridge_status=invalid_response", "lost"], "{foreign:?}");
    }
    for own in [
        &[(3, "allow", Some(false))][..],
        &[(0, "waf_rule", None), (3, "allow", Some(false))],
        &[(3, "allow", Some(false)), (2, "seen", None)],
    ] {
        assert!(asked(&["waf"], response(own), Err(CallError::Timeout)).await.contains(&"allow=no".to_owned()), "{own:?}");
    }
}

/// On every route, with a list of variables or without, by whatever number the scope is written.
#[tokio::test]
async fn the_bridges_own_variables_are_nobody_elses() {
    for name in ["bridge_status", "why.cause", "why.latency_us", "why.attempts", "why.source"] {
        for scope in [0, 3] {
            for value in [Some(true), None] {
                let answer = response(&[(3, "allow", Some(false)), (scope, name, value)]);
                let seen = asked(&["check"], Err(CallError::Timeout), answer).await;
                assert_eq!(seen, ["allow", "bridge_status=invalid_response"], "{name} {scope} {value:?}");
            }
        }
    }
    let other = response(&[(2, "bridge_status", Some(false)), (3, "bridge_Status", Some(false)), (3, "why", Some(false))]);
    let seen = asked(&["check"], Err(CallError::Timeout), other).await;
    assert_eq!(seen, ["bridge_Status=no", "bridge_status=no", "why=no"]);
}

#[test]
fn refusals_name_the_variable_and_the_key() {
    let allowed = [VariablePattern { scope: VarScope::Transaction, name: Pattern::new("waf_*") }];
    let own = ["txn.bridge_status".parse().unwrap()];
    let limits = Limits { own: &own, allowed: Some((2, &allowed)), ..ROOMY };
    let refused = |name: &str| {
        let response = response(&[(3, "waf_ok", Some(true)), (3, name, Some(true))]).unwrap();
        response::decode(&response.encode_to_vec(), limits).unwrap_err().to_string()
    };
    assert_eq!(refused("allow"), "actions[1]: txn.allow is not among the variables of routes[2]");
    let expected =
        "actions[1]: txn.bridge_status is a variable of the bridge's own: status_variable, or one of decision_variables";
    assert_eq!(refused("bridge_status"), expected);
}

/// The smallest frame that there may be, and a fallback that does not fit into it: the status does.
#[tokio::test]
async fn a_status_always_has_room() {
    let name = format!("txn.{}", "s".repeat(42));
    let config = format!(
        "backends: {{a: {{endpoints: ['http://127.0.0.1:1']}}}}
on_failure: {{default: {{set: {{txn.allow: false, txn.reason: {}}}}}}}
status_variable: {name}
decision_variables: txn.{}",
        "x".repeat(200),
        "w".repeat(31),
    );
    for messages in [&["m"][..], &["m", "n"]] {
        let messages: Messages = messages.iter().map(|name| (name.as_bytes().to_vec(), Vec::new())).collect();
        let (actions, _) = answer_by(&config, notify(u64::MAX, &messages, 256), [(0, Err(CallError::Timeout))]).await;
        assert_eq!(actions, [format!("{}=timeout", &name[4..])]);
    }
}
