//! TLS: from the files that a configuration names to what connections use, and to what is wrong with the files.
//!
//! Knows neither SPOP nor gRPC nor sockets. Both sides speak TLS by rustls with the cryptography of ring; what a peer's certificate must
//! hold is decided in [`verify`], everything else by rustls as it comes.
//!
//! Contents are read in one place, [`Material::load`]: when the bridge starts, when it reloads, and by `spop-bridge check`. Connections
//! ask a [`Live`] for what counts at the moment that they are made; they keep it for as long as they live.

mod files;
mod names;
mod verify;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use self::files::{Files, Pair};
use self::verify::{ClientVerifier, ServerVerifier};
use crate::config::{BackendTls, Config, ListenerTls, Path, Problem, TlsVersion, Warning};

/// What the files of a configuration hold, ready for use. No part of it prints a key.
#[derive(Clone)]
pub(crate) struct Material {
    /// By position in the configuration; `None`: no TLS.
    pub(crate) listeners: Vec<Option<Arc<ServerConfig>>>,
    /// By position in the configuration; `None`: no TLS.
    pub(crate) backends: Vec<Option<Arc<ClientConfig>>>,
    /// What works, but hardly for long, such as a certificate that has expired.
    pub(crate) warnings: Vec<Warning>,
    /// When the certificates that we show end, by their place in the configuration: of each file the first to do so.
    pub(crate) expiries: Vec<(String, SystemTime)>,
}

impl Material {
    /// Reads all files that `config` names. Blocks for as long as the file system does.
    ///
    /// # Errors
    /// All that is wrong with them, by the place in the configuration that names the file.
    pub(crate) fn load(config: &Config) -> Result<Self, Vec<Problem>> {
        let mut files = Files::of(&config.effective);
        let listeners = config.listeners.iter().enumerate().map(|(index, listener)| {
            let path = Path::root().key("listeners").index(index).key("tls");
            listener.tls.as_ref().map(|tls| server(tls, &path, &mut files))
        });
        let listeners: Vec<_> = listeners.collect();
        let backends = config.backends.iter().map(|backend| {
            let path = Path::root().key("backends").key(&backend.name).key("tls");
            backend.tls.as_ref().map(|tls| client(tls, &path, &mut files))
        });
        let backends: Vec<_> = backends.collect();
        let expiries = std::mem::take(&mut files.expiries);
        let warnings = files.finish()?;
        // Without problems everything was made.
        Ok(Self {
            listeners: listeners.into_iter().map(Option::flatten).collect(),
            backends: backends.into_iter().map(Option::flatten).collect(),
            warnings,
            expiries,
        })
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

/// What new connections use, until it is replaced. Clones share it.
pub(crate) struct Live<T>(Arc<watch::Sender<Option<Arc<T>>>>);

impl<T> Live<T> {
    /// `None`: no TLS.
    pub(crate) fn new(config: Option<Arc<T>>) -> Self {
        Self(Arc::new(watch::Sender::new(config)))
    }

    /// What counts now.
    pub(crate) fn current(&self) -> Option<Arc<T>> {
        self.0.borrow().clone()
    }

    /// Connections that are made from now on use `config`. Sessions of those before are not resumed: who was let in by an old CA must not
    /// come in by a ticket.
    pub(crate) fn replace(&self, config: Option<Arc<T>>) {
        self.0.send_replace(config);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Without what is in it: that has keys.
impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.borrow().is_some() { "Live(TLS)" } else { "Live(no TLS)" })
    }
}

/// The cryptography, by name: a default of the process would be a hidden global.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

fn server(tls: &ListenerTls, path: &Path, files: &mut Files<'_>) -> Option<Arc<ServerConfig>> {
    let identity = files.pair(&tls.identity, path);
    let verifier = match &tls.clients {
        None => Some(WebPkiClientVerifier::no_client_auth()),
        Some(clients) => {
            let at = path.key("client_ca");
            let roots = files.roots(&clients.ca, &at);
            roots.and_then(|roots| {
                let by_ca = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&PROVIDER)).build();
                let by_ca = by_ca.map_err(|error| files.unusable(&at, &clients.ca, &error)).ok()?;
                Some(ClientVerifier::build(by_ca, &clients.allowed_sans))
            })
        }
    };
    let Pair { chain, key } = identity?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER));
    let builder = builder.with_protocol_versions(versions(tls.min_version)).ok()?.with_client_cert_verifier(verifier?);
    let config = builder.with_single_cert(chain, key);
    config.map(Arc::new).map_err(|error| files.mismatch(path, &tls.identity, &error)).ok()
}

fn client(tls: &BackendTls, path: &Path, files: &mut Files<'_>) -> Option<Arc<ClientConfig>> {
    let roots = match &tls.ca {
        Some(ca) => files.roots(ca, &path.key("ca")),
        None => files.system_roots(&path.key("ca")),
    };
    let pair = tls.identity.as_ref().map(|identity| (identity, files.pair(identity, path)));
    let verifier = ServerVerifier::new(roots?, &PROVIDER, &tls.allowed_sans);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER));
    // "Dangerous" is that it is not rustls that compares names; see there.
    let builder = builder.with_protocol_versions(versions(tls.min_version)).ok()?.dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some((identity, pair)) => {
            let Pair { chain, key } = pair?;
            builder.with_client_auth_cert(chain, key).map_err(|error| files.mismatch(path, identity, &error)).ok()?
        }
    };
    config.alpn_protocols = vec![H2.to_vec()];
    Some(Arc::new(config))
}

/// What a client uses that is no backend's, from files that the configuration does not name; they are read now. Without ALPN.
///
/// # Errors
/// All that is wrong with the files, by the last key of their place in `tls`.
pub(crate) fn stranger(tls: &BackendTls) -> Result<ClientConfig, Vec<Problem>> {
    let mut files = Files::default();
    let config = client(tls, &Path::root(), &mut files);
    files.finish()?;
    let mut config = Arc::unwrap_or_clone(config.ok_or_else(Vec::new)?);
    config.alpn_protocols.clear();
    Ok(config)
}

/// HTTP/2, as ALPN has it.
pub(crate) const H2: &[u8] = b"h2";

static ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::V1_2 => ALL_VERSIONS,
        TlsVersion::V1_3 => ONLY_1_3,
    }
}

/// Those who may issue certificates.
type Roots = Arc<RootCertStore>;

#[cfg(test)]
mod tests;
