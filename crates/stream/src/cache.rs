//! Everything of a video track since its last start, so that who joins sees a picture at once, even where the publisher
//! ignores keyframe requests.
//!
//! One for each stream and worker, part of its [`History`](crate::History); a [`Replay`](crate::Replay) sends it to one
//! subscriber. Kept in the order of the stream's numbers, payloads shared; bounded by age, bytes and packets. What is over a
//! bound is offered to nobody any more, since a part would not decode, but kept for a quarter longer, so that replays
//! that have begun come to their end. Then the whole of it goes, and it stays empty until the next start.
//!
//! The sound of the same time is kept beside it, for those that record: their file begins with both. It counts towards no
//! bound but its own, and goes with the video.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use whipstitch_media::Kind;

use crate::forward::Forwarded;

/// Packets of sound kept: 20 s of the usual 20 ms. When there are more, the oldest go.
const MAX_SOUND: usize = 1024;

/// Bounds of a [`Cache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How old the start may be.
    pub age: Duration,
    /// Bytes of payload.
    pub bytes: usize,
    /// Packets: what bounds the cost of one replay.
    pub packets: usize,
}

impl Default for Limits {
    /// protocol.md 9.4: 10 s and 4 MB for a track. 8192 packets, because small ones cost as much as large ones to replay.
    fn default() -> Self {
        Self { age: Duration::from_secs(10), bytes: 4_000_000, packets: 8192 }
    }
}

impl Limits {
    /// How much longer than it is offered it is kept.
    fn kept(self) -> Limits {
        let Limits { age, bytes, packets } = self;
        Limits { age: age + age / 4, bytes: bytes + bytes / 4, packets: packets + packets / 4 }
    }
}

/// The packets of one video track since its last start, and the sound that came since.
#[derive(Debug)]
pub struct Cache {
    limits: Limits,
    packets: VecDeque<Forwarded>,
    sound: VecDeque<Forwarded>,
    bytes: usize,
}

impl Cache {
    /// Empty.
    pub fn new(limits: Limits) -> Self {
        Self { limits, packets: VecDeque::new(), sound: VecDeque::new(), bytes: 0 }
    }

    /// Takes a packet of the stream: a start of video empties the cache first; all else is kept only behind a start.
    pub fn insert(&mut self, forwarded: &Forwarded) {
        if forwarded.kind() == Kind::Audio {
            self.insert_sound(forwarded);
            return;
        }
        if forwarded.start {
            self.clear();
        }
        // Before the start, with no start there, or there already: of no use.
        let Some(place) = place(&self.packets, forwarded).filter(|place| *place > 0 || forwarded.start) else { return };
        self.bytes += forwarded.packet.payload.len();
        self.packets.insert(place, forwarded.clone());
        self.expire(forwarded.packet.arrived);
    }

    fn insert_sound(&mut self, forwarded: &Forwarded) {
        let Some(place) = place(&self.sound, forwarded).filter(|_| !self.packets.is_empty()) else { return };
        self.sound.insert(place, forwarded.clone());
        if self.sound.len() > MAX_SOUND {
            self.sound.pop_front();
        }
    }

    /// How long ago the start came, if who joins at `now` may be given what there is; `None` also if nothing is there.
    pub fn offer(&self, now: Instant) -> Option<Duration> {
        self.start_within(now, self.limits)
    }

    /// The start, whether or not it is still offered.
    pub fn start(&self) -> Option<&Forwarded> {
        self.packets.front()
    }

    /// The packets whose number on the stream's timeline is this or higher, in order.
    pub fn from(&self, hub_seq: u64) -> impl DoubleEndedIterator<Item = &Forwarded> {
        self.packets.range(self.packets.partition_point(|kept| kept.packet.seq < hub_seq)..)
    }

    /// The packets of sound whose number on its timeline is this or higher, in order.
    pub fn sound_from(&self, hub_seq: u64) -> impl Iterator<Item = &Forwarded> {
        self.sound.range(self.sound.partition_point(|kept| kept.packet.seq < hub_seq)..)
    }

    /// Everything, in an order in which another cache takes it.
    pub fn all(&self) -> impl Iterator<Item = &Forwarded> {
        self.packets.iter().chain(&self.sound)
    }

    /// The packet with this number on the stream's timeline.
    pub fn get(&self, hub_seq: u64) -> Option<&Forwarded> {
        self.from(hub_seq).next().filter(|kept| kept.packet.seq == hub_seq)
    }

    /// Bytes of video kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything, as at a change of publisher.
    pub fn clear(&mut self) {
        self.packets.clear();
        // One unusually long group must not pin its memory.
        self.packets.shrink_to(1024);
        self.sound.clear();
        self.bytes = 0;
    }

    /// Lets go what is over its bounds at `now`; for streams that have stopped.
    pub fn expire(&mut self, now: Instant) {
        if self.start_within(now, self.limits.kept()).is_none() {
            self.clear();
        }
    }

    fn start_within(&self, now: Instant, limits: Limits) -> Option<Duration> {
        let age = now.saturating_duration_since(self.packets.front()?.packet.arrived);
        let within = age <= limits.age && self.bytes <= limits.bytes && self.packets.len() <= limits.packets;
        within.then_some(age)
    }
}

/// Where a packet belongs among these; `None` if it is there.
fn place(packets: &VecDeque<Forwarded>, forwarded: &Forwarded) -> Option<usize> {
    let number = forwarded.packet.seq;
    let later = packets.iter().rev().take_while(|kept| kept.packet.seq >= number).count();
    let place = packets.len() - later;
    packets.get(place).is_none_or(|kept| kept.packet.seq != number).then_some(place)
}
