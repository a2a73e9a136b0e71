//! What a stream has done, in numbers, for the API and the metrics.

use std::time::{Duration, Instant};

use whipstitch_media::Codec;

use crate::key::SessionId;
use crate::track::PerKind;

/// A stream at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamStats {
    /// Who publishes, and since when.
    pub publisher: Option<(SessionId, Instant)>,
    /// Publishers the stream has had.
    pub publishers: u64,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests: u64,
    /// Packets that were ignored because their session is not the publisher.
    pub foreign: u64,
    /// Packets dropped because the publisher sent more than it may, or nobody took the burst away.
    pub overflow: u64,
    /// Each track the publisher sends, or sent last.
    pub tracks: PerKind<Option<TrackStats>>,
}

/// Packets of publishers that went nowhere, of all tracks a stream ever had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Their session is not the publisher.
    pub foreign: u64,
    /// The publisher sent more than it may, or nobody took the burst away.
    pub overflow: u64,
    /// The payload violates its format.
    pub broken: u64,
    /// Their place was no longer known, or their number absurd.
    pub misplaced: u64,
    /// They arrived again.
    pub duplicate: u64,
}

impl std::ops::AddAssign for Drops {
    fn add_assign(&mut self, other: Drops) {
        self.foreign += other.foreign;
        self.overflow += other.overflow;
        self.broken += other.broken;
        self.misplaced += other.misplaced;
        self.duplicate += other.duplicate;
    }
}

/// A track at one moment. The counts are those of the stream's life, over all its publishers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackStats {
    /// Its codec.
    pub codec: Codec,
    /// Width and height of the picture in pixels, once known.
    pub size: Option<(u16, u16)>,
    /// Pictures, or audio frames, per second over the last two seconds.
    pub fps: f32,
    /// Payload bits per second over the last two seconds.
    pub bitrate: u64,
    /// Packets forwarded.
    pub packets: u64,
    /// Payload bytes forwarded.
    pub bytes: u64,
    /// Packets that never arrived, as far as known now: one that comes late is taken back.
    pub lost: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// Packets dropped for a payload that violates its format.
    pub broken: u64,
    /// Packets dropped because their place was no longer known, or their number absurd.
    pub misplaced: u64,
    /// Key pictures at which a decoder may start.
    pub keyframes: u64,
    /// Time between the last two of them.
    pub keyframe_interval: Option<Duration>,
    /// RTP time has gone back from one picture to the next: the publisher sends B-frames, which browsers play jerkily.
    pub b_frames: bool,
}

/// Sums over the last two seconds, in slots of a quarter of a second.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    origin: Instant,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which quarter of a second since the origin.
    number: u64,
    bytes: u64,
    frames: u32,
}

/// Two seconds, and the slot that is being filled.
const SLOTS: usize = 9;
const SLOT_MILLIS: u64 = 250;

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { origin: now, slots: [Slot::default(); SLOTS] }
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: usize, frame: bool) {
        let number = self.number(now);
        let Some(slot) = self.slots.get_mut((number % SLOTS as u64) as usize) else { return };
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot.bytes += bytes as u64;
        slot.frames += u32::from(frame);
    }

    /// Bits and frames per second over the last eight full slots.
    pub(crate) fn rates(&self, now: Instant) -> (u64, f32) {
        let current = self.number(now);
        let full = self.slots.iter().filter(|slot| slot.number < current && slot.number + SLOTS as u64 > current);
        let (bytes, frames) = full.fold((0, 0), |(bytes, frames), slot| (bytes + slot.bytes, frames + slot.frames));
        // Of a track younger than two seconds only what there is counts.
        let seconds = (current.min(SLOTS as u64 - 1).max(1) * SLOT_MILLIS) as f32 / 1000.0;
        ((bytes as f64 * 8.0 / f64::from(seconds)) as u64, frames as f32 / seconds)
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_millis() as u64 / SLOT_MILLIS
    }
}

/// What one session counted, or all of one role. With a publisher media comes in and requests go out, with a subscriber
/// it is the other way round.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// RTP packets received from a publisher or sent to a subscriber, repairs included.
    pub packets: u64,
    /// Their bytes, headers included, as SRTP.
    pub bytes: u64,
    /// Packets lost towards us or, from receiver reports, towards the subscriber. One that comes late is taken back.
    pub lost: u64,
    /// NACKs sent (publisher) or received (subscriber).
    pub nacks: u64,
    /// Packets sent again to a subscriber, with RTX or without.
    pub resent: u64,
    /// Packets that came (publisher) or went (subscriber) as RTX.
    pub rtx: u64,
    /// PLIs sent (publisher) or received (subscriber).
    pub plis: u64,
    /// FIRs, likewise.
    pub firs: u64,
    /// Datagrams for the session that were nothing to it: from an address that had not proven to be its own, not authentic,
    /// of an SSRC that is not known, replayed, malformed, or media from a subscriber.
    pub rejected: u64,
    /// Packets not sent to a subscriber because sealing them was refused.
    pub unsealed: u64,
    /// Packets left out for a subscriber whose TCP connection took no more.
    pub skipped: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.nacks += other.nacks;
        self.resent += other.resent;
        self.rtx += other.rtx;
        self.plis += other.plis;
        self.firs += other.firs;
        self.rejected += other.rejected;
        self.unsealed += other.unsealed;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_two_seconds() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        // 30 frames of 1000 bytes a second for 5 s.
        for frame in 0..150u32 {
            meter.add(start + frame * Duration::from_secs(1) / 30, 1000, true);
        }
        let (bits, fps) = meter.rates(start + Duration::from_secs(5));
        assert!((29.0..=31.0).contains(&fps), "{fps}");
        assert!((232_000..=248_000).contains(&bits), "{bits}");
        assert_eq!(meter.rates(start + Duration::from_secs(8)), (0, 0.0));
    }

    #[test]
    fn a_young_track_is_measured_over_its_age() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for frame in 0..50u32 {
            meter.add(start + frame * Duration::from_millis(20), 100, true);
        }
        let (_, fps) = meter.rates(start + Duration::from_secs(1));
        assert!((48.0..=52.0).contains(&fps), "{fps}");
    }
}
