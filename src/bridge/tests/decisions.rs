//! The bridge against scripted backends.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;
use crate::spop::Action;

/// Backends that answer by a table and keep what they were asked.
#[derive(Debug, Default)]
struct Scripted {
    answers: HashMap<usize, Result<pb::DecideResponse, CallError>>,
    asked: Mutex<Vec<(usize, pb::DecideRequest, Duration)>>,
}

impl Decide for Arc<Scripted> {
    type Engine = ();

    fn engine(&self, _: &Bytes) {}

    async fn decide(&self, backend: usize, (): &(), request: Request, deadline: Deadline, _: &Trail) -> Result<Bytes, CallError> {
        let request = pb::DecideRequest::decode(request.message()).unwrap();
        self.asked.lock().unwrap().push((backend, request, deadline.budget(Instant::now())));
        self.answers[&backend].clone().map(|response| response.encode_to_vec().into())
    }
}

fn set_bool(name: &str) -> pb::DecideResponse {
    let value = Some(pb::Value { kind: Some(value::Kind::BoolValue(true)), ..pb::Value::default() });
    let variable = pb::SetVar { scope: 3, name: name.to_owned(), value };
    pb::DecideResponse { actions: vec![pb::Action { action: Some(action::Action::SetVar(variable)) }] }
}

const CONFIG: &str = "
listeners: [{name: main, bind: '127.0.0.1:0'}]
backends:
  one: {endpoints: ['http://127.0.0.1:1']}
  two: {endpoints: ['http://127.0.0.1:2']}
routes:
  - {messages: [one, 'glob-*'], backend: one, timeout: 80ms, timeout_arg: ms, on_failure: {default: {set: {txn.one_failed: true}}}}
  - {messages: [two], backend: two, timeout: 1s, on_failure: {overloaded: {set: {txn.two_overloaded: true}}}}
  - {messages: [elsewhere], listeners: [main], engines: [other-engine], backend: two}
on_failure: {default: {set: {txn.failed: true}}}
";

async fn answer(
    names: &[&str],
    answers: impl IntoIterator<Item = (usize, Result<pb::DecideResponse, CallError>)>,
) -> (Vec<String>, Vec<(usize, pb::DecideRequest, Duration)>) {
    let messages: Messages = names.iter().map(|name| (name.as_bytes().to_vec(), Vec::new())).collect();
    answer_to(notify(1, &messages, 16_380), answers).await
}

async fn answer_to(
    notify: Notify,
    answers: impl IntoIterator<Item = (usize, Result<pb::DecideResponse, CallError>)>,
) -> (Vec<String>, Vec<(usize, pb::DecideRequest, Duration)>) {
    answer_by(CONFIG, notify, answers).await
}

pub(super) async fn answer_by(
    config: &str,
    notify: Notify,
    answers: impl IntoIterator<Item = (usize, Result<pb::DecideResponse, CallError>)>,
) -> (Vec<String>, Vec<(usize, pb::DecideRequest, Duration)>) {
    let (config, _) = Config::from_yaml(config, "test", &|_| None).unwrap();
    let scripted = Arc::new(Scripted { answers: answers.into_iter().collect(), asked: Mutex::default() });
    let routes = Arc::new(Routes::new(&config));
    let mut bridge = Bridge::new(Arc::new(config), routes, Arc::clone(&scripted));
    let Ok(actions) = bridge.call(notify).await;
    let shown = actions.iter().map(|action| match action {
        Action::SetVar { name, value: TypedData::String(text), .. } => {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(text))
        }
        Action::SetVar { name, value: TypedData::Bool(false), .. } => format!("{}=no", String::from_utf8_lossy(name)),
        Action::SetVar { name, .. } => String::from_utf8_lossy(name).into_owned(),
        Action::UnsetVar { name, .. } => format!("unset {}", String::from_utf8_lossy(name)),
    });
    let shown = shown.collect();
    let asked = std::mem::take(&mut *scripted.asked.lock().unwrap());
    (shown, asked)
}

