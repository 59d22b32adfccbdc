//! What servers say about themselves.

use std::time::Instant;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{HEALTHY, UNHEALTHY, bridge_to, calls_of, expect_lines, expect_no_watch, is_decided, lines};
use crate::discovery::Load;
use crate::support::engine::Engine;
use crate::support::health::{Has, Patient, SOON};
use crate::support::host::Bound;
use crate::support::service::{Answer, Service, allow};
use crate::support::{eventually, figure};

/// Two servers under load; one says that it does not serve, and then that it does, again and again. Not one decision fails.
#[test]
fn a_server_that_is_not_serving_gets_nothing() {
    let patients = [(); 2].map(|()| Patient::start(Bound::tcp(), Has::Watch));
    let bridge = bridge_to(&patients.each_ref().map(|patient| patient.service.uri()), "");
    let load = Load::start(bridge.address());
    for round in 1..=3 {
        let told = Instant::now();
        patients[0].set_serving(false);
        let line = expect_lines(&bridge, UNHEALTHY, round);
        figure("a server's NOT_SERVING in the log after", format!("{:.0} ms", told.elapsed().as_secs_f64() * 1e3));
        assert_eq!(line["reason"], "health check: NOT_SERVING", "{line}");
        let idle = eventually(SOON, || {
            let calls = patients[0].service.calls().len();
            std::thread::sleep(std::time::Duration::from_millis(300));
            (patients[0].service.calls().len() == calls).then_some(())
        });
        assert!(idle.is_some(), "it still gets decisions");
        patients[0].set_serving(true);
        expect_lines(&bridge, HEALTHY, round);
        let calls = patients[0].service.calls().len();
        assert!(eventually(SOON, || (patients[0].service.calls().len() > calls).then_some(())).is_some(), "it gets none");
    }
    let (asked, failed) = load.end();
    figure("decisions while one of two servers changed its mind 6 times, and how many failed", format!("{asked}, {failed}"));
    assert_eq!(failed, 0, "of {asked}");
    // One connection for the process, besides one for each worker, with the backend's metadata.
    let watched =
        patients.each_ref().map(|patient| (patient.service.connections(), patient.watches(), patient.asked_by_tenant()));
    assert_eq!(watched, [(3, 1, 1); 2]);
}

/// Nobody serves: the fallback says so. It ends when one does.
#[test]
fn without_a_serving_server_there_is_the_fallback() {
    let patient = Patient::start(Bound::tcp(), Has::Watch);
    patient.set_serving(false);
    let bridge = bridge_to(&[patient.service.uri()], "");
    expect_lines(&bridge, UNHEALTHY, 1);
    let mut engine = bridge.engine();
    let mut stream = 1;
    let refused = eventually(SOON, || {
        stream += 2;
        (!is_decided(&mut engine, stream)).then_some(())
    });
    assert!(refused.is_some());
    let line = expect_lines(&bridge, "decision failed, fallback sent", 1);
    assert!(line["detail"].as_str().unwrap().contains("health check: NOT_SERVING"), "{line}");
    patient.set_serving(true);
    expect_lines(&bridge, HEALTHY, 1);
    let decided = eventually(SOON, || {
        stream += 2;
        is_decided(&mut engine, stream).then_some(())
    });
    assert!(decided.is_some());
}

/// A server that says goodbye in the usual order: NOT_SERVING, then GOAWAY, then it waits for calls to end, ours too.
#[test]
fn a_graceful_stop_is_not_held_up() {
    let patients = [(); 2].map(|()| Patient::start(Bound::tcp(), Has::Watch));
    let bridge = bridge_to(&patients.each_ref().map(|patient| patient.service.uri()), "");
    let load = Load::start(bridge.address());
    assert!(eventually(SOON, || (patients[0].open_watches() == 1).then_some(())).is_some());
    patients[0].set_serving(false);
    expect_lines(&bridge, UNHEALTHY, 1);
    let stopped = Instant::now();
    patients[0].service.retire();
    expect_no_watch(&patients[0]);
    figure(
        "the health check lets go of a server that is stopping after",
        format!("{:.0} ms", stopped.elapsed().as_secs_f64() * 1e3),
    );
    let (asked, failed) = load.end();
    assert_eq!(failed, 0, "of {asked}");
}

