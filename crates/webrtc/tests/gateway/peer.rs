//! A str0m client on a socket of its own, UDP or TCP, driven by whoever waits for something.

use std::io::{ErrorKind, Read, Result as IoResult, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::crypto::from_feature_flags;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use whipstitch_net::framing::{self, Deframer};
use whipstitch_stream::StreamKey;
use whipstitch_webrtc::{Accepted, Gateway, Join, Refusal};

/// How long anything may take on a busy machine before a test is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The longest wait for a datagram: short, as one thread drives many peers.
const SLICE: Duration = Duration::from_millis(2);

/// What carries a peer's datagrams.
pub(crate) enum Link {
    Udp(UdpSocket),
    /// One connection to the gateway, made before the offer.
    Tcp {
        stream: TcpStream,
        gateway: SocketAddr,
        deframer: Deframer,
    },
}

impl Link {
    pub(crate) fn udp(ip: IpAddr) -> Link {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(SLICE)).unwrap();
        Link::Udp(socket)
    }

    pub(crate) fn tcp(gateway: SocketAddr) -> Link {
        let stream = TcpStream::connect(gateway).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SLICE)).unwrap();
        Link::Tcp { stream, gateway, deframer: Deframer::new(2048) }
    }

    fn candidate(&self) -> Candidate {
        match self {
            Link::Udp(socket) => Candidate::host(socket.local_addr().unwrap(), Protocol::Udp).unwrap(),
            Link::Tcp { stream, .. } => {
                let local = stream.local_addr().unwrap();
                Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build().unwrap()
            }
        }
    }

    pub(crate) fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        match self {
            Link::Udp(socket) => drop(socket.send_to(datagram, to)),
            Link::Tcp { stream, .. } => {
                let mut frame = Vec::new();
                assert!(framing::frame(datagram, &mut frame));
                // The gateway may have closed it.
                let _ = stream.write_all(&frame);
            }
        }
    }

    /// Waits a moment, then calls `take` for what has come, with where from.
    pub(crate) fn recv(&mut self, mut take: impl FnMut(SocketAddr, &[u8])) -> IoResult<()> {
        match self {
            Link::Udp(socket) => {
                let mut bytes = [0; 2048];
                let (len, source) = socket.recv_from(&mut bytes)?;
                take(source, &bytes[..len]);
            }
            Link::Tcp { stream, gateway, deframer } => {
                let mut bytes = [0; 64 * 1024];
                let len = stream.read(&mut bytes)?;
                deframer.push(&bytes[..len]);
                while let Some(frame) = deframer.next() {
                    take(*gateway, frame.unwrap());
                }
                if len == 0 {
                    return Err(ErrorKind::ConnectionReset.into());
                }
            }
        }
        Ok(())
    }
}

pub(crate) struct Peer {
    rtc: Rtc,
    pub(crate) link: Link,
    local: SocketAddr,
    protocol: Protocol,
    video: Mid,
    pub(crate) offer: String,
    pub(crate) accepted: Accepted,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    pub(crate) received: Vec<Vec<u8>>,
    /// The numbers of what was received.
    pub(crate) numbers: Vec<u64>,
    /// A keyframe was asked for since the last one was sent.
    pub(crate) asked: bool,
    sent: u64,
}

impl Peer {
    pub(crate) fn publisher(gateway: &Gateway, stream: &StreamKey, ip: IpAddr) -> Result<Peer, Refusal> {
        Peer::publisher_on(gateway, stream, ip, Link::udp(ip))
    }

    pub(crate) fn viewer(gateway: &Gateway, stream: &StreamKey, ip: IpAddr) -> Result<Peer, Refusal> {
        Peer::viewer_on(gateway, stream, ip, Link::udp(ip))
    }

    pub(crate) fn publisher_on(gateway: &Gateway, key: &StreamKey, ip: IpAddr, link: Link) -> Result<Peer, Refusal> {
        Peer::new(gateway, key, ip, link, Direction::SendOnly, |join| gateway.publish(join))
    }

