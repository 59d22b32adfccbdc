//! `bench`: what is counted, against agents that do what they should and, in a file of their own, agents that do not.

mod bad_agents;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use spop_bridge::agent::{Agent, SocketListener, UnixSocket};
use spop_bridge::pb::v1::value::Kind;
use spop_bridge::shutdown::Shutdown;
use spop_bridge::spop::{Actions, Notify, TypedData, VarScope};

use super::{code, spop_bridge};
use crate::support::bridge::{Bridge, PATIENCE, command};
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::service::{Answer, Service, allow, set_txn};

/// Runs `bench --json`; exit code, report, standard error.
fn bench(agent: &str, arguments: &[&str]) -> (i32, Value, String) {
    let (exit, out, err) = spop_bridge(&[&["bench", "--agent", agent, "--json"], arguments].concat());
    let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out:?}, {err}"));
    (exit, report, err)
}

fn agent(bridge: &Bridge) -> String {
    bridge.address().for_command_line()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_number_of_requests_is_sent_exactly() {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "5s");
    let arguments = ["--requests", "501", "--warmup", "0s", "--expect", "txn.allow=bool:true", "--expect-actions", "1"];
    let (exit, report, err) = bench(&agent(&bridge), &arguments);
    assert_eq!((exit, &err[..]), (code::SUCCESS, ""));
    assert_eq!(report["decisions"], 501);
    assert_eq!(report["errors"], serde_json::json!({"lost": 0, "mismatched": 0, "unknown": 0, "disconnected": 0}));
    let calls = service.calls();
    assert_eq!(calls.len(), 501);
    assert!(calls.iter().all(|call| call.arg("method") == Some(Kind::StringValue("GET".into()))));
    assert_eq!(calls[0].arg("ip"), Some(Kind::Ipv4Value(vec![198, 51, 100, 23].into())));
    assert_eq!(calls[0].request.messages[0].args.len(), 10);

    // A warm-up is sent, and not counted.
    let (exit, report, _) = bench(&agent(&bridge), &["--requests", "20", "--warmup", "200ms", "--arg", "n=int:1"]);
    assert_eq!((exit, &report["decisions"]), (code::SUCCESS, &20.into()));
    assert!(service.calls().len() > 501 + 20);
}

/// An agent in this process, on a Unix socket, as the example `in_process_agent` is one.
fn in_process(path: &std::path::Path) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let path = path.to_owned();
    let (ready, bound) = std::sync::mpsc::channel();
    // The thread ends with the test's process.
    std::thread::spawn(move || {
        let processor = tower::service_fn(move |_: Notify| {
            counter.fetch_add(1, Ordering::Relaxed);
            async {
                let mut actions = Actions::new();
                actions.set_var(VarScope::Transaction, "blocked", TypedData::Bool(false)).unwrap();
                Ok::<_, Infallible>(actions)
            }
        });
        let agent = Agent::builder(processor).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = SocketListener::bind_unix(&UnixSocket::new(path)).unwrap();
            ready.send(()).unwrap();
            agent.serve(listener, &Shutdown::new()).await;
        });
    });
    bound.recv().unwrap();
    asked
}

#[test]
fn reports_all_there_is_to_know() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spop.sock");
    let asked = in_process(&path);
    let address = format!("unix:{}", path.display());
    let pid = std::process::id().to_string();
    let arguments = ["--duration", "300ms", "--warmup", "0s", "--connections", "2", "--in-flight", "7", "--pid", &pid];
    let (exit, report, err) = bench(&address, &arguments);
    assert_eq!((exit, &err[..]), (code::SUCCESS, ""));
    assert_eq!(report["decisions"], asked.load(Ordering::Relaxed));
    assert_eq!((&report["agent"], &report["rate"]), (&address.clone().into(), &Value::Null));
    assert_eq!((&report["connections"], &report["in_flight"]), (&2.into(), &7.into()));
    assert!(number(&report["seconds"]) >= 0.3 && number(&report["decisions_per_second"]) > 0.0);
    assert!((400..600).contains(&report["notify_bytes"].as_u64().unwrap()));
    let latency = ["min", "p50", "p90", "p99", "p99_9", "max"].map(|name| number(&report["latency_us"][name]));
    assert!(latency.is_sorted() && latency[0] > 0.0 && number(&report["latency_us"]["mean"]) > 0.0);
    let (load, process) = (&report["load"], &report["processes"][0]);
    assert_eq!(process["pid"], std::process::id());
    for figure in [&load["cpu_us_per_decision"], &load["resident_kib"], &process["cpu_us_per_decision"]] {
        assert!(number(figure) > 0.0);
    }
    assert!(number(&process["peak_resident_kib"]) >= number(&process["resident_kib"]));

    let (exit, out, err) = spop_bridge(&["bench", "--agent", &address, "--requests", "50", "--warmup", "0s"]);
    assert_eq!((exit, &err[..]), (code::SUCCESS, ""));
    for text in [&address[..], "closed loop", "decisions    50 in ", "errors       none", "p99.9", "this load"] {
        assert!(out.contains(text), "{text} in {out}");
    }
}

