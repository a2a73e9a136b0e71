//! What one player of a stream gets, whatever carries it there.
//!
//! Video begins with the replay of what joiners are given, or at the next start; audio at once. Both tracks are in order
//! ([`Reorder`]): FFmpeg and its like see gaps, but never a step back. The first report goes before the first packet, so
//! that both tracks are aligned from there on, and then about every second; reports of both tracks go together, because
//! between two of them the publisher may have moved the wall-clock.

use std::time::Instant;

use whipstitch_media::Kind;
use whipstitch_stream::replay::Step;
use whipstitch_stream::{Burst, Clock, Forwarded, History, PerKind, Replay};

use crate::reorder::{Limits, Offered, Reorder};
use crate::report::{MAX_COMPOUND, REPORT_INTERVAL};
use crate::sender::{Config, Outgoing, Sender};

/// Where packets go.
pub trait Sink {
    /// Whether this track's next packet would find room. Asked before it gets a number; without room everything is left
    /// out up to the next start, and the numbers of what is sent have no gap.
    fn has_room(&mut self, kind: Kind) -> bool;

    /// A packet of media.
    fn rtp(&mut self, kind: Kind, packet: &Outgoing<'_>);

    /// A compound of RTCP of this track.
    fn rtcp(&mut self, kind: Kind, compound: &[u8]);
}

/// One track of a [`Reader`].
#[derive(Debug)]
pub struct Track {
    /// Its numbers and reports.
    pub sender: Sender,
    order: Reorder<Forwarded>,
    reported: bool,
}

/// One player of a stream. It lives as long as the player stays, through any number of publishers.
#[derive(Debug)]
pub struct Reader {
    cname: String,
    tracks: PerKind<Option<Track>>,
    clocks: PerKind<Option<Clock>>,
    /// While the player's video is not yet at the live edge.
    replay: Option<Replay>,
    next_report: Option<Instant>,
    /// It wants nothing for a while, or has left.
    paused: bool,
    closed: bool,
}

impl Reader {
    /// A player that has got nothing. `cname` (1 to 255 bytes) is the same for all its tracks; of each kind the last of
    /// `tracks` counts.
    pub fn new(cname: String, tracks: impl IntoIterator<Item = Config>) -> Reader {
        let mut by_kind: PerKind<Option<Track>> = PerKind::default();
        for config in tracks {
            let order = Reorder::new(Limits::default());
            by_kind[config.kind] = Some(Track { sender: Sender::new(config), order, reported: false });
        }
        let (clocks, replay) = (PerKind::default(), None);
        Reader { cname, tracks: by_kind, clocks, replay, next_report: None, paused: false, closed: false }
    }

    /// One of its tracks.
    pub fn track(&self, kind: Kind) -> Option<&Track> {
        self.tracks[kind].as_ref()
    }

    /// The same, to note what the player reports.
    pub fn track_mut(&mut self, kind: Kind) -> Option<&mut Track> {
        self.tracks[kind].as_mut()
    }

    /// What is known of the stream's clocks: those of its last burst, for a report before the next one comes.
    pub fn set_clocks(&mut self, clocks: &PerKind<Option<Clock>>) {
        for (kind, clock) in clocks.iter() {
            self.clocks[kind] = clock.or(self.clocks[kind]);
        }
    }

    /// Begins to replay the video since the last start, if `history`, which belongs to the stream, offers any and none was
    /// sent yet. The rest follows with [`handle_timeout`](Self::handle_timeout).
    pub fn replay(&mut self, now: Instant, history: &History, sink: &mut impl Sink) {
        let Some(track) = &self.tracks.video else { return };
        if self.is_silent() || self.replay.is_some() || track.sender.subscription().newest().is_some() {
            return;
        }
        self.replay = history.cache().and_then(|cache| Replay::begin(now, cache));
        self.report_first(now, sink);
        self.catch_up(now, Some(history), sink);
    }

