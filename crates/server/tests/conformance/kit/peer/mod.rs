//! A scripted client: every datagram is the test's. STUN is written here, DTLS is OpenSSL's, SRTP is libsrtp's; nothing
//! of the server's own WebRTC code is in it.
//!
//! A [`Peer`] does nothing by itself: the test checks, shakes hands, sends and receives, in whatever order its client does.

mod dtls;
mod link;
pub(crate) mod media;
pub(crate) mod rtp;
mod srtp;
pub(crate) mod stun;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

pub(crate) use dtls::{Identity, Options, State};
pub(crate) use link::Faults;
use rtp::{Rtcp, Rtp};
use srtp::Srtp;
use stun::{Reply, Writing};

use super::{Answer, PATIENCE, Site};

/// The longest wait for one datagram while something else may be due.
const SLICE: Duration = Duration::from_millis(20);

/// How a client writes its connectivity checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// With everything RFC 8445 7.1 asks for.
    Full,
    /// FFmpeg 8.0: USERNAME, USE-CANDIDATE, MESSAGE-INTEGRITY, FINGERPRINT.
    Sparse,
}

/// What distinguishes one client from another.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) identity: Identity,
    /// The certificate it really shows, if it is another than its offer says.
    pub(crate) shown: Option<Identity>,
    pub(crate) checks: Checks,
    pub(crate) dtls: Options,
}

impl Script {
    /// A browser or OBS: ECDSA, full checks, GCM before SHA1_80.
    pub(crate) fn usual() -> Script {
        Script { identity: Identity::ecdsa(), shown: None, checks: Checks::Full, dtls: Options::default() }
    }

    /// FFmpeg 8: sparse checks, SHA1_80 only.
    pub(crate) fn ffmpeg() -> Script {
        let dtls = Options { profiles: "SRTP_AES128_CM_SHA1_80", ..Options::default() };
        Script { checks: Checks::Sparse, dtls, ..Script::usual() }
    }

    /// GStreamer: an RSA certificate.
    pub(crate) fn gstreamer() -> Script {
        Script { identity: Identity::rsa(), ..Script::usual() }
    }
}

/// Something that came.
#[derive(Debug)]
pub(crate) enum Received {
    Stun(Vec<u8>),
    /// It was given to DTLS; what it did there is in [`Peer::state`].
    Dtls,
    Rtp(Rtp),
    /// A packet that came before.
    Again(Vec<u8>),
    Rtcp(Vec<Rtcp>),
}

/// `srtp_err_status_replay_fail` of libsrtp.
const REPLAYED: i32 = 9;

/// One client.
pub(crate) struct Peer {
    /// The 201.
    pub(crate) accepted: Answer,
    script: Script,
    socket: UdpSocket,
    server: SocketAddr,
    faults: Faults,
    dtls: dtls::Dtls,
    srtp: Option<Srtp>,
    transactions: u64,
}

/// This side's credentials, in place of those of every offer.
pub(crate) const UFRAG: &str = "theirs42";
pub(crate) const PWD: &str = "0123456789abcdefghijklmn";

impl Peer {
    /// POSTs `offer` with this client's credentials and certificate in it. Nothing is sent over UDP yet.
    #[track_caller]
    pub(crate) fn join(site: &Site, target: &str, offer: &str, script: &Script) -> Peer {
        let accepted = site.post(target, &own(offer, &script.identity)).is(201);
        Peer::accepted(accepted, script)
    }

