//! The backend of an engine: its mode, its checks, its servers.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings, Severity};
use super::super::fix::Fix;
use super::super::line::Line;
use super::super::proxy::{Proxy, Server};
use super::super::settings::{Setting, Settings};
use super::socket;
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
    let wanted = if case.version.has_mux() { "spop" } else { "tcp" };
    let line = backend.line(&["mode"]).known();
    match (backend.mode(), case.version.has_mux(), line) {
        (Setting::Known("spop"), false, Some(line)) => out.add(
            &finding::SPOP_MODE,
            line,
            format!("{} does not know `mode spop`", case.version),
            "the mode came with 3.1; `mode tcp` works with all releases",
            mode_line(backend, "tcp"),
        ),
        (Setting::Known("tcp"), true, _) => out.add(
            &finding::TCP_MODE,
            &backend.head,
            format!("{} is upgraded to `mode spop` silently", backend.title()),
            "since 3.1 a backend of an SPOE agent speaks SPOP, whatever it says; `mode tcp` is right where older releases read the file too",
            mode_line(backend, "spop"),
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
                mode_line(backend, wanted),
            );
        }
    }
}

/// The mode in a backend's own lines.
fn mode_line(backend: &Proxy, mode: &str) -> Fix {
    match backend.line(&["mode"]).known().filter(|line| !backend.inherits(line)) {
        Some(line) => Fix::replace(line, line.with(1..2, mode)),
        None => Fix::after(&backend.head, format!("mode {mode}")),
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
        checks_of(backend, server, out);
        socket::check(case, server, out);
    }
    // What is checked elsewhere, such as at the admin port, is checked as it is there.
    let elsewhere = |server: &Server<'_>| server.value("port").is_some() || server.value("addr").is_some();
    let checked = servers.iter().any(|server| (server.has("check") && !elsewhere(server)) || server.is_unclear());
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
        checked(backend, server),
    );
}

/// Checks for a server and those after it.
fn checked(backend: &Proxy, server: &Server<'_>) -> Fix {
    let text = "default-server check inter 1s fastinter 200ms fall 2 rise 1";
    let said = format!("{text}, and `option spop-check`");
    if server.line.words.iter().any(|word| word.text() == "no-check") {
        return said.into();
    }
    let option = match check_option(backend) {
        Setting::Unset => Fix::after(&backend.head, "option spop-check"),
        _ => Fix::default(),
    };
    Fix::before(server.line, text).and(option).saying(said)
}

fn what_checks(backend: &Proxy, out: &mut Findings) {
    match check_option(backend) {
        Setting::Unset => out.add(
            &finding::NO_SPOP_CHECK,
            &backend.head,
            format!("{} checks whether a port is open, not whether an agent answers", backend.title()),
            "without `option spop-check` a check is a TCP connection that is closed at once: a bridge that drains or hangs stays in use",
            Fix::after(&backend.head, "option spop-check"),
        ),
        Setting::Known(kind) if kind != "spop-check" && kind != "tcp-check" => {
            let line = backend.lines().iter().rfind(|line| line.is(&["option", kind]));
            let from = line.filter(|line| backend.inherits(line));
            let from = from.map_or(String::new(), |line| format!(", from `defaults` ({}:{})", line.place.file, line.place.line));
            let fix = match line.filter(|line| !backend.inherits(line)) {
                Some(line) => Fix::replace(line, line.with(0..line.words.len(), "option spop-check")),
                None => Fix::after(&backend.head, "option spop-check"),
            };
            out.add(
                &finding::WRONG_CHECK,
                &backend.head,
                format!("{} checks an SPOP agent by `option {kind}`{from}", backend.title()),
                "no agent answers that: its servers are down for good, and no request is decided",
                fix,
            );
        }
        _ => {}
    }
}

