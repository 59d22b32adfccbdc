//! `run`: from a file, from flags, from the environment, in that order of precedence backwards.

use std::net::TcpListener;

use super::{code, ended, file, spop_bridge};
use crate::support::address::Address;
use crate::support::bridge::{Bridge, command};
use crate::support::free_address;
use crate::support::service::Service;
use crate::support::wire::Data;

#[test]
fn without_a_file() {
    let service = Service::allowing();
    let arguments = ["run", "--listen", "127.0.0.1:0", "--backend", service.uri(), "--timeout", "3s", "--log-format", "json"];
    let bridge = start(&mut command(), &arguments, 1);
    let ack = bridge.listener("127.0.0.1:0").clone();
    let ack = crate::support::engine::Engine::open(&ack).ask(1, "any-message", &[]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)));
    assert!(service.only_call().timeout().unwrap() <= std::time::Duration::from_secs(3));
}

#[test]
fn by_environment() {
    let service = Service::allowing();
    let mut command = command();
    command
        .env("SPOP_BRIDGE_LISTEN", "127.0.0.1:0")
        .env("SPOP_BRIDGE_BACKEND", service.uri())
        .env("SPOP_BRIDGE_TIMEOUT", "3s")
        .env("SPOP_BRIDGE_LOG_FORMAT", "json")
        .env("SPOP_BRIDGE_ADMIN", "127.0.0.1:0")
        .env("SPOP_BRIDGE_WORKERS", "1");
    let bridge = start(&mut command, &["run"], 1);
    assert!(matches!(bridge.admin(), Address::Tcp(_)));
    let ack = crate::support::engine::Engine::open(bridge.listener("127.0.0.1:0")).ask(1, "m", &[]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)));
}

/// A flag wins over the environment, both over the file.
#[test]
fn flags_environment_file() {
    let (of_file, of_environment, of_flag) = (free_address(), free_address(), free_address());
    let service = Service::allowing();
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        directory.path(),
        &format!(
            "listeners: [{{ bind: \"{of_file}\" }}]\nbackends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\nlog: {{ format: text }}",
            service.uri()
        ),
    );
    let path = path.to_str().unwrap();
    let bound = |command: &mut std::process::Command, arguments: &[&str]| {
        let bridge = start(command.env("SPOP_BRIDGE_LOG_FORMAT", "json"), arguments, 1);
        let log = bridge.log();
        let listening = log.iter().find(|line| line["message"] == "listening").expect("a line");
        Address::parse(listening["address"].as_str().unwrap())
    };
    assert_eq!(bound(&mut command(), &["run", "--config", path]), Address::Tcp(of_file));
    let with_environment = || {
        let mut command = command();
        command.env("SPOP_BRIDGE_LISTEN", of_environment.to_string());
        command
    };
    assert_eq!(bound(&mut with_environment(), &["run", "--config", path]), Address::Tcp(of_environment));
    let flag = of_flag.to_string();
    assert_eq!(bound(&mut with_environment(), &["run", "--config", path, "--listen", &flag]), Address::Tcp(of_flag));
    let mut by_variable = command();
    by_variable.env("SPOP_BRIDGE_CONFIG", path);
    assert_eq!(bound(&mut by_variable, &["run"]), Address::Tcp(of_file));
}

#[test]
fn several_listeners() {
    let service = Service::allowing();
    let arguments = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "[::1]:0",
        "--backend",
        service.uri(),
        "--log-format",
        "json",
        "--timeout",
        "3s",
    ];
    let bridge = start(&mut command(), &arguments, 2);
    for listener in ["127.0.0.1:0", "[::1]:0"] {
        let ack = crate::support::engine::Engine::open(bridge.listener(listener)).ask(1, "m", &[]);
        assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)), "{listener}");
    }
}

#[test]
fn variables_in_the_file_are_expanded() {
    let service = Service::allowing();
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        directory.path(),
        "listeners: [{ name: \"${LISTENER_NAME:-by-default}\", bind: \"127.0.0.1:0\" }]\n\
         backends: { decisions: { endpoints: [\"${DECISIONS}\"], metadata: { x-price: \"$$5\" } } }\nlog: { format: json }\n\
         routes: [{ messages: [\"*\"], backend: decisions, timeout: 3s }]",
    );
    let bridge = start(command().env("DECISIONS", service.uri()), &["run", "--config", path.to_str().unwrap()], 1);
    crate::support::engine::Engine::open(bridge.listener("by-default")).ask(1, "m", &[]);
    assert_eq!(service.only_call().metadata["x-price"], "$5");
}

