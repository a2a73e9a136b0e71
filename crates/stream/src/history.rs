//! The newest packets of a stream, to be sent again: one for each stream and worker, shared by all its subscribers. With
//! it goes the [`Cache`] for those that join.
//!
//! A ring for each track, with a power of two of places, indexed by the stream's number. It grows as the track's rate needs
//! up to its limit, so a quiet stream costs little; after that, keeping a packet costs one clone of a pointer. Bounded
//! by age, count and bytes; when a bound is reached the oldest go.

use std::time::{Duration, Instant};

use whipstitch_media::Kind;

use crate::cache::{self, Cache};
use crate::forward::{Clock, Forwarded};
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
    cache: Option<Cache>,
    clocks: PerKind<Option<Clock>>,
}

impl History {
    /// Empty; nothing is allocated before the first packet.
    pub fn new(limits: Limits) -> Self {
        Self { rings: PerKind::from_fn(|_| Ring::new(limits)), cache: None, clocks: PerKind::default() }
    }

    /// The same, which also keeps the video since its last start; `None` for no such cache.
    pub fn with_cache(self, limits: Option<cache::Limits>) -> Self {
        Self { cache: limits.map(Cache::new), ..self }
    }

    /// Keeps a packet, and lets go what is over the bounds. The clock is the packet's time of arrival. A packet further
    /// back than the oldest kept, or already there, is not kept.
    pub fn insert(&mut self, forwarded: &Forwarded) {
        self.rings[forwarded.kind()].insert(forwarded);
        if let Some(cache) = &mut self.cache {
            cache.insert(forwarded);
        }
    }

    /// Remembers what the last burst said of its tracks' clocks.
    pub fn set_clocks(&mut self, clocks: &PerKind<Option<Clock>>) {
        for (kind, clock) in clocks.iter() {
            self.clocks[kind] = clock.or(self.clocks[kind]);
        }
    }

    /// The clocks of the last bursts: what a report to who joins is made of before the next burst comes.
    pub fn clocks(&self) -> &PerKind<Option<Clock>> {
        &self.clocks
    }

