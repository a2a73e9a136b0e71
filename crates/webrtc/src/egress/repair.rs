//! How much may be sent again: at most once per round trip for each packet, at most a fifth of what is sent anyway.
//!
//! A viewer's NACKs are a stranger's wish. Whatever it asks for, the answers are bounded in rate, and so is what is
//! remembered about them: a few kilobytes, taken at the first NACK.

use std::time::{Duration, Instant};

/// The least time between two resends of a packet: a viewer so near asks again only because the answer is under way.
const MIN_RTT: Duration = Duration::from_millis(10);

/// The time between two resends while no round trip was measured: longer than most paths within a continent, shorter
/// than the 100 ms after which browsers ask again.
const UNKNOWN_RTT: Duration = Duration::from_millis(50);

/// The share of the bytes sent that resends may add: one in five (`protocol.md` 8.2). Twice as much feeds congestion.
const SHARE: u64 = 5;

/// Bytes a second that may be resent however little is sent, so that audio and slow video can be repaired: six full
/// packets.
const FLOOR: u64 = 7_500;

/// What may be resent on one track.
pub(super) struct Repair {
    sent: Meter,
    resent: Meter,
    /// When a packet of this place was last resent; empty before the first. Packets that share a place wait for each
    /// other, which costs the viewer one repetition of its NACK.
    places: Box<[Option<Instant>]>,
    max_places: usize,
}

impl Repair {
    /// `places` is how far apart two packets may be that wait for each other; at least 1; 16 bytes each.
    pub(super) fn new(now: Instant, places: usize) -> Repair {
        Repair { sent: Meter::new(now), resent: Meter::new(now), places: Box::default(), max_places: places }
    }

    /// Counts bytes that were sent for the first time.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize) {
        self.sent.add(now, bytes);
    }

    /// Bytes sent for the first time and again over the last second.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        self.sent.last_second(now) + self.resent.last_second(now)
    }

    /// Whether `bytes` more may be resent now, whichever packet.
    pub(super) fn affords(&mut self, now: Instant, bytes: usize) -> bool {
        // Both sums are off by up to a bucket, to the careful side.
        let limit = (self.sent.within(now, BUCKETS - 1) / SHARE).max(FLOOR);
        self.resent.within(now, BUCKETS) + bytes as u64 <= limit
    }

    /// Whether the last resend of this packet is a round trip ago.
    pub(super) fn is_due(&self, now: Instant, seq: u64, rtt: Option<Duration>) -> bool {
        let rtt = rtt.unwrap_or(UNKNOWN_RTT).max(MIN_RTT);
        let last = self.places.get(self.place(seq)).copied().flatten();
        last.is_none_or(|last| now.saturating_duration_since(last) >= rtt)
    }

    /// Records a resend.
    pub(super) fn resent(&mut self, now: Instant, seq: u64, bytes: usize) {
        if self.places.is_empty() {
            self.places = vec![None; self.max_places].into_boxed_slice();
        }
        let place = self.place(seq);
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Some(now);
        }
        self.resent.add(now, bytes);
    }

    fn place(&self, seq: u64) -> usize {
        (seq % self.max_places.max(1) as u64) as usize
    }
}

/// Buckets of a meter: one second of them, and the one being filled.
const BUCKETS: usize = 9;

/// What one bucket counts: an eighth of a second.
const BUCKET_NANOS: u32 = 125_000_000;
const BUCKETS_A_SECOND: u64 = 8;

/// Bytes over the last second.
struct Meter {
    start: Instant,
    /// The bucket being filled, counted from the start.
    current: u64,
    buckets: [u64; BUCKETS],
}

impl Meter {
    fn new(now: Instant) -> Meter {
        Meter { start: now, current: 0, buckets: [0; BUCKETS] }
    }

    fn add(&mut self, now: Instant, bytes: usize) {
        self.advance(now);
        self.buckets[slot(self.current)] += bytes as u64;
    }

