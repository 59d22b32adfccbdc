//! The socket file: who may connect, what is in the way, and what is left behind.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::address::Address;
use crate::support::bridge::{Bridge, PATIENCE, command};
use crate::support::engine::Engine;
use crate::support::process::Process;
use crate::support::service::Service;

fn config(service: &Service, path: &Path, options: &str) -> String {
    format!(
        "listeners: [{{ name: main, bind: \"unix:{}\"{options} }}]\nbackends: {{ decisions: {{ endpoints: [\"{}\"] }} }}",
        path.display(),
        service.uri()
    )
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spop.sock");
    (directory, path)
}

/// Fails to start: its exit code and what it says.
fn refused(service: &Service, path: &Path) -> (i32, String) {
    let (directory, _) = place();
    let file = directory.path().join("bridge.yaml");
    std::fs::write(&file, config(service, path, "")).unwrap();
    let mut process = Process::start("spop-bridge", command().arg("run").arg("--config").arg(&file));
    let code = process.exit_code(PATIENCE);
    (code, process.output.all().join("\n"))
}

#[test]
fn mode_is_0660_unless_told_otherwise() {
    let service = Service::allowing();
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let options = [("", 0o660), (", unix: { mode: \"0600\" }", 0o600), (", unix: { mode: \"0666\" }", 0o666)];
    for (option, mode) in options {
        let (_directory, path) = place();
        let bridge = Bridge::start(&config(&service, &path, option));
        let meta = std::fs::metadata(&path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{option}");
        assert_eq!(meta.uid(), uid);
        assert_eq!(bridge.address(), &Address::Unix(path));
        bridge.engine().ask(1, "m", &[]);
    }
}

#[test]
fn owner_by_number() {
    let service = Service::allowing();
    let (_directory, path) = place();
    let meta = std::fs::metadata("/proc/self").unwrap();
    let (user, group) = if meta.uid() == 0 { (12_345, 23_456) } else { (meta.uid(), meta.gid()) };
    let _bridge = Bridge::start(&config(&service, &path, &format!(", unix: {{ user: \"{user}\", group: \"{group}\" }}")));
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (user, group));
}

#[test]
fn a_stale_file_is_replaced() {
    let service = Service::allowing();
    let (_directory, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind by somebody who was killed");
    let bridge = Bridge::start(&config(&service, &path, ""));
    bridge.engine().ask(1, "m", &[]);
}

#[test]
fn a_live_socket_is_not_taken_away() {
    let service = Service::allowing();
    let (_directory, path) = place();
    let first = Bridge::start(&config(&service, &path, ""));
    let (code, said) = refused(&service, &path);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("spop.sock"), "{said}");
    first.engine().ask(1, "m", &[]);
}

#[test]
fn other_files_are_not_touched() {
    let service = Service::allowing();
    let (directory, path) = place();
    std::fs::write(&path, "precious").unwrap();
    let (code, said) = refused(&service, &path);
    assert_eq!(code, 4, "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let (code, said) = refused(&service, &directory.path().join("no/such/folder/spop.sock"));
    assert_eq!(code, 4, "{said}");
}

#[test]
fn the_file_is_removed_at_exit() {
    let service = Service::allowing();
    let (_directory, path) = place();
    let mut bridge = Bridge::start(&config(&service, &path, ""));
    let mut engine = Engine::open(bridge.address());
    bridge.terminate();
    assert_eq!(engine.expect_disconnect().0, 0);
    assert_eq!(bridge.exit_code(), 0);
    assert!(!path.exists());
}
