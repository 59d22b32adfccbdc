//! Answers of DNS that are not what they should be: too long, of other names, without an address that a server can have, ever new.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use serde_json::json;

use super::{NAME, addresses, allowing, bridge_to, expect_line, ips, is_decided, lines};
use crate::support::bridge::PATIENCE;
use crate::support::dns::{Dns, Reply, cname, host};
use crate::support::{eventually, free_address};

const CUT: &str =
    "parts of the answer of DNS are not used: records of other names, addresses that no server has, addresses above the limit";

/// The loopback addresses behind this one; nothing listens there.
fn strays(address: IpAddr, count: u32) -> Vec<IpAddr> {
    let IpAddr::V4(address) = address else { panic!("{address} is none of ours") };
    (1..=count).map(|n| Ipv4Addr::from(u32::from(address) + n).into()).collect()
}

#[test]
fn of_too_many_addresses_the_first_thousand_are_taken() {
    let addresses = addresses(1);
    let service = allowing(addresses[0]);
    let dns = Dns::start();
    let all = [ips(&addresses), strays(addresses[0].ip(), 1_200)].concat();
    dns.set(NAME, Reply::Truncated(all.iter().rev().map(|ip| host(NAME, 0, *ip)).collect()));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    let line = expect_line(&bridge, CUT);
    assert_eq!((&line["too_many"], &line["of_other_names"], &line["unusable"]), (&json!(201), &json!(0), &json!(0)), "{line}");
    assert_eq!(expect_line(&bridge, "addresses changed")["addresses"], 1_000);
    let mut engine = bridge.engine();
    assert!(is_decided(&mut engine, 1));
    dns.wait_for_questions(4);
    assert!(is_decided(&mut engine, 3));
    assert_eq!(lines(&bridge, CUT), 1, "said once");
    assert!(!service.calls().is_empty());
}

/// A server that may be lying, or a resolver that was lied to.
#[test]
fn what_is_no_address_of_the_name_is_left_out() {
    let addresses = addresses(2);
    let service = allowing(addresses[0]);
    let other = allowing(addresses[1]);
    let unusable = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"];
    let mut records = vec![cname(NAME, "alias.test"), host("alias.test", 0, addresses[0].ip())];
    records.extend(unusable.map(|ip| host("alias.test", 0, ip.parse().unwrap())));
    records.push(host("other.test", 0, addresses[1].ip()));
    let dns = Dns::start();
    dns.set(NAME, Reply::Records(records));
    let bridge = bridge_to(&dns, &format!("{NAME}:{}", addresses[0].port()), "");
    let line = expect_line(&bridge, CUT);
    assert_eq!(line["unusable"], unusable.len(), "{line}");
    assert!(line["of_other_names"].as_u64() >= Some(1), "{line}");
    assert_eq!(expect_line(&bridge, "addresses changed")["addresses"], 1);
    let mut engine = bridge.engine();
    assert!((0..20).all(|n| is_decided(&mut engine, 1 + n * 2)));
    assert!(!service.calls().is_empty() && other.connections() == 0);
}

/// However many they are and however often they change: a line a second for each kind of happening, after the first few.
#[test]
fn ever_new_addresses_do_not_flood_the_log() {
    let port = free_address().port();
    let dns = Dns::start();
    let strays = |round: u32| strays(Ipv4Addr::from(0x7f01_0000 + round * 40).into(), 40);
    dns.set_addresses(NAME, &strays(0));
    let begin = Instant::now();
    let bridge = bridge_to(&dns, &format!("{NAME}:{port}"), "");
    for round in 1..12 {
        dns.wait_for_questions(2);
        dns.set_addresses(NAME, &strays(round));
    }
    const DOWN: &str = "endpoint not connected, trying on";
    let counted = eventually(PATIENCE, || {
        let log = bridge.log();
        let found = log.iter().filter(|line| line["message"] == DOWN).filter_map(|line| line["suppressed"].as_u64());
        (found.sum::<u64>() > 100).then_some(())
    });
    assert!(counted.is_some(), "lines were left out and counted");
    let most = 32 + begin.elapsed().as_secs() as usize + 1;
    for kind in [DOWN, "addresses changed"] {
        assert!(lines(&bridge, kind) <= most, "{kind}: {} lines", lines(&bridge, kind));
    }
}
