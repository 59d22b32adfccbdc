//! PEM files: what is in them, and what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as File, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::{Error as TlsError, RootCertStore};
use webpki::{EndEntityCert, KeyUsage};

use super::{PROVIDER, Roots};
use crate::aside::asking;
use crate::config::{Effective, Identity, Path, Problem, Warning};
use crate::files::{Unreadable, read};
use crate::printable::Printable;

/// The largest file that is read, in bytes. All CAs of a system are about 250 KiB; more is some other file.
const MAX_FILE: u64 = 4 << 20;

/// A certificate with those that lead to its CA, and its key.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Files as they are read: each once, however often it is named.
#[derive(Default)]
pub(super) struct Files<'a> {
    /// Says what to call them, if a configuration names them.
    effective: Option<&'a Effective>,
    contents: BTreeMap<PathBuf, Result<Arc<[u8]>, String>>,
    system: Option<Roots>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    /// By place, when what is shown to peers ends.
    pub(super) expiries: Vec<(String, SystemTime)>,
}

impl<'a> Files<'a> {
    /// Those that a configuration names.
    pub(super) fn of(effective: &'a Effective) -> Self {
        Self { effective: Some(effective), ..Self::default() }
    }

    /// The warnings.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>, Vec<Problem>> {
        self.problems.sort();
        self.problems.dedup();
        self.warnings.sort();
        self.warnings.dedup();
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(self.problems) }
    }

    /// The certificate and the key that are named at `path`.
    pub(super) fn pair(&mut self, identity: &Identity, path: &Path) -> Option<Pair> {
        let at = path.key("certificate");
        let chain = self.certificates(&identity.certificate, &at);
        let key = self.key(&identity.key, &path.key("key"));
        for certificate in chain.iter().flatten() {
            self.check_dates(certificate, &identity.certificate, &at);
        }
        let ends = chain.iter().flatten().filter_map(not_after).min();
        self.expiries.extend(ends.map(|end| (at.to_string(), end)));
        Some(Pair { chain: chain?, key: key? })
    }

    /// The CAs in a file.
    pub(super) fn roots(&mut self, file: &File, at: &Path) -> Option<Roots> {
        let certificates = self.certificates(file, at)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            if let Err(error) = roots.add(certificate.clone()) {
                self.unusable(at, file, &error);
                return None;
            }
        }
        Some(Arc::new(roots))
    }

    /// The CAs that the system trusts. Those among them that cannot be read are not missed: systems carry odd ones.
    pub(super) fn system_roots(&mut self, at: &Path) -> Option<Roots> {
        if self.system.is_none() {
            // The library takes everything for a file.
            let file = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            let unreadable = file.as_ref().and_then(|file| read(file, MAX_FILE).err());
            if let (Some(file), Some(error @ (Unreadable::Irregular(_) | Unreadable::TooLarge(_)))) = (&file, unreadable) {
                self.problem(at, format_args!("{} (SSL_CERT_FILE), which {error}", file.display()), CERTIFICATE);
                return None;
            }
            let _asking = asking("the CA certificates of this system (SSL_CERT_FILE, SSL_CERT_DIR)");
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
                let expected = "a PEM file with the CA of the servers, or CA certificates installed (often a package named \
                                ca-certificates), or SSL_CERT_FILE in the environment";
                self.problem(at, format_args!("nothing, and no CA certificates on this system{reason}"), expected);
                return None;
            }
            self.system = Some(Arc::new(roots));
        }
        self.system.clone()
    }

    /// Says that what is in `file` cannot be used.
    pub(super) fn unusable(&mut self, at: &Path, file: &File, error: &dyn fmt::Display) {
        let name = self.name(at, file);
        self.problem(at, format_args!("{name} with a certificate that cannot be used: {error}"), CERTIFICATE);
    }

    /// Says that certificate and key at `path` cannot be used together.
    pub(super) fn mismatch(&mut self, path: &Path, identity: &Identity, error: &TlsError) {
        let key = self.name(&path.key("key"), &identity.key);
        let certificate = self.name(&path.key("certificate"), &identity.certificate);
        match error {
            TlsError::InconsistentKeys(_) => {
                let expected = "the key of the first certificate in that file";
                self.problem(&path.key("key"), format_args!("{key}, which is not the key of {certificate}"), expected);
            }
            TlsError::InvalidCertificate(_) => self.unusable(&path.key("certificate"), &identity.certificate, error),
            // The kind of key, never the key.
            _ => self.problem(&path.key("key"), format_args!("{key} with a key that cannot be used: {error}"), KEY),
        }
    }

    fn certificates(&mut self, file: &File, at: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let content = self.read(file, at, CERTIFICATE)?;
        match CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if certificates.is_empty() => {
                let name = self.name(at, file);
                self.problem(at, format_args!("{name} with no certificate in it"), CERTIFICATE);
                None
            }
            Ok(certificates) => Some(certificates),
            // The parser's error may repeat a line of the file, so it is not.
            Err(_) => {
                let name = self.name(at, file);
                self.problem(at, format_args!("{name}, which is not PEM"), CERTIFICATE);
                None
            }
        }
    }

    fn key(&mut self, file: &File, at: &Path) -> Option<PrivateKeyDer<'static>> {
        let content = self.read(file, at, KEY)?;
        // The parser's errors may repeat a line of the file, so they are not.
        PrivateKeyDer::from_pem_slice(&content).ok().or_else(|| {
            let is_encrypted = content.windows(9).any(|word| word == b"ENCRYPTED");
            let what = if is_encrypted { "an encrypted private key" } else { "no private key" };
            let name = self.name(at, file);
            self.problem(at, format_args!("{name} with {what} in it"), KEY);
            None
        })
    }

    fn read(&mut self, file: &File, at: &Path, expected: &str) -> Option<Arc<[u8]>> {
        let read = |file: &File| read(file, MAX_FILE).map(Arc::from).map_err(|error| error.to_string());
        let content = self.contents.entry(file.to_owned()).or_insert_with(|| read(file)).clone();
        let name = self.name(at, file);
        content.map_err(|reason| self.problem(at, format_args!("{name}, which {reason}"), expected)).ok()
    }

    /// A certificate out of date is no reason not to start: the peers that mind will say so, and it may be the clock.
    fn check_dates(&mut self, certificate: &CertificateDer<'_>, file: &File, at: &Path) {
        if let Some(problem) = out_of_date(certificate) {
            let name = self.name(at, file);
            self.warnings.push(Warning { path: at.clone(), message: format!("{name}: {problem}") });
        }
    }

    /// The file that is named at `at`, for people. It may be a key where a path is expected.
    fn name(&self, at: &Path, file: &File) -> String {
        let name = file.display().to_string();
        if name.contains("-----BEGIN") || name.contains('\n') {
            return "the content of a file instead of its path".to_owned();
        }
        let name = self.effective.map_or_else(|| name.clone(), |effective| effective.shown(at, &name));
        Printable(name).to_string()
    }

    fn problem(&mut self, at: &Path, found: impl fmt::Display, expected: &str) {
        self.problems.push(Problem { path: at.clone(), found: found.to_string(), expected: expected.to_owned() });
    }
}