#[tokio::test]
async fn d17_messages_fan_out_and_their_actions_merge_in_message_order() {
    let answers = || [(0, Ok(set_bool("from_one"))), (1, Ok(set_bool("from_two")))];
    let (actions, asked) = answer(&["two", "one", "two", "glob-x"], answers()).await;
    assert_eq!(actions, ["from_two", "from_one"]);
    let names = |request: &pb::DecideRequest| request.messages.iter().map(|message| message.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&asked[0].1), ["two", "two"]);
    assert_eq!(names(&asked[1].1), ["one", "glob-x"]);
}

#[tokio::test]
async fn a_branch_that_fails_leaves_the_others_alone() {
    let timeout = || Err(CallError::Timeout);
    let (actions, _) = answer(&["one", "two", "nowhere"], [(0, timeout()), (1, Ok(set_bool("from_two")))]).await;
    assert_eq!(actions, ["one_failed", "from_two", "failed", "bridge_status=timeout"]);
    let status = |code| Err(CallError::Status { endpoint: "x".into(), code, message: String::new() });
    let (actions, _) = answer(&["two"], [(1, status(tonic::Code::ResourceExhausted))]).await;
    assert_eq!(actions, ["two_overloaded", "bridge_status=overloaded"]);
    let (actions, _) = answer(&["two"], [(1, status(tonic::Code::PermissionDenied))]).await;
    assert_eq!(actions, ["failed", "bridge_status=rejected"]);
    let (actions, _) = answer(&["two"], [(1, Ok(set_bool("bad name")))]).await;
    assert_eq!(actions, ["failed", "bridge_status=invalid_response"]);
}

#[tokio::test]
async fn d15_d16_an_ack_is_never_empty() {
    assert_eq!(answer(&[], []).await.0, ["bridge_status=ok"]);
    assert_eq!(answer(&["one"], [(0, Ok(pb::DecideResponse::default()))]).await.0, ["bridge_status=ok"]);
}

#[tokio::test]
async fn routes_match_by_engine_too() {
    assert_eq!(answer(&["elsewhere"], []).await.0, ["failed", "bridge_status=unrouted"]);
}

#[tokio::test]
async fn an_arg_shortens_the_timeout() {
    for (arg, expected) in [
        (TypedData::Int64(20), 19),
        (TypedData::Int64(5_000), 79),
        (TypedData::Null, 79),
        // What nobody could answer in is not what a client can have: the floor is 10 ms.
        (TypedData::Int64(1), 9),
        (TypedData::Int64(0), 9),
        (TypedData::Int64(-1), 9),
        (TypedData::Int64(i64::MIN), 9),
        (TypedData::Int32(i32::MIN), 9),
        (TypedData::Uint64(u64::MAX), 79),
    ] {
        let messages = vec![(b"one".to_vec(), vec![(b"ms".to_vec(), Value::Plain(arg))])];
        let (_, asked) = answer_to(notify(1, &messages, 16_380), [(0, Ok(set_bool("x")))]).await;
        assert!(asked[0].2 <= Duration::from_millis(expected), "{arg:?}: {:?}", asked[0].2);
    }
}

#[tokio::test]
async fn actions_that_do_not_fit_together_are_left_out_branch_by_branch() {
    let messages: Messages = [b"one", b"two"].map(|name| (name.to_vec(), Vec::new())).to_vec();
    let long = |prefix: &str| {
        let mut response = set_bool(&format!("{prefix}{}", "n".repeat(38)));
        response.actions = vec![response.actions.remove(0); 4];
        response
    };
    let (actions, _) = answer_to(notify(1, &messages, 256), [(0, Ok(long("a"))), (1, Ok(long("b")))]).await;
    assert_eq!(actions.len(), 4 + 2, "{actions:?}");
    assert_eq!(actions[4..], ["failed", "bridge_status=invalid_response"]);
}
