//! One publisher's one track: how its own numbers and times become the stream's.
//!
//! A source is closed until its first start; then its numbers are placed by recorded points and its times by one offset.
//! It knows repeats, refuses numbers that cannot be right, and recognises a sender that has begun anew.

use std::time::Duration;

use whipstitch_media::codec::Inspector;
use whipstitch_media::sequence::{Seen, Window};
use whipstitch_media::{Codec, Packet};

use super::clock::{Arrival, Arrivals, Report};
use crate::points::Points;
use crate::track::Track;

/// A step forward that is believed at once (RFC 3550 A.1, MAX_DROPOUT: a minute of audio, seconds of video).
const MAX_DROPOUT: u64 = 3000;

/// Numbers further back than the window are believed to be a new beginning only after this silence: repairs of a fast
/// stream over a long path come late too, and in a row.
const RESTART_SILENCE: Duration = Duration::from_secs(1);

/// Packets kept from before the first start: a start that was overtaken by its followers takes them along.
const STASH: usize = 32;

/// 1024 numbers: over a second of 8 Mbit/s.
const WINDOW_WORDS: usize = 1024 / 64;

/// Padding left out and parameter sets put in, with the places of late packets still known across them.
const POINTS: usize = 64;

#[derive(Debug)]
pub(super) struct Source {
    track: Track,
    pub(super) inspector: Inspector,
    pub(super) report: Option<Report>,
    pub(super) arrivals: Arrivals,
    open: bool,
    seen: Window<WINDOW_WORDS>,
    points: Points<POINTS>,
    /// Added to the source's times, modulo 2^64.
    time_offset: u64,
    /// The newest packet in order.
    newest: Option<Arrival>,
    /// The RTP time of the latest start, and how many packets were lost by then.
    started: Option<(u64, u64)>,
    /// A packet whose number was not believed: if its successor comes next, the sender has begun anew.
    suspect: Option<Packet>,
    stash: Vec<Packet>,
}

/// What a packet's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The newest; so many before it have not come.
    Newest { missing: u64 },
    /// Behind the newest, not seen before.
    Late,
    /// Seen before.
    Duplicate,
    /// Too far away to be believed.
    Suspect,
    /// Too far away as well, but the second such in a row: the sender has begun anew.
    Restart,
}

impl Source {
    pub(super) fn new(track: &Track) -> Self {
        Self {
            track: track.clone(),
            inspector: inspector(track),
            report: None,
            arrivals: Arrivals::default(),
            open: false,
            seen: Window::new(),
            points: Points::new(),
            time_offset: 0,
            newest: None,
            started: None,
            suspect: None,
            stash: Vec::new(),
        }
    }

    /// What it sends.
    pub(super) fn codec(&self) -> Codec {
        self.track.codec
    }

    /// The codec's clock rate in Hz.
    pub(super) fn rate(&self) -> u32 {
        self.codec().clock_rate()
    }

    /// Whether the source has begun with a start.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Begins: the packet gets this place on the timeline.
    pub(super) fn open(&mut self, packet: &Packet, seq: u64, time: u64) {
        self.open = true;
        self.points = Points::new();
        self.points.begin(packet.seq, seq);
        self.time_offset = time.wrapping_sub(packet.time);
        self.seen = Window::new();
    }

    /// Closes again, for a sender that has begun anew; gives the packet that was suspected.
    pub(super) fn restart(&mut self) -> Option<Packet> {
        self.open = false;
        self.stash.clear();
        self.inspector = inspector(&self.track);
        self.report = None;
        self.arrivals = Arrivals::default();
        (self.newest, self.started) = (None, None);
        self.suspect.take()
    }

    /// Keeps a packet that came before the first start, the newest few only.
    pub(super) fn stash(&mut self, packet: Packet) {
        if self.stash.len() == STASH {
            self.stash.remove(0);
        }
        self.stash.push(packet);
    }

    /// The packets that overtook the start with this number, in order.
    pub(super) fn overtakers(&mut self, start: u64) -> Vec<Packet> {
        let mut stash = std::mem::take(&mut self.stash);
        stash.retain(|packet| packet.seq > start && packet.seq - start < STASH as u64);
        stash.sort_by_key(|packet| packet.seq);
        stash
    }

    /// Judges the number of a packet of an open source.
    pub(super) fn judge(&self, packet: &Packet) -> Judgement {
        let newest = self.seen.newest().unwrap_or(packet.seq);
        let believed = match self.seen.check(packet.seq) {
            Seen::Duplicate => return Judgement::Duplicate,
            Seen::Late => return Judgement::Late,
            Seen::Newest if packet.seq - newest <= MAX_DROPOUT => {
                return Judgement::Newest { missing: (packet.seq - newest).saturating_sub(1) };
            }
            Seen::Newest => true,
            Seen::TooOld => {
                self.newest.is_none_or(|newest| packet.arrived.saturating_duration_since(newest.at) >= RESTART_SILENCE)
            }
        };
        let follows = self.suspect.as_ref().is_some_and(|suspect| suspect.seq.checked_add(1) == Some(packet.seq));
        if believed && follows { Judgement::Restart } else { Judgement::Suspect }
    }

    /// Remembers a packet that was not believed.
    pub(super) fn suspect(&mut self, packet: Packet) {
        self.suspect = Some(packet);
    }

    /// Marks a packet of an open source as seen.
    pub(super) fn mark(&mut self, packet: &Packet) {
        if self.seen.insert(packet.seq) == Seen::Newest {
            self.newest = Some(Arrival { time: packet.time, at: packet.arrived });
            self.suspect = None;
        }
    }

    /// RTP time of the newest packet in order.
    pub(super) fn newest_time(&self) -> Option<u64> {
        self.newest.map(|newest| newest.time)
    }

    /// The stream's number for one of the source's; `None` if it has no place.
    pub(super) fn place(&self, seq: u64) -> Option<u64> {
        self.points.map(seq)
    }

    /// The stream's time for one of the source's.
    pub(super) fn time(&self, time: u64) -> u64 {
        time.wrapping_add(self.time_offset)
    }

    /// The newest number takes no place: its successor gets it.
    pub(super) fn leave_out(&mut self, seq: u64) {
        if let (Some(place), Some(successor)) = (self.points.map(seq), seq.checked_add(1)) {
            self.points.begin(successor, place);
        }
    }

    /// A decoder may start at this time; so many packets were lost by now.
    pub(super) fn start(&mut self, time: u64, lost: u64) {
        self.started = Some((time, lost));
    }

    /// How many packets were lost before the start of this time, if it has had it.
    pub(super) fn lost_before(&self, time: u64) -> Option<u64> {
        self.started.filter(|(started, _)| *started == time).map(|(_, lost)| lost)
    }

    /// Puts one place before the newest number, and gives it.
    pub(super) fn put_before(&mut self, seq: u64) -> Option<u64> {
        let place = self.points.map(seq)?;
        self.points.begin(seq, place.checked_add(1)?);
        Some(place)
    }
}

fn inspector(track: &Track) -> Inspector {
    Inspector::with_format(track.codec, &track.format)
}
