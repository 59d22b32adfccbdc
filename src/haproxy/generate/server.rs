//! Where HAProxy reaches the bridge: `server` lines.

use std::path::PathBuf;
use std::str::FromStr;

use super::plan::Plan;
use super::text::quoted;
use crate::config::{Bind, ListenerConfig, TlsVersion};

/// An address of the bridge, as HAProxy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(String),
    Unix(PathBuf),
    /// A name with an address for each bridge, such as that of a headless Service.
    Dns {
        name: String,
        port: u16,
    },
}

/// Files of HAProxy for TLS to the bridge. What is not said gets a name that nobody has.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// CAs of the bridge's certificate.
    pub(crate) ca: Option<String>,
    /// Name that the bridge's certificate must have.
    pub(crate) name: Option<String>,
    /// HAProxy's own certificate and key.
    pub(crate) certificate: Option<String>,
}

/// One `server` line, but for its name.
#[derive(Clone, Debug)]
pub(super) struct Server<'a> {
    pub(super) target: Target,
    /// The listener whose TLS counts there.
    pub(super) listener: &'a ListenerConfig,
}

impl Target {
    /// Where a HAProxy beside the bridge reaches a listener; nowhere, if its port is any.
    pub(super) fn of(bind: &Bind) -> Option<Self> {
        let address = match bind {
            Bind::Unix { path, .. } => return Some(Self::Unix(path.clone())),
            Bind::Tcp(address) => address,
        };
        let (host, port) = address.rsplit_once(':')?;
        let host = match host {
            "0.0.0.0" => "127.0.0.1",
            "[::]" => "[::1]",
            other => other,
        };
        (port.parse() != Ok(0_u16)).then(|| Self::Tcp(format!("{host}:{port}")))
    }
}

/// Takes what listeners and endpoints are written as.
impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let expected = "expected host:port, unix:/path, or dns:///host:port for all addresses of a name";
        let host_and_port = |text: &str| {
            let (host, port) = text.rsplit_once(':')?;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.:[]".contains(&b);
            let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty() && host.bytes().all(plain)).then(|| (host.to_owned(), port))
        };
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.strip_prefix("unix@")) {
            let usable = path.starts_with('/') && !path.contains(char::is_control);
            return if usable { Ok(Self::Unix(path.into())) } else { Err(expected) };
        }
        if let Some(name) = text.strip_prefix("dns:///") {
            let (name, port) = host_and_port(name).filter(|(name, _)| !name.contains([':', '['])).ok_or(expected)?;
            return Ok(Self::Dns { name, port });
        }
        host_and_port(text).map(|(host, port)| Self::Tcp(format!("{host}:{port}"))).ok_or(expected)
    }
}

impl Server<'_> {
    /// The line for the server with this number.
    pub(super) fn line(&self, number: usize, plan: &Plan<'_>) -> String {
        let tls = self.tls(&plan.options.tls);
        match &self.target {
            Target::Tcp(address) => format!("    server bridge{number} {address}{tls}\n"),
            Target::Unix(path) => format!("    server bridge{number} {}{tls}\n", quoted(&format!("unix@{}", path.display()))),
            Target::Dns { name, port } => {
                format!("    server-template bridge{number}- {SLOTS} {name}:{port} resolvers {RESOLVERS} init-addr none{tls}\n")
            }
        }
    }

    fn tls(&self, files: &TlsFiles) -> String {
        let Some(tls) = &self.listener.tls else { return String::new() };
        let or = |said: &Option<String>, default: &str| quoted(said.as_deref().unwrap_or(default));
        let version = if tls.min_version == TlsVersion::V1_3 { "TLSv1.3" } else { "TLSv1.2" };
        let (ca, name) = (or(&files.ca, CA), or(&files.name, NAME));
        let certificate = tls.clients.as_ref().map(|_| format!(" crt {}", or(&files.certificate, CERTIFICATE)));
        format!(" ssl verify required ca-file {ca} verifyhost {name} ssl-min-ver {version}{}", certificate.unwrap_or_default())
    }

    /// What stands in the line and is nobody's.
    pub(super) fn missing(&self, files: &TlsFiles) -> Vec<String> {
        let Some(tls) = &self.listener.tls else { return Vec::new() };
        let said = [
            (&files.ca, CA, "--tls-ca, the CA of the bridge's certificate"),
            (&files.name, NAME, "--tls-name, the name in the bridge's certificate"),
            (&files.certificate, CERTIFICATE, "--tls-crt, HAProxy's own certificate and key in one file"),
        ];
        let wanted = if tls.clients.is_some() { 3 } else { 2 };
        let missing = said.iter().take(wanted).filter(|(said, ..)| said.is_none());
        missing.map(|(_, place, what)| format!("{place} stands for {what}")).collect()
    }
}

/// Addresses of a name that are used at a time.
const SLOTS: usize = 10;
pub(super) const RESOLVERS: &str = "spop-bridge-dns";
const CA: &str = "CHANGE-ME/bridge-ca.pem";
const NAME: &str = "change-me.example.com";
const CERTIFICATE: &str = "CHANGE-ME/haproxy.pem";
