//! The backend of an engine: its mode, its checks, its servers.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings, Severity};
use super::super::proxy::{Proxy, Server};
use super::super::settings::{Setting, Settings};
use crate::haproxy::Version;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for backend in backends(case).into_iter().map(|(_, backend)| backend) {
        mode(case, backend, out);
        servers(case, backend, out);
    }
}

/// Each backend with the engine that uses it.
pub(super) fn backends<'a>(case: &'a Case<'_>) -> Vec<(&'a Engine, &'a Proxy)> {
    let used = case.engines.iter().filter(|engine| !engine.uses.is_empty());
    used.filter_map(|engine| {
        let name = engine.spoe.agent()?.value(&["use-backend"]).known()?;
        Some((engine, case.config.backend(name)?))
    })
    .collect()
}

fn mode(case: &Case<'_>, backend: &Proxy, out: &mut Findings) {
    let wanted = if case.version.has_mux() { "mode spop" } else { "mode tcp" };
    let line = backend.line(&["mode"]).known();
    match (backend.mode(), case.version.has_mux(), line) {
        (Setting::Known("spop"), false, Some(line)) => out.add(
            &finding::SPOP_MODE,
            line,
            format!("{} does not know `mode spop`", case.version),
            "the mode came with 3.1; `mode tcp` works with all releases",
            "mode tcp",
        ),
        (Setting::Known("tcp"), true, _) => out.add(
            &finding::TCP_MODE,
            &backend.head,
            format!("{} is upgraded to `mode spop` silently", backend.title()),
            "since 3.1 a backend of an SPOE agent speaks SPOP, whatever it says; `mode tcp` is right where older releases read the file too",
            "mode spop",
        ),
        (Setting::Known("tcp" | "spop") | Setting::Unset | Setting::Unclear, ..) => {}
        (Setting::Known(mode), _, line) => {
            let inherited = line.is_some_and(|line| backend.inherits(line));
            let from = match line.filter(|_| inherited) {
                Some(line) => format!(", from `defaults` ({}:{})", line.place.file, line.place.line),
                None => String::new(),
            };
            out.add(
                &finding::BACKEND_MODE,
                if inherited { &backend.head } else { line.unwrap_or(&backend.head) },
                format!("{} serves an SPOE agent in `mode {mode}`{from}", backend.title()),
                "SPOP is no HTTP: HAProxy takes `mode tcp` here, and `mode spop` since 3.1",
                wanted,
            );
        }
    }
}

/// What checks servers: the last of `option spop-check`, `option httpchk`, ... that is on.
fn check_option(backend: &Proxy) -> Setting<&str> {
    let kinds = [
        "spop-check",
        "httpchk",
        "tcp-check",
        "ssl-hello-chk",
        "smtpchk",
        "mysql-check",
        "pgsql-check",
        "redis-check",
        "ldap-check",
    ];
    let mut last = Setting::Unset;
    for line in backend.lines().iter().filter(|line| line.is(&["option"])) {
        let Some(kind) = line.get(1).filter(|option| kinds.contains(option)) else { continue };
        let on = line.modifier == super::super::line::Modifier::Plain;
        last = match last {
            _ if line.maybe => Setting::Unclear,
            Setting::Unclear => Setting::Unclear,
            _ if on => Setting::Known(kind),
            Setting::Known(old) if old == kind => Setting::Unset,
            other => other,
        };
    }
    last
}

fn servers(case: &Case<'_>, backend: &Proxy, out: &mut Findings) {
    let servers = backend.servers();
    if servers.is_empty() {
        out.add(
            &finding::NO_SERVER,
            &backend.head,
            format!("{} has no server", backend.title()),
            "every request waits for nobody, and goes on undecided",
            "server bridge1 127.0.0.1:9000 check",
        );
    }
    for server in &servers {
        unchecked(backend, server, out);
        connection(case, backend, server, out);
        socket(case, server, out);
    }
    let checked = servers.iter().any(|server| server.has("check") || server.is_unclear());
    if checked {
        what_checks(backend, out);
    }
}

fn unchecked(backend: &Proxy, server: &Server<'_>, out: &mut Findings) {
    if server.has("check") || server.value("track").is_some() || server.is_unclear() {
        return;
    }
    out.add(
        &finding::NO_CHECK,
        server.line,
        format!("server `{}` of {} has no `check`", server.name(), backend.title()),
        "while the agent is dead, every request waits for the whole `timeout processing`; a server that is known to be down costs nothing",
        "default-server check inter 1s fastinter 200ms fall 2 rise 1, and `option spop-check`",
    );
}

fn what_checks(backend: &Proxy, out: &mut Findings) {
    match check_option(backend) {
        Setting::Unset => out.add(
            &finding::NO_SPOP_CHECK,
            &backend.head,
            format!("{} checks whether a port is open, not whether an agent answers", backend.title()),
            "without `option spop-check` a check is a TCP connection that is closed at once: a bridge that drains or hangs stays in use",
            "option spop-check",
        ),
        Setting::Known(kind) if kind != "spop-check" && kind != "tcp-check" => {
            let line = backend.lines().iter().rfind(|line| line.is(&["option", kind]));
            let from = line.filter(|line| backend.inherits(line));
            let from = from.map_or(String::new(), |line| format!(", from `defaults` ({}:{})", line.place.file, line.place.line));
            out.add(
                &finding::WRONG_CHECK,
                &backend.head,
                format!("{} checks an SPOP agent by `option {kind}`{from}", backend.title()),
                "no agent answers that: its servers are down for good, and no request is decided",
                "option spop-check",
            );
        }
        _ => {}
    }
}

fn connection(case: &Case<'_>, backend: &Proxy, server: &Server<'_>, out: &mut Findings) {
    let proxy = ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn"];
    if let Some(keyword) = proxy.into_iter().find(|keyword| server.has(keyword)) {
        let (severity, why) = if case.version >= Version::NO_PROXY_HEADERS {
            (Severity::Warning, "since 3.3 HAProxy leaves it out for agents, with a warning; before, no request is decided")
        } else {
            (Severity::Error, "an SPOP agent takes it for a frame and closes the connection: no request is decided")
        };
        let what = format!("server `{}` sends a PROXY header (`{keyword}`)", server.name());
        out.add_as(&finding::SEND_PROXY, severity, server.line, what, why, format!("no-{keyword}"));
    }
    let one_thread = case.config.global.number(&["nbthread"]) == Setting::Known(1);
    let unclear = case.config.global.number(&["nbthread"]) == Setting::Unclear;
    if let Some(maxconn) = server.value("maxconn").filter(|_| !case.version.has_mux() && !one_thread && !unclear) {
        out.add(
            &finding::SERVER_MAXCONN,
            server.line,
            format!("server `{}` of {} has `maxconn {maxconn}`", server.name(), backend.title()),
            "up to 3.0 each thread has connections of its own: below what all of them want, HAProxy closes busy connections to open others (haproxy#705, haproxy#1340)",
            "no maxconn; the bridge's max_connections and max_in_flight bound it",
        );
    }
}

fn socket(case: &Case<'_>, server: &Server<'_>, out: &mut Findings) {
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
    let path = address.strip_prefix("unix@").or_else(|| address.starts_with('/').then_some(address));
    let chroot = case.config.global.value(&["chroot"]).known().filter(|chroot| *chroot != "/");
    let (Some(path), Some(chroot)) = (path, chroot) else { return };
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
