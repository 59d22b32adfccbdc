//! `examples/conformance.json`, asked of each service by both methods, and what it says of its health.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use spop_bridge::pb::v1::decide_stream_request::Item;
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use spop_bridge::pb::v1::decision_service_client::DecisionServiceClient;
use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{Arg, DecideRequest, DecideResponse, DecideStreamRequest, Decision, Message, Value};
use spop_bridge::service::set_var;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{PATIENCE, Service, in_each_language, repository};

in_each_language!(decisions, limits, bad_files, health);

fn conformance() -> Json {
    serde_json::from_str(&std::fs::read_to_string(repository("examples/conformance.json")).unwrap()).unwrap()
}

fn lines(all: &Json) -> String {
    all.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned() + "\n").collect()
}

fn file(folder: &Path, name: &str, content: &Json) -> String {
    let path = folder.join(name);
    std::fs::write(&path, lines(content)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// An arg as the file has it: `kind:text`, or null.
fn value(described: &Json) -> Value {
    let Some(described) = described.as_str() else { return Kind::NullValue(0).into() };
    match described.split_once(':') {
        Some(("ipv4" | "ipv6", ip)) => ip.parse::<IpAddr>().unwrap().into(),
        Some(("string", text)) => text.into(),
        _ => described.into(),
    }
}

fn check_request(args: &Json) -> DecideRequest {
    let arg = |name: &str| Arg { name: name.into(), value: Some(value(&args[name])) };
    let message = Message { name: "check-request".into(), args: ["ip", "path", "token"].map(arg).to_vec() };
    DecideRequest { messages: vec![message], ..DecideRequest::default() }
}

/// A client of a service.
struct Client {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
}

impl Client {
    fn of(service: &Service) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::try_from(service.uri()).unwrap().timeout(PATIENCE);
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Client { runtime, channel }
    }

    fn call(&self, request: DecideRequest) -> Result<DecideResponse, Code> {
        let mut client = DecisionServiceClient::new(self.channel.clone());
        let answer = self.runtime.block_on(client.decide(request));
        answer.map(tonic::Response::into_inner).map_err(|status| status.code())
    }

    /// All at once on one stream, which then ends well.
    fn stream(&self, requests: Vec<DecideRequest>) -> Vec<Result<DecideResponse, Code>> {
        let item = |(id, request)| {
            let decision = Decision { id, remaining_us: 30_000_000, request: Some(request), ..Decision::default() };
            DecideStreamRequest { item: Some(Item::Decision(decision)) }
        };
        let items: Vec<_> = (1..).zip(requests).map(item).collect();
        let count = items.len() as u64;
        let mut client = DecisionServiceClient::new(self.channel.clone());
        let mut answers = self.runtime.block_on(async {
            let requests = Request::new(futures_util::stream::iter(items));
            let mut stream = client.decide_stream(requests).await.unwrap().into_inner();
            let mut answers = HashMap::new();
            while let Some(answer) = stream.message().await.unwrap() {
                let result = match answer.result.expect("a result") {
                    Outcome::Response(response) => Ok(response),
                    Outcome::Error(status) => Err(Code::from(status.code)),
                };
                assert!(answers.insert(answer.id, result).is_none(), "{} was answered twice", answer.id);
            }
            answers
        });
        (1..=count).map(|id| answers.remove(&id).unwrap_or_else(|| panic!("no answer to {id}"))).collect()
    }
}

fn decisions(language: &str) {
    let (all, folder) = (conformance(), tempfile::tempdir().unwrap());
    let blocklist = file(folder.path(), "blocklist", &all["blocklist"]);
    let keys = file(folder.path(), "keys", &all["keys"]);
    let flags = ["--blocklist", &blocklist, "--keys", &keys];
    let Some(service) = Service::start(language, "127.0.0.1:0", &flags) else { return };
    let client = Client::of(&service);
    let cases = all["decisions"].as_array().unwrap();
    let streamed = client.stream(cases.iter().map(|case| check_request(&case["args"])).collect());
    for (case, streamed) in cases.iter().zip(streamed) {
        let actions = vec![
            set_var("allow", case["allow"].as_bool().unwrap()),
            set_var("reason", case["reason"].as_str().unwrap()),
            set_var("score", case["score"].as_i64().unwrap()),
        ];
        assert_eq!(streamed.as_ref(), Ok(&DecideResponse { actions }), "{language}: {case}");
        assert_eq!(client.call(check_request(&case["args"])), streamed, "{language}: {case}");
    }
    let no_path = check_request(&serde_json::json!({ "ip": "ipv4:192.0.2.7" }));
    let other = DecideRequest { messages: vec![Message { name: "other".into(), args: vec![] }], ..DecideRequest::default() };
    let streamed = client.stream(vec![no_path.clone(), other.clone()]);
    assert_eq!(streamed, [Err(Code::InvalidArgument), Ok(DecideResponse::default())], "{language}");
    assert_eq!(vec![client.call(no_path), client.call(other)], streamed, "{language}");
}

/// The arithmetic is each language's own test, with a clock; here the way to it.
fn limits(language: &str) {
    let Some(service) = Service::start(language, "127.0.0.1:0", &["--rate", "0.01", "--burst", "2"]) else { return };
    let client = Client::of(&service);
    let from = |ip: &str| check_request(&serde_json::json!({ "ip": ip, "path": "/" }));
    let score = |answer: Result<DecideResponse, Code>| {
        let answer = answer.unwrap();
        let seconds = answer.actions.iter().find(|action| format!("{action:?}").contains("retry_after")).map(|action| {
            let text = format!("{action:?}");
            (90..=100).any(|seconds| text.contains(&format!("Int64Value({seconds})")))
        });
        (answer.actions.contains(&set_var("allow", true)), answer.actions.contains(&set_var("reason", "rate limit")), seconds)
    };
    let (there, empty) = ((true, false, None), (false, true, Some(true)));
    // One /64 is one client, by whichever method it comes.
    assert_eq!(score(client.call(from("ipv6:2001:db8:1:2::1"))), there, "{language}");
    let streamed =
        client.stream(vec![from("ipv6:2001:db8:1:2::2"), from("ipv6:2001:db8:1:2:3::4"), from("ipv6:2001:db8:1:3::1")]);
    let mut streamed: Vec<_> = streamed.into_iter().map(score).collect();
    assert_eq!(streamed.pop(), Some(there), "{language}: another /64");
    streamed.sort_unstable();
    assert_eq!(streamed, [empty, there], "{language}");
}

fn bad_files(language: &str) {
    let (all, folder) = (conformance(), tempfile::tempdir().unwrap());
    for (flag, name) in [("--blocklist", "bad_blocklist"), ("--keys", "bad_keys")] {
        let file = file(folder.path(), name, &all[name]["lines"]);
        let Some(mut command) = super::command(language) else { return };
        let output = command.args(["--listen", "127.0.0.1:0", flag, &file]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{language}: {said}");
        let named = said.lines().filter_map(|line| line.strip_prefix(&file)?.split(':').nth(1)?.parse::<u64>().ok());
        assert_eq!(Json::from(named.collect::<Vec<_>>()), all[name]["bad"], "{language}: {said}");
    }
}

/// What a stop says: NOT_SERVING, then the end, in order, of everything that is open.
fn health(language: &str) {
    let Some(mut service) = Service::start(language, "127.0.0.1:0", &[]) else { return };
    let client = Client::of(&service);
    let mut health = HealthClient::new(client.channel.clone());
    let (serving, not_serving): (i32, i32) = (ServingStatus::Serving.into(), ServingStatus::NotServing.into());
    client.runtime.block_on(async {
        for service in ["", "spopbridge.v1.DecisionService"] {
            let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
            assert_eq!(answer.into_inner().status, serving, "{language}: {service:?}");
        }
        let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status, serving, "{language}");
        // A bridge that goes on asking until the stream ends.
        let mut decisions = DecisionServiceClient::new(client.channel.clone());
        let mut stream = decisions.decide_stream(futures_util::stream::pending()).await.unwrap().into_inner();
        service.process.signal(Signal::SIGTERM);
        assert_eq!(watch.message().await.unwrap().unwrap().status, not_serving, "{language}");
        drop(watch);
        let end = tokio::time::timeout(Duration::from_secs(15), stream.message()).await;
        assert_eq!(end.expect("the stream ends").expect("with OK"), None, "{language}");
    });
    assert_eq!(service.process.exit_code(PATIENCE), 0, "{language}");
}