    /// Sends what the player gets of a burst.
    pub fn deliver(&mut self, now: Instant, burst: &Burst, sink: &mut impl Sink) {
        if self.is_silent() {
            return;
        }
        self.set_clocks(&burst.clocks);
        self.report_first(now, sink);
        for forwarded in &burst.packets {
            let kind = forwarded.kind();
            let is_replayed =
                kind == Kind::Video && self.replay.as_ref().is_some_and(|replay| !replay.passed(forwarded.packet.seq));
            let Some(track) = self.tracks[kind].as_mut().filter(|_| !is_replayed) else { continue };
            track.take(now, forwarded, sink);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.tracks.iter().filter_map(|(_, track)| track.as_ref()?.order.deadline());
        let others = [self.next_report, self.replay.as_ref().map(Replay::deadline)];
        held.chain(others.into_iter().flatten()).min().filter(|_| !self.is_silent())
    }

    /// Sends the reports that are due, what has waited long enough for packets that did not come, and the next slice of a
    /// replay out of `history`, which belongs to the stream.
    pub fn handle_timeout(&mut self, now: Instant, history: Option<&History>, sink: &mut impl Sink) {
        if self.is_silent() {
            return;
        }
        if self.next_report.is_some_and(|due| due <= now) {
            self.report(now, sink);
        }
        for (kind, track) in self.tracks.iter_mut() {
            if let Some(track) = track {
                track.drain(now, kind, sink);
            }
        }
        self.catch_up(now, history, sink);
    }

    /// The player wants nothing until [`resume`](Self::resume), or there is no way to it.
    pub fn pause(&mut self) {
        self.paused = true;
        self.replay = None;
        self.skip();
    }

    /// The player goes on: video at the next start, with reports before it.
    pub fn resume(&mut self) {
        self.paused = false;
        self.next_report = None;
        for (_, track) in self.tracks.iter_mut() {
            if let Some(track) = track {
                track.reported = false;
            }
        }
    }

    /// Packets of the stream are missing that nobody sends again: what comes next goes on without a gap in the numbers,
    /// audio at once, video at a start.
    pub fn skip(&mut self) {
        for (_, track) in self.tracks.iter_mut() {
            if let Some(track) = track {
                track.sender.drop_to_start();
                // They are not waited for.
                track.order = Reorder::new(Limits::default());
            }
        }
    }

    /// Whether a video track waits for a packet a decoder can start at.
    pub fn wants_keyframe(&self) -> bool {
        let waits = |track: &Track| track.sender.subscription().waiting();
        !self.is_silent() && self.replay.is_none() && self.tracks.video.as_ref().is_some_and(waits)
    }

    /// Says BYE on all tracks, since players end only when all have ended. Nothing is sent after it.
    pub fn close(&mut self, now: Instant, sink: &mut impl Sink) {
        if !self.closed {
            self.compounds(now, true, sink);
            self.closed = true;
        }
    }

    fn is_silent(&self) -> bool {
        self.paused || self.closed
    }

    /// A report before the first packets, as soon as the clocks are known.
    fn report_first(&mut self, now: Instant, sink: &mut impl Sink) {
        let is_due = |(kind, track): (Kind, &Option<Track>)| {
            track.as_ref().is_some_and(|track| !track.reported) && self.clocks[kind].is_some()
        };
        if self.tracks.iter().any(is_due) {
            self.report(now, sink);
        }
    }

    fn report(&mut self, now: Instant, sink: &mut impl Sink) {
        self.compounds(now, false, sink);
        self.next_report = Some(now + REPORT_INTERVAL);
    }

    fn compounds(&mut self, now: Instant, leaves: bool, sink: &mut impl Sink) {
        let mut buffer = [0; MAX_COMPOUND];
        // Who leaves before a clock was known says so all the same.
        let some = Clock { ntp: whipstitch_media::time::Ntp(0), time: 0, at: now };
        for (kind, track) in self.tracks.iter_mut() {
            let Some(track) = track else { continue };
            let Some(clock) = self.clocks[kind].or(leaves.then_some(some)) else { continue };
            if let Some(len) = track.sender.report(now, &clock, &self.cname, leaves, &mut buffer) {
                track.reported = true;
                sink.rtcp(kind, &buffer[..len]);
            }
        }
    }

    fn catch_up(&mut self, now: Instant, history: Option<&History>, sink: &mut impl Sink) {
        let (Some(replay), Some(track)) = (&mut self.replay, &mut self.tracks.video) else { return };
        let cache = history.and_then(History::cache);
        loop {
            if !sink.has_room(Kind::Video) {
                // As much waits as the player may have waiting: the replay waits, too, but not for ever.
                if !replay.pause(now) {
                    track.sender.drop_to_start();
                    self.replay = None;
                }
                return;
            }
            match cache.map_or(Step::Lost, |cache| replay.step(now, cache)) {
                Step::Packet(forwarded) => {
                    track.order.skip_to(forwarded.packet.seq.saturating_add(1));
                    track.send(forwarded, sink);
                }
                Step::Skip => track.sender.drop_to_start(),
                Step::Wait => return,
                Step::Live => break,
                Step::Lost => {
                    track.sender.drop_to_start();
                    break;
                }
            }
        }
        self.replay = None;
    }
}

impl Track {
    /// Takes a packet of the stream and sends what passes.
    fn take(&mut self, now: Instant, forwarded: &Forwarded, sink: &mut impl Sink) {
        if self.order.offer(now, forwarded.packet.seq, || forwarded.clone()) == Offered::Next {
            self.send(forwarded, sink);
        }
        self.drain(now, forwarded.kind(), sink);
    }

    fn drain(&mut self, now: Instant, kind: Kind, sink: &mut impl Sink) {
        while let Some(forwarded) = self.order.pop(now) {
            debug_assert_eq!(forwarded.kind(), kind);
            self.send(&forwarded, sink);
        }
    }

    fn send(&mut self, forwarded: &Forwarded, sink: &mut impl Sink) {
        if !sink.has_room(forwarded.kind()) {
            self.sender.drop_to_start();
        } else if let Some(packet) = self.sender.send(forwarded) {
            sink.rtp(forwarded.kind(), &packet);
        }
    }
}

#[cfg(test)]
mod tests;
