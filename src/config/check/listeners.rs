//! `listeners`: names, addresses, socket files.

use std::collections::HashMap;

use super::address::{is_host_port, socket_path};
use super::{Findings, tls};
use crate::config::error::Problems;
use crate::config::limits::{self, ByteSize, OrNever};
use crate::config::model::{Bind, ListenerConfig};
use crate::config::path::Path;
use crate::config::raw;
use crate::config::variable::Variable;

/// The listeners of the file, or the default one.
pub(super) fn check(raw: Option<&[raw::Listener]>, path: &Path, findings: &mut Findings) -> Vec<ListenerConfig> {
    let default = [raw::Listener { bind: Some(raw::DEFAULT_BIND.to_owned()), ..raw::Listener::default() }];
    let raw = raw.unwrap_or(&default);
    let listeners: Vec<_> = raw.iter().enumerate().map(|(index, raw)| listener(raw, &path.index(index), findings)).collect();
    check_unique(&listeners, path, findings);
    listeners
}

/// The most bytes that HAProxy may put between scope and name on any of the listeners.
pub(super) fn longest_prefix<'a>(listeners: impl IntoIterator<Item = &'a ListenerConfig>) -> usize {
    let length = |listener: &ListenerConfig| listener.var_prefix.as_ref().map_or(limits::RESERVED_PREFIX, String::len);
    listeners.into_iter().map(length).max().unwrap_or(limits::RESERVED_PREFIX)
}

fn listener(raw: &raw::Listener, path: &Path, findings: &mut Findings) -> ListenerConfig {
    let bind_text = raw.bind.as_deref().unwrap_or_default();
    let bind = bind(bind_text, raw.unix.as_ref(), "host:port or unix:/path", path, findings);
    let ByteSize(max_frame_size) =
        findings.quantity(&path.key("max_frame_size"), raw.max_frame_size.as_deref(), &limits::MAX_FRAME_SIZE);
    let OrNever(idle_timeout) = findings.quantity(&path.key("idle_timeout"), raw.idle_timeout.as_deref(), &limits::IDLE_TIMEOUT);
    let tls = raw.tls.as_ref().map(|raw| tls::listener(raw, &path.key("tls"), findings));
    let mut timeout = |key, text: &Option<String>, limit| findings.quantity(&path.key(key), text.as_deref(), limit);
    ListenerConfig {
        name: raw.name.as_deref().unwrap_or(bind_text).into(),
        max_connections: raw.max_connections.unwrap_or(limits::MAX_CONNECTIONS.fallback()),
        max_in_flight: raw.max_in_flight.unwrap_or(limits::MAX_IN_FLIGHT.fallback()),
        max_frame_size,
        handshake_timeout: timeout("handshake_timeout", &raw.handshake_timeout, &limits::HANDSHAKE_TIMEOUT),
        read_timeout: timeout("read_timeout", &raw.read_timeout, &limits::READ_TIMEOUT),
        write_timeout: timeout("write_timeout", &raw.write_timeout, &limits::WRITE_TIMEOUT),
        idle_timeout,
        var_prefix: var_prefix(raw.var_prefix.as_deref(), &path.key("var_prefix"), findings),
        bind,
        tls,
    }
}

/// The address of what stands at `path`, which has `bind` and perhaps `unix`.
pub(super) fn bind(text: &str, unix: Option<&raw::UnixSocket>, expected: &str, path: &Path, findings: &mut Findings) -> Bind {
    if let Some(socket) = socket_path(text) {
        let default = raw::UnixSocket::default();
        let unix = unix.unwrap_or(&default);
        let mode = mode(unix.mode.as_deref(), &path.key("unix").key("mode"), findings);
        return Bind::Unix { path: socket, mode, user: unix.user.clone(), group: unix.group.clone() };
    }
    if !is_host_port(text) {
        findings.problems.add(&path.key("bind"), text, expected);
    } else if unix.is_some() {
        let beside = findings.problems.shown(&path.key("bind"), text);
        let found = format_args!("settings of a socket file beside {beside}");
        findings.problems.add(&path.key("unix"), found, "them only beside unix:/path");
    }
    Bind::Tcp(text.to_owned())
}

/// The permissions, which [`raw::MODE_TITLE`] describes.
fn mode(text: Option<&str>, path: &Path, findings: &mut Findings) -> u32 {
    let text = text.unwrap_or(raw::DEFAULT_MODE);
    let octal = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
    let mode = u32::from_str_radix(octal, 8).ok().filter(|_| octal.len() == 3 && !octal.starts_with('+'));
    mode.unwrap_or_else(|| {
        findings.problems.add(path, text, raw::MODE_TITLE);
        0
    })
}

fn var_prefix(text: Option<&str>, path: &Path, findings: &mut Findings) -> Option<String> {
    let text = text?;
    // The shortest variable with it is `txn.<prefix>.x`.
    if Variable::check(&format!("txn.{text}.x"), 0).is_err() || text.is_empty() {
        findings.problems.add(path, text, raw::PREFIX_TITLE);
    }
    Some(text.to_owned())
}

fn check_unique(listeners: &[ListenerConfig], path: &Path, findings: &mut Findings) {
    let (mut addresses, mut names) = (HashMap::new(), HashMap::new());
    let other_than = |index: usize, what: &str| format!("{what} other than that of {}", path.index(index));
    for (index, ListenerConfig { bind, name, .. }) in listeners.iter().enumerate() {
        if let Some(other) = addresses.get(bind).filter(|_| !any_port(bind)) {
            findings.problems.add(&path.index(index).key("bind"), bind, other_than(*other, "an address"));
        } else if let Some(other) = names.get(name) {
            let shown = shown_name(&path.index(index), name, &findings.problems);
            findings.problems.add(&path.index(index).key("name"), shown, other_than(*other, "a name"));
        }
        addresses.entry(bind).or_insert(index);
        names.entry(name).or_insert(index);
    }
}

/// The name of the listener at `path` as it may be shown. It may be its address.
pub(super) fn shown_name(path: &Path, name: &str, problems: &Problems) -> String {
    problems.shown(&path.key("name"), problems.shown(&path.key("bind"), name))
}

pub(super) fn any_port(bind: &Bind) -> bool {
    matches!(bind, Bind::Tcp(address) if address.ends_with(":0"))
}
