//! As the container runs it: no root, no capabilities, nothing to write to.

use std::process::{Command, Stdio};

use super::descriptors::config;
use crate::support::bridge::binary;
use crate::support::confined::under;
use crate::support::service::{Answer, Service, allow};
use crate::support::wire::Data;
use crate::support::{figure, skipped};

/// Nobody, without groups, capabilities or the hope of any.
const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs";

/// In a mount namespace of one's own.
const READ_ONLY: &str = "mount -o remount,bind,ro /";

#[test]
fn runs_without_rights_and_without_a_place_to_write() {
    let can = |script: &str| {
        let shell = Command::new("unshare").args(["-m", "sh", "-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        shell.is_ok_and(|status| status.success())
    };
    if !can(&format!("{READ_ONLY} && {NOBODY} true")) {
        return skipped(
            "runs_without_rights_and_without_a_place_to_write",
            "the right to unshare mounts and to become another user",
        );
    }
    let service = Service::start(|_| Answer::Actions(vec![allow()]));
    // Where everybody can run it, whatever the folder of the build allows.
    let directory = tempfile::tempdir().unwrap();
    open_to_all(directory.path());
    let copy = directory.path().join("spop-bridge");
    std::fs::copy(binary(), &copy).unwrap();
    let mut wrapper = Command::new("unshare");
    wrapper.args(["-m", "sh", "-c", &format!("{READ_ONLY} && exec {NOBODY} \"$@\""), "sh"]);
    let mut bridge = under(&mut wrapper, &copy, &config(&service));

    let status = bridge.proc("status");
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name").trim();
    assert_eq!(field("Uid:"), "65534\t65534\t65534\t65534");
    assert_eq!((field("CapEff:"), field("CapBnd:"), field("NoNewPrivs:")), ("0000000000000000", "0000000000000000", "1"));
    let root = bridge.proc("mountinfo").lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap().to_owned();
    assert!(root.split(' ').nth(5).unwrap().starts_with("ro"), "{root}");

    let ack = bridge.engine().ask(1, "check-request", &[("path", "/".into())]);
    assert_eq!(ack.value("txn.allow"), Some(&Data::Bool(true)), "{ack:?}");
    bridge.terminate();
    assert_eq!(bridge.exit_code(), 0);
    figure("uid 65534, no capabilities, read-only root", "1 decision, exit code 0");
}

fn open_to_all(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}
