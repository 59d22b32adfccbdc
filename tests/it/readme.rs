//! What README shows works as it stands there: the two services, HAProxy's side, the configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::same_path::PATHS;
use crate::support::bridge::{self, Bridge};
use crate::support::haproxy::{self, Haproxy, Setup};
use crate::support::http::get;
use crate::support::process::Process;
use crate::support::{eventually, free_address, skipped};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The `number`th fenced block of `language` in README.
fn block(language: &str, number: usize) -> String {
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    let fence = format!("```{language}\n");
    let block = readme.split(&fence).nth(number + 1).unwrap_or_else(|| panic!("README has no block {number} of {language}"));
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn the_python_service_decides_behind_the_haproxy_configuration_shown() {
    let interpreter = repository(".cache/python/bin/python");
    if !interpreter.exists() {
        skipped("readme::python", "a Python with grpcio (.cache/python)");
        return;
    }
    let address = free_address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("service.py");
    fs::write(&script, block("python", 0).replace("127.0.0.1:50051", &address)).unwrap();
    let mut command = Command::new(interpreter);
    let _service = Process::start("python", command.arg(script).env("PYTHONPATH", repository("examples/python/gen")));
    // One worker, so that what one request was told holds for all.
    let bridge = Bridge::start(&format!(
        "workers: 1\nbackends: {{ decisions: {{ endpoints: [\"http://{address}\"] }} }}\n\
         routes: [{{ messages: [\"*\"], backend: decisions, timeout: 5s }}]"
    ));
    for line in haproxy::ALL_LINES {
        let Some(binary) = haproxy::find_or_skip("readme", line) else { continue };
        let setup = Setup {
            proxies: block("haproxy", 0)
                .replace("bind :8080", "bind $FE")
                .replace("/etc/haproxy/spoe.cfg", "$DIR/spoe.cfg")
                .replace("127.0.0.1:9000", "$BRIDGE")
                + "\nbackend app\n    http-request return status 200 content-type text/plain string served\n",
            spoe: block("haproxy", 1).replace("timeout processing 100ms", "timeout processing 5s"),
            global: String::new(),
            master: false,
        };
        let haproxy = Haproxy::start(&binary, bridge.address(), &setup);
        let status = |path: &str| get(path).send(haproxy.frontend()).status;
        // 503 until the service is up, as the page says.
        let denied = eventually(Duration::from_secs(30), || (status("/admin") == 403).then_some(()));
        assert!(denied.is_some(), "{line}: {:?}", bridge.log());
        assert_eq!(status("/"), 200, "{line}");
        assert_eq!(PATHS.map(status), [403; 5], "{line}");
    }
}

#[test]
fn the_doctor_finds_nothing_in_the_haproxy_configuration_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("haproxy.cfg");
    let spoe = folder.path().join("spoe.cfg");
    let proxies = block("haproxy", 0).replace("/etc/haproxy/spoe.cfg", spoe.to_str().unwrap());
    fs::write(
        &file,
        format!("defaults\n    mode http\n    timeout client 5s\n{proxies}\nbackend app\n    server a 127.0.0.1:1 check\n"),
    )
    .unwrap();
    fs::write(&spoe, block("haproxy", 1)).unwrap();
    for line in haproxy::ALL_LINES {
        let mut command = bridge::command();
        let output =
            command.args(["haproxy", "doctor", "--deny-warnings", "--haproxy-version", line]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_go_handler_decides() {
    let module = repository("examples/go");
    if !module.join("gen/spopbridge").exists() {
        skipped("readme::go", "the generated Go code (examples/go/gen)");
        return;
    }
    let address = free_address().to_string();
    let program = format!(
        "package main\n\nimport (\n\t\"context\"\n\t\"net\"\n\t\"strings\"\n\n\t\"google.golang.org/grpc\"\n\n\t\
         pb \"example.com/decisions/gen/spopbridge/v1\"\n)\n\n\
         type decisions struct{{ pb.UnimplementedDecisionServiceServer }}\n\n{}\n\
         func main() {{\n\tlistener, err := net.Listen(\"tcp\", \"{address}\")\n\tif err != nil {{\n\t\tpanic(err)\n\t}}\n\t\
         server := grpc.NewServer()\n\tpb.RegisterDecisionServiceServer(server, decisions{{}})\n\tpanic(server.Serve(listener))\n}}\n",
        block("go", 0)
    );
    let folder = module.join("gen/readme");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("main.go"), program).unwrap();
    let binary = folder.join("readme");
    let mut build = Command::new("go");
    let built = build.args(["build", "-o"]).arg(&binary).arg("./gen/readme").current_dir(&module).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let _service = Process::start("go", &mut Command::new(binary));
    let bridge = Bridge::simple(&format!("http://{address}"), "5s");
    let agent = bridge.address().for_command_line();
    let ask = |path: &str| {
        let arg = format!("path={path}");
        let output = bridge::command().args(["notify", "--agent", &agent, "--message", "check-request", "--arg", &arg]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let denied = eventually(Duration::from_secs(30), || (ask("/admin") == "set-var txn.allow = bool:false\n").then_some(()));
    assert!(denied.is_some(), "{:?}", bridge.log());
    assert_eq!(ask("/"), "set-var txn.allow = bool:true\n");
    // HAProxy sends it decoded.
    for path in PATHS.map(|path| path.replace("%61", "a")) {
        assert_eq!(ask(&path), "set-var txn.allow = bool:false\n", "{path}");
    }
}

#[test]
fn the_configuration_shown_is_valid_and_makes_haproxys_side() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.yaml");
    fs::write(&file, block("yaml", 0)).unwrap();
    for arguments in [&["check"][..], &["haproxy", "generate", "--haproxy-version", "3.2"]] {
        let output = bridge::command().args(arguments).arg("--config").arg(&file).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
