//! One subscriber's view of one track: which packets it gets, and under which number and time.
//!
//! Numbers are gap-free where the subscriber joins and after packets were left out on purpose; gaps of the publisher stay
//! visible, so that the subscriber's own loss recovery works; a packet that comes late keeps its place. Constant time for
//! each packet and about 450 bytes: there are thousands. Lives as long as the subscriber's session.

use whipstitch_media::Kind;
use whipstitch_media::sequence::{Seen, Window};

use crate::forward::Forwarded;
use crate::points::Points;

/// How many changes of offset are remembered. One is made at the join and one after each skip; a late packet or a NACK
/// does not reach further back than a few.
const POINTS: usize = 8;

/// Packets behind the newest within which repeats are known and NACKs answered: as many as a [`History`] holds.
///
/// [`History`]: crate::history::History
const WINDOW_WORDS: usize = 2048 / 64;

/// What the subscriber sees of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Sequence number with its wraps: the low 16 bits go on the wire, the rest is SRTP's roll-over counter.
    pub seq: u64,
    /// RTP time as on the wire.
    pub time: u32,
}

/// One subscriber's view of one track.
#[derive(Clone, Debug)]
pub struct Subscription {
    kind: Kind,
    waiting: bool,
    /// Added to the stream's RTP times; constant, because the stream's timeline is continuous.
    time_offset: u32,
    /// The number of the next packet that is newer than all sent.
    next: u64,
    /// The newest packet sent, by the stream's number.
    newest: Option<u64>,
    /// From the stream's numbers to the subscriber's.
    points: Points<POINTS>,
    /// The subscriber's numbers that were sent.
    sent: Window<WINDOW_WORDS>,
}

impl Subscription {
    /// A subscription that has sent nothing. The first packet gets the number `first_seq`, of which the low 15 bits are
    /// used: numbers of SRTP begin below 2^15, so that the loss of the first packets around a wrap cannot put the peer's
    /// roll-over counter wrong (RFC 3711 3.3.1).
    pub fn new(kind: Kind, first_seq: u16, time_offset: u32) -> Self {
        Self {
            kind,
            waiting: true,
            time_offset,
            next: u64::from(first_seq & 0x7fff),
            newest: None,
            points: Points::new(),
            sent: Window::new(),
        }
    }

    /// The kind of track it takes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Takes the stream's next packet; `None` if the subscriber does not get it: it is of the other kind, a start is still
    /// waited for, it was sent before, or it is too late to have a place.
    pub fn accept(&mut self, forwarded: &Forwarded) -> Option<Rewritten> {
        if forwarded.kind() != self.kind {
            return None;
        }
        let number = forwarded.packet.seq;
        let newest = self.newest.is_none_or(|newest| number > newest);
        if newest && self.waiting {
            if !forwarded.start && self.kind == Kind::Video {
                return None;
            }
            self.points.begin(number, self.next);
            self.waiting = false;
        }
        let seq = self.points.map(number)?;
        match self.sent.insert(seq) {
            Seen::Newest | Seen::Late => {}
            Seen::Duplicate | Seen::TooOld => return None,
        }
        if newest {
            self.newest = Some(number);
            self.next = seq.saturating_add(1);
        }
        Some(Rewritten { seq, time: self.time_of(forwarded.packet.time) })
    }

    /// The stream's number of a packet that was sent as `out_seq`; `None` if that number was not sent, or so long ago that
    /// it is no longer known.
    pub fn source_of(&self, out_seq: u64) -> Option<u64> {
        if self.sent.contains(out_seq) { self.points.invert(out_seq) } else { None }
    }

    /// Leaves everything out up to the next start; numbers go on without a gap. Late packets of before still find their
    /// place. Audio starts again with its next packet.
    pub fn drop_to_start(&mut self) {
        self.waiting = true;
    }

    /// Whether a start is waited for.
    pub fn waiting(&self) -> bool {
        self.waiting
    }

    /// The full number of a 16-bit one that the subscriber names, nearest to the newest sent.
    pub fn extend(&self, out_seq: u16) -> u64 {
        let newest = self.next.saturating_sub(1);
        let distance = i64::from(out_seq.wrapping_sub(newest as u16) as i16);
        // Before the first wrap the nearest may be below zero; then it is one circle up, where nothing was sent either.
        newest.checked_add_signed(distance).unwrap_or(u64::from(out_seq))
    }

    /// The subscriber's RTP time of a time on the stream's timeline.
    pub fn time_of(&self, hub_time: u64) -> u32 {
        (hub_time as u32).wrapping_add(self.time_offset)
    }

    /// The number of the next packet that is newer than all sent.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The newest number sent, `None` before the first packet.
    pub fn newest(&self) -> Option<u64> {
        self.sent.newest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_small() {
        assert!(size_of::<Subscription>() <= 512, "{} bytes, and there are thousands", size_of::<Subscription>());
    }
}
