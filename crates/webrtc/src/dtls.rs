//! The DTLS back end: one certificate per process, OpenSSL underneath, and the tap for SRTP keys.
//!
//! str0m's own DTLS refuses peers with RSA certificates, which GStreamer always presents; OpenSSL takes RSA and ECDSA.
//! [`Identity`] owns the certificate and the shared context; [`Identity::tap`] ties the instance that the engine
//! creates to the session that wants a copy of its keys. Whether a certificate is the right one is the engine's to decide
//! (it compares the fingerprint); nobody may use tapped keys before the engine has said so. An [`Instance`] is lent to
//! its engine and comes back through the tap when that is dropped: a viewer's session needs no more of it.

mod instance;
mod lent;

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::x509::{X509, X509NameBuilder, X509StoreContext, X509StoreContextRef, X509VerifyResult};
use str0m::crypto::dtls::{DtlsCert, DtlsInstance, DtlsProvider, DtlsVersion};
use str0m::crypto::{CryptoError, CryptoProvider};
use zeroize::Zeroizing;

pub(crate) use self::instance::Instance;
use self::lent::Lent;
use crate::egress::Profile;

/// The order is ours, not the client's: Chrome lists SHA1_80 first, and GCM costs a fifth of it (design 2.2).
const SRTP_PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80";

/// Forward secrecy and AEAD first; the CBC suite is what older libwebrtc and GnuTLS peers fall back to.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA";

/// The curves of key exchange and of peers' ECDSA certificates, best first. P-224 is what FFmpeg built with GnuTLS
/// (Debian's, PyAV's) makes its certificate with; OpenSSL's own list lacks it.
const CURVES: &str = "X25519:P-256:P-384:P-521:P-224";

/// Largest plain datagram of a flight (protocol.md 7.1): below every path's MTU.
const MTU: u32 = 1200;

/// What went wrong when the process's identity was made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the DTLS certificate: {0}")]
pub struct IdentityError(#[from] openssl::error::ErrorStack);

/// The process's DTLS identity: certificate, key and the OpenSSL context that all sessions share.
#[derive(Clone)]
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    certificate: Arc<DtlsCert>,
    fingerprint: [u8; 32],
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a fresh self-signed ECDSA P-256 certificate (RFC 8827 6.5), valid for a year, held in memory only.
    ///
    /// # Errors
    /// When OpenSSL cannot make a key; not expected to happen on a working machine.
    pub(crate) fn generate() -> Result<Identity, IdentityError> {
        Identity::of(generate_certificate()?)
    }

    fn of(certificate: DtlsCert) -> Result<Identity, IdentityError> {
        let context = context(&certificate)?;
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(&openssl::sha::sha256(&certificate.certificate));
        // str0m asks for `&'static`: one small allocation for the life of the process.
        let dtls: &'static Provider = Box::leak(Box::new(Provider { context }));
        let provider = CryptoProvider { dtls_provider: dtls, ..str0m::crypto::from_feature_flags() };
        Ok(Identity { provider: Arc::new(provider), certificate: Arc::new(certificate), fingerprint })
    }

    /// SHA-256 over the certificate, for `a=fingerprint` (RFC 8122).
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// What the engine is configured with.
    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    /// The certificate in the engine's own form.
    pub(crate) fn certificate(&self) -> DtlsCert {
        DtlsCert::clone(&self.certificate)
    }

    /// Runs `build`, which makes one engine, and returns the tap of the DTLS instance made in it. That instance takes no
    /// certificate but the one with the fingerprint `peer`.
    pub(crate) fn tap<T>(peer: [u8; 32], build: impl FnOnce() -> T) -> (T, Tap) {
        let tap = Tap::default();
        SLOT.with(|slot| *slot.borrow_mut() = Some((tap.clone(), peer)));
        let built = build();
        SLOT.with(|slot| *slot.borrow_mut() = None);
        (built, tap)
    }
}

thread_local! {
    /// The tap of the engine that is being built on this thread right now, and the fingerprint of its peer.
    static SLOT: RefCell<Option<(Tap, [u8; 32])>> = const { RefCell::new(None) };
}

