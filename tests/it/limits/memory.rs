//! What a peer can make the bridge hold.

use std::time::Duration;

use crate::support::bridge::Bridge;
use crate::support::engine::{Engine, notify_frame};
use crate::support::service::{Answer, Service};
use crate::support::wire::Frame;
use crate::support::{eventually, figure};

/// Each NOTIFY comes with 64 KiB of frames that are skipped, all in one read: what stays in memory is the NOTIFY, not the read.
#[test]
fn small_notifies_do_not_keep_what_they_came_with() {
    const NOTIFIES: usize = 1000;
    let service = Service::start(|_| Answer::Never);
    let bridge = Bridge::simple(service.uri(), "60s");
    let mut engine = Engine::connect(bridge.address());
    engine.hello_with(131_072, "crumbs");
    let before = bridge.resident_kib();
    let rest = Frame::new(77, 0, 0, vec![0; 65_536 - 200]).encode();
    for stream in 0..NOTIFIES as u64 {
        engine.send(&[notify_frame(stream, 1, &[("m", &[])]).encode(), rest.clone()].concat());
    }
    eventually(Duration::from_secs(20), || (service.calls().len() == NOTIFIES).then_some(())).expect("all are in flight");
    let growth = bridge.resident_kib().saturating_sub(before);
    figure("resident memory of 1,000 small NOTIFYs in flight, each come with 64 KiB of other frames", format!("{growth} KiB"));
    assert!(growth < 16 * 1024, "grown by {growth} KiB, which is more than what is in flight");
}
