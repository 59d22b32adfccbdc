//! DNS in trouble: what is known stays, and what is not known is said.

use std::time::{Duration, Instant};

use super::{NAME, WORKERS, addresses, allowing, bridge_to, expect_line, ips, is_decided, lines};
use crate::support::bridge::Bridge;
use crate::support::dns::{Dns, Reply, host};
use crate::support::figure;
use crate::support::wire::Data;

const FAILED: &str = "name not resolved, trying on with the addresses known so far";

/// A bridge with one server, decided by; then DNS answers otherwise, and later again.
#[track_caller]
fn assert_survived(what: &str, trouble: Reply) {
    let addresses = addresses(1);
    let service = allowing(addresses[0]);
    let dns = Dns::start();
    dns.set_addresses(NAME, &ips(&addresses));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    let mut engine = bridge.engine();
    assert!(is_decided(&mut engine, 1), "{what}: before");
    dns.set(NAME, trouble);
    let line = expect_line(&bridge, FAILED);
    figure(&format!("DNS: {what}, in the log"), &line["error"]);
    assert_eq!(line["kept"], 1, "{line}");
    // Asked again, more than once, and still failing.
    dns.wait_for_questions(2);
    assert!((0..20).all(|n| is_decided(&mut engine, 3 + n * 2)), "{what}: decisions meanwhile");
    dns.set_addresses(NAME, &ips(&addresses));
    expect_line(&bridge, "name resolved again");
    assert!(is_decided(&mut engine, 1001));
    assert_eq!((lines(&bridge, FAILED), lines(&bridge, "addresses changed")), (1, 1), "{what}: {:?}", bridge.log());
    assert_eq!(service.connections(), WORKERS, "{what}: the connections stayed");
}

#[test]
fn a_name_that_is_gone_keeps_its_servers() {
    assert_survived("no such name", Reply::NoSuchName);
}

#[test]
fn an_empty_answer_keeps_the_servers() {
    assert_survived("no records", Reply::Records(Vec::new()));
}

#[test]
fn a_failing_server_keeps_the_servers() {
    assert_survived("SERVFAIL", Reply::ServerFailure);
}

#[test]
fn garbage_keeps_the_servers() {
    let answers = [vec![], vec![0xff; 500], [&[0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0][..], &[0xc0, 0x0c]].concat()];
    std::thread::scope(|scope| {
        for bytes in answers {
            scope.spawn(|| assert_survived("garbage", Reply::Garbage(bytes)));
        }
    });
}