    #[track_caller]
    fn accepted(accepted: Answer, script: &Script) -> Peer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let sdp = accepted.text();
        // FFmpeg and GStreamer try the first one only.
        let candidate: Vec<&str> = value(sdp, "a=candidate:").split(' ').collect();
        let server = SocketAddr::new(candidate[4].parse().expect("an address"), candidate[5].parse().expect("a port"));
        let client = match value(sdp, "a=setup:") {
            "passive" => true,
            "active" => false,
            other => panic!("a=setup:{other} in an answer"),
        };
        let dtls = dtls::Dtls::new(script.shown.as_ref().unwrap_or(&script.identity), client, &script.dtls);
        let script = script.clone();
        Peer { accepted, script, socket, server, faults: Faults::none(), dtls, srtp: None, transactions: 0 }
    }

    /// Joins, checks and shakes hands.
    #[track_caller]
    pub(crate) fn connect(site: &Site, target: &str, offer: &str, script: &Script) -> Peer {
        let mut peer = Peer::join(site, target, offer, script);
        peer.check();
        peer.handshake();
        peer
    }

    /// The answer.
    pub(crate) fn sdp(&self) -> &str {
        self.accepted.text()
    }

    /// From now on DTLS datagrams are lost, doubled and reordered.
    pub(crate) fn spoil(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// The same client from another address.
    pub(crate) fn rebind(&mut self) -> UdpSocket {
        std::mem::replace(&mut self.socket, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback"))
    }

    /// Takes the address back, or another socket.
    pub(crate) fn bind(&mut self, socket: UdpSocket) -> UdpSocket {
        std::mem::replace(&mut self.socket, socket)
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    pub(crate) fn transaction(&mut self) -> [u8; 12] {
        self.transactions += 1;
        let mut transaction = *b"wire00000000";
        transaction[4..].copy_from_slice(&self.transactions.to_be_bytes());
        transaction
    }

    /// The server's ufrag and password.
    pub(crate) fn credentials(&self) -> (String, String) {
        let sdp = self.sdp();
        (value(sdp, "a=ice-ufrag:").to_owned(), value(sdp, "a=ice-pwd:").to_owned())
    }

    /// The beginning of a good check: header and USERNAME.
    pub(crate) fn begin_check(&mut self) -> Writing {
        let username = format!("{}:{UFRAG}", self.credentials().0);
        Writing::new(stun::BINDING_REQUEST, self.transaction()).with(stun::USERNAME, username.as_bytes())
    }

    /// A good check in this client's way.
    pub(crate) fn write_check(&mut self, nominate: bool) -> Vec<u8> {
        let mut check = self.begin_check();
        if self.script.checks == Checks::Full {
            check = check.with(stun::PRIORITY, &[0x6e, 0x7f, 0x1e, 0xff]).with(stun::ICE_CONTROLLING, &[7; 8]);
        }
        if nominate {
            check = check.with(stun::USE_CANDIDATE, &[]);
        }
        check.sign(&self.credentials().1).print().bytes()
    }

    /// Nominates this address and waits for the success.
    #[track_caller]
    pub(crate) fn check(&mut self) {
        let check = self.write_check(true);
        self.send_raw(&check);
        let reply = self.reply();
        assert_eq!((&reply.transaction[..], reply.outcome), (&check[8..20], Ok(self.local())));
    }

    /// The next answer to a check.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        let pwd = self.credentials().1;
        self.until("an answer to a check", |received| match received {
            Received::Stun(bytes) => Some(Reply::read(&bytes, &pwd)),
            _ => None,
        })
    }

    /// Where DTLS stands.
    pub(crate) fn state(&self) -> &State {
        &self.dtls.state
    }

    /// Begins the handshake: as DTLS client with the ClientHello.
    pub(crate) fn begin_handshake(&mut self) {
        let written = self.write_handshake();
        self.send_dtls(written);
    }

    /// What DTLS has to send now.
    pub(crate) fn write_handshake(&mut self) -> Vec<Vec<u8>> {
        self.dtls.step(None)
    }

    /// Does DTLS until it stands somewhere else than in the handshake.
    #[track_caller]
    pub(crate) fn try_handshake(&mut self) -> State {
        let deadline = Instant::now() + PATIENCE;
        while self.dtls.state == State::Handshake {
            assert!(Instant::now() < deadline, "DTLS is not done in {PATIENCE:?}");
            // OpenSSL repeats a flight that was lost when it is called late enough.
            self.begin_handshake();
            let _ = self.receive(SLICE);
        }
        self.dtls.state.clone()
    }

    /// Does DTLS to its good end: the server's certificate is the answer's, and there are SRTP keys.
    #[track_caller]
    pub(crate) fn handshake(&mut self) {
        assert_eq!(self.try_handshake(), State::Connected);
        let fingerprint = self.dtls.peer_fingerprint();
        assert_eq!(fingerprint.as_deref(), Some(value(self.sdp(), "a=fingerprint:")));
        let masters = self.dtls.masters().expect("SRTP was negotiated");
        self.srtp = Some(Srtp::new(&masters));
    }

    /// The SRTP profile in libsrtp's words.
    #[track_caller]
    pub(crate) fn profile(&self) -> &'static str {
        self.srtp.as_ref().expect("connected").profile
    }

    /// Says goodbye over DTLS.
    pub(crate) fn close(&mut self) {
        let written = self.dtls.close();
        self.send_dtls(written);
    }

    /// Sends DTLS application data.
    pub(crate) fn send_data(&mut self, bytes: &[u8]) {
        let written = self.dtls.write(bytes);
        self.send_dtls(written);
    }

    fn send_dtls(&mut self, written: Vec<Vec<u8>>) {
        for datagram in written {
            for datagram in self.faults.outgoing(datagram) {
                self.send_raw(&datagram);
            }
        }
    }

    pub(crate) fn send_raw(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.server).expect("loopback takes it");
    }

    /// Protects a packet, as it would be sent.
    #[track_caller]
    pub(crate) fn protect(&mut self, packet: &Rtp) -> Vec<u8> {
        self.srtp.as_mut().expect("connected").protect(packet)
    }

    /// Sends a packet; gives the datagram, to be sent again.
    #[track_caller]
    pub(crate) fn send(&mut self, packet: &Rtp) -> Vec<u8> {
        let datagram = self.protect(packet);
        self.send_raw(&datagram);
        datagram
    }

    /// Sends a compound.
    #[track_caller]
    pub(crate) fn send_rtcp(&mut self, packets: &[Rtcp]) {
        self.send_compound(&rtp::compound(packets));
    }

    /// Sends these bytes as a compound.
    #[track_caller]
    pub(crate) fn send_compound(&mut self, bytes: &[u8]) {
        let datagram = self.srtp.as_mut().expect("connected").protect_rtcp(bytes);
        self.send_raw(&datagram);
    }

    /// The next datagram, if one comes in time.
    pub(crate) fn receive(&mut self, wait: Duration) -> Option<Received> {
        self.receive_datagram(wait).map(|(_, received)| received)
    }

    /// The next datagram as it came, and what it is.
    pub(crate) fn receive_datagram(&mut self, wait: Duration) -> Option<(Vec<u8>, Received)> {
        let datagram = self.read(wait)?;
        // RFC 7983; the server sends nothing else.
        let received = match (datagram.first()?, datagram.get(1)?) {
            (0..=3, _) => Received::Stun(datagram.clone()),
            (20..=63, _) => {
                assert!(datagram.len() <= 1200, "protocol.md 7.1: {} bytes of DTLS", datagram.len());
                for datagram in self.faults.incoming(datagram.clone()) {
                    let written = self.dtls.step(Some(&datagram));
                    self.send_dtls(written);
                }
                Received::Dtls
            }
            (128..=191, 192..=223) => Received::Rtcp(self.srtp.as_mut()?.open_rtcp(&datagram)),
            (128..=191, _) => match self.srtp.as_mut()?.open(&datagram) {
                Ok(packet) => Received::Rtp(packet),
                Err(REPLAYED) => Received::Again(datagram.clone()),
                Err(status) => panic!("libsrtp refuses a packet of the server with status {status}"),
            },
            other => panic!("no protocol begins with {other:?}"),
        };
        Some((datagram, received))
    }

    fn read(&self, wait: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).expect("a timeout");
        let mut bytes = [0; 2048];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, source)) => {
                assert_eq!(source, self.server, "the server answers from where it was asked");
                Some(bytes[..length].to_vec())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            // The server is gone.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Receives until `pick` takes something.
    #[track_caller]
    pub(crate) fn until<T>(&mut self, what: &str, mut pick: impl FnMut(Received) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "{what} did not come in {PATIENCE:?}");
            if let Some(picked) = self.receive(SLICE).and_then(&mut pick) {
                return picked;
            }
        }
    }

    /// Receives until the server has said goodbye.
    #[track_caller]
    pub(crate) fn until_closed(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.dtls.state != State::Closed {
            assert!(Instant::now() < deadline, "no goodbye in {PATIENCE:?}, but {:?}", self.dtls.state);
            let _ = self.receive(SLICE);
        }
    }

    /// Everything that came before the answer to a check that is sent now. The server handles the datagrams of one
    /// address in order, so whatever it had to say to earlier ones is among it.
    #[track_caller]
    pub(crate) fn so_far(&mut self) -> Vec<Received> {
        let check = self.write_check(false);
        self.send_raw(&check);
        let mut before = Vec::new();
        self.until("an answer to a check", |received| match received {
            Received::Stun(bytes) if bytes[8..20] == check[8..20] => Some(()),
            other => {
                before.push(other);
                None
            }
        });
        before
    }
}

/// `offer` with credentials and certificate of this client.
fn own(offer: &str, identity: &Identity) -> String {
    let fingerprint = identity.fingerprint();
    let lines = offer.split_inclusive('\n').map(|line| {
        let end = line.trim_start_matches(|c| c != '\r' && c != '\n');
        for (name, value) in [("a=ice-ufrag:", UFRAG), ("a=ice-pwd:", PWD), ("a=fingerprint:", &fingerprint)] {
            if line.starts_with(name) {
                return format!("{name}{value}{end}");
            }
        }
        line.to_owned()
    });
    lines.collect()
}

/// What follows `name` in the first line that begins with it.
#[track_caller]
pub(crate) fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    let found = sdp.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in\n{sdp}"))
}

/// The section of that kind, from its `m=` line on.
#[track_caller]
pub(crate) fn section<'a>(sdp: &'a str, kind: &str) -> &'a str {
    let start = sdp.find(&format!("m={kind} ")).unwrap_or_else(|| panic!("no {kind} in\n{sdp}"));
    let section = &sdp[start..];
    section[1..].find("\nm=").map_or(section, |end| &section[..end + 2])
}
