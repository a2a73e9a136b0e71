//! Our peer against str0m as an ICE-lite gateway, in virtual time over a link with latency and loss.

use std::collections::VecDeque;

use str0m::change::SdpOffer;
use str0m::media::KeyframeRequestKind;

use super::*;

const LATENCY: Duration = Duration::from_millis(5);

fn client_address() -> SocketAddr {
    "10.0.0.1:4000".parse().expect("literal")
}

fn gateway_address() -> SocketAddr {
    "10.0.0.2:8189".parse().expect("literal")
}

fn offer(send: bool, video: &[VideoFormat]) -> Offer {
    Offer { send, video: video.to_vec(), audio: true, rtx: true, tcp: false }
}

/// Both peers, the link between them, and what they said.
struct World {
    begin: Instant,
    now: Instant,
    client: Peer,
    client_deadline: Instant,
    gateway: Rtc,
    gateway_deadline: Instant,
    to_client: VecDeque<(Instant, Vec<u8>)>,
    to_gateway: VecDeque<(Instant, Vec<u8>)>,
    client_events: Vec<Event>,
    gateway_events: Vec<EngineEvent>,
    /// Media datagrams of the client that never arrive, counted from zero.
    lost: Vec<usize>,
    media_sent: usize,
    /// Nothing the gateway sends arrives any more.
    gateway_silent: bool,
}

impl World {
    fn new(offer: &Offer) -> World {
        let begin = Instant::now();
        let (mut client, text) = Peer::new(begin, client_address(), offer, None).expect("offer");
        let mut gateway = Rtc::builder().set_rtp_mode(true).set_ice_lite(true).build(begin);
        gateway.add_local_candidate(Candidate::host(gateway_address(), "udp").expect("address"));
        let offer = SdpOffer::from_sdp_string(&text).expect("our offer parses");
        let answer = gateway.sdp_api().accept_offer(offer).expect("our offer is acceptable");
        client.accept(&answer.to_sdp_string()).expect("answer");
        World {
            begin,
            now: begin,
            client,
            client_deadline: begin,
            gateway,
            gateway_deadline: begin,
            to_client: VecDeque::new(),
            to_gateway: VecDeque::new(),
            client_events: Vec::new(),
            gateway_events: Vec::new(),
            lost: Vec::new(),
            media_sent: 0,
            gateway_silent: false,
        }
    }

    /// A world in which both are connected.
    fn connected(offer: &Offer) -> World {
        let mut world = World::new(offer);
        world.run(Duration::from_secs(1));
        assert!(world.gateway.is_connected());
        assert!(world.client_events.iter().any(|event| matches!(event, Event::Connected)));
        world
    }

    fn elapsed(&self) -> Duration {
        self.now - self.begin
    }

