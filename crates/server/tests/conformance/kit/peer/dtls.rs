//! DTLS of a client: OpenSSL over datagrams in memory, in either role, with either kind of certificate.

use std::collections::VecDeque;
use std::io;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::srtp::SrtpProfileId;
use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContext, SslMethod, SslOptions, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::{X509, X509NameBuilder};

use super::srtp::Masters;

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    key: PKey<Private>,
    certificate: X509,
}

impl Identity {
    /// What browsers, OBS and FFmpeg have.
    pub(crate) fn ecdsa() -> Identity {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
        Identity::of(PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key"))
    }

    /// What GStreamer has.
    pub(crate) fn rsa() -> Identity {
        Identity::of(PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key"))
    }

    fn of(key: PKey<Private>) -> Identity {
        let mut name = X509NameBuilder::new().expect("a name");
        name.append_entry_by_text("CN", "client").expect("a name");
        let name = name.build();
        let mut builder = X509::builder().expect("a certificate");
        let serial = BigNum::from_u32(7).and_then(|number| number.to_asn1_integer()).expect("a number");
        let (from, to) = (Asn1Time::days_from_now(0).expect("a day"), Asn1Time::days_from_now(30).expect("a day"));
        builder
            .set_version(2)
            .and_then(|()| builder.set_serial_number(&serial))
            .and_then(|()| builder.set_subject_name(&name))
            .and_then(|()| builder.set_issuer_name(&name))
            .and_then(|()| builder.set_pubkey(&key))
            .and_then(|()| builder.set_not_before(&from))
            .and_then(|()| builder.set_not_after(&to))
            .and_then(|()| builder.sign(&key, MessageDigest::sha256()))
            .expect("a certificate");
        Identity { key, certificate: builder.build() }
    }

    /// The value of `a=fingerprint`.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }
}

fn fingerprint(certificate: &X509) -> String {
    let digest = certificate.digest(MessageDigest::sha256()).expect("SHA-256");
    let hex: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("sha-256 {}", hex.join(":"))
}

/// How a client does DTLS.
#[derive(Clone)]
pub(crate) struct Options {
    /// SRTP protection profiles in OpenSSL's words; empty for none.
    pub(crate) profiles: &'static str,
    /// The largest datagram.
    pub(crate) mtu: u32,
    /// Bytes of application protocols to offer, which make the ClientHello large.
    pub(crate) ballast: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { profiles: "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80", mtu: 1200, ballast: 0 }
    }
}

/// Where an association stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Handshake,
    Connected,
    /// The peer said goodbye.
    Closed,
    /// It ended with an alert, or otherwise.
    Failed(String),
}

/// One association.
pub(crate) struct Dtls {
    stream: SslStream<Datagrams>,
    client: bool,
    pub(crate) state: State,
}

#[derive(Default)]
struct Datagrams {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl io::Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.incoming.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

impl io::Write for Datagrams {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.outgoing.push(buffer.to_vec());
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Dtls {
    pub(crate) fn new(identity: &Identity, client: bool, options: &Options) -> Dtls {
        let mut context = SslContext::builder(SslMethod::dtls()).expect("DTLS");
        context.set_min_proto_version(Some(SslVersion::DTLS1_2)).expect("1.2");
        context.set_private_key(&identity.key).expect("a key");
        context.set_certificate(&identity.certificate).expect("a certificate");
        context.set_options(SslOptions::NO_QUERY_MTU | SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
        // FFmpeg and libdatachannel demand a certificate as server; which one, the fingerprint says.
        context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        if !options.profiles.is_empty() {
            context.set_tlsext_use_srtp(options.profiles).expect("profiles");
        }
        if options.ballast > 0 {
            let protocol = [&[200][..], &[b'x'; 200]].concat();
            context.set_alpn_protos(&protocol.repeat(options.ballast / protocol.len())).expect("protocols");
        }
        let mut ssl = Ssl::new(&context.build()).expect("DTLS");
        ssl.set_mtu(options.mtu).expect("an MTU");
        let stream = SslStream::new(ssl, Datagrams::default()).expect("DTLS");
        Dtls { stream, client, state: State::Handshake }
    }

    /// Takes a datagram, or only looks at the time, and returns what is to be sent.
    pub(crate) fn step(&mut self, datagram: Option<&[u8]>) -> Vec<Vec<u8>> {
        self.stream.get_mut().incoming.extend(datagram.map(<[u8]>::to_vec));
        if self.state == State::Handshake {
            let step = if self.client { self.stream.connect() } else { self.stream.accept() };
            match step {
                Ok(()) => self.state = State::Connected,
                Err(error) if error.code() == ErrorCode::WANT_READ => {}
                Err(error) => self.state = State::Failed(error.to_string()),
            }
        }
        if self.state == State::Connected {
            self.read();
        }
        self.written()
    }

    fn read(&mut self) {
        match self.stream.ssl_read(&mut [0; 2048]) {
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::WANT_READ => {}
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => self.state = State::Closed,
            Err(error) => self.state = State::Failed(error.to_string()),
        }
        if self.stream.get_shutdown().contains(ShutdownState::RECEIVED) {
            self.state = State::Closed;
        }
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) -> Vec<Vec<u8>> {
        let _ = self.stream.shutdown();
        self.written()
    }

    /// Sends something that is not media.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.stream.ssl_write(bytes).expect("an open association");
        self.written()
    }

    fn written(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.stream.get_mut().outgoing)
    }

    /// The fingerprint of the server's certificate.
    pub(crate) fn peer_fingerprint(&self) -> Option<String> {
        self.stream.ssl().peer_certificate().map(|certificate| fingerprint(&certificate))
    }

    /// The keys of a connected association, if it negotiated SRTP.
    pub(crate) fn masters(&self) -> Option<Masters> {
        let ssl = self.stream.ssl();
        let (profile, key, salt) = match ssl.selected_srtp_profile()?.id() {
            SrtpProfileId::SRTP_AEAD_AES_128_GCM => ("gcm128", 16, 12),
            SrtpProfileId::SRTP_AEAD_AES_256_GCM => ("gcm256", 32, 12),
            SrtpProfileId::SRTP_AES128_CM_SHA1_80 => ("sha1_80", 16, 14),
            other => panic!("the server chose SRTP profile {}", other.as_raw()),
        };
        let mut material = vec![0; 2 * (key + salt)];
        ssl.export_keying_material(&mut material, "EXTRACTOR-dtls_srtp", None).expect("keying material");
        // RFC 5764 4.2.
        let (keys, salts) = material.split_at(2 * key);
        let of = |index: usize| [&keys[index * key..][..key], &salts[index * salt..][..salt]].concat();
        let (ours, theirs) = if self.client { (of(0), of(1)) } else { (of(1), of(0)) };
        Some(Masters { profile, ours, theirs })
    }
}
