//! Many reloads while decisions are made: none is lost, nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::changes;
use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::Data;
use crate::support::{eventually, figure};

const RELOADS: usize = 200;
/// After so many memory has seen everything that a reload does.
const WARM_UP: usize = 50;

/// The variants of the configuration that the reloads go through: a backend that stays, one that is another each time, one that
/// comes and goes, with a listener and a route of its own.
fn variant(number: usize, stays: &Service, changes: &Service) -> String {
    let extra = number % 2 == 1;
    let (backend, route, listener) = match extra {
        true => (
            format!(", extra: {{ endpoints: [\"{}\"] }}", changes.uri()),
            ", { messages: [x], backend: extra }",
            ", { name: side, bind: \"unix:$DIR/side.sock\" }",
        ),
        false => (String::new(), "", ""),
    };
    format!(
        "workers: 2\nlisteners: [{{ name: main, bind: \"127.0.0.1:0\" }}{listener}]\n\
         backends: {{ stays: {{ endpoints: [\"{}\"] }}, changes: {{ endpoints: [\"{}\"], connect_timeout: {}ms }}{backend} }}\n\
         routes: [{{ messages: [m], backend: stays, timeout: {}s }}, {{ messages: [n], backend: changes, timeout: 20s }}{route}]\n\
         status_variable: txn.status_{}\n",
        stays.uri(),
        changes.uri(),
        1000 + number,
        10 + number % 3,
        number % 5,
    )
}

/// Asks as fast as it is answered, with `window` NOTIFYs in flight, and checks every ACK.
fn engine_loop(mut engine: Engine, window: u64, stop: &AtomicBool, decided: &AtomicUsize) -> Result<(), String> {
    let message = |stream: u64| if stream.is_multiple_of(2) { "m" } else { "n" };
    let mut waiting: Vec<u64> = (1..=window).collect();
    let mut next = window + 1;
    for stream in &waiting {
        engine.notify(*stream, 1, &[(message(*stream), &[])]);
    }
    while !waiting.is_empty() {
        let ack = engine.expect_ack();
        let position = waiting.iter().position(|stream| *stream == ack.stream).ok_or(format!("an ACK for nothing: {ack:?}"))?;
        waiting.swap_remove(position);
        if ack.value("txn.allow") != Some(&Data::Bool(true)) {
            return Err(format!("no decision for {}: {ack:?}", message(ack.stream)));
        }
        decided.fetch_add(1, Ordering::Relaxed);
        if !stop.load(Ordering::Relaxed) {
            engine.notify(next, 1, &[(message(next), &[])]);
            waiting.push(next);
            next += 1;
        }
    }
    Ok(())
}

#[test]
fn no_decision_is_lost_and_memory_stays_flat() {
    let [stays, other] =
        [1, 3].map(|delay| Service::start(move |_| Answer::after(Duration::from_millis(delay), Answer::Actions(vec![allow()]))));
    let bridge = Bridge::start(&variant(0, &stays, &other));
    let (stop, decided) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let engines: Vec<_> = [1, 1, 20, 5]
        .into_iter()
        .map(|window| {
            let (engine, stop, decided) = (bridge.engine(), Arc::clone(&stop), Arc::clone(&decided));
            std::thread::spawn(move || engine_loop(engine, window, &stop, &decided))
        })
        .collect();
    let idle = bridge.engine();
    let mut before = (0, 0);
    for number in 1..=RELOADS {
        changes(&bridge.reload(&variant(number, &stays, &other)));
        if number == WARM_UP {
            before = (bridge.resident_kib(), bridge.open_files());
        }
    }
    let under_load = decided.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    for engine in engines {
        engine.join().unwrap().unwrap();
    }
    // The last pools that were replaced are left a moment later.
    eventually(Duration::from_secs(5), || (bridge.open_files() <= before.1).then_some(()));
    let after = (bridge.resident_kib(), bridge.open_files());
    figure(
        &format!("{RELOADS} reloads under the load of 4 scripted engines"),
        format!(
            "{under_load} decisions meanwhile, 0 lost; {} connections to the backend that stays, {} to the one that changes; \
             after {WARM_UP} reloads {} KiB resident and {} open files, after {RELOADS} {} KiB and {}",
            stays.connections(),
            other.connections(),
            before.0,
            before.1,
            after.0,
            after.1
        ),
    );
    assert!(under_load > RELOADS, "{under_load} decisions are no load");
    assert_eq!(stays.connections(), 2, "one a worker, from first to last");
    assert!(after.1 <= before.1 + 8, "open files: {} before, {} after", before.1, after.1);
    assert!(after.0 <= before.0 + before.0 / 4, "resident: {} KiB before, {} KiB after", before.0, after.0);
    drop(idle);
}