/// No coordinated omission: everything that was due while the service stood still has waited for it.
#[test]
fn at_a_fixed_rate_latency_counts_from_the_schedule() {
    let calls = AtomicUsize::new(0);
    let service = Service::start(move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) == 500 {
            std::thread::sleep(Duration::from_millis(300));
        }
        Answer::Actions(vec![allow()])
    });
    let bridge = Bridge::simple(service.uri(), "5s");
    let (exit, report, err) = bench(&agent(&bridge), &["--rate", "1000", "--duration", "1s", "--warmup", "0s"]);
    assert_eq!(exit, code::SUCCESS, "{err}");
    assert_eq!((&report["decisions"], &report["rate"]), (&1000.into(), &1000.into()));
    assert!(number(&report["seconds"]) >= 1.0);
    let latency = |name| number(&report["latency_us"][name]);
    // What the histogram rounds away is less than a hundredth.
    assert!(latency("max") >= 297_000.0, "{report}");
    // 300 were due while it stood still, 200 of them for more than 100 ms, and a window holds only 80.
    assert!(latency("p90") >= 100_000.0, "{report}");
}

#[test]
fn a_rate_beyond_the_agent_is_said() {
    let service = Service::start(|_| Answer::after(Duration::from_millis(100), Answer::Actions(vec![allow()])));
    let bridge = Bridge::simple(service.uri(), "5s");
    let arguments = ["--rate", "1000", "--duration", "500ms", "--warmup", "0s", "--timeout", "500ms", "--connections", "1"];
    let (exit, report, err) = bench(&agent(&bridge), &[&arguments[..], &["--in-flight", "1"]].concat());
    assert_eq!(exit, code::NO_ANSWER);
    assert!(err.contains("slower than --rate"), "{err}");
    let (decisions, lost) = (report["decisions"].as_u64().unwrap(), report["errors"]["lost"].as_u64().unwrap());
    assert_eq!(decisions + lost, 500);
}

#[test]
fn acks_that_differ_are_found() {
    let calls = AtomicUsize::new(0);
    let service = Service::start(move |_| {
        let tenth = calls.fetch_add(1, Ordering::Relaxed) % 10 == 9;
        Answer::Actions(vec![set_txn("allow", Kind::BoolValue(!tenth))])
    });
    let bridge = Bridge::simple(service.uri(), "5s");
    let hundred = ["--requests", "100", "--warmup", "0s"];
    let (exit, report, err) = bench(&agent(&bridge), &[&hundred[..], &["--expect", "txn.allow=bool:true"]].concat());
    assert_eq!((exit, &report["errors"]["mismatched"]), (code::MISMATCH, &10.into()));
    assert_eq!(report["decisions"], 100);
    let sample = "found set-var txn.allow = bool:false; expected set-var txn.allow = bool:true";
    assert!(err.contains(sample), "{err}");
    // Nobody has asked.
    assert_eq!(bench(&agent(&bridge), &hundred).0, code::SUCCESS);
}

#[test]
fn what_is_not_answered_is_lost() {
    let calls = AtomicUsize::new(0);
    let service = Service::start(move |_| match calls.fetch_add(1, Ordering::Relaxed) % 10 {
        9 => Answer::Never,
        _ => Answer::Actions(vec![allow()]),
    });
    let bridge = Bridge::simple(service.uri(), "30s");
    let (exit, report, err) = bench(&agent(&bridge), &["--requests", "50", "--warmup", "0s", "--timeout", "2s"]);
    assert_eq!(exit, code::NO_ANSWER);
    assert_eq!((&report["decisions"], &report["errors"]["lost"]), (&45.into(), &5.into()));
    assert!(err.contains("5 NOTIFYs lost, the first: no ACK within 2s"), "{err}");
}

#[test]
fn ctrl_c_ends_early_and_reports() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spop.sock");
    let asked = in_process(&path);
    let address = format!("unix:{}", path.display());
    let arguments = ["bench", "--agent", &address, "--duration", "10m", "--warmup", "0s", "--json"];
    let mut process = Process::start("bench", command().args(arguments));
    eventually(PATIENCE, || (asked.load(Ordering::Relaxed) > 0).then_some(())).expect("load");
    process.signal(Signal::SIGINT);
    assert_eq!(process.exit_code(PATIENCE), code::SUCCESS);
    let report = process.output.wait_for(PATIENCE, |lines| serde_json::from_str::<Value>(lines.first()?).ok()).unwrap();
    assert_eq!(report["decisions"], asked.load(Ordering::Relaxed));
}