    pub(crate) fn viewer_on(gateway: &Gateway, key: &StreamKey, ip: IpAddr, link: Link) -> Result<Peer, Refusal> {
        Peer::new(gateway, key, ip, link, Direction::RecvOnly, |join| gateway.watch(join))
    }

    fn new(
        gateway: &Gateway,
        stream: &StreamKey,
        ip: IpAddr,
        link: Link,
        direction: Direction,
        ask: impl FnOnce(&Join<'_>) -> Result<Accepted, Refusal>,
    ) -> Result<Peer, Refusal> {
        let candidate = link.candidate();
        let (local, protocol) = (candidate.addr(), candidate.proto());
        let mut rtc = RtcConfig::new()
            .set_rtp_mode(true)
            .set_crypto_provider(Arc::new(from_feature_flags()))
            .clear_codecs()
            .enable_vp8(true)
            .build(Instant::now());
        rtc.add_local_candidate(candidate);
        let mut changes = rtc.sdp_api();
        let video = changes.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = changes.apply().unwrap();
        let offer = offer.to_sdp_string();
        let port = gateway.local_addrs()[0].port();
        let candidates = [SocketAddr::new(ip, port)];
        let user_agent = Some("test".into());
        let join = Join { stream, offer: &offer, candidates: &candidates, client: ip, user_agent, subject: None };
        let accepted = ask(&join)?;
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&accepted.answer).unwrap()).unwrap();
        Ok(Peer {
            rtc,
            link,
            local,
            protocol,
            video,
            offer,
            accepted,
            connected: false,
            closed: false,
            received: Vec::new(),
            numbers: Vec::new(),
            asked: false,
            sent: 0,
        })
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
        let mut came = Vec::new();
        let outcome = self.link.recv(|source, bytes| came.push((source, bytes.to_vec())));
        for (source, bytes) in came {
            if let Ok(receive) = Receive::new(self.protocol, source, self.local, &bytes) {
                self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                self.poll();
            }
        }
        match outcome {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
            }
            // The gateway is gone, or has closed the connection.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {}
            Err(error) => panic!("{error}"),
        }
        self.poll();
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => self.link.send(transmit.destination, &transmit.contents),
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(Event::KeyframeRequest(_)) => self.asked = true,
                Output::Event(Event::RtpPacket(packet)) => {
                    self.numbers.push(*packet.seq_no);
                    self.received.push(packet.payload.to_vec());
                }
                Output::Event(_) => {}
            }
        }
    }

    /// One VP8 key picture with a number in it.
    pub(crate) fn send_keyframe(&mut self) {
        self.send_picture(true, 0);
    }

    /// One VP8 picture in one packet, filled up with zeros and with a number at its end.
    pub(crate) fn send_picture(&mut self, key: bool, filling: usize) {
        self.sent += 1;
        self.asked &= !key;
        let pt = self.rtc.media(self.video).unwrap().remote_pts()[0];
        // Descriptor with S, then a key picture of 16x16 or another one (RFC 7741 4.2, RFC 6386 9.1).
        let mut payload = vec![0x10, if key { 0x10 } else { 0x31 }, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
        payload.extend(std::iter::repeat_n(0, filling));
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
    send_and_watch(publisher, Peer::send_keyframe, viewers, wanted);
}

/// The publisher sends something until every viewer has this many, without a gap and in order.
pub(crate) fn send_and_watch(publisher: &mut Peer, send: fn(&mut Peer), viewers: &mut [Peer], wanted: usize) {
    let deadline = Instant::now() + PATIENCE;
    while viewers.iter().any(|viewer| viewer.received.len() < wanted) {
        let seen: Vec<_> = viewers.iter().map(|viewer| (viewer.connected, viewer.received.len())).collect();
        assert!(Instant::now() < deadline, "connected and received: {seen:?}");
        send(publisher);
        publisher.step();
        viewers.iter_mut().for_each(Peer::step);
    }
    for viewer in viewers {
        let numbers: Vec<u8> = viewer.received.iter().filter_map(|payload| payload.last().copied()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    }
}
