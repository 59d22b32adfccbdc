//! `tls` of listeners and backends: what belongs together, and names.

use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::ServerName;

use super::Findings;
use super::address::{host, is_host_port};
use crate::config::model::EndpointConfig;
use crate::config::path::Path;
use crate::config::raw;
use crate::config::tls::{BackendTls, Clients, Identity, ListenerTls, San};

/// TLS of the listener at `path`.
pub(super) fn listener(raw: &raw::ListenerTls, path: &Path, findings: &mut Findings) -> ListenerTls {
    let sans = allowed_sans(raw.allowed_sans.as_deref(), &path.key("allowed_sans"), findings);
    if raw.client_ca.is_none() && raw.allowed_sans.is_some() {
        let expected = "client_ca beside it: names count only in certificates that are asked for";
        findings.problems.add(&path.key("allowed_sans"), "names of clients", expected);
    }
    ListenerTls {
        // Both are required: what is missing has been reported.
        identity: Identity { certificate: file(&raw.certificate), key: file(&raw.key) },
        clients: raw.client_ca.as_ref().map(|ca| Clients { ca: ca.into(), allowed_sans: sans }),
        min_version: raw.min_version.unwrap_or_default(),
    }
}

/// TLS of the backend at `path`: if it is told to, or an endpoint is `https://`.
pub(super) fn backend(
    raw: &raw::Backend,
    endpoints: &[EndpointConfig],
    path: &Path,
    findings: &mut Findings,
) -> Option<BackendTls> {
    let is_https = |text: &String| text.starts_with(HTTPS);
    let texts = raw.endpoints.as_deref().unwrap_or_default();
    if raw.tls.is_none() && !texts.iter().any(is_https) {
        return None;
    }
    for (index, text) in texts.iter().enumerate().filter(|(_, text)| text.starts_with(HTTP)) {
        let beside = if raw.tls.is_some() { "tls" } else { "https://" };
        findings.problems.add(&path.key("endpoints").index(index), format_args!("{text} beside {beside}"), HTTPS_TITLE);
    }
    let default = raw::BackendTls::default();
    let tls = settings(raw.tls.as_ref().unwrap_or(&default), &path.key("tls"), findings);
    if tls.server_name.is_none() && tls.authority.is_none() {
        check_hosts(endpoints, &path.key("endpoints"), findings);
    }
    Some(tls)
}

fn settings(raw: &raw::BackendTls, path: &Path, findings: &mut Findings) -> BackendTls {
    let server_name = raw.server_name.as_ref().and_then(|text| {
        let name = ServerName::try_from(text.as_str()).ok().map(|name| name.to_owned());
        if name.is_none() {
            findings.problems.add(&path.key("server_name"), text, raw::SERVER_NAME_TITLE);
        }
        name
    });
    let authority = raw.authority.as_ref().and_then(|text| {
        let authority = text.parse().ok().filter(|_| is_host_port(text) || is_host_port(&format!("{text}:1")));
        if authority.is_none() {
            findings.problems.add(&path.key("authority"), text, raw::AUTHORITY_TITLE);
        } else if raw.server_name.is_none() && ServerName::try_from(host(text)).is_err() {
            findings.problems.add(&path.key("authority"), text, "server_name beside it: its host cannot be in a certificate");
        }
        authority
    });
    BackendTls {
        ca: raw.ca.as_ref().map(PathBuf::from),
        identity: identity(raw, path, findings),
        server_name,
        authority,
        allowed_sans: allowed_sans(raw.allowed_sans.as_deref(), &path.key("allowed_sans"), findings),
        min_version: raw.min_version.unwrap_or_default(),
    }
}

fn identity(raw: &raw::BackendTls, path: &Path, findings: &mut Findings) -> Option<Identity> {
    match (&raw.certificate, &raw.key) {
        (Some(certificate), Some(key)) => return Some(Identity { certificate: certificate.into(), key: key.into() }),
        (Some(_), None) => findings.problems.add(&path.key("key"), "nothing", "the file of the certificate's key"),
        (None, Some(_)) => findings.problems.add(&path.key("certificate"), "nothing", "the file of the key's certificate"),
        (None, None) => {}
    }
    None
}

/// The certificate is to be for the host of the endpoint.
fn check_hosts(endpoints: &[EndpointConfig], path: &Path, findings: &mut Findings) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        if let EndpointConfig::Http { uri } = endpoint
            && ServerName::try_from(host(uri.authority().map_or("", |authority| authority.as_str()))).is_err()
        {
            findings.problems.add(&path.index(index), endpoint, "tls.server_name beside it: its host cannot be in a certificate");
        }
    }
}

fn allowed_sans(raw: Option<&[String]>, path: &Path, findings: &mut Findings) -> Vec<San> {
    let mut sans = Vec::new();
    for (index, text) in raw.into_iter().flatten().enumerate() {
        match San::parse(text) {
            Some(san) => sans.push(san),
            None => findings.problems.add(&path.index(index), text, raw::SAN_TITLE),
        }
    }
    sans
}

fn file(name: &Option<String>) -> PathBuf {
    name.as_deref().unwrap_or_default().into()
}

const HTTP: &str = "http://";
const HTTPS: &str = "https://";
const HTTPS_TITLE: &str = "https://host:port: TLS is for a backend as a whole";
