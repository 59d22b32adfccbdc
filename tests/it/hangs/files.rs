//! Files that are none: pipes that nobody writes to, devices without an end, folders, sockets, and more than anyone would write.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::address::Address;
use crate::support::bridge::{Bridge, NOT_RELOADED, PATIENCE, command};
use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::host::Bound;
use crate::support::http;
use crate::support::process::Process;
use crate::support::service::{Answer, Service, allow};
use crate::support::tls::Ca;
use crate::support::wire::Data;

/// What stands in a file's place, and what is said of it.
const ODD: [(&str, &str); 7] = [
    ("pipe", "is a named pipe, not a regular file"),
    ("link to a pipe", "is a named pipe, not a regular file"),
    ("link to /dev/zero", "is a device, not a regular file"),
    ("folder", "is a directory, not a regular file"),
    ("socket", "is a socket, not a regular file"),
    ("200 MiB", "is larger than "),
    ("nothing", "cannot be read: No such file"),
];

/// Puts something odd in the place of `path`, in one step.
fn replace(path: &Path, odd: &str) {
    let beside = path.with_extension("odd");
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let _ = fs::remove_file(&beside);
    match odd {
        "pipe" => pipe(&beside),
        "link to a pipe" => {
            let target = path.with_extension("pipe");
            let _ = fs::remove_file(&target);
            pipe(&target);
            symlink(target, &beside).unwrap();
        }
        "link to /dev/zero" => symlink("/dev/zero", &beside).unwrap(),
        "folder" => {
            fs::create_dir(&beside).unwrap();
            fs::remove_file(path).unwrap();
        }
        "socket" => drop(UnixListener::bind(&beside).unwrap()),
        "200 MiB" => fs::File::create(&beside).unwrap().set_len(200 << 20).unwrap(),
        _ => return fs::remove_file(path).unwrap(),
    }
    fs::rename(&beside, path).unwrap();
}

/// Puts a file there again.
fn restore(path: &Path, content: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).unwrap();
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    }
    fs::rename(beside, path).unwrap();
}

/// Old and new connections decide, the admin port answers.
fn assert_alive(bridge: &Bridge, old: &mut Engine, what: &str) {
    let Address::Tcp(admin) = bridge.admin() else { unreachable!() };
    assert_eq!(http::get("/live").send(admin).status, 200, "{what}");
    for engine in [old, &mut bridge.engine()] {
        assert_eq!(engine.ask(1, "m", &[]).value("txn.allow"), Some(&Data::Bool(true)), "{what}");
    }
}

fn config(service: &Service) -> String {
    format!(
        "backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\nroutes: [{{ messages: [\"*\"], backend: decisions, timeout: 10s }}]",
        service.uri()
    )
}

/// The watch finds it, and so does SIGHUP. The configuration before goes on, and one SIGTERM ends it.
#[test]
fn in_the_place_of_the_configuration_while_it_runs() {
    for (odd, said) in ODD {
        let service = Service::allowing();
        let mut bridge = Bridge::start(&config(&service));
        let mut engine = bridge.engine();
        let file = bridge.directory().join("bridge.yaml");
        replace(&file, odd);
        for (number, hangup) in [false, true].into_iter().enumerate() {
            if hangup {
                bridge.signal(Signal::SIGHUP);
            }
            let reload = bridge.wait_for_reload(number);
            assert_eq!(reload["message"], NOT_RELOADED, "{odd}: {reload}");
            let problem = bridge.problems().pop().unwrap();
            assert!(problem.contains(said) && problem.contains("bridge.yaml"), "{odd}: {problem}");
            assert_alive(&bridge, &mut engine, odd);
        }
        assert!(bridge.resident_kib() < 200 << 10, "{odd}: {} KiB", bridge.resident_kib());
        drop(engine);
        bridge.terminate();
        assert_eq!(bridge.exit_code(), 0, "{odd}");
    }
}

#[test]
fn in_the_place_of_the_configuration_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bridge.yaml");
    for (odd, said) in ODD {
        restore(&file, b"");
        replace(&file, odd);
        let mut process = Process::start("spop-bridge", command().args(["run", "--config"]).arg(&file));
        assert_eq!(process.exit_code(PATIENCE), 3, "{odd}");
        let output = process.output.all().join("\n");
        assert!(output.contains(said) && output.contains("bridge.yaml"), "{odd}: {output}");
    }
}

