//! TLS as a configuration says it: names of files and names in certificates. What is in the files is not looked at here.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use http::uri::Authority;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::ServerName;

use super::model::Config;
use super::names::names;

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// What HAProxy sees.
    pub identity: Identity,
    /// Who may connect; `None`: anybody.
    pub clients: Option<Clients>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// TLS to the endpoints of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendTls {
    /// Who issues the servers' certificates; `None`: those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// What servers see, if they ask.
    pub identity: Option<Identity>,
    /// The name that is asked for, and that the certificate must have unless there are `allowed_sans`. `None`: the host of the
    /// authority.
    pub server_name: Option<ServerName<'static>>,
    /// What requests name as their authority. `None`: that of the endpoint.
    pub authority: Option<Authority>,
    /// Names of which the certificate must have one; empty: it must have the server's name.
    pub allowed_sans: Vec<San>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// A certificate, and the key to it. They may be in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM: the certificate, then those that lead to the CA.
    pub certificate: PathBuf,
    /// PEM: the private key, not encrypted.
    pub key: PathBuf,
}

/// Clients that may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// PEM: who issues their certificates.
    pub ca: PathBuf,
    /// Names of which a certificate must have one; empty: any will do.
    pub allowed_sans: Vec<San>,
}

/// A name that a certificate can be for (subject alternative name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    /// A DNS name or an address. A certificate for `*.example.com` is one for `a.example.com`.
    Name(ServerName<'static>),
    /// A URI, such as a SPIFFE ID. Compared byte by byte.
    Uri(String),
}

impl San {
    /// The name that `text` is, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.split_once("://") {
            Some((scheme, rest)) => {
                let is_scheme = |scheme: &str| {
                    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-'))
                };
                let is_rest = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic());
                (is_scheme(scheme) && is_rest).then(|| Self::Uri(text.to_owned()))
            }
            None => ServerName::try_from(text).ok().map(|name| Self::Name(name.to_owned())),
        }
    }
}

/// As it is written in a configuration.
impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.to_str()),
            Self::Uri(uri) => f.write_str(uri),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

names!(TlsVersion { V1_2 = "1.2", V1_3 = "1.3" });

impl Config {
    /// The files that the configuration names besides sockets, each once.
    pub fn files(&self) -> Vec<PathBuf> {
        let identity = |identity: &Identity| [identity.certificate.clone(), identity.key.clone()];
        let mut files = BTreeSet::new();
        for tls in self.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
            files.extend(identity(&tls.identity));
            files.extend(tls.clients.as_ref().map(|clients| clients.ca.clone()));
        }
        for tls in self.backends.iter().filter_map(|backend| backend.tls.as_ref()) {
            files.extend(tls.ca.clone());
            files.extend(tls.identity.iter().flat_map(identity));
        }
        files.into_iter().collect()
    }
}
