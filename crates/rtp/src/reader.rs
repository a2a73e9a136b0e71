//! What one player of a stream gets, whatever carries it there.
//!
//! Video begins with the replay of what joiners are given, with the sound of the same time between its pictures, so that
//! a recording begins with both; or, without a replay, at the next start, and audio at once. Both tracks are in order
//! ([`Reorder`]): FFmpeg and its like see gaps, but never a step back. The first report goes before the first packet, so
//! that both tracks are aligned from there on, and then about every second; reports of both tracks go together, because
//! between two of them the publisher may have moved the wall-clock.

use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_stream::cache::Cache;
use whipstitch_stream::replay::Step;
use whipstitch_stream::stats::Counters;
use whipstitch_stream::{Burst, Clock, Forwarded, History, PerKind, Replay};

use crate::reorder::{Limits, Offered, Reorder};
use crate::report::{MAX_COMPOUND, REPORT_INTERVAL, smooth};
use crate::rtcp::{Compound, Message};
use crate::sender::{Config, HEADER, Outgoing, Sender};

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
    /// A report of ours has gone.
    reported: bool,
    /// One of the player's has come.
    heard: bool,
}

/// What a player reports, all tracks together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reported {
    /// The larger of the tracks' last fractions of lost packets, 0 to 1; `None` before a report.
    pub loss: Option<f32>,
    /// The larger of the tracks' last interarrival jitters, likewise.
    pub jitter: Option<Duration>,
    /// Smoothed round trip, once a report has answered one of ours.
    pub rtt: Option<Duration>,
    /// Packets the player missed since the beginning.
    pub lost: u64,
}