/// Of a listener and of a backend: what was read before goes on, and what comes next is taken.
#[test]
fn in_the_place_of_certificates_and_keys() {
    let ca = Ca::new("ca");
    let (bound, _) = Bound::tls(ca.issue(&["localhost"]).grpc_server(None));
    let service = Service::bound(bound, |_| Answer::Actions(vec![allow()]));
    let own = ca.issue(&["localhost"]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let files = [("ca", ca.file().to_owned()), ("crt", own.certificate().to_owned()), ("key", own.key().to_owned())];
    files.iter().for_each(|(name, from)| _ = fs::copy(from, at(name)).unwrap());
    let mut bridge = Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"127.0.0.1:0\" }}, {{ name: side, bind: \"127.0.0.1:0\", tls: {{ certificate: {crt}, key: {key} }} }}]\n\
         backends: {{ a: {{ endpoints: [\"{}\"], tls: {{ ca: {ca}, certificate: {crt}, key: {key} }} }} }}\n\
         routes: [{{ messages: [\"*\"], backend: a, timeout: 10s }}]",
        service.uri().replace("127.0.0.1", "localhost"),
        ca = at("ca").display(),
        crt = at("crt").display(),
        key = at("key").display(),
    ));
    let mut engine = bridge.engine();
    let mut reloads = 0;
    for (name, from) in &files {
        // All of them once is enough: they are read the same way.
        for (odd, said) in ODD.into_iter().filter(|(odd, _)| *name == "crt" || odd.starts_with("link")) {
            replace(&at(name), odd);
            let reload = bridge.wait_for_reload(reloads);
            assert_eq!(reload["message"], NOT_RELOADED, "{name}, {odd}: {reload}");
            let problem = bridge.problems().pop().unwrap();
            assert!(problem.contains(said) && problem.contains(at(name).to_str().unwrap()), "{name}, {odd}: {problem}");
            assert_alive(&bridge, &mut engine, odd);
            restore(&at(name), &fs::read(from).unwrap());
            bridge.wait_for_reload(reloads + 1);
            reloads += 2;
        }
    }
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
}

/// The files of OpenTelemetry's variables are read for each connection, by the control thread's helper.
#[test]
fn in_the_place_of_files_of_otlp() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    for (odd, said) in ODD {
        restore(&file, b"");
        replace(&file, odd);
        let service = Service::allowing();
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ];
        let mut bridge = Bridge::start_with(&config(&service), &variables);
        let mut engine = bridge.engine();
        let told = || bridge.log().iter().any(|line| line["error"].as_str().is_some_and(|error| error.contains(said)));
        assert!(eventually(PATIENCE, || told().then_some(())).is_some(), "{odd}: {:?}", bridge.log());
        assert_alive(&bridge, &mut engine, odd);
        drop(engine);
        bridge.terminate();
        assert_eq!(bridge.exit_code(), 0, "{odd}");
    }
}

/// A file that does not answer: another process has a lease on it, and does not give it back. Whoever opens it waits, as for a file server
/// that is away.
struct Silent(Process);

impl Silent {
    fn new(file: &Path) -> Silent {
        let script = "import fcntl, os, signal, sys, time\n\
                      signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
                      fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
                      print('held', flush=True)\n\
                      time.sleep(600)";
        let process = Process::start("lease", Command::new("python3").args(["-c", script]).arg(file));
        let held = process.output.wait_for(PATIENCE, |lines| lines.iter().any(|line| line == "held").then_some(()));
        assert!(held.is_some(), "{:?}", process.output.all());
        Silent(process)
    }

    /// It answers again.
    fn end(self) {
        self.0.signal(Signal::SIGKILL);
    }
}

/// Longer than the limit of what is asked, and less than the kernel leaves a lease to its holder.
const LONG: Duration = Duration::from_secs(40);

/// Of the configuration, of what it names, and of what a library reads: told with the file's name, and a signal ends it before.
#[test]
fn what_hangs_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("good.yaml"), "backends: { a: { endpoints: [\"https://localhost:1\"], tls: { ca: ca.pem } } }\n").unwrap();
    for file in ["bridge.yaml", "ca.pem", "cas.pem"] {
        fs::write(at(file), "").unwrap();
    }
    let by_flag = ["--backend", "https://localhost:1"];
    for (file, arguments) in
        [("bridge.yaml", ["--config", "bridge.yaml"]), ("ca.pem", ["--config", "good.yaml"]), ("cas.pem", by_flag)]
    {
        let start = || {
            let mut run = command();
            run.arg("run").args(arguments).args(["--listen", "127.0.0.1:0"]).current_dir(folder.path());
            run.env("SSL_CERT_DIR", folder.path()).env_remove("SSL_CERT_FILE");
            Process::start("spop-bridge", &mut run)
        };
        let _silent = Silent::new(&at(file));
        let mut told = start();
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut stopped = start();
            crate::reload::wait_until_it_catches(&stopped, &[Signal::SIGTERM, Signal::SIGINT]);
            stopped.signal(signal);
            assert_eq!(stopped.exit_code(PATIENCE), 0, "{file}, {signal}");
        }
        assert_eq!(told.exit_code(LONG), 3, "{file}");
        let output = told.output.all().join("\n");
        let name = if file == "cas.pem" { "SSL_CERT_DIR" } else { file };
        assert!(output.contains(name) && output.contains("no answer for 10 s"), "{output}");
    }
}

