//! The checks, and the service over real sockets, held against `../conformance.json`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests state their expectations by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use spop_bridge::pb::v1::decision_service_client::DecisionServiceClient;
use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{Arg, DecideRequest, DecideResponse, Message, Value, action};
use spop_bridge::shutdown::{Phase, Shutdown};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::check_request::address;
use crate::checks::{Blocklist, Keys, Limit, client_of};
use crate::watched::Watched;
use crate::{Options, serve};

fn conformance() -> Json {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/conformance.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn cases<'a>(all: &'a Json, name: &str) -> &'a [Json] {
    all[name].as_array().unwrap()
}

fn joined(lines: &Json) -> String {
    lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned() + "\n").collect()
}

/// An arg as conformance.json has it: `kind:text`, or null.
fn value(described: &Json) -> Value {
    let Some(described) = described.as_str() else { return Kind::NullValue(0).into() };
    match described.split_once(':') {
        Some(("ipv4" | "ipv6", ip)) => ip.parse::<std::net::IpAddr>().unwrap().into(),
        Some(("string", text)) => text.into(),
        _ => described.into(),
    }
}

fn request(args: &[(&str, Value)]) -> DecideRequest {
    let args = args.iter().map(|(name, value)| Arg { name: (*name).into(), value: Some(value.clone()) }).collect();
    DecideRequest { messages: vec![Message { name: "check-request".into(), args }], ..DecideRequest::default() }
}

/// `allow`, `reason`, `score`, `retry_after`.
fn verdict(response: DecideResponse) -> (bool, String, i64, Option<i64>) {
    let value = |name: &str| {
        let set = response.actions.iter().filter_map(|action| match &action.action {
            Some(action::Action::SetVar(set)) if set.name == name => set.value.clone(),
            _ => None,
        });
        set.last()
    };
    let allow = matches!(value("allow").unwrap().kind, Some(Kind::BoolValue(true)));
    let reason = value("reason").unwrap().as_str().unwrap().to_owned();
    (allow, reason, value("score").unwrap().as_i64().unwrap(), value("retry_after").and_then(|value| value.as_i64()))
}

#[test]
fn the_blocklist_finds_the_smallest_network() {
    let all = conformance();
    let blocklist = Blocklist::parse("list", &joined(&all["blocklist"])).unwrap();
    for case in cases(&all, "listed") {
        assert_eq!(blocklist.entry(address(&value(&case["ip"]))), case["entry"].as_str(), "{case}");
    }
}

