//! Whom servers are trusted by over HTTPS: the roots of this machine, and those of the operator's own file.
//!
//! The protocol is `rustls`'. A certificate is judged by the host of the URL: where that is an address, the certificate must
//! name the address.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use reqwest::{Client, ClientBuilder, redirect};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tracing::debug;

/// Why a file of certificates is no good.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It is not PEM, or holds no certificate.
    #[error("{0}")]
    Pem(#[from] pem::Error),
    /// A certificate in it cannot be a root.
    #[error("{0}")]
    Root(#[from] rustls::Error),
}

/// The roots of trust; clones are the same.
#[derive(Debug, Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Those of this machine, which are looked for where OpenSSL does (`SSL_CERT_FILE` and `SSL_CERT_DIR` say otherwise).
    /// A machine that has none trusts nobody. Reads files.
    ///
    /// # Errors
    /// `more`, a PEM file with further ones, is no good.
    pub fn of_this_machine(more: Option<&[u8]>) -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (taken, passed_over) = roots.add_parsable_certificates(found.certs);
        debug!(taken, passed_over, errors = found.errors.len(), "roots of trust of this machine");
        if let Some(more) = more {
            add(&mut roots, more)?;
        }
        Ok(Self::of(roots))
    }

    /// Those in a PEM file, and no others.
    ///
    /// # Errors
    /// It is no good.
    pub fn only(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        add(&mut roots, pem)?;
        Ok(Self::of(roots))
    }

    /// Nobody: for those who speak HTTP only.
    #[must_use]
    pub fn nobody() -> Self {
        Self::of(RootCertStore::empty())
    }

    fn of(roots: RootCertStore) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has suites of these versions");
        Self(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// An HTTP/1.1 client that goes nowhere else than it is told: no redirection is followed, no proxy of the environment used.
    pub fn client(&self) -> ClientBuilder {
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).http1_only();
        client.tls_backend_preconfigured(ClientConfig::clone(&self.0))
    }
}

/// Takes every certificate of a file; one that is no good makes the file no good.
fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TrustError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate?)?;
    }
    if roots.len() == before { Err(pem::Error::NoItemsFound.into()) } else { Ok(()) }
}

/// What is wrong with the certificate of the other side, where a request failed for that.
#[must_use]
pub fn distrusted(error: &reqwest::Error) -> Option<String> {
    let mut at: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(rustls::Error::InvalidCertificate(what)) = error.downcast_ref() {
            return Some(what.to_string());
        }
        // The source of an error of I/O is that of the one it wraps, which it hides.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        at = wrapped.map(|error| error as _).or_else(|| error.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_no_file_of_roots() {
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = b"-----BEGIN CERTIFICATE-----\nAAAA\n";
        for pem in [&b""[..], b"nothing", key, broken, cut] {
            assert!(Trust::only(pem).is_err(), "{}", String::from_utf8_lossy(pem));
            assert!(Trust::of_this_machine(Some(pem)).is_err(), "{}", String::from_utf8_lossy(pem));
        }
        Trust::of_this_machine(None).expect("whatever is on this machine");
    }
}
