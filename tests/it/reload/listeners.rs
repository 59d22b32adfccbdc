//! Listeners come, go and change.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::{assert_refused, changes, config};
use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE};
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::{ACK, AGENT_DISCONNECT, Data};

const MAIN: &str = "{ name: main, bind: \"127.0.0.1:0\" }";

fn listeners(all: &[&str]) -> String {
    format!("listeners: [{}]\n", all.join(", "))
}

fn connects(address: &Address) -> bool {
    let Address::Tcp(address) = address else { unreachable!() };
    TcpStream::connect(address).is_ok()
}

fn allows(engine: &mut Engine, stream: u64) {
    assert_eq!(engine.ask(stream, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
}

#[test]
fn one_is_added_and_removed_while_the_other_serves_on() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, &listeners(&[MAIN])));
    let mut old = bridge.engine();
    allows(&mut old, 1);
    let side = "{ name: side, bind: \"unix:$DIR/side.sock\" }";
    let reload = bridge.reload(&config(&service, &listeners(&[side, MAIN])));
    assert_eq!(changes(&reload), "listeners added: side");
    assert_eq!(reload["generation"], 2);
    let added = bridge.added_listener("side");
    let mut new = Engine::open(&added);
    allows(&mut new, 1);
    allows(&mut old, 2);
    assert_eq!(service.calls()[1].request.origin.as_ref().unwrap().listener, "side");
    let reload = bridge.reload(&config(&service, &listeners(&[MAIN])));
    assert_eq!(changes(&reload), "listeners removed: side");
    assert_eq!(new.expect_disconnect().0, 0, "a goodbye in order");
    new.expect_end();
    let Address::Unix(path) = added else { unreachable!() };
    assert!(eventually(PATIENCE, || (!path.exists()).then_some(())).is_some(), "the socket's file");
    allows(&mut old, 3);
    allows(&mut bridge.engine(), 1);
    assert_eq!(service.connections(), bridge.workers(), "no endpoint was connected to again");
}

/// What is in flight on a listener that goes is finished; what takes longer than the grace period gets the fallback.
#[test]
fn in_flight_on_a_removed_listener() {
    let service = Service::start(|request| match &request.messages[0].name[..] {
        "slow" => Answer::after(Duration::from_millis(700), Answer::Actions(vec![allow()])),
        _ => Answer::Never,
    });
    let side = "{ name: side, bind: \"127.0.0.1:0\" }";
    let drain = "drain: { delay: 0s, grace_period: 2s }\n";
    let bridge = Bridge::start(&config(&service, &(listeners(&[MAIN, side]) + drain)));
    let address = bridge.listener("side").clone();
    let [mut slow, mut never] = [Engine::open(&address), Engine::open(&address)];
    slow.notify(1, 1, &[("slow", &[])]);
    never.notify(1, 1, &[("never", &[])]);
    assert!(eventually(PATIENCE, || (service.in_flight() == 2).then_some(())).is_some());
    changes(&bridge.reload(&config(&service, &(listeners(&[MAIN]) + drain))));
    assert!(eventually(PATIENCE, || (!connects(&address)).then_some(())).is_some(), "nobody new gets in");
    assert_eq!(slow.expect_ack().value("txn.allow"), Some(&Data::Bool(true)));
    assert_eq!(slow.expect_disconnect().0, 0);
    let rest: Vec<_> = std::iter::from_fn(|| never.next()).map(|frame| frame.kind).collect();
    assert_eq!(rest, [ACK, AGENT_DISCONNECT], "the fallback, then the goodbye");
}

#[test]
fn another_address_is_one_removed_and_one_new() {
    let service = Service::allowing();
    let bind = |address| listeners(&[&format!("{{ name: main, bind: \"{address}\" }}")]);
    let [first, second] = [crate::support::free_address(), crate::support::free_address()];
    let bridge = Bridge::start(&config(&service, &bind(first)));
    let mut engine = bridge.engine();
    assert_eq!(changes(&bridge.reload(&config(&service, &bind(second)))), "listeners changed: main");
    assert_eq!(engine.expect_disconnect().0, 0);
    allows(&mut Engine::open(&Address::Tcp(second)), 1);
    assert!(eventually(PATIENCE, || (!connects(&Address::Tcp(first))).then_some(())).is_some());
    changes(&bridge.reload(&config(&service, &bind(first))));
    allows(&mut Engine::open(&Address::Tcp(first)), 1);
}

