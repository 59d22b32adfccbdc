//! The files of Unix sockets: held by a process that hangs, wanted by two at once, removed under a bridge that listens.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::address::Address;
use crate::support::bridge::{Bridge, NOT_RELOADED, PATIENCE, command};
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::http;
use crate::support::process::Process;
use crate::support::service::Service;
use crate::support::wire::Data;

/// A process that listens and accepts nothing any more, its backlog full.
fn hung(path: &Path) -> (Socket, UnixStream) {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    (socket, UnixStream::connect(path).unwrap())
}

fn config(service: &Service, listeners: &str) -> String {
    format!(
        "listeners: [{listeners}]\nbackends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 10s }}]",
        service.uri()
    )
}

fn ready(bridge: &Bridge) -> u16 {
    let Address::Tcp(admin) = bridge.admin() else { unreachable!() };
    http::get("/ready").send(admin).status
}

fn allows(bridge: &Bridge) {
    assert_eq!(bridge.engine().ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)));
}

fn run(path: &Path) -> Process {
    let listen = format!("unix:{}", path.display());
    let arguments = ["run", "--listen", &listen, "--admin", "off", "--backend", "http://127.0.0.1:1", "--drain-delay", "0s"];
    Process::start("spop-bridge", command().args(arguments))
}

#[test]
fn a_hung_listener_refuses_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    let _hung = hung(&path);
    let mut process = run(&path);
    assert_eq!(process.exit_code(PATIENCE), 4);
    let said = process.output.all().join("\n");
    assert!(said.contains("it may hang") && said.contains("ss -lxp"), "{said}");
}

#[test]
fn a_hung_listener_refuses_a_reload() {
    let service = Service::allowing();
    let main = "{ name: main, bind: \"127.0.0.1:0\" }";
    let mut bridge = Bridge::start(&config(&service, main));
    let mut engine = bridge.engine();
    let _hung = hung(&bridge.directory().join("s.sock"));
    let reload = bridge.reload(&config(&service, &format!("{main}, {{ name: side, bind: \"unix:$DIR/s.sock\" }}")));
    assert_eq!(reload["message"], NOT_RELOADED, "{reload}");
    assert!(bridge.problems()[0].contains("it may hang"), "{:?}", bridge.problems());
    engine.ask(1, "m", &[]);
    allows(&bridge);
    assert_eq!(ready(&bridge), 200);
    drop(engine);
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
}

/// Exactly one of those that want a path at the same time has it, whether a dead process has left its file there or not.
#[test]
fn one_of_several_has_the_path() {
    for round in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.sock");
        if round % 2 == 0 {
            drop(UnixListener::bind(&path).unwrap());
        }
        let mut processes: Vec<_> = (0..4).map(|_| run(&path)).collect();
        let settled = || {
            let ended = processes.iter_mut().filter_map(Process::ended).count();
            (ended == 3).then_some(())
        };
        assert!(eventually(PATIENCE, settled).is_some(), "three give way");
        let codes: Vec<_> = processes.iter_mut().filter_map(Process::ended).map(|status| status.code()).collect();
        assert_eq!(codes, [Some(4); 3]);
        Engine::open(&Address::Unix(path));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing beside it");
    }
}

#[test]
fn a_removed_file_comes_back() {
    let service = Service::allowing();
    let mut bridge = Bridge::start(&config(&service, "{ name: main, bind: \"unix:$DIR/s.sock\", unix: { mode: \"0600\" } }"));
    let mut before = bridge.engine();
    let path = bridge.directory().join("s.sock");
    fs::remove_file(&path).unwrap();
    assert!(eventually(PATIENCE, || UnixStream::connect(&path).ok()).is_some(), "{:?}", bridge.log());
    allows(&bridge);
    before.ask(1, "m", &[]);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
    let told = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains("bound again"));
    assert!(eventually(PATIENCE, || bridge.log().iter().any(told).then_some(())).is_some());
    drop(before);
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    assert!(!path.exists());
}

#[test]
fn the_admin_port_s_file_comes_back_too() {
    let service = Service::allowing();
    let main = "{ name: main, bind: \"127.0.0.1:0\" }";
    let bridge = Bridge::start(&format!("{}\nadmin: {{ bind: \"unix:$DIR/admin.sock\" }}\n", config(&service, main)));
    let path = bridge.directory().join("admin.sock");
    for _ in 0..2 {
        fs::remove_file(&path).unwrap();
        assert!(eventually(PATIENCE, || UnixStream::connect(&path).ok()).is_some(), "{:?}", bridge.log());
    }
}

/// What stands in its place is another's: it is left alone, told, and the bridge is not ready until it is gone.
#[test]
fn a_file_in_its_place_is_told() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, "{ name: main, bind: \"unix:$DIR/s.sock\" }"));
    let path: PathBuf = bridge.directory().join("s.sock");
    let other = bridge.directory().join("other");
    for kind in ["file", "listener"] {
        let _listener = if kind == "file" {
            fs::write(&other, "precious").unwrap();
            None
        } else {
            Some(UnixListener::bind(&other).unwrap())
        };
        fs::rename(&other, &path).unwrap();
        assert!(eventually(PATIENCE, || (ready(&bridge) == 503).then_some(())).is_some(), "{kind}");
        let told = |line: &serde_json::Value| {
            line["level"] == "ERROR" && line["message"].as_str().is_some_and(|text| text.contains("bound again"))
        };
        assert!(eventually(PATIENCE, || bridge.log().iter().any(told).then_some(())).is_some());
        bridge.signal(Signal::SIGHUP);
        assert!(path.exists(), "left alone");
        fs::remove_file(&path).unwrap();
        assert!(eventually(PATIENCE, || (ready(&bridge) == 200).then_some(())).is_some(), "{kind}");
        allows(&bridge);
    }
}
