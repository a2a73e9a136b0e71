//! What is known of a source's clock: its last sender report, and the times of arrival of its packets.

use std::time::{Duration, Instant};

use whipstitch_media::time::{self, Ntp};

/// How long the best arrival is looked for before it is used: long enough to meet packets that were not delayed, short
/// enough that the drift of a clock (some 50 ppm) stays below a millisecond.
const ROUND: Duration = Duration::from_secs(10);

/// What a sender report says (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) ntp: Ntp,
    /// In the source's own RTP time.
    pub(super) time: u64,
    pub(super) at: Instant,
}

/// An RTP time and when it was passed here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) time: u64,
    pub(super) at: Instant,
}

impl Arrival {
    /// Whether this packet was delayed less than `other`, at `rate` ticks a second.
    fn earlier_than(self, other: Arrival, rate: u32) -> bool {
        let ticks = self.time.wrapping_sub(other.time) as i64;
        let span = time::duration(ticks.unsigned_abs(), rate);
        if ticks >= 0 { other.at.checked_add(span).is_none_or(|due| self.at < due) } else { self.at + span < other.at }
    }
}

/// The least delayed packet of the last seconds: the others tell of the network more than of the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrivals {
    used: Option<Arrival>,
    round: Option<(Instant, Arrival)>,
}

impl Arrivals {
    pub(super) fn add(&mut self, arrival: Arrival, rate: u32) {
        if self.used.is_none_or(|used| arrival.earlier_than(used, rate)) {
            self.used = Some(arrival);
        }
        match &mut self.round {
            Some((begun, best)) if arrival.at.saturating_duration_since(*begun) < ROUND => {
                if arrival.earlier_than(*best, rate) {
                    *best = arrival;
                }
            }
            ended => {
                if let Some((_, best)) = ended.replace((arrival.at, arrival)) {
                    self.used = Some(best);
                }
            }
        }
    }

    pub(super) fn best(&self) -> Option<Arrival> {
        self.used
    }
}
