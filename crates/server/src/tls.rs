//! HTTPS: certificates and key from files, read again when those change, so that a renewed certificate needs no restart.
//!
//! The protocol is `rustls`'. What goes wrong with changed files is logged, and what was good before stays in use.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::{info, warn};

/// How often the files are looked at. Renewals come weeks before the old certificate ends.
const LOOK: Duration = Duration::from_secs(2);

/// Where certificates and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// The server's certificate and those between it and a root, PEM.
    pub(crate) certificate: PathBuf,
    /// Its key, PEM.
    pub(crate) key: PathBuf,
}

/// Why files make no HTTPS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// It holds nothing of the kind.
    #[error("{}: {source}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    /// Both do not go together, or are of a kind that is not known.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// What tells a file from the one that was there before. A link is followed, as those of certbot are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

type Stamps = [Option<Stamp>; 2];

struct Current {
    config: Arc<ServerConfig>,
    of: Stamps,
}

/// HTTPS of one listener.
#[derive(Clone)]
pub(crate) struct Tls {
    files: Files,
    current: Arc<Mutex<Current>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which.
    pub(crate) fn open(files: Files) -> Result<Self, TlsError> {
        let of = files.stamps();
        let config = files.read()?;
        Ok(Self { files, current: Arc::new(Mutex::new(Current { config, of })) })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).config))
    }

    /// Reads the files again if they have changed; says whether they had. Where they are no good, all stays as it is.
    ///
    /// # Errors
    /// What is wrong with which; said once for each change.
    pub(crate) fn refresh(&self) -> Result<bool, TlsError> {
        let of = self.files.stamps();
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.of == of {
                return Ok(false);
            }
            current.of = of;
        }
        let config = self.files.read()?;
        self.current.lock().unwrap_or_else(PoisonError::into_inner).config = config;
        Ok(true)
    }

    /// Looks at the files for as long as it is polled.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let this = self.clone();
            match tokio::task::spawn_blocking(move || this.refresh()).await {
                Ok(Ok(true)) => info!("the certificate of HTTPS has been read again"),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => warn!(%error, "the new certificate of HTTPS is no good; the old one stays in use"),
            }
        }
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key].map(|path| {
            let data = fs::metadata(path).ok()?;
            Some(Stamp { inode: data.ino(), length: data.len(), modified: (data.mtime(), data.mtime_nsec()) })
        })
    }

    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let wrong = |path: &Path, source| TlsError::Pem { path: path.to_owned(), source };
        let text = |path: &Path| fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
        let certificates = text(&self.certificate)?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&certificates)
            .collect::<Result<_, _>>()
            .map_err(|source| wrong(&self.certificate, source))?;
        if certificates.is_empty() {
            return Err(wrong(&self.certificate, pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&text(&self.key)?).map_err(|source| wrong(&self.key, source))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let mut config =
            builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(certificates, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509, X509NameBuilder};

    use super::*;

    /// A certificate for 127.0.0.1 that signs itself, in these files.
    pub(crate) fn make(folder: &Path) -> (Files, X509) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "proxy").unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        let alternative = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None));
        builder.append_extension(alternative.unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let files = Files { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        // As tools that renew do: a new file in the place of the old one.
        for (path, bytes) in
            [(&files.certificate, certificate.to_pem().unwrap()), (&files.key, key.private_key_to_pem_pkcs8().unwrap())]
        {
            let new = path.with_extension("new");
            fs::write(&new, bytes).unwrap();
            fs::rename(new, path).unwrap();
        }
        (files, certificate)
    }

    #[test]
    fn changed_files_are_read_again_and_bad_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (files, _) = make(folder.path());
        let tls = Tls::open(files.clone()).unwrap();
        let config = |tls: &Tls| Arc::as_ptr(&tls.current.lock().unwrap().config);
        let first = config(&tls);
        assert!(!tls.refresh().unwrap());
        make(folder.path());
        assert!(tls.refresh().unwrap());
        let second = config(&tls);
        assert_ne!(first, second);
        fs::write(&files.key, "no key").unwrap();
        assert!(matches!(tls.refresh(), Err(TlsError::Pem { .. })));
        assert!(!tls.refresh().unwrap(), "said once");
        assert_eq!(config(&tls), second);
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(tls.refresh(), Err(TlsError::File { .. })));
    }

    #[test]
    fn a_certificate_and_the_key_of_another_are_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (make(one.path()).0, make(other.path()).0);
        assert!(matches!(Tls::open(Files { key: b.key, ..a }), Err(TlsError::Pair(_))));
    }
}