const CERTIFICATE: &str = "a PEM file with a certificate";
const KEY: &str = "a PEM file with a private key that is not encrypted (RSA of 2048 bits or more, ECDSA P-256 or P-384, Ed25519)";

/// Asks the one who will judge it in handshakes: dates are what it looks at first, before it misses a CA.
fn out_of_date(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let algorithms = PROVIDER.signature_verification_algorithms.all;
    let verified = parsed.verify_for_usage(algorithms, &[], &[], UnixTime::now(), KeyUsage::server_auth(), None, None);
    match verified.err()? {
        webpki::Error::CertExpired { not_after, .. } => Some(format!("a certificate in it expired on {}", date(not_after))),
        webpki::Error::CertNotValidYet { not_before, .. } => {
            Some(format!("a certificate in it is valid from {}", date(not_before)))
        }
        _ => None,
    }
}

/// When a certificate ends: who judges it says so when it is asked about a time long after.
fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    const LONG_AFTER: Duration = Duration::from_secs(1 << 40);
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let algorithms = PROVIDER.signature_verification_algorithms.all;
    let then = UnixTime::since_unix_epoch(LONG_AFTER);
    match parsed.verify_for_usage(algorithms, &[], &[], then, KeyUsage::server_auth(), None, None).err()? {
        webpki::Error::CertExpired { not_after, .. } => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    }
}

fn date(time: UnixTime) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}
