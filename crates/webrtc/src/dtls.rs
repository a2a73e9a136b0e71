//! The DTLS back end: one certificate per process, OpenSSL underneath, and the tap for SRTP keys.
//!
//! str0m's own DTLS refuses peers with RSA certificates, which GStreamer always presents; OpenSSL takes RSA and ECDSA.
//! [`Identity`] owns the certificate and the shared context; [`Identity::tap`] ties the instance that the engine
//! creates to the session that wants a copy of its keys. An [`Instance`] lives as long as its engine. Whether a
//! certificate is the right one is the engine's to decide (it compares the fingerprint); nobody may use tapped keys
//! before the engine has said so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::srtp::SrtpProfileId;
use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::{X509, X509NameBuilder};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};
use zeroize::Zeroizing;

use crate::egress::Profile;

/// RFC 5764 4.2: the exporter's label.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// The order is ours, not the client's: Chrome lists SHA1_80 first, and GCM costs a fifth of it (design 2.2).
const SRTP_PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80";

/// Forward secrecy and AEAD first; the CBC suite is what older libwebrtc and GnuTLS peers fall back to.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA";

/// Largest plain datagram of a flight (protocol.md 7.1): below every path's MTU.
const MTU: u32 = 1200;

/// First retransmission of a flight (protocol.md 7.1: at most 500 ms); doubles up to [`RESEND_MAX`].
const RESEND_FIRST: Duration = Duration::from_millis(400);
const RESEND_MAX: Duration = Duration::from_millis(3200);

/// A flight that wants an answer is repeated until the session's setup deadline.
const RESENDS: u32 = u32::MAX;

/// A server's last flight gets no answer in DTLS: over 6 s it is repeated for a client that may still wait for it, which
/// throws away what it has.
const LAST_RESENDS: u32 = 4;

/// Datagrams held for one handshake in either direction. The largest flight (two RSA-4096 certificates) is under
/// ten datagrams; more than this is somebody filling our memory.
const MAX_DATAGRAMS: usize = 32;

/// What went wrong when the process's identity was made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the DTLS certificate: {0}")]
pub struct IdentityError(#[from] openssl::error::ErrorStack);

/// The process's DTLS identity: certificate, key and the OpenSSL context that all sessions share.
#[derive(Clone)]
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    certificate: DtlsCert,
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
        Ok(Identity { provider: Arc::new(provider), certificate, fingerprint })
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
        self.certificate.clone()
    }

    /// Runs `build`, which makes one engine, and returns the tap of the DTLS instance made in it.
    pub(crate) fn tap<T>(build: impl FnOnce() -> T) -> (T, Tap) {
        let tap = Tap::default();
        SLOT.with(|slot| *slot.borrow_mut() = Some(tap.clone()));
        let built = build();
        SLOT.with(|slot| *slot.borrow_mut() = None);
        (built, tap)
    }
}

thread_local! {
    /// The tap of the engine that is being built on this thread right now.
    static SLOT: RefCell<Option<Tap>> = const { RefCell::new(None) };
}

/// Where an instance leaves a copy of its keying material, once.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Option<Tapped>>>);

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
        if let Ok(mut slot) = self.0.lock() {
            *slot = Some(tapped);
        }
    }

    /// Takes the keys. The caller must have the engine's word that the peer's certificate is the right one.
    pub(crate) fn take(&self) -> Option<Tapped> {
        self.0.lock().ok()?.take()
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
    builder.set_tlsext_use_srtp(SRTP_PROFILES)?;
    // The peer must present a certificate; which one is right is told by its fingerprint, not by a chain.
    builder.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
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
        let tap = SLOT.with(|slot| slot.borrow_mut().take());
        let mut ssl = Ssl::new(&self.context).map_err(other)?;
        ssl.set_mtu(MTU).map_err(other)?;
        let stream = SslStream::new(ssl, Datagrams::default()).map_err(other)?;
        Ok(Box::new(Instance {
            stream,
            tap,
            role: None,
            phase: Phase::Handshake,
            now,
            resend: None,
            pending: VecDeque::new(),
            closing: false,
        }))
    }
}

fn other(error: openssl::error::ErrorStack) -> CryptoError {
    CryptoError::Other(error.to_string())
}