#[test]
fn a_file_and_flags_that_contradict_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "backends: { decisions: { endpoints: [\"http://127.0.0.1:1\"] } }");
    let path = path.to_str().unwrap();
    assert_eq!(spop_bridge(&["run", "--config", path, "--backend", "http://127.0.0.1:2"]).0, code::USAGE);
    assert_eq!(spop_bridge(&["run", "--config", path, "--timeout", "5ms"]).0, code::USAGE);
}

#[test]
fn an_invalid_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "backends: {}\nlisten: 1\n");
    let (exit, _, err) = spop_bridge(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(exit, code::CONFIG);
    assert!(err.contains("listen"), "{err}");
    let (exit, ..) = spop_bridge(&["run", "--config", "/no/such/file.yaml"]);
    assert_eq!(exit, code::CONFIG);
}

#[test]
fn an_address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (exit, _, err) = spop_bridge(&["run", "--listen", &address, "--backend", "http://127.0.0.1:1"]);
    assert_eq!(exit, code::START, "{err}");
    assert!(err.contains(&address), "{err}");
}

/// Text is for people, JSON for machines; without a terminal, auto means JSON.
#[test]
fn log_formats() {
    let directory = tempfile::tempdir().unwrap();
    for (format, json) in [("auto", true), ("json", true), ("text", false)] {
        let arguments =
            ["run", "--listen", "127.0.0.1:0", "--backend", "http://127.0.0.1:1", "--drain-delay", "0s", "--log-format", format];
        let mut process =
            crate::support::process::Process::start("spop-bridge", command().args(arguments).current_dir(&directory));
        let patience = std::time::Duration::from_secs(10);
        let line = process.output.wait_for(patience, |lines| lines.iter().find(|line| line.contains("listening")).cloned());
        let line = line.expect("a line that says where it listens");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), json, "{format}: {line}");
        assert!(!line.contains('\u{1b}'), "no colours without a terminal: {line}");
        process.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(process.exit_code(patience), code::SUCCESS);
    }
}

/// A line for what an operator cares about, none per NOTIFY.
#[test]
fn the_log_is_quiet_at_info() {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let mut engine = bridge.engine();
    engine.ask(1, "m", &[]);
    let before = bridge.log().len();
    for stream in 2..300 {
        engine.ask(stream, "m", &[]);
    }
    let added = bridge.log().len() - before;
    assert!(added < 5, "{added} lines for 298 decisions: {:?}", bridge.log());
}

fn start(command: &mut std::process::Command, arguments: &[&str], listeners: usize) -> Bridge {
    Bridge::start_command(command.args(arguments), listeners, tempfile::tempdir().unwrap())
}

/// The command is checked before anything is bound or written.
#[test]
fn nothing_is_left_behind_by_a_failed_start() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("spop.sock");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = [format!("unix:{}", socket.display()), taken.local_addr().unwrap().to_string()];
    let (exit, ..) =
        ended(command().args(["run", "--listen", &listen[0], "--listen", &listen[1], "--backend", "http://127.0.0.1:1"]));
    assert_eq!(exit, code::START);
    assert!(!socket.exists(), "the socket file of the first listener");
}

/// What stands in an error says what to do.
#[test]
fn addresses_that_cannot_be_had() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("unix:{}", directory.path().join(name).display());
    std::fs::write(directory.path().join("file"), "").unwrap();
    for (listen, advice) in [
        ("192.0.2.1:9000".to_owned(), "ip address"),
        ("no-such-name.invalid:9000".to_owned(), "a name must be one that this machine can resolve"),
        (at("file"), "Remove what is there"),
        (at("no/folder/s.sock"), "Create the folder"),
        (at("file/s.sock"), "Choose a path whose folder is one"),
    ] {
        let (exit, _, err) = spop_bridge(&["run", "--listen", &listen, "--backend", "http://127.0.0.1:1"]);
        assert_eq!(exit, code::START, "{err}");
        assert!(err.contains(advice), "{listen}: {err}");
    }
}

/// As another user, without capabilities, on a port below 1024.
#[test]
fn a_privileged_port() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("spop-bridge");
    std::fs::copy(crate::support::bridge::binary(), &copy).unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut run = std::process::Command::new("setpriv");
    run.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]).arg(&copy);
    let (exit, _, err) = ended(run.args(["run", "--listen", "127.0.0.1:900", "--backend", "http://127.0.0.1:1"]));
    let is_unprivileged =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").is_ok_and(|port| port.trim() == "1024");
    if err.contains("setpriv") || !is_unprivileged {
        return crate::support::skipped("a_privileged_port", "the right to become another user");
    }
    assert_eq!(exit, code::START, "{err}");
    assert!(err.contains("CAP_NET_BIND_SERVICE") && err.contains("1024"), "{err}");
}
