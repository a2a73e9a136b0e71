//! A hub, a gateway's egress and a viewer in virtual time.
//!
//! The [`Scenario`] makes packets as the hub would, hands them to the egress under test, opens what comes out as the
//! viewer, and keeps every datagram that was sent. The viewer's feedback goes back the same way, protected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use whipstitch_media::time::Ntp;
use whipstitch_media::{Codec, Extensions, Kind, Packet};
use whipstitch_net::Path;
use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::Room;
use whipstitch_stream::history::Limits;
use whipstitch_stream::{Burst, Clock, Forwarded, History, PerKind};
use whipstitch_webrtc::egress::srtp::{Opener, Sealer, Sealers};
use whipstitch_webrtc::egress::{Egress, ExtensionIds, Feedback, Format, Keys, Profile, Rejected, TrackConfig};

pub(crate) const AUDIO_SSRC: u32 = 0xa0a0_0001;
pub(crate) const AUDIO_PT: u8 = 111;
pub(crate) const VIDEO_SSRC: u32 = 0xbeef_0001;
pub(crate) const VIDEO_PT: u8 = 96;
pub(crate) const RTX_SSRC: u32 = 0xbeef_0002;
pub(crate) const RTX_PT: u8 = 97;
pub(crate) const VIEWER_SSRC: u32 = 1;
pub(crate) const CNAME: &str = "whipstitch-cname";

/// Mid, audio level, orientation as the viewer numbers them.
pub(crate) const MID: u8 = 4;
pub(crate) const AUDIO_LEVEL: u8 = 1;
pub(crate) const ORIENTATION: u8 = 13;

/// Wall-clock time of the first clock.
pub(crate) const EPOCH: Ntp = Ntp(0xe800_0000_1234_5678);

pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) fn audio() -> TrackConfig {
    TrackConfig {
        kind: Kind::Audio,
        ssrc: AUDIO_SSRC,
        rtx_ssrc: None,
        repeats: true,
        extensions: ExtensionIds { mid: Some((MID, "a".into())), audio_level: Some(AUDIO_LEVEL), orientation: None },
    }
}

pub(crate) fn video() -> TrackConfig {
    TrackConfig {
        kind: Kind::Video,
        ssrc: VIDEO_SSRC,
        rtx_ssrc: Some(RTX_SSRC),
        repeats: false,
        extensions: ExtensionIds { mid: Some((MID, "v".into())), audio_level: None, orientation: Some(ORIENTATION) },
    }
}

/// Video whose resends are the packets themselves.
pub(crate) fn video_without_rtx() -> TrackConfig {
    TrackConfig { rtx_ssrc: None, repeats: true, ..video() }
}

/// What the hub's packets of this kind are.
pub(crate) fn codec(kind: Kind) -> Codec {
    match kind {
        Kind::Audio => Codec::Opus,
        Kind::Video => Codec::Vp8,
    }
}

/// The format in which a track goes out.
pub(crate) fn format(config: &TrackConfig) -> Format {
    let codec = codec(config.kind);
    let pt = if config.kind == Kind::Audio { AUDIO_PT } else { VIDEO_PT };
    Format { codec, pt, rtx_pt: config.rtx_ssrc.map(|_| RTX_PT), nack: true }
}

pub(crate) fn material(profile: Profile) -> Vec<u8> {
    (0..profile.material_len()).map(|byte| (7 * byte + 1) as u8).collect()
}

/// The gateway is the DTLS server.
pub(crate) fn gateway_keys(profile: Profile) -> Keys {
    Keys::split(profile, &material(profile), false).expect("as long as the profile needs")
}

pub(crate) fn viewer_contexts(profile: Profile) -> (Sealers, Opener) {
    Keys::split(profile, &material(profile), true).expect("as long as the profile needs").into_contexts()
}

pub(crate) fn path() -> Path {
    Path::to(([192, 0, 2, 7], 5004).into())
}

