//! Addresses as they are written: for binds and endpoints alike.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::config::limits::MAX_SOCKET_PATH;

/// Whether `text` is `host:port`: a name, an IPv4 address, or an IPv6 address in brackets. Not resolved: that is for
/// when it is used.
pub(super) fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// The path of a Unix socket, if `text` is `unix:` and an absolute path that a socket can have.
pub(super) fn socket_path(text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix(UNIX)?;
    let usable = path.starts_with('/') && !path.ends_with('/') && path.len() <= MAX_SOCKET_PATH && !path.contains('\0');
    usable.then(|| PathBuf::from(path))
}

/// The host of `host:port` or `host`, an IPv6 address without its brackets.
pub(super) fn host(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => text.split_once(':').map_or(text, |(host, _)| host),
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

const UNIX: &str = "unix:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for good in ["0.0.0.0:9000", "localhost:0", "[::]:9000", "[::1]:65535", "spop-bridge.default.svc:9000", "my_host:1"] {
            assert!(is_host_port(good), "{good}");
        }
        for bad in [
            "",
            "9000",
            ":9000",
            "host",
            "host:",
            "host:65536",
            "host:+1",
            "::1:9000",
            "[::1]",
            "[x]:1",
            "a b:1",
            "a/b:1",
            "u@h:1",
        ] {
            assert!(!is_host_port(bad), "{bad}");
        }
    }

    #[test]
    fn socket_paths_are_absolute_and_short() {
        assert_eq!(socket_path("unix:/run/spop.sock"), Some(PathBuf::from("/run/spop.sock")));
        let longest = format!("unix:/{}", "s".repeat(106));
        assert!(socket_path(&longest).is_some());
        for bad in ["unix:", "unix:spop.sock", "unix:/run/", "unix:@spop", "/run/spop.sock", &format!("{longest}s")] {
            assert_eq!(socket_path(bad), None, "{bad}");
        }
    }
}
