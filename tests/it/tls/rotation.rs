//! Certificates are renewed while decisions are made: connections that are there go on, those that are made get the new ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use spop_bridge::agent::rustls::DEFAULT_VERSIONS;
use spop_bridge::agent::rustls::pki_types::CertificateDer;

use super::assert_allowed;
use crate::support::bridge::Bridge;
use crate::support::engine::Engine;
use crate::support::host::{Bound, FOREVER};
use crate::support::service::{Answer, Methods, Service, allow};
use crate::support::tls::{Ca, Issued, Seen, client};
use crate::support::{eventually, figure};

/// How long a change of files or a signal may take to show.
const PATIENCE: Duration = Duration::from_secs(15);

/// A bridge with TLS on both sides, whose certificates lie in a folder that a test writes to.
struct Scene {
    ca: Ca,
    folder: tempfile::TempDir,
    service: Service,
    seen: Arc<Mutex<Vec<Seen>>>,
    bridge: Bridge,
}

impl Scene {
    /// A service that ends connections of that age, so that new ones are made.
    fn new(max_age: Duration) -> Scene {
        let (ca, folder) = (Ca::new("ca"), tempfile::tempdir().unwrap());
        ca.issue(&["localhost"]).write_to(folder.path());
        let (bound, seen) = Bound::tls(ca.issue(&["localhost"]).grpc_server(Some(&ca)));
        let service = Service::with(Methods::Both, bound, max_age, |_| Answer::Actions(vec![allow()]));
        let folder_name = folder.path().display();
        let bridge = Bridge::start(&format!(
            "listeners: [{{ name: main, bind: \"127.0.0.1:0\", tls: {{ certificate: {folder_name}/tls.crt, key: {folder_name}/tls.key }} }}]\n\
             backends: {{ decisions: {{ endpoints: [\"{}\"], tls: {{ ca: {}, certificate: {folder_name}/tls.crt, key: {folder_name}/tls.key }} }} }}\n\
             routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]",
            service.uri().replace("127.0.0.1", "localhost"),
            ca.file().display()
        ));
        Scene { ca, folder, service, seen, bridge }
    }

    fn engine(&self) -> Engine {
        let mut engine = Engine::connect_tls(self.bridge.address(), &client(&self.ca, None, DEFAULT_VERSIONS));
        engine.hello();
        engine
    }

    /// What a new connection to the listener is shown.
    fn shown(&self) -> CertificateDer<'static> {
        self.engine().tls().conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Waits until new connections are shown this certificate.
    #[track_caller]
    fn wait_for(&self, issued: &Issued) {
        let shown = eventually(PATIENCE, || (self.shown() == issued.der()).then_some(()));
        assert!(shown.is_some(), "the old certificate is still shown: {:#?}", self.bridge.log());
    }
}

#[test]
fn by_signal_and_by_watching_the_files() {
    let scene = Scene::new(FOREVER);
    let mut old = scene.engine();
    assert_allowed(&mut old, 1);
    let connections = scene.service.connections();
    let renewed = scene.ca.issue(&["localhost"]);
    renewed.write_to(scene.folder.path());
    scene.bridge.signal(Signal::SIGHUP);
    scene.wait_for(&renewed);
    // Without a signal.
    let again = scene.ca.issue(&["localhost"]);
    again.write_to(scene.folder.path());
    scene.wait_for(&again);
    // Nobody was disturbed.
    assert_allowed(&mut old, 3);
    assert_eq!(scene.service.connections(), connections, "connections that are there go on");
}

/// Half-written files, or a key that is not yet the certificate's, cost nothing: the old ones go on.
#[test]
fn files_that_are_wrong_change_nothing() {
    let scene = Scene::new(FOREVER);
    let before = scene.shown();
    let renewed = scene.ca.issue(&["localhost"]);
    std::fs::copy(renewed.certificate(), scene.folder.path().join("tls.crt")).unwrap();
    scene.bridge.signal(Signal::SIGHUP);
    let refused =
        eventually(PATIENCE, || scene.bridge.log().into_iter().find(|line| line.to_string().contains("is not the key of")));
    assert!(refused.is_some(), "{:#?}", scene.bridge.log());
    assert_eq!(scene.shown(), before);
    std::fs::copy(renewed.key(), scene.folder.path().join("tls.key")).unwrap();
    scene.wait_for(&renewed);
}

/// Who was let in by the old CA does not come in by a ticket from then.
#[test]
fn sessions_end_with_the_ca_that_let_them_in() {
    let (ca, clients, next) = (Ca::new("ca"), Ca::new("clients"), Ca::new("next"));
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("clients.pem");
    std::fs::copy(clients.file(), &trusted).unwrap();
    let service = Service::allowing();
    let bridge =
        super::listening(&service, &format!("{}, client_ca: {}", ca.issue(&["localhost"]).yaml(), trusted.display()), "");
    let config = client(&ca, Some(&clients.issue(&["haproxy"])), DEFAULT_VERSIONS);
    let mut engine = Engine::connect_tls(bridge.address(), &config);
    engine.hello();
    assert_allowed(&mut engine, 1);
    std::fs::copy(next.file(), &trusted).unwrap();
    bridge.signal(Signal::SIGHUP);
    let renewed = client(&ca, Some(&next.issue(&["haproxy"])), DEFAULT_VERSIONS);
    let comes_in = |config| {
        let mut engine = Engine::connect_tls(bridge.address(), config);
        let check = crate::support::engine::hello_frame(16380, "rotation").encode();
        engine.try_send(&check).is_ok() && std::io::Read::read(engine.tls(), &mut [0; 64]).is_ok_and(|read| read > 0)
    };
    assert!(eventually(PATIENCE, || comes_in(&renewed).then_some(())).is_some(), "{:#?}", bridge.log());
    assert!(!comes_in(&config), "its session is from before");
    assert_allowed(&mut engine, 3);
}

/// Ten renewals under load on both sides, on connections that last and on connections that come and go: no decision is lost.
#[test]
fn under_load() {
    let scene = Scene::new(Duration::from_millis(700));
    let stop = AtomicBool::new(false);
    let decided = std::thread::scope(|scope| {
        let load = |lasting: bool| {
            let (scene, stop) = (&scene, &stop);
            scope.spawn(move || {
                let (mut decided, mut engine) = (0, scene.engine());
                while !stop.load(Ordering::Relaxed) {
                    decided += 1;
                    assert_allowed(&mut engine, decided);
                    if !lasting && decided % 50 == 0 {
                        engine.disconnect();
                        engine = scene.engine();
                    }
                }
                decided
            })
        };
        let loads = [load(true), load(true), load(false), load(false)];
        for round in 0..10 {
            let renewed = scene.ca.issue(&["localhost"]);
            renewed.write_to(scene.folder.path());
            // Every other time the watch has to find it.
            if round % 2 == 0 {
                scene.bridge.signal(Signal::SIGHUP);
            }
            scene.wait_for(&renewed);
            let presented = eventually(PATIENCE, || {
                scene.seen.lock().unwrap().iter().any(|seen| seen.certificate == Some(renewed.der())).then_some(())
            });
            assert!(presented.is_some(), "the service was shown the certificate of round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        loads.into_iter().map(|load| load.join().unwrap()).sum::<u64>()
    });
    figure("decisions during 10 renewals, none lost", decided);
}
