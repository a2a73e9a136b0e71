//! A stream, a clock that is moved by hand, and packets that are easy to recognise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whipstitch_media::time::Ntp;
use whipstitch_media::{Codec, Extensions, Kind, Packet};
use whipstitch_stream::{
    Config, Forwarded, Output, Rewritten, SessionId, Stream, StreamKey, Subscription, Track, Tracks,
};

pub(crate) const ALICE: SessionId = SessionId(0xa11ce);
pub(crate) const BOB: SessionId = SessionId(0xb0b);

/// Wall-clock time at the beginning of each scene.
pub(crate) const WALL: Ntp = Ntp(0xe000_0000_0000_0000);

pub(crate) struct Scene {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) stream: Stream,
}

impl Scene {
    /// A stream that nobody publishes.
    pub(crate) fn empty() -> Self {
        Self::with(Config { wall: WALL, ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Self {
        let now = Instant::now();
        let key = StreamKey::parse("scene").expect("a legal name");
        Self { start: now, now, stream: Stream::new(key, config, now) }
    }

    /// Alice publishes VP8 and Opus; what there was to poll has been polled.
    pub(crate) fn published() -> Self {
        let mut scene = Self::empty();
        scene.publish(ALICE);
        scene
    }

    pub(crate) fn publish(&mut self, session: SessionId) {
        self.stream.publish(self.now, session, tracks(Codec::Vp8));
        self.outputs();
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    pub(crate) fn push(&mut self, session: SessionId, kind: Kind, packet: Packet) -> Vec<Forwarded> {
        self.stream.push(self.now, session, kind, packet);
        self.taken()
    }

    /// Alice sends a video packet.
    pub(crate) fn video(&mut self, seq: u64, time: u64, payload: &[u8]) -> Vec<Forwarded> {
        let packet = self.packet(seq, time, payload);
        self.push(ALICE, Kind::Video, packet)
    }

    /// Alice sends an audio packet.
    pub(crate) fn audio(&mut self, seq: u64, time: u64) -> Vec<Forwarded> {
        let packet = self.packet(seq, time, b"opus");
        self.push(ALICE, Kind::Audio, packet)
    }

    pub(crate) fn packet(&self, seq: u64, time: u64, payload: &[u8]) -> Packet {
        let payload = Arc::from(payload);
        Packet { seq, time, marker: true, payload, extensions: Extensions::default(), arrived: self.now }
    }

    /// What the stream forwards for what was pushed.
    pub(crate) fn taken(&mut self) -> Vec<Forwarded> {
        self.stream.take_burst().map(|burst| burst.packets).unwrap_or_default()
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.stream.poll(self.now)).collect()
    }

    /// Moves on to the stream's deadline and says what comes of it.
    pub(crate) fn next_outputs(&mut self) -> Vec<Output> {
        self.now = self.stream.deadline().expect("something is to come");
        self.outputs()
    }
}

pub(crate) fn tracks(video: Codec) -> Tracks {
    let track = |codec| Some(Track { codec, format: String::new() });
    Tracks { audio: track(Codec::Opus), video: track(video) }
}

/// A VP8 key frame of one packet.
pub(crate) const KEY: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
/// A VP8 interframe of one packet.
pub(crate) const DELTA: &[u8] = &[0x10, 0x11, 0x02, 0x00];
/// What a padding-only packet leaves.
pub(crate) const PADDING: &[u8] = &[];

pub(crate) fn seqs(forwarded: &[Forwarded]) -> Vec<u64> {
    forwarded.iter().map(|forwarded| forwarded.packet.seq).collect()
}

/// The one packet of a list.
pub(crate) fn only(forwarded: Vec<Forwarded>) -> Forwarded {
    let [forwarded] = <[_; 1]>::try_from(forwarded).expect("exactly one packet is forwarded");
    forwarded
}

/// A subscriber whose first packet will be 1000.
pub(crate) fn subscription(kind: Kind) -> Subscription {
    Subscription::new(kind, 1000, 0)
}

/// The numbers under which a subscriber gets these packets.
pub(crate) fn accept(subscription: &mut Subscription, forwarded: &[Forwarded]) -> Vec<u64> {
    let accepted = forwarded.iter().filter_map(|forwarded| subscription.accept(forwarded));
    accepted.map(|Rewritten { seq, .. }| seq).collect()
}

/// xorshift64*: small, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}
