//! What `check` and `run` say about the files that a configuration names.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{assert_allowed, logged};
use crate::support::bridge::{Bridge, command};
use crate::support::engine::Engine;
use crate::support::host::Bound;
use crate::support::service::{Answer, Service, allow};
use crate::support::tls::Ca;

/// Exit code, standard output and standard error.
fn output(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn config(folder: &Path, text: &str) -> std::path::PathBuf {
    let file = folder.join("bridge.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn problems_with_files_are_problems_of_the_configuration() {
    let (ca, folder) = (Ca::new("ca"), tempfile::tempdir().unwrap());
    let (one, other) = (ca.issue(&["localhost"]), ca.issue(&["localhost"]));
    let file = config(
        folder.path(),
        &format!(
            "listeners: [{{ bind: \"127.0.0.1:0\", tls: {{ certificate: {}, key: {} }} }}]\n\
             backends: {{ decisions: {{ endpoints: [\"https://localhost:1\"], tls: {{ ca: /nowhere/ca.pem }} }} }}\n",
            one.certificate().display(),
            other.key().display()
        ),
    );
    for subcommand in ["check", "run"] {
        let (code, out, err) = output(command().arg(subcommand).arg("--config").arg(&file));
        assert_eq!((code, &out[..]), (3, ""), "{err}");
        let lines: Vec<_> = err.lines().collect();
        assert_eq!(lines.len(), 2, "{err}");
        let named = file.display();
        assert!(
            lines[0].contains(&format!(
                "{named}: backends.decisions.tls.ca: found /nowhere/ca.pem, which cannot be read: No such file"
            )),
            "{err}"
        );
        let expected = format!(
            "{named}: listeners[0].tls.key: found {}, which is not the key of {}, expected the key of the first certificate in that file",
            other.key().display(),
            one.certificate().display()
        );
        assert_eq!(lines[1], expected);
        assert!(!err.contains("PRIVATE"), "{err}");
    }
}

/// It may be the clock, and whoever minds will say so.
#[test]
fn an_expired_certificate_is_a_warning() {
    let (ca, folder, service) = (Ca::new("ca"), tempfile::tempdir().unwrap(), Service::allowing());
    let text = format!(
        "listeners: [{{ name: main, bind: \"127.0.0.1:0\", tls: {{ {} }} }}]\nbackends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n",
        ca.issue_expired(&["localhost"]).yaml(),
        service.uri()
    );
    let (code, out, err) = output(command().arg("check").arg("--config").arg(config(folder.path(), &text)));
    assert_eq!((code, &err[..]), (0, ""));
    assert!(
        out.starts_with("warning: listeners[0].tls.certificate: ") && out.contains("expired on Sat, 01 Feb 2020 00:00:00 GMT"),
        "{out}"
    );
    let bridge = Bridge::start(&text);
    let warning = logged(&bridge, "configuration")["warning"].as_str().unwrap().to_owned();
    assert!(warning.contains("expired on Sat, 01 Feb 2020"), "{warning}");
}

/// Without `ca` the system says who is trusted; `SSL_CERT_FILE` stands for the system here.
#[test]
fn the_system_s_cas() {
    let (ca, folder) = (Ca::new("ca"), tempfile::tempdir().unwrap());
    let (bound, _) = Bound::tls(ca.issue(&["localhost"]).grpc_server(None));
    let service = Service::bound(bound, |_| Answer::Actions(vec![allow()]));
    let endpoint = service.uri().replace("127.0.0.1", "localhost");
    let run = ["run", "--listen", "127.0.0.1:0", "--log-format", "json", "--timeout", "5s", "--backend", &endpoint];
    let mut trusting = command();
    trusting.args(run).env("SSL_CERT_FILE", ca.file()).env_remove("SSL_CERT_DIR");
    let bridge = Bridge::start_command(&mut trusting, 1, folder);
    assert_allowed(&mut Engine::open(bridge.listener("127.0.0.1:0")), 1);

    let empty = tempfile::NamedTempFile::new().unwrap();
    let (code, out, err) = output(command().args(run).env("SSL_CERT_FILE", empty.path()).env_remove("SSL_CERT_DIR"));
    assert_eq!((code, &out[..]), (3, ""));
    assert!(err.contains("backends.default.tls.ca: found nothing, and no CA certificates on this system"), "{err}");
    assert!(err.contains("ca-certificates") && err.contains("SSL_CERT_FILE"), "{err}");
}