/// One player of a stream. It lives as long as the player stays, through any number of publishers.
#[derive(Debug)]
pub struct Reader {
    cname: String,
    tracks: PerKind<Option<Track>>,
    clocks: PerKind<Option<Clock>>,
    /// While the player is not yet at the live edge.
    replay: Option<Replay>,
    /// The number of the next sound of the replay; `None` when sound is live.
    sound: Option<u64>,
    next_report: Option<Instant>,
    rtt: Option<Duration>,
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
            by_kind[config.kind] = Some(Track { sender: Sender::new(config), order, reported: false, heard: false });
        }
        let (clocks, replay, sound) = (PerKind::default(), None, None);
        let (next_report, rtt) = (None, None);
        Reader { cname, tracks: by_kind, clocks, replay, sound, next_report, rtt, paused: false, closed: false }
    }

    /// One of its tracks.
    pub fn track(&self, kind: Kind) -> Option<&Track> {
        self.tracks[kind].as_ref()
    }

    /// Takes a compound of the player: its reports of our tracks. All else in it means nothing here, and one that is
    /// malformed nothing at all.
    pub fn handle_rtcp(&mut self, now: Instant, compound: &mut [u8]) {
        let Ok(compound) = Compound::parse(compound) else { return };
        for message in compound.messages() {
            let Message::Reports(reports) = message else { continue };
            reports.for_each(|block| {
                let own = self.tracks.iter_mut().filter_map(|(_, track)| track.as_mut());
                for track in own.filter(|track| track.sender.config().ssrc == block.ssrc()) {
                    track.heard = true;
                    let rate = track.sender.config().clock_rate;
                    if let Some(rtt) = track.sender.reports.received(now, &block, rate) {
                        self.rtt = Some(smooth(self.rtt, rtt));
                    }
                }
            });
        }
    }

    /// What the player has reported.
    pub fn reported(&self) -> Reported {
        let mut all = Reported { rtt: self.rtt, ..Reported::default() };
        let tracks = self.tracks.iter().filter_map(|(_, track)| track.as_ref());
        for track in tracks.filter(|track| track.heard) {
            let reception = track.sender.reports.reception;
            all.loss = Some(all.loss.unwrap_or(0.0).max(reception.loss));
            all.jitter = all.jitter.max(Some(reception.jitter));
            all.lost += u64::try_from(reception.lost).unwrap_or(0);
        }
        all
    }

    /// What was sent to the player, and what it missed.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters { lost: self.reported().lost, ..Counters::default() };
        for sender in self.tracks.iter().filter_map(|(_, track)| Some(&track.as_ref()?.sender)) {
            let (packets, octets) = sender.sent();
            counters.packets += packets;
            counters.bytes += octets + packets * HEADER as u64;
        }
        counters
    }

    fn set_clocks(&mut self, clocks: &PerKind<Option<Clock>>) {
        for (kind, clock) in clocks.iter() {
            self.clocks[kind] = clock.or(self.clocks[kind]);
        }
    }

    /// Begins to replay the video since the last start, and its sound, if `history`, which belongs to the stream, offers any
    /// and no video was sent yet. The rest follows with [`handle_timeout`](Self::handle_timeout).
    pub fn replay(&mut self, now: Instant, history: &History, sink: &mut impl Sink) {
        let Some(track) = &self.tracks.video else { return };
        if self.is_silent() || self.replay.is_some() || track.sender.subscription().newest().is_some() {
            return;
        }
        self.replay = history.cache().and_then(|cache| Replay::begin(now, cache));
        let is_new = |track: &Track| track.sender.subscription().newest().is_none();
        let has_sound = self.replay.is_some() && self.tracks.audio.as_ref().is_some_and(is_new);
        self.sound = has_sound.then_some(0);
        self.set_clocks(history.clocks());
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
            let (kind, number) = (forwarded.kind(), forwarded.packet.seq);
            // What comes while a replay goes on is in the cache as well, and comes from there.
            let is_replayed = match kind {
                Kind::Video => self.replay.as_ref().is_some_and(|replay| !replay.passed(number)),
                Kind::Audio => self.sound.is_some_and(|next| number >= next),
            };
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
        self.end_replay();
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
        self.tracks.iter_mut().filter_map(|(_, track)| track.as_mut()).for_each(Track::drop_to_start);
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
        let cache = history.and_then(History::cache);
        loop {
            let (Some(replay), Some(video)) = (&mut self.replay, &mut self.tracks.video) else { return };
            if !sink.has_room(Kind::Video) {
                // As much waits as the player may have waiting: the replay waits, too, but not for ever.
                if !replay.pause(now) {
                    self.break_replay();
                }
                return;
            }
            let step = cache.map_or(Step::Lost, |cache| replay.step(now, cache));
            match step {
                Step::Packet(forwarded) => {
                    video.pass(forwarded, sink);
                    self.catch_up_sound(forwarded.packet.arrived, cache, sink);
                }
                Step::Skip => self.drop_to_start(),
                Step::Wait => return,
                Step::Live => {
                    self.catch_up_sound(now, cache, sink);
                    self.end_replay();
                }
                Step::Lost => self.break_replay(),
            }
        }
    }

    /// Sends the sound of the replay that came until `until`.
    fn catch_up_sound(&mut self, until: Instant, cache: Option<&Cache>, sink: &mut impl Sink) {
        let (Some(next), Some(audio), Some(cache)) = (&mut self.sound, &mut self.tracks.audio, cache) else { return };
        for forwarded in cache.sound_from(*next).take_while(|kept| kept.packet.arrived <= until) {
            *next = forwarded.packet.seq.saturating_add(1);
            audio.pass(forwarded, sink);
        }
    }

    /// Everything up to the next start is left out: video, and the sound that has not been replayed yet.
    fn drop_to_start(&mut self) {
        let replayed = [self.tracks.video.as_mut(), self.tracks.audio.as_mut().filter(|_| self.sound.is_some())];
        replayed.into_iter().flatten().for_each(Track::drop_to_start);
    }

    /// The replay cannot go on.
    fn break_replay(&mut self) {
        self.drop_to_start();
        self.end_replay();
    }

    fn end_replay(&mut self) {
        (self.replay, self.sound) = (None, None);
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

    /// What comes next goes on without a gap, video at a start.
    fn drop_to_start(&mut self) {
        self.sender.drop_to_start();
        // What is missing is not waited for.
        self.order.skip();
    }

    /// Sends a packet of a replay; live ones before it will not come.
    fn pass(&mut self, forwarded: &Forwarded, sink: &mut impl Sink) {
        self.order.skip_to(forwarded.packet.seq.saturating_add(1));
        self.send(forwarded, sink);
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