/// Dice with a seed: xorshift64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.roll(256) as u8);
    }
}

/// An RTP packet as the viewer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rtp {
    /// Sequence number and roll-over counter by the viewer's own count.
    pub(crate) index: u64,
    pub(crate) ssrc: u32,
    pub(crate) pt: u8,
    pub(crate) marker: bool,
    pub(crate) time: u32,
    pub(crate) extensions: HashMap<u8, Vec<u8>>,
    pub(crate) payload: Vec<u8>,
    /// Bytes on the wire.
    pub(crate) datagram: usize,
}

impl Rtp {
    pub(crate) fn seq(&self) -> u16 {
        self.index as u16
    }
}

/// What the viewer received: packets and decrypted compounds, in order, and datagrams it had opened before.
#[derive(Default, Debug)]
pub(crate) struct Arrived {
    pub(crate) rtp: Vec<Rtp>,
    pub(crate) rtcp: Vec<Vec<u8>>,
    pub(crate) repeated: Vec<Vec<u8>>,
}

impl Arrived {
    pub(crate) fn of(&self, ssrc: u32) -> Vec<&Rtp> {
        self.rtp.iter().filter(|packet| packet.ssrc == ssrc).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rtp.is_empty() && self.rtcp.is_empty() && self.repeated.is_empty()
    }
}

/// One track of the hub.
struct Source {
    seq: u64,
    /// RTP time at the start of the scenario.
    time: u64,
    rate: u32,
}

pub(crate) struct Scenario {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) egress: Egress,
    pub(crate) history: History,
    pub(crate) batch: Batch,
    /// What the path takes.
    pub(crate) room: Room,
    sources: PerKind<Source>,
    clocks: bool,
    opener: Opener,
    reporter: Sealer,
    /// Every datagram of the egress, as sent.
    pub(crate) sent: Vec<Vec<u8>>,
    known: HashSet<Vec<u8>>,
}

impl Scenario {
    pub(crate) fn new(tracks: Vec<TrackConfig>) -> Scenario {
        Scenario::with(Profile::Aes128Gcm, tracks, 1)
    }

    pub(crate) fn with(profile: Profile, tracks: Vec<TrackConfig>, seed: u64) -> Scenario {
        let mut dice = Dice(seed);
        Scenario::with_random(profile, tracks, |bytes| dice.fill(bytes))
    }

    pub(crate) fn with_random(profile: Profile, tracks: Vec<TrackConfig>, random: impl FnMut(&mut [u8])) -> Scenario {
        let formats: Vec<_> = tracks.iter().map(|config| (config.kind, format(config))).collect();
        let mut scenario = Scenario::negotiated(profile, tracks, random);
        for (kind, format) in formats {
            scenario.egress.send_as(kind, format).expect("lawful numbers");
        }
        scenario
    }

    /// A viewer of a stream that nobody has published yet.
    pub(crate) fn without_formats(tracks: Vec<TrackConfig>) -> Scenario {
        let mut dice = Dice(1);
        Scenario::negotiated(Profile::Aes128Gcm, tracks, |bytes| dice.fill(bytes))
    }

    fn negotiated(profile: Profile, tracks: Vec<TrackConfig>, random: impl FnMut(&mut [u8])) -> Scenario {
        let start = Instant::now();
        let (mut sealers, opener) = viewer_contexts(profile);
        Scenario {
            start,
            now: start,
            egress: Egress::new(start, gateway_keys(profile), CNAME.to_owned(), tracks, random).expect("lawful tracks"),
            history: History::new(Limits::default()),
            batch: Batch::new(),
            room: Room::UNBOUNDED,
            sources: PerKind {
                audio: Source { seq: 70_000, time: 1 << 33, rate: 48_000 },
                video: Source { seq: 123_456, time: (1 << 32) - 50_000, rate: 90_000 },
            },
            clocks: true,
            opener,
            reporter: sealers.sealer(VIEWER_SSRC, 0, 0).expect("the first of its SSRC"),
            sent: Vec::new(),
            known: HashSet::new(),
        }
    }

