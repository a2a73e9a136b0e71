//! The way of one subscriber that joins from the last start to the live edge: a paced burst out of the [`Cache`].
//!
//! A replay is a cursor. What the stream forwards meanwhile goes into the cache as well, so the cursor just goes on until
//! nothing is left, and from then on the subscriber takes what comes. If another start arrives before that, the rest is
//! skipped and the subscriber goes on there, which is the shorter way to the live edge. All numbers are given by the
//! [`Subscription`](crate::Subscription), to which a replay is nothing but packets that come in order.
//!
//! RTP times stay what they are. Browsers do not play such a burst in its own time: they see a path that catches up, and
//! show each picture as soon as it is decoded. Times squeezed into the length of the burst bring Chromium to the live edge
//! later, not earlier (docs/performance.md has the figures), and would contradict the sender reports.

use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::forward::Forwarded;

/// How long a replay is meant to take: less than the second after which a viewer should be at the live edge, long enough
/// for 4 MB to pass at 64 Mbit/s.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Replays run at least this much faster than the stream, or they would never end.
const SPEED_UP: u32 = 3;

/// Slower than this need not be, in bytes a second: 10 Mbit/s.
const LEAST_RATE: u64 = 1_250_000;

/// Faster than this never: 100 Mbit/s. A stream that is faster is not caught up with before its next start.
const MOST_RATE: u64 = 12_500_000;

/// What goes at one go is what the rate gives in this time, at most twice that when a timer is late: 30 packets at the
/// highest rate. Receivers' sockets hold about twice as many, and other viewers wait no longer than that takes.
const SLICE: Duration = Duration::from_millis(3);

/// Who takes nothing for so long is better served by the next start. It also bounds what a viewer costs that never reads.
const PATIENCE: Duration = Duration::from_secs(1);

/// Smaller packets count as this many bytes, for they cost as much work as larger ones.
const LEAST_BYTES: u64 = 400;

/// What comes next in a replay.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// This packet, now.
    Packet(&'a Forwarded),
    /// Everything up to the next start is to be left out; the start is the next step.
    Skip,
    /// Nothing before [`Replay::deadline`].
    Wait,
    /// The live edge is reached: from now on the subscriber takes what comes.
    Live,
    /// The rest is no longer there; the subscriber needs a start.
    Lost,
}

/// One replay. It lives from the join to the live edge, a second at most if the viewer is lucky with its timers.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Everything below this number of the stream has been passed.
    next: u64,
    /// RTP time of the first picture, which goes at the highest rate.
    first: u64,
    /// Bytes a second for everything behind the first picture.
    rate: u64,
    /// What was sent so far is paid for at this instant.
    paid: Instant,
    /// Since when the path takes nothing.
    paused: Option<Instant>,
}

impl Replay {
    /// A replay of what the cache offers at `now`; `None` if it offers nothing.
    pub fn begin(now: Instant, cache: &Cache) -> Option<Replay> {
        let age = cache.offer(now)?;
        let start = &cache.start()?.packet;
        let picture: u64 = cache.from(0).take_while(|kept| kept.packet.time == start.time).map(charge).sum();
        let rest = (cache.bytes() as u64).saturating_sub(picture);
        let span = CATCH_UP.min(age / SPEED_UP).max(SLICE);
        let rate = (rest * 1_000_000 / span.as_micros() as u64).clamp(LEAST_RATE, MOST_RATE);
        let paid = now.checked_sub(SLICE).unwrap_or(now);
        Some(Replay { next: start.seq, first: start.time, rate, paid, paused: None })
    }

    /// What is to be done at `now`; ask again until it is to wait or over.
    pub fn step<'a>(&mut self, now: Instant, cache: &'a Cache) -> Step<'a> {
        self.paused = None;
        // A timer that was late must not make up for it in one go.
        self.paid = self.paid.max(now.checked_sub(2 * SLICE).unwrap_or(now));
        if self.paid > now {
            return Step::Wait;
        }
        let Some(start) = cache.start() else { return Step::Lost };
        if start.packet.seq > self.next {
            self.next = start.packet.seq;
            return Step::Skip;
        }
        let Some(forwarded) = cache.from(self.next).next() else { return Step::Live };
        self.next = forwarded.packet.seq.saturating_add(1);
        let rate = if forwarded.packet.time == self.first { MOST_RATE } else { self.rate };
        self.paid += Duration::from_micros(charge(forwarded) * 1_000_000 / rate);
        Step::Packet(forwarded)
    }

    /// The path takes nothing at `now`: the next step is put off. False when that has been so for too long, and the
    /// subscriber had better wait for a start.
    pub fn pause(&mut self, now: Instant) -> bool {
        self.paid = self.paid.max(now);
        now.saturating_duration_since(*self.paused.get_or_insert(now)) < PATIENCE
    }

    /// When the next step is due.
    pub fn deadline(&self) -> Instant {
        self.paid + SLICE
    }

    /// Whether the replay is past this number of the stream: a packet that comes late and has it will not be met again.
    pub fn passed(&self, hub_seq: u64) -> bool {
        hub_seq < self.next
    }
}

fn charge(forwarded: &Forwarded) -> u64 {
    (forwarded.packet.payload.len() as u64).max(LEAST_BYTES)
}
