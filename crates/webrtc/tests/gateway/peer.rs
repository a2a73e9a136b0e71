//! A str0m client on a socket of its own, driven by whoever waits for something.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::crypto::from_feature_flags;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use whipstitch_stream::StreamKey;
use whipstitch_webrtc::{Accepted, Gateway, Join, Refusal};

/// How long anything may take on a busy machine before a test is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest wait for a datagram: short, as one thread drives many peers.
const SLICE: Duration = Duration::from_millis(2);

pub(crate) struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    video: Mid,
    offer: String,
    pub(crate) accepted: Accepted,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    pub(crate) received: Vec<Vec<u8>>,
    sent: u64,
}

impl Peer {
    pub(crate) fn publisher(gateway: &Gateway, stream: &StreamKey, ip: IpAddr) -> Result<Peer, Refusal> {
        Peer::new(gateway, stream, ip, Direction::SendOnly, |join| gateway.publish(join))
    }

    pub(crate) fn viewer(gateway: &Gateway, stream: &StreamKey, ip: IpAddr) -> Result<Peer, Refusal> {
        Peer::new(gateway, stream, ip, Direction::RecvOnly, |join| gateway.watch(join))
    }

    fn new(
        gateway: &Gateway,
        stream: &StreamKey,
        ip: IpAddr,
        direction: Direction,
        ask: impl FnOnce(&Join<'_>) -> Result<Accepted, Refusal>,
    ) -> Result<Peer, Refusal> {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(SLICE)).unwrap();
        let local = socket.local_addr().unwrap();
        let mut rtc = RtcConfig::new()
            .set_rtp_mode(true)
            .set_crypto_provider(Arc::new(from_feature_flags()))
            .clear_codecs()
            .enable_vp8(true)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, Protocol::Udp).unwrap());
        let mut changes = rtc.sdp_api();
        let video = changes.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = changes.apply().unwrap();
        let offer = offer.to_sdp_string();
        let port = gateway.local_addrs()[0].port();
        let candidates = [SocketAddr::new(ip, port)];
        let user_agent = Some("test".into());
        let join = Join { stream, offer: &offer, candidates: &candidates, client: ip, user_agent };
        let accepted = ask(&join)?;
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&accepted.answer).unwrap()).unwrap();
        let received = Vec::new();
        Ok(Peer { rtc, socket, local, video, offer, accepted, connected: false, closed: false, received, sent: 0 })
    }

    /// The credentials of the offer, as a trickle fragment.
    pub(crate) fn fragment(&self) -> String {
        let wanted = |line: &&str| line.starts_with("a=ice-ufrag:") || line.starts_with("a=ice-pwd:");
        self.offer.lines().filter(wanted).take(2).map(|line| format!("{line}\r\n")).collect()
    }

    /// Lives until something has happened.
    pub(crate) fn until(&mut self, happened: impl Fn(&Peer) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !happened(self) {
            assert!(Instant::now() < deadline, "connected {}, closed {}", self.connected, self.closed);
            self.step();
        }
    }

    /// Sends what is to be sent, waits a moment for a datagram, takes it in.
    pub(crate) fn step(&mut self) {
        self.poll();
        let mut bytes = [0; 2048];
        match self.socket.recv_from(&mut bytes) {
            Ok((len, source)) => {
                if let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, &bytes[..len]) {
                    self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
            }
            // The gateway is gone.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("{error}"),
        }
        self.poll();
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => {
                    let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(Event::RtpPacket(packet)) => self.received.push(packet.payload.to_vec()),
                Output::Event(_) => {}
            }
        }
    }

    /// One VP8 key picture with a number in it.
    pub(crate) fn send_keyframe(&mut self) {
        self.sent += 1;
        let pt = self.rtc.media(self.video).unwrap().remote_pts()[0];
        // Descriptor with S, then a key picture of 16x16 (RFC 7741 4.2, RFC 6386 9.1).
        let mut payload = vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
        payload.extend(self.sent.to_be_bytes());
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(self.video, None).unwrap();
        let time = self.sent as u32 * 3000;
        stream.write_rtp(RtpWrite::new(pt, self.sent.into(), time, Instant::now(), payload).marker(true));
        self.poll();
    }
}

/// The publisher sends key pictures until every viewer has this many, without a gap and in order.
pub(crate) fn publish_and_watch(publisher: &mut Peer, viewers: &mut [Peer], wanted: usize) {
    let deadline = Instant::now() + PATIENCE;
    while viewers.iter().any(|viewer| viewer.received.len() < wanted) {
        let seen: Vec<_> = viewers.iter().map(|viewer| (viewer.connected, viewer.received.len())).collect();
        assert!(Instant::now() < deadline, "connected and received: {seen:?}");
        publisher.send_keyframe();
        publisher.step();
        viewers.iter_mut().for_each(Peer::step);
    }
    for viewer in viewers {
        let numbers: Vec<u8> = viewer.received.iter().filter_map(|payload| payload.last().copied()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    }
}