#[test]
fn a_server_without_watch_is_asked_again_and_again() {
    let patients = [(); 2].map(|()| Patient::start(Bound::tcp(), Has::CheckOnly));
    let bridge = bridge_to(&patients.each_ref().map(|patient| patient.service.uri()), "interval: 200ms");
    let mut engine = bridge.engine();
    assert!(eventually(SOON, || (patients[0].checks() >= 5).then_some(())).is_some());
    assert_eq!(patients[0].watches(), 1);
    expect_share(&patients[0], &mut engine, 1);
    patients[0].set_serving(false);
    expect_lines(&bridge, UNHEALTHY, 1);
    // The workers hear of it a moment later.
    let mut first = 100_001;
    let left_alone = eventually(SOON, || {
        first += 1_000;
        (calls_of(&patients[0].service, &mut engine, first, 60) == 0).then_some(())
    });
    assert!(left_alone.is_some(), "it still gets decisions");
    patients[0].set_serving(true);
    expect_lines(&bridge, HEALTHY, 1);
    expect_share(&patients[0], &mut engine, 2_000_001);
}

/// Asks until this server has decided, too.
#[track_caller]
fn expect_share(patient: &Patient, engine: &mut Engine, mut stream: u64) {
    let before = patient.service.calls().len();
    let decided = eventually(SOON, || {
        stream += 2;
        assert!(is_decided(engine, stream));
        (patient.service.calls().len() > before).then_some(())
    });
    assert!(decided.is_some(), "it gets no decisions");
}

/// Services that know nothing of this are as healthy as any, and it is said once.
#[test]
fn servers_without_the_service_are_healthy() {
    let services = [Service::allowing(), Service::allowing()];
    let bridge = bridge_to(&services.each_ref().map(Service::uri), "");
    let message = "the service has no grpc.health.v1.Health, such endpoints count as healthy";
    expect_lines(&bridge, message, 1);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut engine = bridge.engine();
    let mut stream = 1;
    let all = eventually(SOON, || {
        stream += 2;
        assert!(is_decided(&mut engine, stream));
        services.iter().all(|service| !service.calls().is_empty()).then_some(())
    });
    assert!(all.is_some(), "one of them gets no decisions");
    assert_eq!((lines(&bridge, message), lines(&bridge, UNHEALTHY)), (1, 0), "{:?}", bridge.log());
}

fn with_reporter(reporter: &HealthReporter) -> Service {
    let health = tonic_health::pb::health_server::HealthServer::new(tonic_health::server::HealthService::from_health_reporter(
        reporter.clone(),
    ));
    Service::beside(Bound::tcp(), |routes| routes.add_service(health), |_| Answer::Actions(vec![allow()]))
}

/// tonic's own health service, asked for one of its services.
#[test]
fn services_have_names() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reporter = HealthReporter::new();
    let set = |name: &str, status| runtime.block_on(reporter.set_service_status(name, status));
    let service = with_reporter(&reporter);
    let bridge = bridge_to(&[service.uri()], "service: spopbridge.v1.DecisionService, timeout: 300ms, interval: 300ms");
    // Registered as a whole, but not by that name.
    let line = expect_lines(&bridge, UNHEALTHY, 1);
    figure("tonic-health asked for a service that it does not know", &line["reason"]);
    set("spopbridge.v1.DecisionService", ServingStatus::Serving);
    expect_lines(&bridge, HEALTHY, 1);
    set("spopbridge.v1.DecisionService", ServingStatus::NotServing);
    expect_lines(&bridge, UNHEALTHY, 2);
    set("", ServingStatus::NotServing);
    set("spopbridge.v1.DecisionService", ServingStatus::Serving);
    expect_lines(&bridge, HEALTHY, 2);
    let mut engine = bridge.engine();
    let mut stream = 1;
    let decided = eventually(SOON, || {
        stream += 2;
        is_decided(&mut engine, stream).then_some(())
    });
    assert!(decided.is_some());
}