    /// Lets time pass, one thing after another.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain_client();
        self.drain_gateway();
        loop {
            let arrivals = [&self.to_client, &self.to_gateway].map(|queue| queue.front().map(|(at, _)| *at));
            let timers = [Some(self.client_deadline), Some(self.gateway_deadline)];
            let next = arrivals.into_iter().chain(timers).flatten().min().expect("timers");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        if self.to_client.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.to_client.pop_front().expect("just seen");
            self.client.handle_datagram(now, gateway_address(), &bytes).expect("client takes it");
            self.drain_client();
        } else if self.to_gateway.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.to_gateway.pop_front().expect("just seen");
            let receive = Receive::new(Protocol::Udp, client_address(), gateway_address(), &bytes).expect("protocol");
            self.gateway.handle_input(Input::Receive(now, receive)).expect("gateway takes it");
            self.drain_gateway();
        } else if self.client_deadline <= now {
            self.client.handle_timeout(now).expect("client lives on");
            self.drain_client();
        } else {
            self.gateway.handle_input(Input::Timeout(now)).expect("gateway lives on");
            self.drain_gateway();
        }
    }

    fn drain_client(&mut self) {
        loop {
            match self.client.poll().expect("client") {
                Output::Transmit { to, bytes } => {
                    assert_eq!(to, gateway_address());
                    let media = matches!(bytes.first(), Some(128..=191));
                    let lost = media && self.lost.contains(&self.media_sent);
                    self.media_sent += usize::from(media);
                    if !lost {
                        self.to_gateway.push_back((self.now + LATENCY, bytes.to_vec()));
                    }
                }
                Output::Event(event) => self.client_events.push(event),
                Output::Idle(at) => {
                    self.client_deadline = at.max(self.now + Duration::from_micros(1));
                    return;
                }
            }
        }
    }

    fn drain_gateway(&mut self) {
        loop {
            match self.gateway.poll_output().expect("gateway") {
                EngineOutput::Transmit(send) if self.gateway_silent => drop(send),
                EngineOutput::Transmit(send) => {
                    self.to_client.push_back((self.now + LATENCY, send.contents.to_vec()));
                }
                EngineOutput::Event(event) => self.gateway_events.push(event),
                EngineOutput::Timeout(at) => {
                    self.gateway_deadline = at.max(self.now + Duration::from_micros(1));
                    return;
                }
            }
        }
    }

    /// The client publishes `count` video packets, 10 ms apart; the payload holds the number.
    fn publish(&mut self, count: u32) {
        for number in 0..count {
            let payload = number.to_be_bytes().to_vec().into();
            let marker = number % 3 == 2;
            let outgoing = Outgoing { kind: Kind::Video, time: number * 900, marker, payload, captured: self.now };
            assert!(self.client.write(outgoing));
            self.drain_client();
            self.client_deadline = self.now;
            self.run(Duration::from_millis(10));
        }
        self.run(Duration::from_secs(1));
    }

    /// (sequence number, RTP time, marker, number in the payload) of what the gateway received, in order of arrival.
    fn received(&self) -> Vec<(u64, u32, bool, u32)> {
        let packets = self.gateway_events.iter().filter_map(|event| match event {
            EngineEvent::RtpPacket(packet) => Some(packet),
            _ => None,
        });
        packets
            .map(|packet| {
                let number = packet.payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
                (*packet.seq_no, packet.header.timestamp, packet.header.marker, number.expect("four bytes"))
            })
            .collect()
    }

    /// The gateway sends `count` packets of one kind to the client.
    fn feed(&mut self, kind: Kind, count: u64) {
        let track = self.client.tracks.iter().find(|track| track.kind == kind).expect("track");
        let (mid, (pt, _)) = (track.mid, track.chosen.expect("negotiated"));
        for number in 0..count {
            let mut api = self.gateway.direct_api();
            let stream = api.stream_tx_by_mid(mid, None).expect("declared by the offer");
            let payload = vec![number as u8; 4];
            stream.write_rtp(RtpWrite::new(pt, (60_000 + number).into(), number as u32 * 900, self.now, payload));
            self.drain_gateway();
            self.gateway_deadline = self.now;
            self.run(Duration::from_millis(1));
        }
        self.run(LATENCY);
    }

    fn packets(&self) -> Vec<&Received> {
        let packets = self.client_events.iter().filter_map(|event| match event {
            Event::Packet(packet) => Some(packet),
            _ => None,
        });
        packets.collect()
    }
}

#[test]
fn offer_says_what_was_asked_for() {
    let text = |offer: &Offer| Peer::new(Instant::now(), client_address(), offer, None).expect("offer").1;
    let publish = text(&offer(true, &[VideoFormat::H264(0x64_00_1f)]));
    for line in [
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:96 H264/90000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=sendonly",
        "a=setup:actpass",
        "a=rtcp-mux",
    ] {
        assert!(publish.lines().any(|found| found == line), "{line} in {publish}");
    }
    let fmtp = publish.lines().find(|line| line.starts_with("a=fmtp:96 ")).expect("fmtp");
    assert!(fmtp.contains("packetization-mode=1") && fmtp.contains("profile-level-id=64001f"), "{fmtp}");

    let watch = text(&offer(false, &VideoFormat::ALL));
    assert!(watch.contains("a=recvonly") && !watch.contains("a=sendonly"));
    for codec in ["VP8", "VP9", "AV1", "H264"] {
        assert!(watch.contains(&format!(" {codec}/90000")), "{codec}");
    }
    let pts: Vec<&str> = watch.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")).collect();
    let mut numbers: Vec<&str> = pts.iter().filter_map(|line| line.split(' ').next()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), pts.len(), "every payload type once: {pts:?}");

    let plain = text(&Offer { rtx: false, audio: false, ..offer(true, &[VideoFormat::Vp8]) });
    assert!(!plain.contains("rtx") && !plain.contains("m=audio"), "{plain}");
}

#[test]
fn every_codec_is_negotiated() {
    let formats = VideoFormat::ALL.into_iter().zip([
        Codec::Vp8,
        Codec::H264,
        Codec::H264,
        Codec::H264,
        Codec::H264,
        Codec::Vp9,
        Codec::Av1,
    ]);
    for (format, codec) in formats {
        let world = World::new(&offer(true, &[format]));
        assert_eq!(world.client.codec(Kind::Video), Some(codec), "{format:?}");
        assert_eq!(world.client.codec(Kind::Audio), Some(Codec::Opus));
        assert_eq!(world.client.payload_type(Kind::Audio), Some(111));
    }
}

#[test]
fn connecting_takes_a_few_round_trips() {
    let mut world = World::new(&offer(false, &VideoFormat::ALL));
    while !world.client_events.iter().any(|event| matches!(event, Event::Connected)) {
        assert!(world.elapsed() < Duration::from_millis(100), "still not connected");
        world.run(Duration::from_millis(1));
    }
}

