//! The names in a certificate, against those that are allowed.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{CertificateError, Error as TlsError, OtherError};
use webpki::EndEntityCert;

use crate::config::San;

/// Names that a message lists at most: a certificate of a peer's may have thousands.
const MAX_LISTED: usize = 8;

/// A certificate that leads to the right CA and is for somebody else.
#[derive(Debug, Error)]
#[error("its certificate is for {presented}, and allowed_sans has {allowed}: add a name that it has, if it is the right one")]
struct NotAllowed {
    presented: String,
    allowed: String,
}

/// Whether `certificate` has one of the names.
///
/// # Errors
/// [`CertificateError`], with the names that it has.
pub(super) fn check(certificate: &CertificateDer<'_>, allowed: &[San]) -> Result<(), TlsError> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| TlsError::from(CertificateError::BadEncoding))?;
    let has = |san: &San| match san {
        San::Name(name) => certificate.verify_is_valid_for_subject_name(name).is_ok(),
        San::Uri(uri) => certificate.valid_uri_names().any(|found| found == uri),
    };
    if allowed.iter().any(has) {
        return Ok(());
    }
    let error = NotAllowed { presented: presented(&certificate), allowed: list(allowed) };
    Err(CertificateError::Other(OtherError(Arc::new(error))).into())
}

fn presented(certificate: &EndEntityCert<'_>) -> String {
    let names: Vec<&str> = certificate.valid_uri_names().chain(certificate.valid_dns_names()).collect();
    if names.is_empty() { "no URI and no DNS name".to_owned() } else { list(&names) }
}

/// `a, b and 3 more`. What a certificate says is not ours: on one line, and not for ever.
fn list(names: &[impl fmt::Display]) -> String {
    let cut =
        |name: &dyn fmt::Display| -> String { name.to_string().chars().take(256).collect::<String>().escape_debug().to_string() };
    let mut text = names.iter().take(MAX_LISTED).map(|name| cut(name)).collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(MAX_LISTED) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_short_and_on_one_line() {
        assert_eq!(list(&["a", "b\n"]), "a, b\\n");
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        assert_eq!(list(&many), "0, 1, 2, 3, 4, 5, 6, 7 and 992 more");
    }
}