    /// From now on bursts come without clocks.
    pub(crate) fn without_clocks(mut self) -> Scenario {
        self.clocks = false;
        self
    }

    /// The hub's next packet of a track, without delivering it.
    pub(crate) fn packet(&mut self, kind: Kind, start: bool, marker: bool, payload: &[u8]) -> Forwarded {
        let elapsed = self.now - self.start;
        let source = &mut self.sources[kind];
        source.seq += 1;
        let packet = Packet {
            seq: source.seq,
            time: source.time + whipstitch_media::time::ticks(elapsed, source.rate),
            marker,
            payload: Arc::from(payload),
            extensions: Extensions::default(),
            arrived: self.now,
        };
        Forwarded { codec: codec(kind), packet, start }
    }

    /// One packet the hub will never have.
    pub(crate) fn lose(&mut self, kind: Kind) {
        self.sources[kind].seq += 1;
    }

    /// Delivers packets as one burst and lets the viewer take what comes out.
    pub(crate) fn deliver(&mut self, packets: Vec<Forwarded>) -> Arrived {
        packets.iter().for_each(|forwarded| self.history.insert(forwarded));
        let clock = |source: &Source| self.clocks.then_some(Clock { ntp: EPOCH, time: source.time, at: self.start });
        let clocks = PerKind { audio: clock(&self.sources.audio), video: clock(&self.sources.video) };
        self.egress.deliver(self.now, path(), &Burst { packets, clocks }, self.room, &mut self.batch);
        self.take()
    }

    /// A frame of `packets` video packets of `size` bytes, delivered.
    pub(crate) fn frame(&mut self, packets: usize, size: usize, start: bool) -> Arrived {
        let made: Vec<_> = (0..packets)
            .map(|n| {
                let fill = self.sources.video.seq as u8;
                self.packet(Kind::Video, start && n == 0, n + 1 == packets, &vec![fill; size])
            })
            .collect();
        self.deliver(made)
    }

    /// One audio packet of `size` bytes, delivered.
    pub(crate) fn talk(&mut self, size: usize) -> Arrived {
        let fill = self.sources.audio.seq as u8;
        let packet = self.packet(Kind::Audio, true, false, &vec![fill; size]);
        self.deliver(vec![packet])
    }

    /// Lets time pass; timeouts are handled when they are due.
    pub(crate) fn pass(&mut self, span: Duration) -> Arrived {
        let until = self.now + span;
        while let Some(deadline) = self.egress.deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.egress.handle_timeout(self.now, path(), Some(&self.history), self.room, &mut self.batch);
            assert!(self.egress.deadline().is_none_or(|next| next > self.now), "a deadline that stays is a busy loop");
        }
        self.now = until;
        self.take()
    }

    /// Sends a compound as the viewer.
    pub(crate) fn feedback(&mut self, compound: &[u8]) -> (Result<Feedback, Rejected>, Arrived) {
        let mut datagram = self.protect(compound);
        self.raw_feedback(&mut datagram)
    }

    /// Sends a compound as the viewer, which must be accepted, and takes the answer.
    pub(crate) fn say(&mut self, compound: &[u8]) -> Arrived {
        let (result, arrived) = self.feedback(compound);
        result.expect("authentic and well-formed");
        arrived
    }

    /// A compound as the viewer would send it.
    pub(crate) fn protect(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut datagram = [compound, &[0; 20]].concat();
        let len = self.reporter.seal_rtcp(&mut datagram, compound.len()).expect("there is room");
        datagram.truncate(len);
        datagram
    }

    pub(crate) fn raw_feedback(&mut self, datagram: &mut [u8]) -> (Result<Feedback, Rejected>, Arrived) {
        let result = self.egress.handle_rtcp(self.now, path(), datagram, &self.history, &mut self.batch);
        (result, self.take())
    }

    /// The viewer opens everything in the batch. A datagram opened before must be the same bytes.
    pub(crate) fn take(&mut self) -> Arrived {
        let mut arrived = Arrived::default();
        for (to, datagram) in self.batch.datagrams() {
            assert_eq!(to, path());
            self.sent.push(datagram.to_vec());
            let mut bytes = datagram.to_vec();
            if !self.known.insert(bytes.clone()) {
                arrived.repeated.push(bytes);
            } else if (192..=223).contains(&bytes[1]) {
                let len = self.opener.open_rtcp(&mut bytes).expect("authentic and new");
                bytes.truncate(len);
                arrived.rtcp.push(bytes);
            } else {
                arrived.rtp.push(open(&mut self.opener, bytes));
            }
        }
        self.batch.clear();
        arrived
    }
}