    /// Bytes in the newest `buckets` buckets, the one being filled included.
    fn within(&mut self, now: Instant, buckets: usize) -> u64 {
        self.advance(now);
        let oldest = self.current.saturating_sub(buckets as u64 - 1);
        (oldest..=self.current).map(|bucket| self.buckets[slot(bucket)]).sum()
    }

    /// Bytes in the full buckets of the second before `now`, of which the bucket being filled is no part.
    fn last_second(&self, now: Instant) -> u64 {
        let current = self.number(now).max(self.current);
        let full = current.saturating_sub(BUCKETS as u64 - 1)..current;
        // Those after the bucket being filled hold what was sent a second before: nothing has come since.
        full.filter(|bucket| *bucket <= self.current).map(|bucket| self.buckets[slot(bucket)]).sum()
    }

    fn number(&self, now: Instant) -> u64 {
        // Whole seconds apart: a division of 128 bits would cost as much as all the rest of it.
        let since = now.saturating_duration_since(self.start);
        since.as_secs() * BUCKETS_A_SECOND + u64::from(since.subsec_nanos() / BUCKET_NANOS)
    }

    fn advance(&mut self, now: Instant) {
        let current = self.number(now);
        // Time that stands still, or an instant from before, fills the current bucket.
        let steps = current.saturating_sub(self.current);
        for step in 1..=steps.min(BUCKETS as u64) {
            self.buckets[slot(self.current + step)] = 0;
        }
        if steps > BUCKETS as u64 {
            self.buckets = [0; BUCKETS];
        }
        self.current += steps;
    }
}

fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_meter_counts_the_last_second_and_forgets_the_rest() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for at in 0..4000 {
            meter.add(start + at * MS, 10);
            let (full, now) = (u64::from(at) + 1, start + at * MS);
            let (least, most) = (meter.within(now, BUCKETS - 1), meter.within(now, BUCKETS));
            assert!(least <= 10 * full.min(1000) && least >= 10 * full.min(875), "{least} at {at}");
            assert!(most <= 10 * full.min(1125) && most >= 10 * full.min(1000), "{most} at {at}");
        }
        assert_eq!(meter.within(start + 60_000 * MS, BUCKETS), 0);
        meter.add(start + 60_000 * MS, 7);
        assert_eq!(meter.within(start + 60_000 * MS, BUCKETS), 7);
    }

    #[test]
    fn a_packet_is_resent_once_per_round_trip_and_never_within_10_ms() {
        let start = Instant::now();
        for (rtt, wait) in [(Some(80 * MS), 80), (Some(MS), 10), (Some(Duration::ZERO), 10), (None, 50)] {
            let mut repair = Repair::new(start, 512);
            assert!(repair.is_due(start, 700, rtt));
            repair.resent(start, 700, 100);
            assert!(!repair.is_due(start + (wait - 1) * MS, 700, rtt), "{rtt:?}");
            assert!(repair.is_due(start + (wait - 1) * MS, 701, rtt), "{rtt:?}");
            assert!(repair.is_due(start + wait * MS, 700, rtt), "{rtt:?}");
        }
    }

    #[test]
    fn resends_are_a_fifth_of_what_was_sent_or_the_floor() {
        let start = Instant::now();
        for (bytes_per_ms, least, most) in [(0, 7_500, 7_500), (10, 7_500, 7_500), (300, 50_000, 60_000)] {
            let mut repair = Repair::new(start, 512);
            for at in 0..2000 {
                repair.sent(start + at * MS, bytes_per_ms);
            }
            let now = start + 1999 * MS;
            let mut resent = 0;
            while repair.affords(now, 100) {
                repair.resent(now, resent, 100);
                resent += 100;
            }
            assert!((least..=most).contains(&resent), "{resent} of {bytes_per_ms} a millisecond");
            assert!(!repair.affords(now + 999 * MS, 100));
        }
    }
}