fn connection(case: &Case<'_>, backend: &Proxy, server: &Server<'_>, out: &mut Findings) {
    for (keyword, begin) in PROXY_HEADERS.into_iter().filter(|(keyword, _)| server.has(keyword)) {
        let (severity, why) = if case.version >= Version::NO_PROXY_HEADERS && begin == "connections" {
            (Severity::Warning, "since 3.3 HAProxy leaves it out for agents, with a warning; before, no request is decided")
        } else {
            (Severity::Error, "an SPOP agent takes it for a frame and closes the connection: no request is decided")
        };
        let what = format!("{begin} of server `{}` begin with a PROXY header (`{keyword}`)", server.name());
        let fix = match position(server.line, keyword) {
            Some(at) => Fix::replace(server.line, server.line.with(at..at + 1, "")).saying(format!("without `{keyword}`")),
            None => format!("no-{keyword}").into(),
        };
        out.add_as(&finding::SEND_PROXY, severity, server.line, what, why, fix);
    }
    let keyword =
        ["maxconn", "minconn"].into_iter().find_map(|keyword| Some((keyword, server.value(keyword).filter(|n| *n != "0")?)));
    let Some((keyword, most)) = keyword else { return };
    let why = if case.version.has_mux() {
        let [queue, connect] = ["queue", "connect"].map(|name| backend.value(&["timeout", name]).known());
        let (name, time) = queue.map_or(("connect", connect), |queue| ("queue", Some(queue)));
        let time = time.map_or_else(String::new, |time| format!(", here {time}"));
        format!(
            "since 3.1 it bounds decisions, not connections: one above it waits in the queue as long as `timeout {name}` says{time}, and then \
             goes on undecided with error 257, however long `timeout processing` is"
        )
    } else if matches!(case.config.global.number(&["nbthread"]), Setting::Known(1) | Setting::Unclear) {
        return;
    } else {
        "up to 3.0 each thread has connections of its own: below what all of them want, HAProxy closes busy connections to open others \
         (haproxy#705, haproxy#1340)"
            .to_owned()
    };
    out.add(
        &finding::SERVER_MAXCONN,
        server.line,
        format!("server `{}` of {} has `{keyword} {most}`", server.name(), backend.title()),
        why,
        match position(server.line, keyword) {
            Some(at) => Fix::replace(server.line, server.line.with(at..at + 2, "")),
            None => Fix::default(),
        }
        .saying(format!("no {keyword}; the bridge's max_connections and max_in_flight bound it")),
    );
}

/// Where a line has a word.
fn position(line: &Line, word: &str) -> Option<usize> {
    line.words.iter().position(|own| own.known() == Some(word))
}

/// Keywords by which connections or checks begin with a PROXY header.
const PROXY_HEADERS: [(&str, &str); 5] = [
    ("send-proxy", "connections"),
    ("send-proxy-v2", "connections"),
    ("send-proxy-v2-ssl", "connections"),
    ("send-proxy-v2-ssl-cn", "connections"),
    ("check-send-proxy", "checks"),
];

/// Checks that go elsewhere than decisions, or in other clothes.
fn checks_of(backend: &Proxy, server: &Server<'_>, out: &mut Findings) {
    if server.is_unclear() || !server.has("check") {
        return;
    }
    let wrong = |what: String, why: &str, fix: &str, out: &mut Findings| {
        out.add(&finding::WRONG_CHECK, server.line, format!("checks of server `{}` {what}", server.name()), why, fix);
    };
    let own = server.address().and_then(|address| address.rsplit_once(':')).map(|(_, port)| port);
    let port = server.value("port").filter(|port| Some(*port) != own);
    let elsewhere = port.is_some() || server.value("addr").is_some();
    if elsewhere {
        if let (Setting::Known("spop-check"), Some(port)) = (check_option(backend), port) {
            let why = "a listener for decisions is checked where decisions go: what answers elsewhere says nothing of it, and the admin port does not speak SPOP";
            wrong(format!("go to port {port}, and decisions to another"), why, "without `port`", out);
        }
    } else if server.has("check-ssl") && !server.has("ssl") {
        wrong("use TLS (`check-ssl`), and decisions don't".into(), ONE_PORT, "no-check-ssl; or `ssl` for both", out);
    } else if server.has("ssl") && server.said("check-ssl") == Some(false) {
        wrong("use no TLS (`no-check-ssl`), and decisions do".into(), ONE_PORT, "without `no-check-ssl`", out);
    }
}

const ONE_PORT: &str = "a listener either has TLS or has not: one of the two never comes through";
