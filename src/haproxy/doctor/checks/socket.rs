//! Servers that are Unix sockets: where HAProxy looks for the file, and whether it may connect.

use super::super::case::Case;
use super::super::finding::{self, Findings, Severity};
use super::super::proxy::Server;
use super::super::settings::{Setting, Settings};
use crate::config::{Bind, ListenerConfig};

/// The path of an address that is a socket's.
pub(super) fn path(address: &str) -> Option<&str> {
    let prefixed = ["unix@", "stream+unix@", "unix+stream@"].iter().find_map(|prefix| address.strip_prefix(prefix));
    prefixed.or_else(|| address.starts_with('/').then_some(address))
}

pub(super) fn check(case: &Case<'_>, server: &Server<'_>, out: &mut Findings) {
    let Some(address) = server.address() else { return };
    if let Some(name) = address.strip_prefix("abns@").or_else(|| address.strip_prefix("abnsz@")) {
        out.add(
            &finding::ABSTRACT_SOCKET,
            server.line,
            format!("server `{}` is an abstract socket, `{name}`", server.name()),
            "the bridge listens on TCP and on sockets with a file",
            "unix@/run/spop-bridge/spop.sock",
        );
    }
    let chroot = case.config.global.value(&["chroot"]).known().filter(|chroot| *chroot != "/");
    let (Some(path), Some(chroot)) = (path(address), chroot) else { return };
    let Some(folders) = path.strip_prefix('/') else { return };
    let inside = path.strip_prefix(chroot.trim_end_matches('/')).filter(|inside| inside.starts_with('/'));
    // At the top of the chroot, as somebody would have it who knows. With the bridge's configuration there is more to go by.
    if case.bridge.is_some() || (!folders.contains('/') && inside.is_none()) {
        return;
    }
    let fix = match inside {
        Some(inside) => format!("unix@{inside}"),
        None => format!("let the bridge listen on {}{path}, and mount it there", chroot.trim_end_matches('/')),
    };
    out.add_as(
        &finding::CHROOT_SOCKET,
        Severity::Warning,
        server.line,
        format!("server `{}` is looked up as {}{path}", server.name(), chroot.trim_end_matches('/')),
        format!("`chroot {chroot}` in `global` comes before connections do"),
        fix,
    );
}

/// Connecting needs write permission on the file, for the user and the one group that HAProxy has.
pub(super) fn rights(case: &Case<'_>, server: &Server<'_>, listener: &ListenerConfig, out: &mut Findings) {
    let Bind::Unix { mode, user: owner, group: owners, .. } = &listener.bind else { return };
    let set = |name: &str, number: &str| match (case.config.global.value(&[name]), case.config.global.value(&[number])) {
        (Setting::Known(name), Setting::Unset) | (Setting::Unset, Setting::Known(name)) => Some(name),
        _ => None,
    };
    let (user, group) = (set("user", "uid"), set("group", "gid"));
    // Without both HAProxy is whoever started it.
    let (Some(user), Some(group)) = (user, group) else { return };
    if is_root(user) || mode & 0o002 != 0 {
        return;
    }
    let may = |bit: u32, own: &Option<String>, name: &str| match own {
        _ if mode & bit == 0 => Some(false),
        Some(own) => same(own, name),
        None => None,
    };
    let (as_owner, as_group) = (may(0o200, owner, user), may(0o020, owners, group));
    // The bridge's own user is not HAProxy's; its own group may be.
    if as_owner == Some(true) || as_group != Some(false) || (as_owner.is_none() && owner.is_some()) {
        return;
    }
    let owners = owners.as_deref().unwrap_or("the bridge's group");
    out.add_as(
        &finding::SOCKET_RIGHTS,
        Severity::Error,
        server.line,
        format!("HAProxy runs as `{user}` and `{group}`, and may not connect to {}: mode {mode:04o}, group {owners}", listener.bind),
        "connecting to a socket needs write permission on its file; HAProxy gives up supplementary groups with `group` in `global`, so that \
         another group of its user doesn't help",
        format!("unix: {{ mode: \"0660\", group: {group} }}, on that listener of the bridge"),
    );
}

fn is_root(user: &str) -> bool {
    user == "root" || user == "0"
}

/// Whether two names or numbers are the same; unknown for a name and a number.
fn same(one: &str, other: &str) -> Option<bool> {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(one) == is_number(other)).then(|| one == other)
}