fn open(opener: &mut Opener, mut bytes: Vec<u8>) -> Rtp {
    let datagram = bytes.len();
    let opened = opener.open(&mut bytes).expect("authentic and new");
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    Rtp {
        index: opened.index,
        ssrc: word(8),
        pt: bytes[1] & 0x7f,
        marker: bytes[1] & 0x80 != 0,
        time: word(4),
        extensions: extensions(&bytes[12..opened.header]),
        payload: bytes[opened.header..opened.len].to_vec(),
        datagram,
    }
}

/// One-byte elements (RFC 8285 4.2).
fn extensions(block: &[u8]) -> HashMap<u8, Vec<u8>> {
    let mut found = HashMap::new();
    if block.is_empty() {
        return found;
    }
    assert_eq!(block[..2], [0xbe, 0xde]);
    let mut rest = &block[4..];
    while let [first, after @ ..] = rest {
        let (id, len) = (first >> 4, usize::from(first & 15) + 1);
        rest = if *first == 0 { after } else { &after[len..] };
        if *first != 0 {
            assert!(found.insert(id, after[..len].to_vec()).is_none(), "each element once");
        }
    }
    found
}

/// An RTCP packet with its length field made right.
pub(crate) fn rtcp(first: u8, kind: u8, words: &[u32]) -> Vec<u8> {
    let body = words.iter().flat_map(|word| word.to_be_bytes());
    [first, kind].into_iter().chain((words.len() as u16).to_be_bytes()).chain(body).collect()
}

pub(crate) fn pli(media: u32) -> Vec<u8> {
    rtcp(0x81, 206, &[VIEWER_SSRC, media])
}

pub(crate) fn fir(sender: u32, media: u32, number: u8) -> Vec<u8> {
    rtcp(0x84, 206, &[sender, 0, media, u32::from(number) << 24])
}

/// One NACK with an entry for each number.
pub(crate) fn nack(media: u32, numbers: &[u16]) -> Vec<u8> {
    let entries = numbers.iter().map(|number| u32::from(*number) << 16);
    rtcp(0x81, 205, &[VIEWER_SSRC, media].into_iter().chain(entries).collect::<Vec<_>>())
}

/// A sender report as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderReport {
    pub(crate) ssrc: u32,
    pub(crate) ntp: Ntp,
    pub(crate) time: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// The sender report at the front of a compound, and the packets after it as type and body.
pub(crate) fn parse_report(compound: &[u8]) -> (SenderReport, Vec<(u8, Vec<u8>)>) {
    let word = |at: usize| u32::from_be_bytes(compound[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!(compound[..4], [0x80, 200, 0, 6], "a sender report without report blocks");
    let report = SenderReport {
        ssrc: word(4),
        ntp: Ntp(u64::from(word(8)) << 32 | u64::from(word(12))),
        time: word(16),
        packets: word(20),
        octets: word(24),
    };
    let (mut rest, mut packets) = (&compound[28..], Vec::new());
    while !rest.is_empty() {
        let len = 4 + 4 * usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        packets.push((rest[1], rest[4..len].to_vec()));
        rest = &rest[len..];
    }
    (report, packets)
}
