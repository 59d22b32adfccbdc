//! Packets that the kernel drops: bridge and service in a network of their own (`unshare`), whose queue takes so many bytes and no more
//! (`tc`, tbf), or which loses one packet in so many (`iptables`, statistic). Only where the machine allows that; what a bad network does is tested everywhere by `network`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{config, logged, ms};
use crate::support::askers::{Askers, outcome, percentile, tally};
use crate::support::bridge::{Bridge, binary};
use crate::support::child::ChildService;
use crate::support::confined::under;
use crate::support::load::Tally;
use crate::support::{eventually, figure};

/// Packets of a real network's size, so that one fits into the queue.
const ALONE: &str = "ip link set lo mtu 1500 && ip link set lo up && tc qdisc add dev lo root";
const CLEAR: &str = "tbf rate 1gbit burst 100kb limit 1mb";
const CROWDED: &str = "tbf rate 100kbit burst 1600 limit 1600";
/// No packet is that small.
const DEAD: &str = "tbf rate 8kbit burst 20 limit 20";

#[test]
fn too_narrow_and_then_dead_for_a_while() {
    let Some(scene) = Scene::new("too_narrow_and_then_dead_for_a_while") else { return };
    let some = scene.phase(CROWDED, Duration::from_secs(4));
    assert!(some["decided"] > 0 && some.keys().all(|word| word == "decided" || word == "timeout"), "{some:?}");
    let all = scene.phase(DEAD, Duration::from_secs(3));
    assert!(all.keys().all(|word| word == "decided" || word == "timeout"), "{all:?}");
    scene.recovers();
}

/// One packet in 50, then one in 10, in both directions: what TCP has to send again takes its 200 ms, and whatever waits behind it.
#[test]
fn some_packets_are_lost() {
    let Some(scene) = Scene::new("some_packets_are_lost") else { return };
    if !scene.enter("iptables").args(["-L", "-n"]).output().is_ok_and(|output| output.status.success()) {
        return figure("skipped", "some_packets_are_lost: iptables is missing");
    }
    for share in ["0.02", "0.1"] {
        let rule = ["INPUT", "-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", share, "-j", "DROP"];
        let iptables = |what: &[&str]| {
            let output = scene.enter("iptables").args(what).output().unwrap();
            assert!(output.status.success(), "iptables {what:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        iptables(&[&["-A"][..], &rule].concat());
        let some = scene.phase(CLEAR, Duration::from_secs(4));
        let counted = iptables(&["-nvxL", "INPUT"]);
        iptables(&["-F", "INPUT"]);
        let lost: usize = counted.lines().nth(2).and_then(|line| line.split_whitespace().next()).unwrap().parse().unwrap();
        figure(&format!("{share} of all packets lost"), lost);
        assert!(lost > 0, "{counted}");
        assert!(some["decided"] > 0 && some.keys().all(|word| word == "decided" || word == "timeout"), "{share}: {some:?}");
        scene.recovers();
    }
    assert_eq!(logged(&scene.bridge, "endpoint not connected, trying on"), 0, "{:?}", scene.bridge.log());
}

/// Nothing is acknowledged any more: the connection is given up (TCP_USER_TIMEOUT), and what is asked then fails at once.
#[test]
fn a_host_that_is_gone() {
    let Some(scene) = Scene::new("a_host_that_is_gone") else { return };
    scene.queue(DEAD);
    let (begin, mut engine, mut asked) = (Instant::now(), scene.bridge.engine(), 0);
    let mut timeouts = 0;
    let known = eventually(Duration::from_secs(20), || {
        asked += 1;
        let outcome = outcome(&engine.ask(asked, "check-request", &[]));
        timeouts += usize::from(outcome == "timeout");
        (outcome == "unavailable").then_some(())
    });
    figure(
        "no packet arrives",
        format!("{timeouts} timeouts of 500 ms one after the other, then unavailable after {}", ms(begin.elapsed())),
    );
    assert!(known.is_some(), "{:?}", scene.bridge.log());
    let told = || (logged(&scene.bridge, "endpoint not connected, trying on") == 1).then_some(());
    assert!(eventually(Duration::from_secs(5), told).is_some(), "{:?}", scene.bridge.log());
    scene.recovers();
}

struct Scene {
    service: ChildService,
    bridge: Bridge,
    _directory: tempfile::TempDir,
}

impl Scene {
    /// `None` where the machine has no such networks, which nothing depends on, CI included.
    fn new(test: &str) -> Option<Scene> {
        let script = format!("{ALONE} {CLEAR}");
        let try_it = Command::new("unshare").args(["-n", "sh", "-c", &script]).stderr(Stdio::null()).status();
        if !try_it.is_ok_and(|status| status.success()) {
            figure("skipped", format!("{test}: the right to unshare networks, ip or tc with tbf is missing"));
            return None;
        }
        let mut wrapper = Command::new("unshare");
        wrapper.args(["-n", "sh", "-c", &format!("{script} && exec \"$@\""), "sh"]);
        let service = ChildService::under(&mut wrapper, Duration::from_millis(5));
        let directory = tempfile::tempdir().unwrap();
        // Sockets of files are none of the network's.
        let listener = format!("listeners: [{{ name: main, bind: \"unix:{}/spop.sock\" }}]\n", directory.path().display());
        let mut wrapper = Command::new("nsenter");
        wrapper.args(["-t", &service.pid().to_string(), "-n"]);
        let config = listener + &config(1, &[service.uri()], "connect_timeout: 500ms", "500ms");
        let scene = Scene { bridge: under(&mut wrapper, &binary(), &config), service, _directory: directory };
        scene.recovers();
        Some(scene)
    }

    fn queue(&self, what: &str) {
        self.tc(&format!("qdisc replace dev lo root {what}"));
    }

    /// A program in their network.
    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.service.pid().to_string(), "-n", program]);
        command
    }

    fn tc(&self, arguments: &str) -> String {
        let output = self.enter("tc").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "tc {arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// 20 in flight for so long.
    fn phase(&self, what: &str, time: Duration) -> Tally {
        self.queue(what);
        let load = Askers::start(self.bridge.address(), 4, 5);
        std::thread::sleep(time);
        let asked = load.stop();
        let statistics = self.tc("-s qdisc show dev lo");
        let packets = statistics.lines().nth(1).unwrap_or_default().trim();
        figure(
            &format!("{what} for {}, 20 in flight", ms(time)),
            format!("{:?}, p50 {}, p99 {}; {packets}", tally(&asked), ms(percentile(&asked, 50)), ms(percentile(&asked, 99))),
        );
        tally(&asked)
    }

    fn recovers(&self) {
        self.queue(CLEAR);
        let (begin, mut engine, mut stream) = (Instant::now(), self.bridge.engine(), 0);
        let decided = eventually(Duration::from_secs(10), || {
            stream += 1;
            (outcome(&engine.ask(stream, "check-request", &[])) == "decided").then_some(())
        });
        figure("with every packet: decided after", ms(begin.elapsed()));
        assert!(decided.is_some());
    }
}
