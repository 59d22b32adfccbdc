//! Which servers a name stands for, and that they come and go without harm to the others.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::{Load, NAME, addresses, allowing, bridge_to, expect_calls, expect_line, ips, is_decided};
use crate::support::bridge::PATIENCE;
use crate::support::dns::{Dns, Reply, cname, host, srv};
use crate::support::service::Service;
use crate::support::{eventually, figure, skipped};

#[test]
fn every_address_gets_decisions() {
    for count in [2, 3] {
        let addresses = addresses(count);
        let services: Vec<_> = addresses.iter().map(|address| allowing(*address)).collect();
        let dns = Dns::start();
        dns.set_addresses(NAME, &ips(&addresses));
        // Names are the same in upper and lower case.
        let bridge = bridge_to(&dns, &format!("Decisions.TEST:{}", addresses[0].port()), "");
        let mut engine = bridge.engine();
        let decided = (0..100).filter(|n| is_decided(&mut engine, 1 + n * 2)).count();
        let shares: Vec<_> = services.iter().map(|service| service.calls().len()).collect();
        figure(&format!("100 decisions over {count} addresses of a name"), format!("{shares:?}"));
        assert_eq!(decided, 100);
        assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    }
}

/// Under load, a server is added, another one leaves DNS and a little later the network: not one decision fails.
#[test]
fn addresses_come_and_go_under_load() {
    let addresses = addresses(3);
    let [first, second, third] = [0, 1, 2].map(|n| allowing(addresses[n]));
    let dns = Dns::start();
    dns.set_addresses(NAME, &ips(&addresses[..2]));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    let load = Load::start(bridge.address());
    expect_calls(&first, "the first");
    expect_calls(&second, "the second");
    assert!(third.calls().is_empty());

    dns.set_addresses(NAME, &ips(&addresses));
    expect_calls(&third, "the one that came");
    expect_calls(&first, "one that was there");

    dns.set_addresses(NAME, &ips(&addresses[1..]));
    // What goes gets nothing new, and its connections end when all is answered.
    let ended = eventually(PATIENCE, || {
        let calls = first.calls().len();
        std::thread::sleep(Duration::from_millis(300));
        (first.calls().len() == calls && first.open_streams() == 0).then_some(())
    });
    assert!(ended.is_some(), "{} streams to the one that left", first.open_streams());
    drop(first);
    expect_calls(&second, "one that stayed");
    expect_calls(&third, "the other one that stayed");
    let (asked, failed) = load.end();
    figure("decisions while an address came and one went, and how many failed", format!("{asked}, {failed}"));
    assert_eq!(failed, 0, "of {asked}");
    assert_eq!(third.connections(), second.connections(), "connections were made anew");
}

#[test]
fn names_may_have_only_ipv6() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return skipped("an IPv6 endpoint", "an IPv6 loopback interface");
    };
    let address = listener.local_addr().unwrap();
    drop(listener);
    let service = allowing(address);
    let dns = Dns::start();
    dns.set_addresses(NAME, &[address.ip()]);
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", address.port()), "");
    assert!(is_decided(&mut bridge.engine(), 1));
    assert_eq!(service.calls().len(), 1);
}

#[test]
fn aliases_are_followed() {
    let addresses = addresses(1);
    let service = allowing(addresses[0]);
    let dns = Dns::start();
    let end = host("end.test", 0, addresses[0].ip());
    // All links in one answer, as DNS servers give it to those who ask them to follow; and each in one of its own.
    dns.set("whole.test", Reply::Records(vec![cname("whole.test", "two.test"), cname("two.test", "end.test"), end.clone()]));
    let bridge = bridge_to(&dns, &format!("whole.test:{}", addresses[0].port()), "");
    assert!(is_decided(&mut bridge.engine(), 1), "{:?}", bridge.log());
    dns.set(NAME, Reply::Records(vec![cname(NAME, "one.test")]));
    dns.set("one.test", Reply::Records(vec![cname("one.test", "end.test")]));
    dns.set("end.test", Reply::Records(vec![end]));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    assert!(is_decided(&mut bridge.engine(), 1), "{:?}", bridge.log());
    // What the operator wrote, not what DNS made of it.
    let authority = format!("{NAME}:{}", addresses[0].port());
    let line = expect_line(&bridge, "endpoint connected");
    assert!(line["endpoint"].as_str().unwrap().contains(&authority), "{line}");
    drop(service);
}

fn service_at(record: SocketAddr, priority: u16, name: &str, dns: &Dns) -> hickory_proto::rr::Record {
    dns.set_addresses(name, &[record.ip()]);
    srv(&format!("_grpc._tcp.{NAME}"), priority, record.port(), name)
}

#[test]
fn hosts_and_ports_come_from_srv_records() {
    let addresses = [addresses(1), addresses(1), addresses(1)].concat();
    let services: Vec<_> = addresses.iter().map(|address| allowing(*address)).collect();
    for name in [NAME, "_grpc._tcp.decisions.test"] {
        let dns = Dns::start();
        let first = service_at(addresses[0], 10, "a.test", &dns);
        let second = service_at(addresses[1], 10, "b.test", &dns);
        let spare = service_at(addresses[2], 20, "c.test", &dns);
        // A pod that is gone already.
        let gone = srv("_grpc._tcp.decisions.test", 10, 1, "gone.test");
        dns.set("_grpc._tcp.decisions.test", Reply::Records(vec![spare, first, gone, second]));
        let bridge = bridge_to(&dns, name, "");
        let before = calls(&services);
        let mut engine = bridge.engine();
        assert!((0..60).all(|n| is_decided(&mut engine, 1 + n * 2)));
        let shares: Vec<_> = calls(&services).iter().zip(before).map(|(now, before)| now - before).collect();
        assert!(shares[0] > 0 && shares[1] > 0 && shares[2] == 0, "{shares:?}");
    }
}

fn calls(services: &[Service]) -> Vec<usize> {
    services.iter().map(|service| service.calls().len()).collect()
}
