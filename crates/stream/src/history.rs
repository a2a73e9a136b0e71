//! The newest packets of a stream, to be sent again: one for each stream and worker, shared by all its subscribers.
//!
//! A ring for each track, with a power of two of places, indexed by the stream's number. It grows as the track's rate needs
//! up to its limit, so a quiet stream costs little; after that, keeping a packet costs one clone of a pointer. Bounded
//! by age, count and bytes; when a bound is reached the oldest go.

use std::time::{Duration, Instant};

use whipstitch_media::Kind;

use crate::forward::Forwarded;
use crate::track::PerKind;

/// Bounds of a [`History`], for each track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a packet is kept after it arrived.
    pub age: Duration,
    /// How many numbers the ring spans; rounded up to a power of two, at least 64, at most 65536.
    pub packets: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

impl Default for Limits {
    /// 2 s: a repair that takes longer comes too late to be played. 2048 packets are 2 s of 10 Mbit/s, and 4 MiB are 2 s
    /// of 16 Mbit/s.
    fn default() -> Self {
        Self { age: Duration::from_secs(2), packets: 2048, bytes: 4 << 20 }
    }
}

/// Places a ring begins with: 1.2 s of Opus.
const FIRST_PLACES: usize = 64;

/// The newest packets of a stream.
#[derive(Debug)]
pub struct History {
    rings: PerKind<Ring>,
}

impl History {
    /// Empty; nothing is allocated before the first packet.
    pub fn new(limits: Limits) -> Self {
        Self { rings: PerKind::from_fn(|_| Ring::new(limits)) }
    }

    /// Keeps a packet, and lets go what is over the bounds. The clock is the packet's time of arrival. A packet further
    /// back than the oldest kept, or already there, is not kept.
    pub fn insert(&mut self, forwarded: &Forwarded) {
        self.rings[forwarded.kind].insert(forwarded);
    }

    /// The packet with this number on the stream's timeline, if it is still there.
    pub fn get(&self, kind: Kind, hub_seq: u64) -> Option<&Forwarded> {
        self.rings[kind].get(hub_seq)
    }

    /// Lets go what is too old at `now`; for streams that have stopped.
    pub fn expire(&mut self, now: Instant) {
        for (_, ring) in self.rings.iter_mut() {
            ring.expire(now);
        }
    }

    /// Bytes of payload kept.
    pub fn bytes(&self) -> usize {
        self.rings.audio.bytes + self.rings.video.bytes
    }
}

#[derive(Debug)]
struct Ring {
    limits: Limits,
    max_places: usize,
    /// Length zero or a power of two; number `n` is at `n & (len - 1)`.
    places: Vec<Option<Forwarded>>,
    /// All numbers kept are in `oldest..next`, which is no longer than `places`.
    oldest: u64,
    next: u64,
    bytes: usize,
}

impl Ring {
    fn new(limits: Limits) -> Self {
        let max_places = limits.packets.clamp(FIRST_PLACES, 1 << 16).next_power_of_two();
        Self { limits, max_places, places: Vec::new(), oldest: 0, next: 0, bytes: 0 }
    }

    fn insert(&mut self, forwarded: &Forwarded) {
        let number = forwarded.packet.seq;
        self.expire(forwarded.packet.arrived);
        if self.oldest == self.next {
            (self.oldest, self.next) = (number, number);
        }
        if number < self.oldest {
            return;
        }
        self.reach(number);
        let place = self.place(number);
        let Some(slot) = self.places.get_mut(place) else { return };
        if slot.is_some() {
            return;
        }
        self.bytes += forwarded.packet.payload.len();
        *slot = Some(forwarded.clone());
        while self.bytes > self.limits.bytes && self.oldest < self.next {
            self.drop_oldest();
        }
    }

    fn get(&self, number: u64) -> Option<&Forwarded> {
        if number < self.oldest || number >= self.next {
            return None;
        }
        self.places.get(self.place(number))?.as_ref()
    }

    /// Makes `number` part of the span: grows the ring, or lets the oldest go.
    fn reach(&mut self, number: u64) {
        if number < self.next {
            return;
        }
        if number - self.oldest >= self.max_places as u64 {
            let oldest = number - (self.max_places as u64 - 1);
            while self.oldest < oldest.min(self.next) {
                self.drop_oldest();
            }
            self.oldest = oldest;
        }
        let span = (number - self.oldest) as usize + 1;
        if span > self.places.len() {
            self.grow(span.next_power_of_two().clamp(FIRST_PLACES, self.max_places));
        }
        self.next = number.saturating_add(1);
    }

    fn grow(&mut self, places: usize) {
        let mut grown: Vec<Option<Forwarded>> = Vec::new();
        grown.resize_with(places, || None);
        for kept in self.places.drain(..).flatten() {
            let place = (kept.packet.seq & (places as u64 - 1)) as usize;
            if let Some(slot) = grown.get_mut(place) {
                *slot = Some(kept);
            }
        }
        self.places = grown;
    }

    fn expire(&mut self, now: Instant) {
        while self.oldest < self.next {
            let oldest = self.places.get(self.place(self.oldest)).and_then(Option::as_ref);
            let young = |kept: &Forwarded| now.saturating_duration_since(kept.packet.arrived) < self.limits.age;
            if oldest.is_some_and(young) {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let place = self.place(self.oldest);
        if let Some(dropped) = self.places.get_mut(place).and_then(Option::take) {
            self.bytes -= dropped.packet.payload.len();
        }
        self.oldest += 1;
    }

    fn place(&self, number: u64) -> usize {
        (number & (self.places.len() as u64).wrapping_sub(1)) as usize
    }
}