#[test]
fn published_packets_arrive_as_written() {
    let mut world = World::connected(&offer(true, &[VideoFormat::H264_CONSTRAINED_BASELINE]));
    world.publish(20);
    let received = world.received();
    let (first_seq, first_time, ..) = received[0];
    assert!(first_seq < 1 << 15, "{first_seq}");
    let expected: Vec<_> = (0..20u32)
        .map(|number| (first_seq + u64::from(number), first_time.wrapping_add(number * 900), number % 3 == 2, number))
        .collect();
    assert_eq!(received, expected);
}

#[test]
fn lost_packet_is_sent_again_when_asked_for() {
    let mut world = World::connected(&offer(true, &[VideoFormat::Vp8]));
    world.lost = vec![world.media_sent + 5];
    world.publish(20);
    let mut numbers: Vec<u32> = world.received().iter().map(|(.., number)| *number).collect();
    assert_ne!(numbers, (0..20).collect::<Vec<_>>(), "nothing was lost: the test tests nothing");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

#[test]
fn keyframe_requests_go_both_ways() {
    let mut publishing = World::connected(&offer(true, &[VideoFormat::Vp8]));
    publishing.publish(3);
    let mid = publishing.client.tracks[1].mid;
    let mut api = publishing.gateway.direct_api();
    let stream = api.stream_rx_by_mid(mid, None).expect("packets came");
    stream.request_keyframe(KeyframeRequestKind::Pli);
    publishing.run(Duration::from_secs(1));
    assert!(publishing.client_events.iter().any(|event| matches!(event, Event::KeyframeRequest)));

    let mut watching = World::connected(&offer(false, &[VideoFormat::Vp8]));
    watching.feed(Kind::Video, 3);
    assert!(watching.client.request_keyframe());
    watching.run(Duration::from_secs(1));
    assert!(watching.gateway_events.iter().any(|event| matches!(event, EngineEvent::KeyframeRequest(_))));
}

#[test]
fn player_receives_both_kinds_in_order() {
    let mut world = World::connected(&offer(false, &VideoFormat::ALL));
    world.feed(Kind::Video, 10);
    world.feed(Kind::Audio, 10);
    let packets = world.packets();
    assert_eq!(packets.len(), 20);
    for (kind, codec) in [(Kind::Video, Codec::Vp8), (Kind::Audio, Codec::Opus)] {
        let of_kind: Vec<_> = packets.iter().filter(|packet| packet.kind == kind).collect();
        assert!(of_kind.iter().all(|packet| packet.codec == codec));
        assert!(of_kind.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1 && pair[1].time == pair[0].time + 900));
        assert!(of_kind.iter().enumerate().all(|(number, packet)| packet.payload[..] == [number as u8; 4]));
    }
}

#[test]
fn farewell_reaches_the_other_side() {
    let mut world = World::connected(&offer(true, &[VideoFormat::Vp8]));
    world.client.close().expect("open");
    world.run(Duration::from_millis(100));
    assert!(world.gateway_events.iter().any(|event| matches!(event, EngineEvent::Closed)));

    let mut world = World::connected(&offer(true, &[VideoFormat::Vp8]));
    world.gateway.close().expect("open");
    world.run(Duration::from_millis(100));
    let closed = |event: &Event| matches!(event, Event::Closed(CloseReason::ByPeer));
    assert_eq!(world.client_events.iter().filter(|event| closed(event)).count(), 1);
}

#[test]
fn gateway_gone_silent_is_noticed() {
    let mut world = World::connected(&offer(true, &[VideoFormat::Vp8]));
    world.run(Duration::from_secs(60));
    let closed = |event: &Event| matches!(event, Event::Closed(CloseReason::IceTimeout));
    assert!(!world.client_events.iter().any(closed), "an idle session lasts");
    world.gateway_silent = true;
    world.run(Duration::from_secs(20));
    assert!(world.client_events.iter().any(closed));
}

#[test]
fn useless_answers_are_refused() {
    let answer_to = |change: fn(&str) -> String| {
        let now = Instant::now();
        let (mut client, text) =
            Peer::new(now, client_address(), &offer(false, &[VideoFormat::Vp8]), None).expect("offer");
        let mut gateway = Rtc::builder().set_rtp_mode(true).set_ice_lite(true).build(now);
        let offer = SdpOffer::from_sdp_string(&text).expect("parses");
        let answer = gateway.sdp_api().accept_offer(offer).expect("acceptable").to_sdp_string();
        client.accept(&change(&answer))
    };
    assert!(answer_to(str::to_owned).is_ok(), "the unchanged answer is good");
    for (what, change) in [
        ("not SDP", (|_| "hello".to_owned()) as fn(&str) -> String),
        ("empty", |_| String::new()),
        ("no fingerprint", |answer| answer.lines().filter(|l| !l.contains("fingerprint")).map(crlf).collect()),
        ("every section refused", |answer| answer.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0")),
    ] {
        assert!(answer_to(change).is_err(), "{what}");
    }
}

fn crlf(line: &str) -> String {
    format!("{line}\r\n")
}
