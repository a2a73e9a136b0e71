//! One DTLS association over OpenSSL, as the engine drives it: datagrams in and out, time told, flights repeated.
//!
//! It has no clock of its own: OpenSSL's timer reads the wall clock and starts at 1 s, so the last flight is kept and sent
//! again here. What a finished handshake gives is told in order: certificate, keys, connected.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use openssl::srtp::SrtpProfileId;
use openssl::ssl::{ErrorCode, ShutdownState, Ssl, SslStream};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, KeyingMaterial, ProtocolVersion, SrtpProfile};
use zeroize::Zeroizing;

use super::{Tap, Tapped};
use crate::egress::Profile;

/// RFC 5764 4.2: the exporter's label.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// First retransmission of a flight (protocol.md 7.1: at most 500 ms); doubles up to [`RESEND_MAX`].
pub(super) const RESEND_FIRST: Duration = Duration::from_millis(400);
const RESEND_MAX: Duration = Duration::from_millis(3200);

/// A flight that wants an answer is repeated until the session's setup deadline.
const RESENDS: u32 = u32::MAX;

/// A server's last flight gets no answer in DTLS: over 6 s it is repeated for a client that may still wait for it, which
/// throws away what it has.
const LAST_RESENDS: u32 = 4;

/// Datagrams held for one handshake in either direction. The largest flight (two RSA-4096 certificates) is under
/// ten datagrams; more than this is somebody filling our memory.
const MAX_DATAGRAMS: usize = 32;

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

pub(crate) struct Instance {
    stream: SslStream<Datagrams>,
    /// Until the keys are there.
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
    /// An association that has not begun; the role is told later.
    pub(super) fn new(ssl: Ssl, tap: Option<Tap>, now: Instant) -> Result<Instance, openssl::error::ErrorStack> {
        Ok(Instance {
            stream: SslStream::new(ssl, Datagrams::default())?,
            tap,
            role: None,
            phase: Phase::Handshake,
            now,
            resend: None,
            pending: VecDeque::new(),
            closing: false,
        })
    }

    /// Forgets where keys go.
    pub(super) fn untap(&mut self) {
        self.tap = None;
    }

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
        if let Some(tap) = self.tap.take() {
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
