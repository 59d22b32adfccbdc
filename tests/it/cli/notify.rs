//! `notify`: an agent asked from the command line.

use spop_bridge::pb::v1::value::Kind;

use super::{code, spop_bridge};
use crate::support::address::Address;
use crate::support::bridge::Bridge;
use crate::support::free_address;
use crate::support::garbage::TcpServer;
use crate::support::service::{Answer, Service, allow, set_txn, unset_txn};

/// Args as typed, actions one a line.
#[test]
fn asks_and_prints() {
    let service = Service::start(|_| {
        Answer::Actions(vec![
            allow(),
            set_txn("score", Kind::Int64Value(-5)),
            set_txn("reason", Kind::StringValue("so so".into())),
            unset_txn("old"),
        ])
    });
    let bridge = Bridge::simple(service.uri(), "5s");
    let agent = bridge.address().for_command_line();
    let (exit, out, err) = spop_bridge(&[
        "notify",
        "--agent",
        &agent,
        "--message",
        "check-request",
        "--arg",
        "ip=ipv4:192.0.2.7",
        "--arg",
        "path=/admin",
        "--arg",
        "n=int:-42",
        "--arg",
        "=bool:true",
        "--arg",
        "none=null",
        "--engine-id",
        "by-hand",
    ]);
    assert_eq!((exit, &err[..]), (code::SUCCESS, ""));
    assert_eq!(
        out,
        "set-var txn.allow = bool:true\nset-var txn.score = int:-5\nset-var txn.reason = str:so so\nunset-var txn.old\n"
    );

    let call = service.only_call();
    assert_eq!(call.request.origin.as_ref().unwrap().engine_id, "by-hand");
    let args: Vec<_> =
        call.request.messages[0].args.iter().map(|arg| (&arg.name[..], arg.value.clone().unwrap().kind.unwrap())).collect();
    let expected = [
        ("ip", Kind::Ipv4Value(vec![192, 0, 2, 7].into())),
        ("path", Kind::StringValue("/admin".into())),
        ("n", Kind::Int64Value(-42)),
        ("", Kind::BoolValue(true)),
        ("none", Kind::NullValue(0)),
    ];
    assert_eq!(args, expected);
}

#[test]
fn prints_json() {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "5s");
    let agent = bridge.address().for_command_line();
    let (exit, out, _) = spop_bridge(&["notify", "--agent", &agent, "--message", "m", "--json"]);
    assert_eq!(exit, code::SUCCESS);
    let answer: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(answer["actions"][0]["name"], "allow");
    assert_eq!(answer["actions"][0]["scope"], "txn");
}

#[test]
fn over_a_unix_socket() {
    let service = Service::allowing();
    let bridge = Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"unix:$DIR/spop.sock\" }}]\nbackends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
        service.uri()
    ));
    let agent = bridge.address().for_command_line();
    assert!(agent.starts_with("unix:/"));
    let (exit, out, err) = spop_bridge(&["notify", "--agent", &agent, "--message", "m"]);
    assert_eq!((exit, &out[..]), (code::SUCCESS, "set-var txn.allow = bool:true\n"), "{err}");
}

#[test]
fn nobody_or_somebody_else_there() {
    let nobody = free_address().to_string();
    let (exit, _, err) = spop_bridge(&["notify", "--agent", &nobody, "--message", "m"]);
    assert_eq!(exit, code::REFUSED, "{err}");
    let web = TcpServer::web();
    let address = web.uri.trim_start_matches("http://");
    let (exit, out, err) = spop_bridge(&["notify", "--agent", address, "--message", "m"]);
    assert_eq!((exit, &out[..]), (code::REFUSED, ""), "{err}");
    assert!(!err.is_empty());
}

#[test]
fn no_answer_in_time() {
    let mute = TcpServer::mute();
    let address = mute.uri.trim_start_matches("http://");
    let (exit, out, err) = spop_bridge(&["notify", "--agent", address, "--message", "m", "--timeout", "200ms"]);
    assert_eq!((exit, &out[..]), (code::NO_ANSWER, ""), "{err}");
    let service = Service::start(|_| Answer::Never);
    let bridge = Bridge::simple(service.uri(), "30s");
    let Address::Tcp(agent) = bridge.address() else { unreachable!() };
    let (exit, ..) = spop_bridge(&["notify", "--agent", &agent.to_string(), "--message", "m", "--timeout", "300ms"]);
    assert_eq!(exit, code::NO_ANSWER);
}
