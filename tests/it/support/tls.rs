//! CAs and certificates of the tests, made anew each time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use spop_bridge::agent::rustls::crypto::ring::default_provider;
use spop_bridge::agent::rustls::pki_types::pem::PemObject;
use spop_bridge::agent::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use spop_bridge::agent::rustls::server::WebPkiClientVerifier;
use spop_bridge::agent::rustls::{
    ClientConfig, DEFAULT_VERSIONS, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tempfile::TempDir;

/// A certificate authority whose files lie in a folder of its own.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
    issued: AtomicUsize,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let ca = Ca { issuer: Issuer::new(params, key), folder: tempfile::tempdir().unwrap(), issued: AtomicUsize::new(0) };
        std::fs::write(ca.file(), certificate).unwrap();
        ca
    }

    /// Its certificate, in PEM.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for DNS names, addresses and URIs.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// One that was good once.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        })
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let (uris, plain): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(plain.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.distinguished_name.push(DnType::CommonName, "test");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let folder = self.folder.path().join(self.issued.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&folder).unwrap();
        let issued = Issued { certificate, key: key.serialize_pem(), folder };
        issued.write_to(&issued.folder);
        issued
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        roots(&self.file())
    }
}

/// Those whose certificates are in a file.
pub(crate) fn roots(file: &Path) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    Arc::new(roots)
}

/// A certificate and its key, in files that live as long as the CA does.
pub(crate) struct Issued {
    certificate: String,
    key: String,
    folder: PathBuf,
}

impl Issued {
    /// As `tls.crt`, `tls.key`, and both in `tls.pem`, which is how HAProxy has them.
    pub(crate) fn write_to(&self, folder: &Path) {
        std::fs::write(folder.join("tls.crt"), &self.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &self.key).unwrap();
        std::fs::write(folder.join("tls.pem"), format!("{}{}", self.certificate, self.key)).unwrap();
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("tls.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("tls.key")
    }

    pub(crate) fn pem(&self) -> PathBuf {
        self.folder.join("tls.pem")
    }

    /// The keys `certificate` and `key` of a configuration.
    pub(crate) fn yaml(&self) -> String {
        format!("certificate: {}, key: {}", self.certificate().display(), self.key().display())
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// A server with it. With `clients`, that of a client is demanded.
    pub(crate) fn server(
        &self,
        clients: Option<&Ca>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(default_provider().into()).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(ca.roots(), default_provider().into()).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let mut config = builder.with_single_cert(vec![self.der()], self.key_der()).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// As gRPC servers are: HTTP/2, any version.
    pub(crate) fn grpc_server(&self, clients: Option<&Ca>) -> Arc<ServerConfig> {
        self.server(clients, DEFAULT_VERSIONS, &["h2"])
    }
}

/// A client that trusts `ca`, and shows a certificate if it has one.
pub(crate) fn client(ca: &Ca, identity: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    client_of(ca.roots(), identity, versions)
}

pub(crate) fn client_of(
    ca: Arc<RootCertStore>,
    identity: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(default_provider().into()).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(ca);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(issued) => builder.with_client_auth_cert(vec![issued.der()], issued.key_der()).unwrap(),
    };
    Arc::new(config)
}

/// What a server has seen of a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// SNI.
    pub(crate) server_name: Option<String>,
    pub(crate) certificate: Option<CertificateDer<'static>>,
    pub(crate) version: ProtocolVersion,
    pub(crate) is_resumed: bool,
}

impl Seen {
    pub(crate) fn of(connection: &spop_bridge::agent::rustls::ServerConnection) -> Seen {
        Seen {
            server_name: connection.server_name().map(str::to_owned),
            certificate: connection.peer_certificates().and_then(|chain| chain.first()).map(|first| first.clone().into_owned()),
            version: connection.protocol_version().unwrap(),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}
