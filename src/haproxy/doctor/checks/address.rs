//! Servers of HAProxy held against the bridge's listeners: whether each comes to one, and may.

use std::net::IpAddr;

use super::super::case::Case;
use super::super::finding::{self, Findings, Severity};
use super::super::proxy::{Proxy, Server};
use super::super::settings::{Setting, Settings};
use super::backend::backends;
use super::list;
use super::socket;
use crate::config::{Bind, Config, ListenerConfig};

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let Some(bridge) = case.bridge else { return };
    for (_, backend) in backends(case) {
        let servers = backend.servers();
        let reached = |server: &Server<'_>| matches!(listener(case, server, bridge), Reached::Listener(_));
        let some = servers.iter().any(reached);
        for server in &servers {
            match listener(case, server, bridge) {
                Reached::Listener(listener) => {
                    tls(server, listener, out);
                    socket::rights(case, server, listener, out);
                }
                // The other servers may be other bridges'.
                Reached::No(fault) => missed(backend, server, bridge, some, fault, out),
                Reached::Unknown => {}
            }
        }
    }
}

/// The listeners on the way of the servers of a backend.
pub(super) fn listeners<'a>(case: &Case<'_>, backend: &Proxy, bridge: &'a Config) -> Vec<&'a ListenerConfig> {
    let reached = backend.servers().into_iter().filter_map(|server| match listener(case, &server, bridge) {
        Reached::Listener(listener) => Some(listener),
        _ => None,
    });
    reached.collect()
}

/// What a server comes to.
enum Reached<'a> {
    Listener(&'a ListenerConfig),
    No(Fault),
    Unknown,
}

enum Fault {
    /// The path, as HAProxy looks it up.
    Path(String),
    Port(u16),
    /// What the listener with the port is bound to.
    Host {
        bound: String,
        why: &'static str,
    },
}

fn listener<'a>(case: &Case<'_>, server: &Server<'_>, bridge: &'a Config) -> Reached<'a> {
    let Some(address) = server.address() else { return Reached::Unknown };
    if let Some(path) = socket::path(address) {
        let chroot = case.config.global.value(&["chroot"]);
        let Setting::Known(chroot) = (if chroot == Setting::Unset { Setting::Known("/") } else { chroot }) else {
            return Reached::Unknown;
        };
        let path = format!("{}/{}", chroot.trim_end_matches('/'), path.trim_start_matches('/'));
        let has_path =
            |listener: &&ListenerConfig| matches!(&listener.bind, Bind::Unix { path: own, .. } if own.as_os_str() == &*path);
        return bridge.listeners.iter().find(has_path).map_or(Reached::No(Fault::Path(path)), Reached::Listener);
    }
    let Some((host, port)) = host_and_port(address) else { return Reached::Unknown };
    let bound = |listener: &'a ListenerConfig| match &listener.bind {
        Bind::Tcp(own) => own.rsplit_once(':').filter(|(_, own)| own.parse() == Ok(port)).map(|(own, _)| (listener, own)),
        Bind::Unix { .. } => None,
    };
    let with_port: Vec<_> = bridge.listeners.iter().filter_map(bound).collect();
    let any_port = |listener: &ListenerConfig| matches!(&listener.bind, Bind::Tcp(own) if own.ends_with(":0"));
    match with_port.iter().find(|(_, own)| unreachable(host, own).is_none()) {
        Some((listener, _)) if with_port.len() == 1 => Reached::Listener(listener),
        Some(_) => Reached::Unknown,
        None => match with_port.first() {
            Some((_, own)) => {
                Reached::No(Fault::Host { bound: (*own).to_owned(), why: unreachable(host, own).unwrap_or_default() })
            }
            None if bridge.listeners.iter().any(any_port) => Reached::Unknown,
            None => Reached::No(Fault::Port(port)),
        },
    }
}

/// Of a TCP address; nothing for SRV records, offsets of ports and other families.
fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let address = match address.split_once('@') {
        Some(("ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6" | "inet" | "stream+ipv4" | "stream+ipv6", address)) => address,
        Some(_) => return None,
        None => address,
    };
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

/// Why a connection to `host` does not come to a listener that is bound to `own`.
fn unreachable(host: &str, own: &str) -> Option<&'static str> {
    let is_loopback = |host: &str| match ip(host) {
        Some(ip) => ip.is_loopback(),
        None => host == "localhost",
    };
    match (is_loopback(host), is_loopback(own)) {
        (false, true) => {
            Some("a listener on loopback is not reached from another host, nor from another container with a network of its own")
        }
        (true, false) if ip(own).is_some_and(|ip| !ip.is_unspecified()) => {
            Some("a listener on one address is not reached by another")
        }
        (true, true) => match (ip(host), ip(own)) {
            (Some(host), Some(own)) if host != own => Some("a listener on one address is not reached by another"),
            _ => None,
        },
        _ => None,
    }
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

fn missed(backend: &Proxy, server: &Server<'_>, bridge: &Config, others: bool, fault: Fault, out: &mut Findings) {
    let name = format!("server `{}` of {}", server.name(), backend.title());
    let binds: Vec<_> = bridge.listeners.iter().map(|listener| listener.bind.to_string()).collect();
    let binds = list(binds.iter().map(|bind| &bind[..]));
    let milder = if others { Severity::Note } else { Severity::Warning };
    let (severity, what, why, fix) = match fault {
        Fault::Path(path) => (
            Severity::Error,
            format!("{name} is looked up as {path}, where the bridge doesn't listen"),
            "the path of a `unix@` server is looked up inside `chroot`; other mounts in other containers may change it once more",
            format!("the bridge listens on {binds}"),
        ),
        Fault::Port(port) => (
            milder,
            format!("{name} has port {port}, and no listener of the bridge has it"),
            "HAProxy connects to a port where the bridge doesn't listen, unless something between them maps ports",
            format!("the bridge listens on {binds}"),
        ),
        Fault::Host { bound, why } => (
            milder,
            format!("{name} is {}, and the bridge's listener is bound to {bound}", server.address().unwrap_or_default()),
            why,
            format!("an address that HAProxy reaches in `listeners[].bind`, such as 0.0.0.0; the bridge listens on {binds}"),
        ),
    };
    out.add_as(&finding::BRIDGE_ADDRESS, severity, server.line, what, why, fix);
}

fn tls(server: &Server<'_>, listener: &ListenerConfig, out: &mut Findings) {
    if server.is_unclear() || listener.tls.is_some() == server.has("ssl") {
        return;
    }
    let (has, wants) = if listener.tls.is_some() { ("has TLS", "no `ssl`") } else { ("has no TLS", "`ssl`") };
    out.add(
        &finding::BRIDGE_ADDRESS,
        server.line,
        format!("the bridge's listener {} {has}, and server `{}` {wants}", listener.bind, server.name()),
        "one side speaks TLS and the other doesn't: no connection comes to be",
        if listener.tls.is_some() { "ssl verify required ca-file FILE verifyhost NAME" } else { "no-ssl" },
    );
}