#[test]
fn bad_lines_are_named() {
    let all = conformance();
    let named = |error: String| {
        assert!(!error.contains("let-me-in"), "a key is shown: {error}");
        error.lines().map(|line| line.split(':').nth(1).unwrap().parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let error = Blocklist::parse("a.txt", &joined(&all["bad_blocklist"]["lines"])).err().unwrap();
    assert_eq!(Json::from(named(error)), all["bad_blocklist"]["bad"]);
    let error = Keys::parse("a.txt", &joined(&all["bad_keys"]["lines"])).err().unwrap();
    assert_eq!(Json::from(named(error)), all["bad_keys"]["bad"]);
}

#[test]
fn keys_are_known_by_their_hash() {
    let all = conformance();
    let keys = Keys::parse("keys", &joined(&all["keys"])).unwrap();
    for case in cases(&all, "tokens") {
        let token = case["token"].as_str().unwrap_or_default();
        assert_eq!(keys.name_of(token.as_bytes()), case["name"].as_str(), "{case}");
    }
    assert_eq!(Keys::default().name_of(b"let-me-in"), Some("default"));
}

#[test]
fn whom_a_bucket_is_for() {
    for case in cases(&conformance(), "clients") {
        assert_eq!(client_of(address(&value(&case["ip"]))), case["client"].as_str().unwrap(), "{case}");
    }
}

#[test]
fn the_bucket_is_exact() {
    for case in cases(&conformance(), "limits") {
        let number = |name: &str| case[name].as_f64().unwrap();
        let max = usize::try_from(case["max"].as_u64().unwrap()).unwrap();
        let (mut limit, start) = (Limit::new(number("rate"), Some(number("burst")), max), Instant::now());
        for take in cases(case, "takes") {
            let now = start + Duration::from_secs_f64(take["at"].as_f64().unwrap());
            let retry_after = limit.take(take["client"].as_str().unwrap(), now);
            assert_eq!(retry_after.map_or(0, |time| time.as_secs()), take["retry_after"].as_u64().unwrap(), "{case}: {take}");
        }
    }
}

#[test]
fn a_flood_of_clients_fills_no_memory() {
    let (mut limit, now) = (Limit::new(1.0, None, 1000), Instant::now());
    for client in 0..10_000 {
        limit.take(&client.to_string(), now);
        assert!(limit.held() <= 1000);
    }
}

#[test]
fn flags_are_checked() {
    let read = |flags: &str| Options::read(flags.split_whitespace().map(str::to_owned));
    let options = read("--rate 0.5 --burst 3 --listen unix:/x").unwrap();
    assert_eq!((options.rate, options.burst, &options.listen[..]), (0.5, Some(3.0), "unix:/x"));
    for wrong in ["--rate", "--rate -1", "--rate inf", "--burst 0", "--bursts 1"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_file_is_read_again_and_a_bad_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    // As Kubernetes does it: a link goes elsewhere.
    let swap = |text: &str| {
        let (file, link) = (folder.path().join(text.len().to_string()), folder.path().join("new"));
        std::fs::write(&file, text).unwrap();
        std::os::unix::fs::symlink(file, &link).unwrap();
        std::fs::rename(link, &path).unwrap();
    };
    swap("192.0.2.1\n");
    let name = path.to_str().unwrap().to_owned();
    let list = Watched::file(name, Duration::from_millis(1), Blocklist::parse).unwrap();
    let ip = |text: &str| Some(text.parse().unwrap());
    swap("192.0.2.11\nnonsense\n");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(list.get().entry(ip("192.0.2.1")), Some("192.0.2.1"));
    swap("192.0.2.111\n");
    let read = async {
        while list.get().entry(ip("192.0.2.111")).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("it is read again");
}

/// The service with these flags, on a socket of its own.
async fn start(flags: &[&str]) -> (Channel, Shutdown, tokio::task::JoinHandle<std::io::Result<()>>) {
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}", folder.path().join("socket").display());
    let flags = [&["--listen", &listen], flags].concat();
    let options = Options::read(flags.into_iter().map(str::to_owned)).unwrap();
    let (service, shutdown) = (options.service().unwrap(), Shutdown::new());
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let stop = shutdown.clone();
    let serving = tokio::spawn(async move {
        let _folder = folder;
        serve(&options.listen, service, stop, |address| ready.send(address).unwrap()).await
    });
    (Endpoint::try_from(is_ready.await.unwrap()).unwrap().connect().await.unwrap(), shutdown, serving)
}

#[tokio::test]
async fn it_decides_as_the_others() {
    let all = conformance();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, joined(&all[name])).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (channel, ..) = start(&["--blocklist", &file("blocklist"), "--keys", &file("keys")]).await;
    let mut client = DecisionServiceClient::new(channel);
    for case in cases(&all, "decisions") {
        let args = ["ip", "path", "token"].map(|name| (name, value(&case["args"][name])));
        let decided = verdict(client.decide(request(&args)).await.unwrap().into_inner());
        let expected = (case["allow"].as_bool().unwrap(), case["reason"].as_str().unwrap().to_owned());
        assert_eq!(decided, (expected.0, expected.1, case["score"].as_i64().unwrap(), None), "{case}");
    }
}

#[tokio::test]
async fn an_empty_bucket_says_when_to_come_again() {
    let (channel, ..) = start(&["--rate", "0.01", "--burst", "1"]).await;
    let mut client = DecisionServiceClient::new(channel);
    let from = |ip: [u8; 4]| request(&[("ip", std::net::IpAddr::from(ip).into()), ("path", "/".into())]);
    assert!(verdict(client.decide(from([192, 0, 2, 7])).await.unwrap().into_inner()).0);
    let (allow, reason, score, retry_after) = verdict(client.decide(from([192, 0, 2, 7])).await.unwrap().into_inner());
    assert_eq!((allow, &reason[..], score), (false, "rate limit", 50));
    assert!((90..=100).contains(&retry_after.unwrap()), "{retry_after:?}");
    assert!(verdict(client.decide(from([192, 0, 2, 8])).await.unwrap().into_inner()).0, "another client");
}

#[tokio::test]
async fn what_it_cannot_decide() {
    let (channel, ..) = start(&[]).await;
    let mut client = DecisionServiceClient::new(channel);
    assert_eq!(client.decide(request(&[])).await.unwrap_err().code(), Code::InvalidArgument);
    let other = DecideRequest { messages: vec![Message { name: "other".into(), args: vec![] }], ..DecideRequest::default() };
    assert_eq!(client.decide(other).await.unwrap().into_inner().actions, []);
    let fooled = Value { raw_string: (&b"let-me-in\xff"[..]).into(), ..Value::from("let-me-in") };
    let args = [("path", "/admin".into()), ("token", fooled)];
    assert!(!verdict(client.decide(request(&args)).await.unwrap().into_inner()).0, "the replaced text counted");
}

#[tokio::test]
async fn it_says_serving_then_not_serving_and_ends() {
    let (channel, shutdown, serving) = start(&[]).await;
    let mut health = HealthClient::new(channel);
    for service in ["", "spopbridge.v1.DecisionService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1, "{service}: SERVING");
    }
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    shutdown.advance(Phase::NotReady);
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2, "NOT_SERVING");
    shutdown.advance(Phase::Closing);
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it ends").unwrap().unwrap();
}