    /// What who joins may be given, if such a thing is kept.
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Replaces what is kept for those that join by these packets, which begin with a start; without any nothing is kept.
    pub fn fill_cache<'a>(&mut self, packets: impl IntoIterator<Item = &'a Forwarded>) {
        let Some(cache) = &mut self.cache else { return };
        cache.clear();
        packets.into_iter().for_each(|forwarded| cache.insert(forwarded));
    }

    /// The packet with this number on the stream's timeline, if it is still there.
    pub fn get(&self, kind: Kind, hub_seq: u64) -> Option<&Forwarded> {
        let cached = || self.cache.as_ref().filter(|_| kind == Kind::Video)?.get(hub_seq);
        self.rings[kind].get(hub_seq).or_else(cached)
    }

    /// Lets go what is too old at `now`; for streams that have stopped.
    pub fn expire(&mut self, now: Instant) {
        for (_, ring) in self.rings.iter_mut() {
            ring.expire(now);
        }
        if let Some(cache) = &mut self.cache {
            cache.expire(now);
        }
    }

    /// Bytes of payload kept; those that are in the cache, too, count twice.
    pub fn bytes(&self) -> usize {
        self.rings.audio.bytes + self.rings.video.bytes + self.cache.as_ref().map_or(0, Cache::bytes)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whipstitch_media::{Codec, Extensions, Packet};

    use super::*;

    const SMALL: Limits = Limits { age: Duration::from_secs(2), packets: 128, bytes: 10_000 };

    fn video(seq: u64, arrived: Instant, bytes: usize) -> Forwarded {
        let payload = Arc::from(vec![0; bytes]);
        let packet = Packet { seq, time: 0, marker: false, payload, extensions: Extensions::default(), arrived };
        Forwarded { codec: Codec::Vp8, packet, start: false }
    }

    /// The numbers of `range` that are kept.
    fn kept(history: &History, range: std::ops::Range<u64>) -> Vec<u64> {
        range.filter(|seq| history.get(Kind::Video, *seq).is_some_and(|kept| kept.packet.seq == *seq)).collect()
    }

    #[test]
    fn packets_are_found_by_kind_and_number() {
        let (mut history, now) = (History::new(SMALL), Instant::now());
        history.insert(&video(70_000, now, 1));
        history.insert(&Forwarded { codec: Codec::Opus, ..video(70_001, now, 1) });
        assert_eq!(kept(&history, 69_990..70_010), [70_000]);
        assert!(history.get(Kind::Audio, 70_001).is_some());
        for absent in [0, 70_000 - 128, 70_000 + 128, u64::MAX] {
            assert!(history.get(Kind::Video, absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn the_oldest_numbers_go_when_the_ring_is_full() {
        let (mut history, now) = (History::new(SMALL), Instant::now());
        (1000..1300).for_each(|seq| history.insert(&video(seq, now, 1)));
        assert_eq!(kept(&history, 0..2000), (1172..1300).collect::<Vec<_>>());
        assert_eq!(history.bytes(), 128);
    }

    #[test]
    fn what_comes_late_is_kept_in_its_place_but_not_before_the_oldest() {
        let (mut history, now) = (History::new(SMALL), Instant::now());
        for seq in [1000, 1003, 1001, 999, 1001] {
            history.insert(&video(seq, now, 10));
        }
        assert_eq!(kept(&history, 0..2000), [1000, 1001, 1003]);
        assert_eq!(history.bytes(), 30);
    }

    #[test]
    fn packets_go_when_they_are_too_old() {
        let (mut history, now) = (History::new(SMALL), Instant::now());
        for seq in 0..40 {
            history.insert(&video(1000 + seq, now + Duration::from_millis(100 * seq), 1));
        }
        assert_eq!(kept(&history, 0..2000), (1020..1040).collect::<Vec<_>>());
        history.expire(now + Duration::from_secs(5));
        assert_eq!(kept(&history, 0..2000), (1031..1040).collect::<Vec<_>>());
        history.expire(now + Duration::from_secs(9));
        assert_eq!((kept(&history, 0..2000), history.bytes()), (vec![], 0));
        history.insert(&video(500, now + Duration::from_secs(9), 1));
        assert_eq!(kept(&history, 0..2000), [500], "an empty one begins anywhere");
    }

    #[test]
    fn bytes_are_bounded() {
        let (mut history, now) = (History::new(SMALL), Instant::now());
        (0..100).for_each(|seq| history.insert(&video(1000 + seq, now, 1000)));
        assert_eq!(kept(&history, 0..2000), (1090..1100).collect::<Vec<_>>());
        history.insert(&video(1100, now, 10_001));
        assert_eq!((kept(&history, 0..2000), history.bytes()), (vec![], 0));
        history.insert(&video(1101, now, 1));
        assert_eq!(kept(&history, 0..2000), [1101]);
    }

    #[test]
    fn a_step_of_any_size_is_taken() {
        let (mut history, now) = (History::new(SMALL), Instant::now());
        for seq in [5, 132, 133, 100_000, 100_127, u64::MAX - 1, u64::MAX, 3] {
            history.insert(&video(seq, now, 1));
            if seq > 3 && seq < u64::MAX {
                assert!(history.get(Kind::Video, seq).is_some(), "{seq}");
            }
            assert!(history.bytes() <= 3);
        }
    }

    #[test]
    fn a_ring_grows_with_what_it_holds() {
        let (mut history, now) = (History::new(Limits::default()), Instant::now());
        assert_eq!(history.rings.video.places.capacity(), 0);
        for (numbers, places) in [(1, 64), (64, 64), (65, 128), (2048, 2048), (9000, 2048)] {
            (0..numbers).for_each(|seq| history.insert(&video(seq, now, 1)));
            assert_eq!(history.rings.video.places.len(), places, "{numbers} numbers");
        }
        assert_eq!(kept(&history, 0..9000), (9000 - 2048..9000).collect::<Vec<_>>());
    }
}
