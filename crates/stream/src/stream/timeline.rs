//! The timeline of one track: continuous, whoever publishes.
//!
//! Owns the numbers and times that subscribers build on, and the [`Source`] that feeds them at the moment. A new source
//! continues with the next number, and with the time that really passed. Video of a new source is held back until a
//! decoder may start. Padding is left out, and parameter sets are put in where a key picture comes without them.

use std::time::Instant;

use whipstitch_media::codec::Inspection;
use whipstitch_media::{Extensions, Kind, Packet, time};

use super::clock::Arrival;
use super::source::{Judgement, Source};
use super::tally::Tally;
use crate::forward::Forwarded;
use crate::track::Track;

/// Where a timeline begins: one circle up, so that arithmetic on the 16 and 32 bits of the wire has room below.
const FIRST_SEQ: u64 = 1 << 16;
const FIRST_TIME: u64 = 1 << 32;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pushed {
    /// It was dropped.
    Dropped,
    /// It was held back: the source has not begun with a start yet.
    Gated,
    /// It was forwarded.
    Forwarded,
    /// It was forwarded, and a decoder may start with what was forwarded.
    Start,
}

#[derive(Debug)]
pub(super) struct Timeline {
    kind: Kind,
    newest: Option<Newest>,
    pub(super) source: Option<Source>,
    pub(super) tally: Tally,
}

/// The newest packet forwarded.
#[derive(Clone, Copy, Debug)]
struct Newest {
    seq: u64,
    /// The highest time, which is not always that of the newest number.
    time: u64,
    arrived: Instant,
}

impl Timeline {
    pub(super) fn new(kind: Kind, now: Instant) -> Self {
        Self { kind, newest: None, source: None, tally: Tally::new(now) }
    }

    /// From now on packets come from a new source, or from none.
    pub(super) fn begin(&mut self, track: Option<&Track>) {
        self.source = track.map(Source::new);
        self.tally.new_source();
    }

    /// Takes a packet of the source and puts what is to be forwarded for it into `out`.
    pub(super) fn push(&mut self, packet: Packet, out: &mut Vec<Forwarded>) -> Pushed {
        let Some(source) = &mut self.source else { return Pushed::Dropped };
        if !source.is_open() {
            return self.push_closed(packet, out);
        }
        match source.judge(&packet) {
            Judgement::Newest { missing } => self.push_newest(packet, missing, out),
            Judgement::Late => self.push_late(packet, out),
            Judgement::Duplicate => {
                self.tally.duplicates += 1;
                Pushed::Dropped
            }
            Judgement::Suspect => {
                self.tally.misplaced += 1;
                source.suspect(packet);
                Pushed::Dropped
            }
            Judgement::Restart => {
                let first = source.restart();
                let pushed = first.map_or(Pushed::Dropped, |first| self.push_closed(first, out));
                pushed.max(self.push(packet, out))
            }
        }
    }

    /// The source has not begun: only a start is let through.
    fn push_closed(&mut self, packet: Packet, out: &mut Vec<Forwarded>) -> Pushed {
        let Some(source) = &mut self.source else { return Pushed::Dropped };
        if packet.payload.is_empty() {
            return Pushed::Dropped;
        }
        let found = source.inspector.inspect(packet.time, &packet.payload);
        if found.broken {
            self.tally.broken += 1;
            return Pushed::Dropped;
        }
        let starts = if found.bare { source.inspector.parameter_sets().is_some() } else { found.start };
        if !starts {
            source.stash(packet);
            return Pushed::Gated;
        }
        let (seq, time) = self.newest.map_or((FIRST_SEQ, FIRST_TIME), |newest| {
            let gap = time::ticks(packet.arrived.saturating_duration_since(newest.arrived), source.rate());
            (newest.seq.wrapping_add(1), newest.time.wrapping_add(gap.max(1)))
        });
        source.open(&packet, seq, time);
        let overtakers = source.overtakers(packet.seq);
        self.forward(packet, found, out);
        for overtaker in overtakers {
            self.push(overtaker, out);
        }
        Pushed::Start
    }

    fn push_newest(&mut self, packet: Packet, missing: u64, out: &mut Vec<Forwarded>) -> Pushed {
        let Some(source) = &mut self.source else { return Pushed::Dropped };
        if packet.payload.is_empty() {
            self.tally.lost += missing;
            source.mark(&packet);
            source.leave_out(packet.seq);
            return Pushed::Dropped;
        }
        let found = source.inspector.inspect(packet.time, &packet.payload);
        if found.broken {
            // Its place stays open: the subscriber's decoder must know that something is missing.
            self.tally.broken += 1;
            return Pushed::Dropped;
        }
        if source.newest_time().is_some_and(|newest| packet.time < newest) {
            self.tally.b_frames = true;
        }
        self.tally.lost += missing;
        self.forward(packet, found, out)
    }

    fn push_late(&mut self, packet: Packet, out: &mut Vec<Forwarded>) -> Pushed {
        let Some(source) = &mut self.source else { return Pushed::Dropped };
        if source.place(packet.seq).is_none() {
            self.tally.misplaced += 1;
            return Pushed::Dropped;
        }
        // Padding that comes late goes on as an empty packet: its place is given away, and must not look lost.
        let found = if packet.payload.is_empty() {
            Inspection::default()
        } else {
            source.inspector.inspect(packet.time, &packet.payload)
        };
        if found.broken {
            self.tally.broken += 1;
            return Pushed::Dropped;
        }
        self.tally.lost = self.tally.lost.saturating_sub(1);
        // Who started at a late packet would miss what overtook it.
        let found = Inspection { start: self.kind == Kind::Audio, bare: false, ..found };
        self.forward(packet, found, out)
    }

    /// Puts a packet that has a place on the timeline.
    fn forward(&mut self, mut packet: Packet, found: Inspection, out: &mut Vec<Forwarded>) -> Pushed {
        let Some(source) = &mut self.source else { return Pushed::Dropped };
        let codec = source.codec();
        let new_frame = source.newest_time().is_none_or(|newest| packet.time > newest);
        let time = source.time(packet.time);
        source.mark(&packet);
        let begun = source.lost_before(packet.time);
        let mut put_in = None;
        // What a picture that has begun lacks may be among what was lost since, and on its way.
        if found.bare
            && begun.is_none_or(|lost| lost == self.tally.lost)
            && let Some(payload) = source.inspector.parameter_sets()
            && let Some(seq) = source.put_before(packet.seq)
        {
            let sets = Packet { seq, time, marker: false, payload, extensions: Extensions::default(), ..packet };
            out.push(Forwarded { codec, packet: sets, start: *put_in.insert(begun.is_none()) });
        }
        let start = found.start && put_in.is_none();
        let mut pushed = Pushed::Forwarded;
        if start || put_in == Some(true) {
            source.start(packet.time, self.tally.lost);
            pushed = Pushed::Start;
        }
        let Some(seq) = source.place(packet.seq) else { return Pushed::Dropped };
        packet.seq = seq;
        packet.time = time;
        source.arrivals.add(Arrival { time, at: packet.arrived }, source.rate());
        self.newest = Some(match self.newest {
            Some(newest) if newest.seq >= seq => newest,
            newest => {
                Newest { seq, time: newest.map_or(time, |newest| newest.time.max(time)), arrived: packet.arrived }
            }
        });
        self.tally.forwarded(&packet, found.size, new_frame, self.kind == Kind::Video && pushed == Pushed::Start);
        out.push(Forwarded { codec, packet, start });
        pushed
    }
}