/// Where an instance leaves a copy of its keying material, once, and where it is itself when its engine is no more.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Left>>);

#[derive(Default)]
struct Left {
    keys: Option<Tapped>,
    instance: Option<Box<Instance>>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// Keying material as RFC 5764 4.2 lays it out, and the profile it is for.
pub(crate) struct Tapped {
    pub(crate) profile: Profile,
    pub(crate) material: Zeroizing<Vec<u8>>,
}

impl Tap {
    fn put(&self, tapped: Tapped) {
        if let Ok(mut left) = self.0.lock() {
            left.keys = Some(tapped);
        }
    }

    fn give_back(&self, instance: Box<Instance>) {
        if let Ok(mut left) = self.0.lock() {
            left.instance = Some(instance);
        }
    }

    /// Takes the keys. The caller must have the engine's word that the peer's certificate is the right one.
    pub(crate) fn take(&self) -> Option<Tapped> {
        self.0.lock().ok()?.keys.take()
    }

    /// Takes the association of an engine that was dropped.
    pub(crate) fn take_instance(&self) -> Option<Box<Instance>> {
        self.0.lock().ok()?.instance.take()
    }
}

fn generate_certificate() -> Result<DtlsCert, openssl::error::ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "whipstitch")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    // A day back: a peer whose clock is a little behind must not refuse us.
    builder.set_not_before(Asn1Time::from_unix(unix_now() - 86_400)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(365)?.as_ref())?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(DtlsCert { certificate: builder.build().to_der()?, private_key: key.private_key_to_der()? })
}

fn unix_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(0)
}

fn context(certificate: &DtlsCert) -> Result<SslContext, openssl::error::ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::dtls())?;
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_groups_list(CURVES)?;
    builder.set_tlsext_use_srtp(SRTP_PROFILES)?;
    let key = PKey::private_key_from_der(&certificate.private_key)?;
    let x509 = X509::from_der(&certificate.certificate)?;
    builder.set_private_key(&key)?;
    builder.set_certificate(&x509)?;
    builder.set_options(
        SslOptions::NO_QUERY_MTU
            | SslOptions::NO_TICKET
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE
            | SslOptions::NO_COMPRESSION,
    );
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    // A handshake's buffers, 34 KiB a session, are needed once more at the goodbye.
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    Ok(builder.build())
}

struct Provider {
    context: SslContext,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

impl DtlsProvider for Provider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        None
    }

    /// The certificate is the context's own: [`Identity`] hands the engine the same one.
    fn new_dtls(
        &self,
        _certificate: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let (tap, peer) = SLOT.with(|slot| slot.borrow_mut().take()).unzip();
        let mut ssl = Ssl::new(&self.context).map_err(other)?;
        ssl.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |_, chain| {
            peer.is_some_and(|peer| is_acceptable(chain, &peer))
        });
        ssl.set_mtu(MTU).map_err(other)?;
        let instance = Instance::new(ssl, tap.clone(), now).map_err(other)?;
        Ok(Box::new(Lent::new(instance, tap)))
    }
}

/// Judges the peer while there is still a handshake, so that it hears a fatal alert: which certificate is right is told
/// by its fingerprint, not by a chain (RFC 8122 5); without SRTP there is nothing to talk about (RFC 5764 4.1).
fn is_acceptable(chain: &mut X509StoreContextRef, peer: &[u8; 32]) -> bool {
    let ssl = X509StoreContext::ssl_idx().ok().and_then(|index| chain.ex_data(index));
    let srtp = ssl.is_some_and(|ssl| ssl.selected_srtp_profile().is_some());
    let own = chain.chain().and_then(|chain| chain.get(0)).and_then(|certificate| certificate.to_der().ok());
    let acceptable = srtp && own.is_some_and(|der| openssl::sha::sha256(&der) == *peer);
    if !acceptable {
        // handshake_failure.
        chain.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    acceptable
}

fn other(error: openssl::error::ErrorStack) -> CryptoError {
    CryptoError::Other(error.to_string())
}

#[cfg(test)]
mod tests;
