//! What comes back, by which method, in which order.

use std::time::Duration;

use spop_bridge::pb::v1::decide_stream_request::Item;
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use spop_bridge::pb::v1::{DecideRequest, DecideResponse, Decision};
use spop_bridge::service::{Context, Decisions, Spawned, set_var};
use tonic::{Code, Request, Status};

use super::{Desk, Running, decision, echo, request, variables};

#[tokio::test]
async fn one_handler_answers_both_methods() {
    let service = Running::start(Decisions::new(Desk::default())).await;
    let response = service.client.clone().decide(request("by call")).await.unwrap().into_inner();
    assert_eq!(echo(&response), "by call");
    let mut stream = service.stream().await;
    stream.ask(7, "by stream").await;
    assert_eq!(stream.answer().await, (7, "by stream".into()));
}

#[tokio::test]
async fn a_closure_is_a_handler() {
    let allow = |_: DecideRequest, _: Context| async { Ok(DecideResponse { actions: vec![set_var("echo", "closure")] }) };
    let service = Running::start(Decisions::new(allow)).await;
    let mut stream = service.stream().await;
    stream.ask(1, "").await;
    assert_eq!(stream.answer().await, (1, "closure".into()));
}

#[tokio::test]
async fn a_slow_decision_holds_up_none() {
    let service = Running::start(Decisions::new(Desk::default())).await;
    let mut stream = service.stream().await;
    for (id, what) in [(1, "wait 400"), (2, "wait 200"), (3, "now"), (4, "wait 1")] {
        stream.ask(id, what).await;
    }
    let order: Vec<u64> = [stream.answer().await, stream.answer().await, stream.answer().await, stream.answer().await]
        .iter()
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(order, [3, 4, 2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawned_decision_that_computes_holds_up_none() {
    let compute = |request: DecideRequest, _: Context| async move {
        let what = request.arg("do").unwrap().as_str().unwrap().to_owned();
        if what == "compute" {
            std::thread::sleep(Duration::from_millis(300)); // a thread of the runtime is busy
        }
        Ok(DecideResponse { actions: vec![set_var("echo", what)] })
    };
    let service = Running::start(Decisions::new(Spawned::new(compute))).await;
    let mut stream = service.stream().await;
    stream.ask(1, "compute").await;
    stream.ask(2, "quick").await;
    assert_eq!((stream.answer().await.0, stream.answer().await.0), (2, 1));
}

#[tokio::test]
async fn a_failure_is_a_status_item_and_the_stream_goes_on() {
    let service = Running::start(Decisions::new(Desk::default())).await;
    let mut stream = service.stream().await;
    stream.ask(1, "fail 8").await;
    assert_eq!(stream.error().await, (1, Code::ResourceExhausted, "as the test wants it".into()));
    stream.ask(2, "now").await;
    assert_eq!(stream.answer().await.0, 2);
    let status = service.client.clone().decide(request("fail 8")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "as the test wants it"));
}

#[tokio::test]
async fn a_panic_costs_one_decision() {
    panics(Running::start(Decisions::new(Desk::default())).await).await;
    panics(Running::start(Decisions::new(Spawned::new(Desk::default()))).await).await;
    let before_its_future =
        |_: DecideRequest, _: Context| -> std::future::Ready<Result<DecideResponse, Status>> { panic!("early") };
    let service = Running::start(Decisions::new(before_its_future)).await;
    assert_eq!(service.client.clone().decide(request("")).await.unwrap_err().code(), Code::Internal);
}

async fn panics(service: Running) {
    let mut stream = service.stream().await;
    stream.ask(1, "wait 100").await;
    stream.ask(2, "panic").await;
    assert_eq!(stream.error().await, (2, Code::Internal, "the service panicked on this decision".into()));
    assert_eq!(stream.answer().await.0, 1);
    let status = service.client.clone().decide(request("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
}

#[tokio::test]
async fn items_that_this_version_cannot_read_are_ignored() {
    let service = Running::start(Decisions::new(Desk::default())).await;
    let mut stream = service.stream().await;
    stream.send(None).await;
    stream.cancel(99).await;
    stream.send(Item::Decision(Decision { id: 1, remaining_us: 1_000_000, ..Decision::default() })).await;
    assert_eq!(stream.error().await, (1, Code::InvalidArgument, "the decision came without a request".into()));
    stream.ask(2, "now").await;
    assert_eq!(stream.answer().await.0, 2);
}

#[tokio::test]
async fn an_id_used_twice_gets_one_answer() {
    let service = Running::start(Decisions::new(Desk::default())).await;
    let mut stream = service.stream().await;
    stream.ask(1, "wait 100").await;
    stream.ask(1, "now").await;
    stream.ask(2, "wait 200").await;
    assert_eq!((stream.answer().await, stream.answer().await), ((1, "wait 100".into()), (2, "wait 200".into())));
    stream.close();
    assert_eq!(stream.next().await.unwrap(), None);
}

#[tokio::test]
async fn the_context_tells_time_metadata_and_trace() {
    let service = Running::start(Decisions::new(Desk::default())).await;
    let read = |response: &DecideResponse| {
        let variables = variables(response);
        let text = |name| variables[name].as_str().unwrap().to_owned();
        (text("tenant"), text("traceparent"), variables["remaining_ms"].as_i64().unwrap())
    };
    let mut call = Request::new(request("context"));
    call.set_timeout(Duration::from_secs(60));
    call.metadata_mut().insert("x-tenant", "blue".parse().unwrap());
    call.metadata_mut().insert("traceparent", "00-call".parse().unwrap());
    let (tenant, traceparent, remaining) = read(&service.client.clone().decide(call).await.unwrap().into_inner());
    assert_eq!((&tenant[..], &traceparent[..]), ("blue", "00-call"));
    assert!((40_000..=60_000).contains(&remaining), "{remaining} ms of 60 s");

    let green = |requests| {
        let mut request = Request::new(requests);
        request.metadata_mut().insert("x-tenant", "green".parse().unwrap());
        request
    };
    let mut stream = service.stream_with(green).await;
    let Item::Decision(mut traced) = decision(1, "context") else { unreachable!() };
    traced.traceparent = "00-item".into();
    stream.send(Item::Decision(traced)).await;
    let answer = stream.next().await.unwrap().unwrap();
    let Some(Outcome::Response(response)) = answer.result else { panic!("{answer:?}") };
    let (tenant, traceparent, remaining) = read(&response);
    assert_eq!((&tenant[..], &traceparent[..]), ("green", "00-item"));
    assert!((40_000..=60_000).contains(&remaining), "{remaining} ms of 60 s");
}