#[test]
fn settings_count_for_connections_that_come_after() {
    let service = Service::allowing();
    let with = |settings: &str| config(&service, &listeners(&[&format!("{{ name: main, bind: \"127.0.0.1:0\"{settings} }}")]));
    let bridge = Bridge::start(&with(""));
    let mut before = Engine::connect(bridge.address());
    assert_eq!(frame_size(before.hello()), 16_380);
    assert_eq!(changes(&bridge.reload(&with(", max_frame_size: 4KiB, max_connections: 2"))), "listeners changed: main");
    let mut after = Engine::connect(bridge.address());
    assert_eq!(frame_size(after.hello()), 4_096);
    allows(&mut before, 1);
    allows(&mut after, 1);
    let mut third = Engine::connect(bridge.address());
    let _closed_already = third.try_send(&crate::support::engine::hello_frame(16_380, "third").encode());
    third.expect_end();
    changes(&bridge.reload(&with(", max_connections: 3")));
    allows(&mut bridge.engine(), 1);
}

fn frame_size(pairs: Vec<(String, Data)>) -> u32 {
    let found = pairs.into_iter().find_map(|(name, value)| match value {
        Data::Uint32(size) if name == "max-frame-size" => Some(size),
        _ => None,
    });
    found.expect("max-frame-size")
}

/// Routes know listeners by their names, so connections under the old one have to end.
#[test]
fn another_name() {
    let service = Service::allowing();
    let named = |name: &str| {
        let routes = "backends: { decisions: { endpoints: [\"$URI\"] } }\n\
                      routes: [{ messages: [\"*\"], listeners: [NAME], backend: decisions, timeout: 10s }]\n";
        let listener = "listeners: [{ name: NAME, bind: \"127.0.0.1:0\" }]\n";
        (routes.to_owned() + listener).replace("NAME", name).replace("$URI", service.uri())
    };
    let bridge = Bridge::start(&named("main"));
    let mut old = bridge.engine();
    allows(&mut old, 1);
    let reload = bridge.reload(&named("edge"));
    assert_eq!(changes(&reload), "listeners added: edge; listeners removed: main; routes changed: *");
    assert_eq!(old.expect_disconnect().0, 0);
    allows(&mut bridge.engine(), 1);
    assert_eq!(service.calls()[1].request.origin.as_ref().unwrap().listener, "edge");
}

#[test]
fn what_cannot_be_bound_refuses_all_of_it() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, &listeners(&[MAIN])));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let free = crate::support::free_address();
    let [free_one, taken_one] = [free, taken].map(|address| format!("{{ bind: \"{address}\" }}"));
    let nowhere = "{ name: nowhere, bind: \"unix:$DIR/no/such/folder.sock\" }";
    let more = listeners(&[MAIN, &free_one, &taken_one, nowhere]) + "status_variable: txn.other\n";
    assert_refused(&bridge.reload(&config(&service, &more)));
    let problems = bridge.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains(&format!("listeners[2].bind: cannot listen on {taken}")), "{problems:?}");
    assert!(problems[1].contains("listeners[3].bind") && problems[1].contains("Create the folder"), "{problems:?}");
    assert!(!connects(&Address::Tcp(free)), "the one that could be bound is free again");
    allows(&mut bridge.engine(), 1);
}

/// The socket's file has the rights that it was bound with.
#[test]
fn other_rights_of_a_socket_need_a_restart() {
    let service = Service::allowing();
    let with = |mode: &str| {
        config(&service, &listeners(&[&format!("{{ name: main, bind: \"unix:$DIR/s.sock\", unix: {{ mode: \"{mode}\" }} }}")]))
    };
    let bridge = Bridge::start(&with("0600"));
    assert_refused(&bridge.reload(&with("0660")));
    let problems = bridge.problems();
    assert!(problems[0].contains("listeners[0].unix: ") && problems[0].contains("restart"), "{problems:?}");
    changes(&bridge.reload(&with("0600")));
    allows(&mut bridge.engine(), 1);
}
