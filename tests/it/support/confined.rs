//! The real binary with less than a test has: fewer descriptors, no rights.

use std::path::Path;
use std::process::Command;

use super::bridge::{Bridge, binary};

/// Runs the bridge with this YAML and so many file descriptors, hard and soft.
pub(crate) fn with_open_files(limit: usize, config: &str) -> Bridge {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {limit} && exec \"$@\""), "sh"]);
    under(&mut shell, &binary(), config)
}

/// Runs the bridge at `binary` as an argument of `wrapper`, with a configuration that everybody can read.
pub(crate) fn under(wrapper: &mut Command, binary: &Path, config: &str) -> Bridge {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = directory.path().join("bridge.yaml");
    std::fs::write(&file, format!("{config}\nlog: {{ level: debug, format: json }}\n")).unwrap();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPOP_BRIDGE_")) {
        wrapper.env_remove(name);
    }
    let listeners = config.matches("bind:").count();
    Bridge::start_command(wrapper.arg(binary).arg("run").arg("--config").arg(&file), listeners, directory)
}