/// The datagrams between OpenSSL and the engine. A read hands out one datagram, as a socket would.
#[derive(Default)]
struct Datagrams {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl io::Read for Datagrams {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.incoming.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let len = datagram.len().min(buf.len());
        buf[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl io::Write for Datagrams {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.outgoing.len() < MAX_DATAGRAMS {
            self.outgoing.push_back(buf.to_vec());
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Transitions: `Handshake` -> `Established` -> `Closed`; `Handshake` -> `Closed` on failure or close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Handshake,
    Established,
    Closed,
}

/// Something the engine has still to be told, in order.
enum Pending {
    Packet(Vec<u8>),
    PeerCertificate(Vec<u8>),
    Keys(Zeroizing<Vec<u8>>, SrtpProfile),
    Connected,
    CloseNotify,
}

/// The last flight, kept until the handshake moves on: OpenSSL's own timer reads the wall clock and starts at 1 s.
struct Resend {
    flight: Vec<Vec<u8>>,
    /// When it is repeated. None until the engine tells the time: datagrams come without it.
    at: Option<Instant>,
    interval: Duration,
    /// How often it may still be sent again.
    left: u32,
}

struct Instance {
    stream: SslStream<Datagrams>,
    tap: Option<Tap>,
    /// True: we are the DTLS client.
    role: Option<bool>,
    phase: Phase,
    now: Instant,
    resend: Option<Resend>,
    pending: VecDeque<Pending>,
    closing: bool,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Instance {
    fn handshake(&mut self) -> Result<(), DtlsImplError> {
        if self.phase != Phase::Handshake {
            return Ok(());
        }
        let step = match self.role {
            None => return Ok(()),
            Some(true) => self.stream.connect(),
            Some(false) => self.stream.accept(),
        };
        match step {
            Ok(()) => {
                self.established()?;
                self.phase = Phase::Established;
                Ok(())
            }
            Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => {
                self.collect(RESENDS);
                Ok(())
            }
            Err(error) => {
                // The alert, if there is one, still goes out.
                self.resend = None;
                self.collect(0);
                self.phase = Phase::Closed;
                tracing::debug!(%error, "DTLS handshake failed");
                Err(DtlsImplError::ConnectionClosed)
            }
        }
    }

    /// Everything the engine must know of a finished handshake: certificate first, so that keys are never in use
    /// before it was judged.
    fn established(&mut self) -> Result<(), DtlsImplError> {
        let ssl = self.stream.ssl();
        let certificate = ssl.peer_certificate().and_then(|certificate| certificate.to_der().ok());
        let profile = ssl.selected_srtp_profile().and_then(|profile| profiles(profile.id()));
        let (Some(certificate), Some((profile, ours))) = (certificate, profile) else {
            self.phase = Phase::Closed;
            tracing::debug!("DTLS peer negotiated no SRTP profile (RFC 5764 4.1) or has no certificate");
            return Err(DtlsImplError::ConnectionClosed);
        };
        let mut material = Zeroizing::new(vec![0; profile.keying_material_len()]);
        if ssl.export_keying_material(&mut material, EXPORTER_LABEL, None).is_err() {
            self.phase = Phase::Closed;
            return Err(DtlsImplError::ConnectionClosed);
        }
        if let Some(tap) = &self.tap {
            tap.put(Tapped { profile: ours, material: material.clone() });
        }
        self.resend = None;
        self.collect(if self.role == Some(false) { LAST_RESENDS } else { 0 });
        self.pending.push_back(Pending::PeerCertificate(certificate));
        self.pending.push_back(Pending::Keys(material, profile));
        self.pending.push_back(Pending::Connected);
        Ok(())
    }

    /// Moves what OpenSSL has written to the engine, and keeps it for `resends` repetitions.
    fn collect(&mut self, resends: u32) {
        let written: Vec<_> = self.stream.get_mut().outgoing.drain(..).collect();
        if written.is_empty() {
            return;
        }
        self.resend =
            (resends > 0).then(|| Resend { flight: written.clone(), at: None, interval: RESEND_FIRST, left: resends });
        self.pending.extend(written.into_iter().map(Pending::Packet));
    }

    /// Repeats the last flight, byte for byte: to the peer a datagram that the network doubled. OpenSSL is given the
    /// chance to do it better: once its own timer has run out it writes the flight under new record numbers, which a
    /// peer needs to notice that its own last flight was lost.
    fn repeat(&mut self) {
        if self.phase == Phase::Handshake {
            // WANT_READ, as nothing has come. A failure shows with the next datagram.
            let _ = if self.role == Some(true) { self.stream.connect() } else { self.stream.accept() };
        }
        let rewritten: Vec<_> = self.stream.get_mut().outgoing.drain(..).collect();
        let Some(resend) = &mut self.resend else { return };
        if !rewritten.is_empty() {
            resend.flight = rewritten;
        }
        resend.left -= 1;
        resend.interval = (resend.interval * 2).min(RESEND_MAX);
        resend.at = Some(self.now + resend.interval);
        if self.pending.len() < MAX_DATAGRAMS {
            self.pending.extend(resend.flight.iter().cloned().map(Pending::Packet));
        }
        if resend.left == 0 {
            self.resend = None;
        }
    }

    /// Reads what an established peer sends: a repeated Finished makes OpenSSL repeat ours, close_notify ends the
    /// session, application data (SCTP without a negotiated data channel) is thrown away.
    fn read(&mut self) {
        let mut scratch = [0; 2048];
        for _ in 0..MAX_DATAGRAMS {
            match self.stream.ssl_read(&mut scratch) {
                Ok(_) => {}
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => break,
                Err(_) => break,
            }
        }
        self.collect(0);
        if self.stream.get_shutdown().contains(ShutdownState::RECEIVED) {
            let _ = self.stream.shutdown();
            self.collect(0);
            self.phase = Phase::Closed;
            self.closing = true;
            self.pending.push_back(Pending::CloseNotify);
        }
    }
}

fn profiles(id: SrtpProfileId) -> Option<(SrtpProfile, Profile)> {
    match id {
        SrtpProfileId::SRTP_AEAD_AES_128_GCM => Some((SrtpProfile::AEAD_AES_128_GCM, Profile::Aes128Gcm)),
        SrtpProfileId::SRTP_AEAD_AES_256_GCM => Some((SrtpProfile::AEAD_AES_256_GCM, Profile::Aes256Gcm)),
        SrtpProfileId::SRTP_AES128_CM_SHA1_80 => Some((SrtpProfile::AES128_CM_SHA1_80, Profile::Aes128CmSha1_80)),
        _ => None,
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        if self.role.is_some() {
            return;
        }
        self.role = Some(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        let io = self.stream.get_mut();
        // The engine starts a client's handshake with an empty packet.
        if !packet.is_empty() && io.incoming.len() < MAX_DATAGRAMS {
            io.incoming.push_back(packet.to_vec());
        }
        match self.phase {
            Phase::Handshake => {
                self.handshake()?;
                if self.phase == Phase::Established && !self.stream.get_ref().incoming.is_empty() {
                    self.read();
                }
            }
            Phase::Established => self.read(),
            Phase::Closed => self.stream.get_mut().incoming.clear(),
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.pending.pop_front() {
            Some(Pending::Packet(bytes)) => match fill(buf, &bytes) {
                Ok(filled) => DtlsOutput::Packet(filled),
                Err(needed) => {
                    self.pending.push_front(Pending::Packet(bytes));
                    DtlsOutput::BufferTooSmall { needed }
                }
            },
            Some(Pending::PeerCertificate(der)) => match fill(buf, &der) {
                Ok(filled) => DtlsOutput::PeerCert(filled),
                Err(needed) => {
                    self.pending.push_front(Pending::PeerCertificate(der));
                    DtlsOutput::BufferTooSmall { needed }
                }
            },
            Some(Pending::Keys(material, profile)) => {
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&material), profile)
            }
            Some(Pending::Connected) => DtlsOutput::Connected,
            Some(Pending::CloseNotify) => DtlsOutput::CloseNotify,
            None => {
                let idle = self.now + Duration::from_secs(3600);
                // A time that has passed makes the engine tell the present one.
                DtlsOutput::Timeout(self.resend.as_ref().map_or(idle, |resend| resend.at.unwrap_or(self.now)))
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = self.now.max(now);
        match &mut self.resend {
            Some(resend) if resend.at.is_none() => resend.at = Some(self.now + resend.interval),
            Some(resend) if resend.at.is_some_and(|at| at <= now) => self.repeat(),
            _ => {}
        }
        Ok(())
    }

    /// Nothing above DTLS-SRTP is spoken here.
    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        self.role.unwrap_or(false)
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        (self.phase == Phase::Established).then_some(ProtocolVersion::DTLS1_2)
    }

    fn is_closing(&self) -> bool {
        self.closing
    }

    fn is_closed(&self) -> bool {
        self.closing && self.pending.is_empty()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        if self.phase == Phase::Established {
            let _ = self.stream.shutdown();
            self.collect(0);
        }
        self.phase = Phase::Closed;
        self.closing = true;
        self.resend = None;
        Ok(())
    }
}

fn fill<'a>(buf: &'a mut [u8], bytes: &[u8]) -> Result<&'a [u8], usize> {
    let target = buf.get_mut(..bytes.len()).ok_or(bytes.len())?;
    target.copy_from_slice(bytes);
    Ok(target)
}

#[cfg(test)]
mod tests {
    use openssl::rsa::Rsa;

    use super::*;

    /// What GStreamer presents.
    fn rsa_identity() -> Identity {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(Asn1Time::days_from_now(0).unwrap().as_ref()).unwrap();
        builder.set_not_after(Asn1Time::days_from_now(1).unwrap().as_ref()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build().to_der().unwrap();
        Identity::of(DtlsCert { certificate, private_key: key.private_key_to_der().unwrap() }).unwrap()
    }

    struct End {
        instance: Box<dyn DtlsInstance>,
        tap: Tap,
        outgoing: VecDeque<Vec<u8>>,
        told: Vec<&'static str>,
        peer: Vec<u8>,
        now: Instant,
        wake: Option<Instant>,
    }

    impl End {
        fn new(identity: &Identity, now: Instant, active: bool) -> End {
            let provider = identity.provider();
            let (instance, tap) = Identity::tap(|| {
                provider.dtls_provider.new_dtls(&identity.certificate(), now, DtlsVersion::Dtls12, None).unwrap()
            });
            let (outgoing, told, peer) = (VecDeque::new(), Vec::new(), Vec::new());
            let mut end = End { instance, tap, outgoing, told, peer, now, wake: None };
            end.instance.set_active(active);
            if active {
                end.instance.handle_packet(&[]).unwrap();
            }
            end
        }

        /// As the engine does: the instance hears the time only when it is due.
        fn pass(&mut self, now: Instant) {
            self.now = now;
            if self.wake.is_none_or(|wake| wake <= now) {
                self.instance.handle_timeout(now).unwrap();
            }
        }

        fn poll(&mut self) {
            let mut buf = [0; 4096];
            loop {
                match self.instance.poll_output(&mut buf) {
                    DtlsOutput::Packet(packet) => self.outgoing.push_back(packet.to_vec()),
                    DtlsOutput::PeerCert(der) => {
                        self.peer = der.to_vec();
                        self.told.push("certificate");
                    }
                    DtlsOutput::KeyingMaterial(..) => self.told.push("keys"),
                    DtlsOutput::Connected => self.told.push("connected"),
                    DtlsOutput::CloseNotify => self.told.push("closed"),
                    DtlsOutput::Timeout(at) => {
                        self.wake = Some(at);
                        if at > self.now {
                            return;
                        }
                        self.pass(self.now);
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }

    struct Pair {
        now: Instant,
        client: End,
        server: End,
        /// Of a hundred datagrams so many are lost.
        lose: u32,
        random: u32,
    }

    impl Pair {
        fn new(client: &Identity, server: &Identity, lose: u32, seed: u32) -> Pair {
            let now = Instant::now();
            Pair { now, client: End::new(client, now, true), server: End::new(server, now, false), lose, random: seed }
        }

        /// Carries datagrams, and time when there are none, until both are connected or a minute has passed.
        fn run(&mut self) {
            let end = self.now + Duration::from_secs(60);
            while self.now < end && !(self.connected()) {
                if !self.carry() {
                    let wake = [self.client.wake, self.server.wake].into_iter().flatten().min();
                    self.now = wake.unwrap_or(end);
                    self.client.pass(self.now);
                    self.server.pass(self.now);
                }
            }
        }

        fn connected(&self) -> bool {
            self.client.told.contains(&"connected") && self.server.told.contains(&"connected")
        }

        fn carry(&mut self) -> bool {
            self.client.poll();
            self.server.poll();
            let mut carried = false;
            for client_sends in [true, false] {
                let (from, to) = if client_sends {
                    (&mut self.client, &mut self.server)
                } else {
                    (&mut self.server, &mut self.client)
                };
                while let Some(datagram) = from.outgoing.pop_front() {
                    carried = true;
                    self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    assert!(datagram.len() <= MTU as usize, "protocol.md 7.1");
                    if (self.random >> 16) % 100 >= self.lose {
                        to.instance.handle_packet(&datagram).unwrap();
                    }
                }
            }
            carried
        }
    }

    #[test]
    fn rsa_and_ecdsa_peers_connect_and_both_taps_hold_the_same_keys() {
        let ecdsa = Identity::generate().unwrap();
        for peer in [rsa_identity(), Identity::generate().unwrap()] {
            let mut pair = Pair::new(&peer, &ecdsa, 0, 0);
            pair.run();
            assert_eq!(pair.server.told, ["certificate", "keys", "connected"], "judged before used");
            assert_eq!(openssl::sha::sha256(&pair.server.peer), *peer.fingerprint());
            assert_eq!(openssl::sha::sha256(&pair.client.peer), *ecdsa.fingerprint());
            let (ours, theirs) = (pair.server.tap.take().unwrap(), pair.client.tap.take().unwrap());
            assert!(ours.profile == Profile::Aes128Gcm, "the server orders the profiles");
            assert_eq!(*ours.material, *theirs.material);
            assert!(pair.server.tap.take().is_none(), "keys are given once");
        }
    }

    #[test]
    fn lost_flights_are_repeated_in_virtual_time() {
        let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let mut waited = 0;
        for seed in 0..20 {
            let mut pair = Pair::new(&a, &b, 30, seed);
            let start = pair.now;
            pair.run();
            assert!(pair.connected(), "seed {seed}");
            waited += usize::from(pair.now > start);
        }
        assert!(waited > 10, "of 30 % something is lost in most handshakes");
    }

    #[test]
    fn a_silent_peer_gets_one_flight_at_a_time_at_doubling_intervals() {
        let identity = Identity::generate().unwrap();
        let mut end = End::new(&identity, Instant::now(), true);
        end.poll();
        let hello = end.outgoing.pop_front().unwrap();
        let mut at = Vec::new();
        for _ in 0..6 {
            let wake = end.wake.unwrap();
            end.pass(wake);
            end.poll();
            at.push(wake);
            assert_eq!(end.outgoing.drain(..).collect::<Vec<_>>(), std::slice::from_ref(&hello));
        }
        let gaps: Vec<_> = at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert_eq!(gaps, [800, 1600, 3200, 3200, 3200]);
    }

    #[test]
    fn a_flight_is_sent_once_however_late_the_peer_comes() {
        let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let mut pair = Pair::new(&a, &b, 0, 0);
        pair.server.poll();
        pair.server.pass(pair.now + Duration::from_secs(5));
        pair.client.poll();
        pair.server.instance.handle_packet(&pair.client.outgoing.pop_front().unwrap()).unwrap();
        pair.server.poll();
        let flight: Vec<_> = pair.server.outgoing.drain(..).collect();
        let mut once = flight.clone();
        once.sort();
        once.dedup();
        assert_eq!(flight.len(), once.len(), "nothing of it is sent twice");
        assert_eq!(pair.server.wake, Some(pair.server.now + RESEND_FIRST));
    }

    #[test]
    fn garbage_does_not_stop_a_handshake() {
        let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let mut pair = Pair::new(&a, &b, 0, 0);
        for garbage in [&[22][..], &[22, 254, 253, 0, 0], &[23; 60], &[20; 13], &[63; 1200]] {
            let _ = pair.server.instance.handle_packet(garbage);
        }
        pair.run();
        assert!(pair.connected());
    }

    #[test]
    fn close_notify_is_told_and_answered() {
        let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let mut pair = Pair::new(&a, &b, 0, 0);
        pair.run();
        pair.client.instance.close().unwrap();
        while pair.carry() {}
        assert_eq!(pair.server.told.last(), Some(&"closed"));
        assert!(pair.server.instance.is_closed() && pair.client.instance.is_closed());
    }
}
