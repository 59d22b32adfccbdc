//! Requests that a browser makes for a page of somebody else's are refused, wherever it runs: on this machine, or anywhere else from where
//! the port can be reached.
//!
//! A page can have its own name resolve to this port (DNS rebinding); then it may read what it gets and send what it likes, but the name
//! is in `Host`. An address there is harmless, since a page that has been loaded from it is ours. So names count only if they are known.
//! What a page of another origin sends has that in `Origin`.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode, Uri};

/// Why a request is refused: what to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

/// Holds a request against the `known` names of this host, in lower case.
pub(super) fn check<B>(request: &Request<B>, known: &[String]) -> Result<(), Refusal> {
    let host = host(request.headers())?;
    // One in the request's target counts instead of the header (RFC 9112, 3.2.2): neither may be another's.
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    if let Some(stranger) = [Some(host), target].into_iter().flatten().find(|host| !is_known(host, known)) {
        let text = format!(
            "This is not {stranger}. Ask by an address or as localhost, or add the name to admin.allowed_hosts in the configuration. \
             /live, /ready and /metrics take any name.\n"
        );
        return Err(Refusal(StatusCode::MISDIRECTED_REQUEST, text));
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_foreign = request.headers().get_all(ORIGIN).iter().any(|origin| !is_ours(origin.as_bytes(), host));
    let site = request.headers().get_all("sec-fetch-site").iter();
    let is_of_another_site = site.into_iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    if is_foreign || !is_read && is_of_another_site {
        let text =
            "A page of another origin asks for this, which is not allowed. Use a client that sends no Origin, such as curl.\n";
        return Err(Refusal(StatusCode::FORBIDDEN, text.to_owned()));
    }
    Ok(())
}

/// The one `Host` of a request.
fn host(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) if !host.is_empty() => Ok(host),
        _ => Err(Refusal(StatusCode::BAD_REQUEST, "Expected one Host header, with an address or localhost.\n".to_owned())),
    }
}

/// Whether a page that has been loaded from `host`, with or without a port, is ours.
fn is_known(host: &str, known: &[String]) -> bool {
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_name = name == "localhost" || known.contains(&name) || name.parse::<Ipv4Addr>().is_ok();
    is_name && (port.is_empty() || is_port(port))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether `origin` is the one that `host` was asked from.
fn is_ours(origin: &[u8], host: &str) -> bool {
    let origin = str::from_utf8(origin).ok().and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin.as_ref().and_then(Uri::authority).map(http::uri::Authority::as_str);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
        let request = Request::builder().method(method).uri(target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        match check(&request.body(()).unwrap(), &["bridge.example".to_owned()]) {
            Ok(()) => 200,
            Err(Refusal(status, text)) => {
                assert!(text.ends_with(".\n"), "{text}");
                status.as_u16()
            }
        }
    }

    #[test]
    fn hosts() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9902",
            "10.1.2.3:9902",
            "[::1]",
            "[::1]:9902",
            "[fe80::1]:1",
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "localhost.:9902",
            "bridge.example",
            "Bridge.Example.:1",
        ] {
            assert_eq!(status("GET", "/config", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9902",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example.",
            "x",
            "127.1",
            "0x7f.1",
            "bridge.example.evil",
            "localhost@evil.example",
            "evil.example@localhost",
            "[::1].evil.example",
            "[::1]x",
            "[evil]",
            "::1",
            "localhost:x",
            "localhost:1:2",
            "localhost..",
            "local host",
            "localhost/",
            ":9902",
            "[::1",
            "xn--lcalhost-9fb",
        ] {
            assert_eq!(status("GET", "/config", &[("host", host)]), 421, "{host}");
            assert_eq!(status("PUT", "/log-level", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(status("GET", "/config", &[]), 400);
        assert_eq!(status("GET", "/config", &[("host", "")]), 400);
        assert_eq!(status("GET", "/config", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status("GET", "http://evil.example/config", &[("host", "localhost")]), 421);
        assert_eq!(status("GET", "http://localhost/config", &[("host", "evil.example")]), 421);
        assert_eq!(status("GET", "http://localhost/config", &[("host", "localhost")]), 200);
    }

    #[test]
    fn origins() {
        let put = |more: &[(&str, &str)]| status("PUT", "/log-level", &[&[("host", "localhost:9902")], more].concat());
        for ours in ["http://localhost:9902", "https://LOCALHOST:9902"] {
            assert_eq!(put(&[("origin", ours)]), 200, "{ours}");
        }
        for foreign in [
            "http://evil.example",
            "null",
            "",
            "http://localhost",
            "http://localhost:3000",
            "localhost:3000",
            "http://127.0.0.1:9902",
            "\t",
        ] {
            assert_eq!(put(&[("origin", foreign)]), 403, "{foreign}");
            assert_eq!(status("GET", "/config", &[("host", "localhost:9902"), ("origin", foreign)]), 403, "{foreign}");
        }
        assert_eq!(put(&[("origin", "http://localhost:9902"), ("origin", "http://evil.example")]), 403);
        for (site, expected) in [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)] {
            assert_eq!(put(&[("sec-fetch-site", site)]), expected, "{site}");
        }
        // A link on another page shows it to the person who follows it, and to nobody else.
        assert_eq!(status("GET", "/config", &[("host", "localhost"), ("sec-fetch-site", "cross-site")]), 200);
    }
}
