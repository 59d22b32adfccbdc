//! The decision services of `examples/`, in every language: all decide alike, by both methods, also for a real HAProxy. All but Rust's
//! are made from the contract by their languages' own tools.

mod alike;
mod behind_haproxy;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::bridge::binary;
use crate::support::process::Process;
use crate::support::skipped;

/// Makes of `fn topic(language: &str)` one test for each language.
macro_rules! in_each_language {
    ($($topic:ident),+ $(,)?) => {
        $(mod $topic {
            #[test]
            fn rust() {
                super::$topic("rust");
            }

            #[test]
            fn python() {
                super::$topic("python");
            }

            #[test]
            fn go() {
                super::$topic("go");
            }

            #[test]
            fn node() {
                super::$topic("node");
            }

            #[test]
            fn java() {
                super::$topic("java");
            }
        })+
    };
}
use in_each_language;

/// Interpreters take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// How the service of a language is started; `None`, and reported as skipped, where it has not been built.
fn command(language: &str) -> Option<Command> {
    let (program, argument) = match language {
        // `cargo test` does not build it: the example has tests of its own.
        "rust" => (binary().with_file_name("examples").join("decision_service"), None),
        "python" => (repository(".cache/python/bin/python"), Some("examples/python/decision_service.py")),
        "go" => (repository(".cache/go/decision-service"), None),
        "node" => ("node".into(), Some("examples/node/dist/main.js")),
        "java" => ("java".into(), Some("examples/java/target/decisions.jar")),
        _ => unreachable!("{language}"),
    };
    let argument = argument.map(repository);
    let missing = [Some(&program), argument.as_ref()].into_iter().flatten().find(|path| path.is_absolute() && !path.exists());
    if let Some(missing) = missing {
        let by = if language == "rust" { "cargo build --example decision_service" } else { "tests/tools/setup.sh" };
        skipped(&format!("examples::{language}"), &format!("{} ({by})", missing.display()));
        return None;
    }
    let mut command = Command::new(program);
    if language == "java" {
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar"]);
    }
    command.args(argument);
    Some(command)
}

/// A running service.
struct Service {
    process: Process,
    /// `host:port`.
    address: String,
}

impl Service {
    fn start(language: &str, listen: &str, flags: &[&str]) -> Option<Service> {
        let process = Process::start(language, command(language)?.args(["--listen", listen]).args(flags));
        let address = process
            .output
            .wait_for(PATIENCE, |lines| lines.iter().find_map(|line| line.strip_prefix("listening on ").map(str::to_string)));
        let address = address.unwrap_or_else(|| panic!("{language}: {:?}", process.output.all()));
        Some(Service { process, address })
    }

    fn uri(&self) -> String {
        format!("http://{}", self.address)
    }
}