/// A server that says nothing for longer than the resolver waits, and then is gone altogether.
#[test]
fn without_a_dns_server_the_servers_stay() {
    let addresses = addresses(1);
    let service = allowing(addresses[0]);
    let dns = Dns::start();
    dns.set_addresses(NAME, &ips(&addresses));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    let mut engine = bridge.engine();
    assert!(is_decided(&mut engine, 1));
    // First it says nothing, then it is gone.
    dns.set(NAME, Reply::Silence);
    dns.wait_for_questions(1);
    dns.stop();
    let end = Instant::now() + Duration::from_secs(3);
    let mut stream = 1;
    while Instant::now() < end {
        stream += 2;
        assert!(is_decided(&mut engine, stream));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(service.connections(), WORKERS, "the connections stayed");
}

#[test]
fn a_slow_dns_server_is_waited_for() {
    let addresses = addresses(1);
    let _service = allowing(addresses[0]);
    let dns = Dns::start();
    let records = Reply::Records(vec![host(NAME, 60, addresses[0].ip())]);
    dns.set(NAME, Reply::Late(Duration::from_millis(700), Box::new(records)));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    // Decisions wait for the first answer, within their own time.
    assert!(is_decided(&mut bridge.engine(), 1));
}

#[test]
fn answers_too_long_for_udp_come_by_tcp() {
    let addresses = addresses(2);
    let services = [0, 1].map(|n| allowing(addresses[n]));
    let dns = Dns::start();
    // Some kilobytes, by saying the same a hundred times. It counts once.
    let records = (0..200).map(|n| host(NAME, 0, addresses[n % 2].ip())).collect();
    dns.set(NAME, Reply::Truncated(records));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    let mut engine = bridge.engine();
    assert!((0..60).all(|n| is_decided(&mut engine, 1 + n * 2)));
    assert!(dns.over_tcp() > 0);
    services.iter().for_each(|service| assert!(!service.calls().is_empty() && service.connections() == WORKERS));
}

/// Without any answer: the fallback for `unavailable`, which says why; and decisions as soon as there is one.
#[test]
fn a_name_that_does_not_exist_yet() {
    let addresses = addresses(1);
    let dns = Dns::start();
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    let line = expect_line(&bridge, FAILED);
    assert_eq!((line["kept"].as_u64(), line["error"].as_str()), (Some(0), Some("DNS has no such name")), "{line}");
    let mut engine = bridge.engine();
    let asked = Instant::now();
    let ack = engine.ask(1, "check-request", &[]);
    assert_eq!(ack.text("txn.status"), "unavailable", "{ack:?}");
    figure("fallback when the name does not exist after", format!("{:.1} ms", asked.elapsed().as_secs_f64() * 1e3));
    let failed = expect_line(&bridge, "decision failed, fallback sent");
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.contains("dns://") && detail.contains("DNS has no such name"), "{failed}");

    let service = allowing(addresses[0]);
    dns.set_addresses(NAME, &ips(&addresses));
    expect_line(&bridge, "name resolved again");
    let mut stream = 3;
    let decided = crate::support::eventually(Duration::from_secs(10), || {
        stream += 2;
        is_decided(&mut engine, stream).then_some(())
    });
    assert!(decided.is_some());
    assert!(!service.calls().is_empty());
}

/// A server that moves: as soon as nobody can connect to it DNS is asked again, though the answer would be valid for an hour.
#[test]
fn a_server_that_has_moved_is_found_before_the_ttl_is_over() {
    let addresses = addresses(2);
    let mut before = allowing(addresses[0]);
    let dns = Dns::start();
    dns.set(NAME, Reply::Records(vec![host(NAME, 3_600, addresses[0].ip())]));
    let bridge = Bridge::start(&format!(
        "backends: {{ decisions: {{ endpoints: [\"dns://{}/{NAME}:{}\"], dns: {{ min_ttl: 300ms, max_ttl: 60m }} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 8s }}]",
        dns.address,
        addresses[0].port(),
    ));
    let mut engine = bridge.engine();
    let decide = |engine: &mut crate::support::engine::Engine, stream| {
        engine.ask(stream, "check-request", &[]).value("txn.allow") == Some(&Data::Bool(true))
    };
    assert!(decide(&mut engine, 1));
    let questions = dns.questions();
    let after = allowing(addresses[1]);
    dns.set(NAME, Reply::Records(vec![host(NAME, 3_600, addresses[1].ip())]));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(dns.questions(), questions, "nobody had a reason to ask");
    let moved = Instant::now();
    before.kill();
    let mut stream = 1;
    let found = crate::support::eventually(Duration::from_secs(10), || {
        stream += 2;
        (decide(&mut engine, stream) && !after.calls().is_empty()).then_some(())
    });
    assert!(found.is_some(), "{:?}", bridge.log());
    figure("first decision of a server that has moved after", format!("{:.0} ms", moved.elapsed().as_secs_f64() * 1e3));
}

/// An hour of outage at a floor of 200 ms would be 18,000 questions: backoff makes it few, and one line.
#[test]
fn an_outage_is_said_once_and_asked_about_rarely() {
    let dns = Dns::start();
    let bridge = bridge_to(&dns, &format!("{NAME}:1"), "");
    expect_line(&bridge, FAILED);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(lines(&bridge, FAILED), 1);
    // Two each (A and AAAA), at 0, 1, 3, 7 s, jittered.
    figure("questions in the first 6 s without an answer", dns.questions());
    assert!(dns.questions() <= 16, "{}", dns.questions());
}
