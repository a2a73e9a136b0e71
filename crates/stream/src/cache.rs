//! Everything of a stream since its last start, so that who joins sees a picture at once, even where the publisher
//! ignores keyframe requests.
//!
//! The packets are replayed to the new subscriber alone, through its [`Subscription`](crate::Subscription), which numbers
//! them gap-free right into the live ones. Kept in the order of the stream's numbers; bounded by age and bytes. When a
//! bound is passed the whole of it goes, since a part would not decode, and stays empty until the next start.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::forward::Forwarded;

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

/// The packets of one video track since its last start.
#[derive(Debug)]
pub struct Cache {
    limits: Limits,
    packets: VecDeque<Forwarded>,
    bytes: usize,
}

impl Cache {
    /// Empty.
    pub fn new(limits: Limits) -> Self {
        Self { limits, packets: VecDeque::new(), bytes: 0 }
    }

    /// Takes the next packet of the track: a start empties the cache first, anything else is kept only behind a start.
    pub fn insert(&mut self, forwarded: &Forwarded) {
        if forwarded.start {
            self.clear();
        } else if self.expired(forwarded.packet.arrived) {
            return self.clear();
        }
        let number = forwarded.packet.seq;
        let late = self.packets.iter().rev().take_while(|kept| kept.packet.seq > number).count();
        let place = self.packets.len() - late;
        // Before the start, or with no start there: of no use.
        if place == 0 && !forwarded.start {
            return;
        }
        self.bytes += forwarded.packet.payload.len();
        self.packets.insert(place, forwarded.clone());
        if self.bytes > self.limits.bytes || self.packets.len() > self.limits.packets {
            self.clear();
        }
    }

    /// The packets from the start on, in order; empty if there is no start young enough.
    pub fn replay(&self, now: Instant) -> impl Iterator<Item = &Forwarded> {
        let usable = if self.expired(now) { 0 } else { self.packets.len() };
        self.packets.iter().take(usable)
    }

    /// Forgets everything, as at a change of publisher.
    pub fn clear(&mut self) {
        self.packets.clear();
        // One unusually long group must not pin its memory.
        self.packets.shrink_to(1024);
        self.bytes = 0;
    }

    /// Lets go what is too old at `now`; for streams that have stopped.
    pub fn expire(&mut self, now: Instant) {
        if self.expired(now) {
            self.clear();
        }
    }

    fn expired(&self, now: Instant) -> bool {
        self.packets.front().is_some_and(|start| now.saturating_duration_since(start.packet.arrived) > self.limits.age)
    }
}
