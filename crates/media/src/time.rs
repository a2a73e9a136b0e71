//! The clocks of media: RTP time beyond its 32 bits, NTP time of reports.
//!
//! Nothing here asks a clock. RTP time counts ticks of a codec's clock rate (RFC 3550 5.1); NTP time is what sender
//! reports carry (RFC 3550 4). Arithmetic wraps or saturates and never fails.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

/// Extends 32-bit RTP times as [`Unwrap`](crate::sequence::Unwrap) does sequence numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwrap32 {
    newest: Option<u64>,
}

impl Unwrap32 {
    /// One circle. The first time is placed in the second circle, so that what is a little older has a place too.
    pub const CIRCLE: u64 = 1 << 32;

    /// Nothing seen yet.
    pub const fn new() -> Self {
        Self { newest: None }
    }

    /// The place of `time` nearest to the newest one, which it becomes if it is ahead. The first is placed at
    /// `time + 2^32`. Exactly half a circle away counts as behind.
    pub const fn extend(&mut self, time: u32) -> u64 {
        let extended = self.place(time);
        match self.newest {
            Some(newest) if newest >= extended => {}
            _ => self.newest = Some(extended),
        }
        extended
    }

    /// Where [`extend`](Self::extend) would put `time`; nothing is remembered.
    pub const fn place(&self, time: u32) -> u64 {
        match self.newest {
            None => Self::CIRCLE + time as u64,
            Some(newest) => newest.saturating_add_signed(time.wrapping_sub(newest as u32) as i32 as i64),
        }
    }

    /// The newest time, `None` before the first.
    pub const fn newest(&self) -> Option<u64> {
        self.newest
    }
}

/// Ticks of a clock of `rate` Hz in a span, to the nearest; saturates.
pub const fn ticks(span: Duration, rate: u32) -> u64 {
    let exact = (span.as_nanos() * rate as u128 + NANOS / 2) / NANOS;
    if exact > u64::MAX as u128 { u64::MAX } else { exact as u64 }
}

/// The span of `ticks` of a clock of `rate` Hz, to the nearest nanosecond; zero for a rate of zero; saturates at 584
/// years. For rates up to 500 MHz, [`ticks`] of it gives the ticks back.
pub const fn duration(ticks: u64, rate: u32) -> Duration {
    if rate == 0 {
        return Duration::ZERO;
    }
    let exact = (ticks as u128 * NANOS + rate as u128 / 2) / rate as u128;
    Duration::from_nanos(if exact > u64::MAX as u128 { u64::MAX } else { exact as u64 })
}

const NANOS: u128 = 1_000_000_000;

/// Seconds from 1900 (NTP) to 1970 (Unix): 70 years, 17 of them leap years (RFC 5905 figure 4).
const UNIX_EPOCH: u64 = 2_208_988_800;

/// NTP time: seconds since 1900, 32 bits and 32 bits of fraction (RFC 3550 4). It wraps in 2036, and so does its
/// arithmetic: differences are right as long as they stay below 68 years. Ordered by its bits, not by era.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ntp(pub u64);

impl Ntp {
    /// The NTP time of a wall clock; times before 1970 count as 1970.
    pub fn from_system_time(time: SystemTime) -> Self {
        let unix = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(UNIX_EPOCH << 32) + unix
    }

    /// The middle 32 bits: what LSR of a report block carries (RFC 3550 6.4.1), in units of 1/65536 s.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// How much later than `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Ntp) -> Duration {
        let difference = self.0.wrapping_sub(earlier.0) as i64;
        if difference <= 0 { Duration::ZERO } else { from_fixed(difference as u64) }
    }

    /// The distance between two times, whichever is earlier.
    pub const fn distance(self, other: Ntp) -> Duration {
        from_fixed((self.0.wrapping_sub(other.0) as i64).unsigned_abs())
    }
}

impl Add<Duration> for Ntp {
    type Output = Ntp;

    fn add(self, span: Duration) -> Ntp {
        Ntp(self.0.wrapping_add(to_fixed(span)))
    }
}

impl Sub<Duration> for Ntp {
    type Output = Ntp;

    fn sub(self, span: Duration) -> Ntp {
        Ntp(self.0.wrapping_sub(to_fixed(span)))
    }
}

/// 32.32 fixed point, to the nearest; seconds wrap as NTP's do.
const fn to_fixed(span: Duration) -> u64 {
    (span.as_secs() << 32).wrapping_add((((span.subsec_nanos() as u64) << 32) + 500_000_000) / 1_000_000_000)
}

const fn from_fixed(fixed: u64) -> Duration {
    let nanos = ((fixed & 0xffff_ffff) * 1_000_000_000 + (1 << 31)) >> 32;
    // The fraction may round up to a whole second; Duration carries it.
    Duration::from_secs(fixed >> 32).saturating_add(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_the_place_nearest_to_the_newest() {
        let mut unwrap = Unwrap32::new();
        let circle = 1u64 << 32;
        for (time, expected) in [
            (u32::MAX, 2 * circle - 1),
            (0, 2 * circle),
            (u32::MAX - 10, 2 * circle - 11),
            (3000, 2 * circle + 3000),
            (1 << 31, 2 * circle + (1 << 31)),
            (5, 2 * circle + 5),
            ((1 << 31) + 6, 2 * circle + (1 << 31) + 6),
            (5, 3 * circle + 5),
        ] {
            assert_eq!(unwrap.extend(time), expected, "{time}");
        }
    }

    #[test]
    fn ticks_and_durations_convert_back() {
        for rate in [8_000, 48_000, 90_000] {
            for count in [0, 1, 2, 3, 959, 960, 3_003, 90_000, 1 << 32, (1 << 40) + 7] {
                assert_eq!(ticks(duration(count, rate), rate), count, "{count} at {rate}");
            }
        }
        assert_eq!(ticks(Duration::from_millis(20), 48_000), 960);
        assert_eq!(duration(3_000, 90_000), Duration::from_nanos(33_333_333));
    }

    #[test]
    fn conversions_saturate() {
        assert_eq!(ticks(Duration::MAX, u32::MAX), u64::MAX);
        assert_eq!(duration(u64::MAX, 1), Duration::from_nanos(u64::MAX));
        assert_eq!(duration(5, 0), Duration::ZERO);
    }

    #[test]
    fn ntp_counts_from_1900() {
        let ntp = Ntp::from_system_time(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(ntp, Ntp(((2_208_988_800 + 1) << 32) + (1 << 31)));
        assert_eq!(ntp.middle(), (((2_208_988_801u64 & 0xffff) << 16) + 0x8000) as u32);
    }

    #[test]
    fn ntp_differences_work_across_the_era_of_2036() {
        let before = Ntp(u64::MAX - (1 << 32) + 1);
        let after = before + Duration::from_millis(2_250);
        assert!(after < before, "the bits wrapped");
        assert_eq!(after.since(before), Duration::from_millis(2_250));
        assert_eq!(before.since(after), Duration::ZERO);
        assert_eq!(before.distance(after), Duration::from_millis(2_250));
        assert_eq!(after - Duration::from_millis(2_250), before);
    }
}
