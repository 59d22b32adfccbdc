//! Who a peer must be, by its certificate: rustls says whether it leads to a CA, is in date and holds the key; whose names it has to have
//! is the configuration's to say.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::{Roots, names};
use crate::config::San;

/// Clients whose certificate leads to a CA and has one of the names.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    by_ca: Arc<dyn ClientCertVerifier>,
    allowed: Vec<San>,
}

impl ClientVerifier {
    /// Without names, any certificate of the CA will do.
    pub(super) fn build(by_ca: Arc<dyn ClientCertVerifier>, allowed: &[San]) -> Arc<dyn ClientCertVerifier> {
        if allowed.is_empty() { by_ca } else { Arc::new(Self { by_ca, allowed: allowed.to_vec() }) }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.by_ca.verify_client_cert(certificate, intermediates, now)?;
        names::check(certificate, &self.allowed)?;
        Ok(verified)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_ca.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_ca.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_ca.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_ca.supported_verify_schemes()
    }
}

/// Servers whose certificate leads to a CA and has the server's name or, where names are given, one of those instead: the name of a
/// workload, such as a SPIFFE ID, has nothing to do with the name that it is reached by.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    roots: Roots,
    algorithms: WebPkiSupportedAlgorithms,
    allowed: Vec<San>,
}

impl ServerVerifier {
    pub(super) fn new(roots: Roots, provider: &CryptoProvider, allowed: &[San]) -> Self {
        Self { roots, algorithms: provider.signature_verification_algorithms, allowed: allowed.to_vec() }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        if self.allowed.is_empty() {
            verify_server_name(&parsed, server_name)?;
        } else {
            names::check(certificate, &self.allowed)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
