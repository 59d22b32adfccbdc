//! The file is looked at, without a signal.

use std::os::unix::fs::symlink;
use std::time::Duration;

use super::{assert_refused, changes, config};
use crate::support::bridge::{Bridge, command};
use crate::support::service::Service;

#[test]
fn a_file_that_is_replaced_or_written() {
    let service = Service::allowing();
    let bridge = Bridge::start(&config(&service, ""));
    bridge.write(&config(&service, "status_variable: txn.other\n"));
    assert_eq!(changes(&bridge.wait_for_reload(0)), "status_variable changed");
    let file = bridge.directory().join("bridge.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("txn.other", "txn.third")).unwrap();
    assert_eq!(changes(&bridge.wait_for_reload(1)), "status_variable changed");
    // The same again is no change, and what is refused is refused once.
    bridge.write(&config(&service, "status_variable: txn.third\n"));
    std::fs::write(&file, "backends: [").unwrap();
    assert_refused(&bridge.wait_for_reload(2));
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(bridge.reloads().len(), 3, "{:?}", bridge.reloads());
}

/// As the kubelet does it.
#[test]
fn a_config_map() {
    let service = Service::allowing();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let version = |name: &str, more: &str| {
        std::fs::create_dir(at(name)).unwrap();
        let rest = "listeners: [{ name: main, bind: \"127.0.0.1:0\" }]\nlog: { format: json }\n";
        std::fs::write(at(name).join("bridge.yaml"), config(&service, more) + rest).unwrap();
    };
    version("..2024_01", "");
    symlink("..2024_01", at("..data")).unwrap();
    symlink("..data/bridge.yaml", at("bridge.yaml")).unwrap();
    let mut run = command();
    run.args(["run", "--config"]).arg(at("bridge.yaml"));
    let bridge = Bridge::start_command(&mut run, 1, tempfile::tempdir().unwrap());
    let mut engine = bridge.engine();
    engine.ask(1, "m", &[]);
    for (number, (old, new, variable)) in
        [("..2024_01", "..2024_02", "txn.two"), ("..2024_02", "..2024_03", "txn.three")].into_iter().enumerate()
    {
        version(new, &format!("status_variable: {variable}\n"));
        symlink(new, at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        std::fs::remove_dir_all(at(old)).unwrap();
        assert_eq!(changes(&bridge.wait_for_reload(number)), "status_variable changed");
    }
    engine.ask(2, "m", &[]);
}