/// It is told once, costs one thread, and is taken when it answers.
#[test]
fn what_hangs_while_it_runs() {
    let service = Service::allowing();
    let mut bridge = Bridge::start(&config(&service));
    let mut engine = bridge.engine();
    let threads = || fs::read_dir(format!("/proc/{}/task", bridge.pid())).unwrap().count();
    let before = threads();
    let file = bridge.directory().join("bridge.yaml");
    let next = bridge.directory().join("next.yaml");
    fs::write(&next, fs::read_to_string(&file).unwrap() + "\nstatus_variable: txn.other\n").unwrap();
    let silent = Silent::new(&next);
    fs::rename(&next, &file).unwrap();
    bridge.signal(Signal::SIGHUP);
    for _ in 0..5 {
        assert_alive(&bridge, &mut engine, "while it hangs");
    }
    let told = || bridge.problems().pop().filter(|problem| problem.contains("bridge.yaml: no answer for 10 s"));
    assert!(eventually(LONG, told).is_some(), "{:?}", bridge.log());
    // Asked again, it says so at once, and does not begin another attempt.
    for number in 1..4 {
        bridge.signal(Signal::SIGHUP);
        assert_eq!(bridge.wait_for_reload(number)["message"], NOT_RELOADED);
    }
    assert!(threads() <= before + 2, "{} threads, {before} before", threads());
    assert_alive(&bridge, &mut engine, "after it has hung");
    silent.end();
    assert_eq!(bridge.wait_for_reload(4)["changes"], "status_variable changed");
    drop(engine);
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
}

/// One that hangs when the bridge is to stop.
#[test]
fn a_stop_does_not_wait_for_what_hangs() {
    let service = Service::allowing();
    let mut bridge = Bridge::start(&config(&service));
    let next = bridge.directory().join("next.yaml");
    fs::write(&next, "").unwrap();
    let _silent = Silent::new(&next);
    fs::rename(&next, bridge.directory().join("bridge.yaml")).unwrap();
    bridge.signal(Signal::SIGHUP);
    let reads =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.ends_with("reading the configuration again"));
    assert!(eventually(PATIENCE, || bridge.log().iter().any(reads).then_some(())).is_some());
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
}

/// Pipes that an operator names on purpose are read, as far as it makes sense, by commands that end.
#[test]
fn commands_that_end_read_pipes_and_standard_input() {
    let text = "backends: { a: { endpoints: [\"http://127.0.0.1:1\"] } }\n\
                routes: [{ messages: [m], backend: a, timeout: 1s, haproxy: { event: on-frontend-http-request } }]\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    fs::write(&file, text).unwrap();
    let haproxy = folder.path().join("haproxy.cfg");
    fs::write(&haproxy, "defaults\n").unwrap();
    for (source, code) in [("cat \"$0\"", 0), ("cat /dev/zero", 3), ("head -c 209715200 /dev/zero", 3)] {
        for arguments in [
            "check --config -",
            "check --config /dev/stdin",
            "haproxy generate --config -",
            "haproxy generate --config /dev/stdin",
            "haproxy doctor --config - \"$1\"",
            "haproxy doctor \"$1\" --config /dev/stdin",
        ] {
            let mut shell = Command::new("sh");
            let script = format!("{source} 2>/dev/null | \"$2\" {arguments}");
            shell.args(["-c", &script]).arg(&file).arg(&haproxy).arg(command().get_program()).stdin(Stdio::null());
            let output = shell.output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{script}: {output:?}");
        }
    }
}

/// `run` reads standard input once, and says of a pipe what to do instead.
#[test]
fn run_reads_standard_input_once() {
    let service = Service::allowing();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.yaml");
    let text = config(&service) + "\nlisteners: [{ name: main, bind: \"127.0.0.1:0\" }]\nlog: { format: json }\n";
    fs::write(&file, text).unwrap();
    for name in ["-", "/dev/stdin"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" < \"$0\""]).arg(&file).arg(command().get_program()).args([
            "run",
            "--drain-delay",
            "0s",
            "--config",
            name,
        ]);
        let mut bridge = Bridge::start_command(&mut shell, 1, tempfile::tempdir().unwrap());
        bridge.engine().ask(1, "m", &[]);
        bridge.signal(Signal::SIGHUP);
        let told = |line: &serde_json::Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("nothing to reload: the configuration is the standard input"))
        };
        assert!(eventually(PATIENCE, || bridge.log().iter().any(told).then_some(())).is_some(), "{:?}", bridge.log());
        bridge.terminate();
        assert_eq!(bridge.exit_code(), 0);
    }
}
