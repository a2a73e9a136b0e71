//! The home of one stream: what one publisher sends under one name, and goes on sending through publisher after publisher.
//!
//! The contract, in the order of a turn: any number of `publish`, `push`, `request_keyframe` … calls; then
//! [`Stream::take_burst`] for what is to be forwarded and [`Stream::take_description`] for what players are to be told;
//! then [`Stream::poll`] until it returns `None`; then [`Stream::deadline`] says when to poll again if nothing else happens
//! before. Packets of anybody but the current publisher are ignored, so the order in which a replaced session ends does not
//! matter.
//!
//! A stream lives on one worker and is `!Sync` by use; what it hands out is shared.

mod budget;
mod clock;
mod source;
mod tally;
mod timeline;

use std::time::{Duration, Instant};

use whipstitch_media::time::Ntp;
use whipstitch_media::{Kind, Packet};

pub use self::budget::Rate;

use self::budget::Budget;
use self::clock::Report;
use self::timeline::{Pushed, Timeline};
use crate::cache;
use crate::forward::{Burst, Clock, Forwarded};
use crate::key::{SessionId, StreamKey};
use crate::keyframes::Pacer;
use crate::running::Description;
use crate::stats::{Drops, StreamStats};
use crate::track::{PerKind, Track, Tracks};

/// Packets of one burst; more are dropped. Far above what a worker receives at one go.
const MAX_BURST: usize = 16_384;

/// Sender reports that put audio and video further apart than this are not believed.
const MAX_SKEW: Duration = Duration::from_secs(10);

/// Who gets a start younger than this replayed needs no keyframe of its own: it is at the live edge a fifth of that later,
/// and every key picture costs all viewers of the stream.
const FRESH: Duration = Duration::from_secs(2);

/// What a stream is told when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Wall-clock time at the instant the stream is made; its reports are built on it.
    pub wall: Ntp,
    /// How long subscribers wait for a publisher that went away; then [`Output::Ended`]. `None`: for ever.
    pub grace: Option<Duration>,
    /// How long a stream without a publisher is kept; then [`Output::Idle`].
    pub ttl: Duration,
    /// Bounds of the keyframe cache, which is kept by whoever keeps the stream's [`History`](crate::History); `None` for no
    /// cache.
    pub cache: Option<cache::Limits>,
    /// What a publisher may send; packets beyond it are dropped.
    pub rate: Rate,
}

impl Default for Config {
    /// design.md 1.4: 15 s of grace, 60 s to live, keyframe cache on. `wall` is zero: set it.
    fn default() -> Self {
        Self {
            wall: Ntp(0),
            grace: Some(Duration::from_secs(15)),
            ttl: Duration::from_secs(60),
            cache: Some(cache::Limits::default()),
            rate: Rate::default(),
        }
    }
}

/// What the stream wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask the publisher for a key picture of its video.
    RequestKeyframe {
        /// Whom to ask.
        publisher: SessionId,
    },
    /// [`Stream::tracks`] has changed, codec or format: subscribers that no longer fit are to be closed. It comes with
    /// the first publisher too.
    TracksChanged,
    /// The publisher sends pictures in another order than it shows them, which browsers play jerkily. Said once for each
    /// publisher.
    BFrames {
        /// Who does.
        publisher: SessionId,
    },
    /// The publisher went away and did not come back within the grace time: its subscribers are to be closed. Said again
    /// when a subscriber joins later, as long as nobody publishes.
    Ended,
    /// No publisher for the time to live, and no subscriber has come meanwhile: the stream may be dropped. If it is kept,
    /// this is said again after another such time.
    Idle,
}

/// One stream, continuous across its publishers.
#[derive(Debug)]
pub struct Stream {
    key: StreamKey,
    config: Config,
    begun: Instant,
    publisher: Option<Publisher>,
    tracks: Tracks,
    timelines: PerKind<Timeline>,
    pacer: Pacer,
    burst: Vec<Forwarded>,
    tracks_changed: bool,
    /// Another publisher, or none, since the last description.
    undescribed: bool,
    descriptions: u64,
    /// The publisher was asked for the start that its video waits for.
    gate_told: bool,
    /// The publisher's number of the last start of its video.
    started: Option<u64>,
    ends: Option<Instant>,
    idles: Option<Instant>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug)]
struct Publisher {
    session: SessionId,
    since: Instant,
    budget: Budget,
    /// What turns the publisher's NTP time into ours, set by its first report; modulo 2^64.
    ntp_shift: Option<u64>,
    /// The world knows of its B-frames.
    b_frames_told: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    publishers: u64,
    keyframe_requests: u64,
    foreign: u64,
    overflow: u64,
}

impl Stream {
    /// A stream nobody publishes yet.
    pub fn new(key: StreamKey, config: Config, now: Instant) -> Self {
        Self {
            key,
            config,
            begun: now,
            publisher: None,
            tracks: Tracks::default(),
            timelines: PerKind::from_fn(|kind| Timeline::new(kind, now)),
            pacer: Pacer::new(),
            burst: Vec::new(),
            tracks_changed: false,
            undescribed: false,
            descriptions: 0,
            gate_told: false,
            started: None,
            ends: None,
            idles: Some(now + config.ttl),
            counts: Counts::default(),
        }
    }

    /// Its name.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// The session becomes the publisher, in place of whoever was: the timelines go on with the next numbers and the time
    /// that really passed, video from its first start on. The same session may publish again.
    pub fn publish(&mut self, now: Instant, session: SessionId, tracks: Tracks) {
        let budget = Budget::new(self.config.rate, now);
        self.publisher = Some(Publisher { session, since: now, budget, ntp_shift: None, b_frames_told: false });
        self.counts.publishers += 1;
        for (kind, timeline) in self.timelines.iter_mut() {
            timeline.begin(tracks.get(kind));
        }
        self.pacer = Pacer::new();
        self.gate_told = false;
        self.started = None;
        self.tracks_changed |= self.tracks != tracks;
        self.tracks = tracks;
        self.undescribed = true;
        self.ends = None;
        self.idles = None;
    }

    /// The session publishes no longer; without effect if it is not the publisher. The tracks stay what they were.
    pub fn unpublish(&mut self, now: Instant, session: SessionId) {
        if !self.publishes(session) {
            return;
        }
        self.publisher = None;
        self.undescribed = true;
        for (_, timeline) in self.timelines.iter_mut() {
            timeline.begin(None);
        }
        self.pacer = Pacer::new();
        self.ends = self.config.grace.map(|grace| now + grace);
        self.idles = Some(now + self.config.ttl);
    }

    /// What follows of one track of the publisher is of a sender that has begun anew: its numbers and times continue nothing.
    /// As with another publisher the timeline goes on, video from its first start on; the other track is not touched.
    pub fn restarted(&mut self, session: SessionId, kind: Kind) {
        if !self.publishes(session) {
            return;
        }
        self.timelines[kind].begin(self.tracks.get(kind));
        if kind == Kind::Video {
            self.pacer = Pacer::new();
            self.gate_told = false;
            self.started = None;
        }
    }

    /// Takes a packet of a publisher, numbered in the publisher's own extended numbers and times.
    pub fn push(&mut self, now: Instant, session: SessionId, kind: Kind, packet: Packet) {
        let Some(publisher) = self.publisher.as_mut().filter(|publisher| publisher.session == session) else {
            self.counts.foreign += 1;
            return;
        };
        if self.burst.len() >= MAX_BURST || !publisher.budget.spend(now, packet.payload.len()) {
            self.counts.overflow += 1;
            return;
        }
        let number = packet.seq;
        let pushed = self.timelines[kind].push(packet, &mut self.burst);
        if kind == Kind::Audio {
            return;
        }
        match pushed {
            Pushed::Start => {
                self.pacer.keyframe();
                self.gate_told = false;
                self.started = Some(number);
            }
            // Most sources begin with a key picture; one that does not is asked for it. The pacer repeats that; each
            // further packet is no new demand (protocol.md 8.2).
            Pushed::Gated if !self.gate_told => {
                self.gate_told = true;
                self.pacer.request(now);
            }
            Pushed::Gated | Pushed::Forwarded | Pushed::Dropped => {}
        }
    }

    /// Takes a sender report of a publisher (RFC 3550 6.4.1), with its RTP time extended like the packets' times.
    pub fn sender_report(&mut self, now: Instant, session: SessionId, kind: Kind, ntp: Ntp, rtp_time: u64) {
        let wall = self.wall(now);
        let Some(publisher) = self.publisher.as_mut().filter(|publisher| publisher.session == session) else { return };
        let Some(source) = &mut self.timelines[kind].source else { return };
        // RFC 3550 6.4.1: zero is how a sender without a wall clock says so.
        if ntp == Ntp(0) {
            return;
        }
        publisher.ntp_shift.get_or_insert(wall.0.wrapping_sub(ntp.0));
        source.report = Some(Report { ntp, time: rtp_time, at: now });
    }

    /// A subscriber needs a key picture of this track; nothing happens for audio or without a publisher.
    pub fn request_keyframe(&mut self, now: Instant, kind: Kind) {
        if kind == Kind::Video && self.publisher.is_some() && self.tracks.video.is_some() {
            self.pacer.request(now);
        }
    }

    /// Packets of the publisher's video up to this number of its own will never come, though it was asked for them. Unless a
    /// start has come since, no decoder can go on, and players wait for seconds before they say so: the publisher is asked for
    /// a key picture at once. It mends what is kept for those that join, too.
    pub fn lost(&mut self, now: Instant, session: SessionId, number: u64) {
        if self.publishes(session) && self.started.is_some_and(|started| started <= number) {
            self.request_keyframe(now, Kind::Video);
        }
    }

    /// A subscriber has joined. `replayed` is the age of the start that it gets replayed, if there is one: it needs a new
    /// one only where catching up from there takes longer than an encoder's answer. The grace time runs from when the
    /// publisher went away: who joins after it is told [`Output::Ended`] as the others were.
    pub fn subscriber_joined(&mut self, now: Instant, replayed: Option<Duration>) {
        if self.publisher.is_none() && self.ends.is_none() && self.config.grace.is_some() {
            self.ends = Some(now);
        }
        if let Some(idles) = &mut self.idles {
            *idles = now + self.config.ttl;
        }
        if replayed.is_none_or(|age| age > FRESH) {
            self.request_keyframe(now, Kind::Video);
        }
    }

    /// After [`Output::Ended`]: the subscribers are not closed, as a publisher is expected still. It is said again after
    /// another grace time, unless one has come.
    pub fn stay(&mut self, now: Instant) {
        if self.publisher.is_none() {
            self.ends = self.config.grace.map(|grace| now + grace);
        }
    }

    /// The round-trip time to the publisher, which repeated keyframe requests wait for.
    pub fn set_rtt(&mut self, session: SessionId, rtt: Duration) {
        if self.publishes(session) {
            self.pacer.set_rtt(rtt);
        }
    }

    /// Everything pushed since the last call, in order; `None` if there is nothing.
    pub fn take_burst(&mut self) -> Option<Burst> {
        if self.burst.is_empty() {
            return None;
        }
        // The next burst is likely as long as this one.
        let next = Vec::with_capacity(self.burst.len());
        Some(Burst { packets: std::mem::replace(&mut self.burst, next), clocks: self.clocks() })
    }

    /// What players are to be told of the stream, if that is something else than at the last call; `Some(None)` without a
    /// publisher.
    pub fn take_description(&mut self) -> Option<Option<Description>> {
        let mut changed = std::mem::take(&mut self.undescribed);
        for (_, timeline) in self.timelines.iter_mut() {
            changed |= timeline.source.as_mut().is_some_and(|source| source.inspector.take_changed());
        }
        if !changed {
            return None;
        }
        let Some(publisher) = &self.publisher else { return Some(None) };
        let described = |kind: Kind| {
            let track = self.tracks.get(kind)?;
            let format = self.timelines[kind].source.as_ref()?.inspector.format(&track.format);
            Some(Track { codec: track.codec, format })
        };
        let tracks = Tracks { audio: described(Kind::Audio), video: described(Kind::Video) };
        let mut sources = self.timelines.iter().filter_map(|(_, timeline)| timeline.source.as_ref());
        let whole = sources.all(|source| source.inspector.is_whole());
        self.descriptions += 1;
        Some(Some(Description { publisher: publisher.session, tracks, whole, version: self.descriptions }))
    }

    /// What is to be done, until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        if std::mem::take(&mut self.tracks_changed) {
            return Some(Output::TracksChanged);
        }
        if let Some(Publisher { session, .. }) = self.publisher
            && self.pacer.poll(now)
        {
            self.counts.keyframe_requests += 1;
            return Some(Output::RequestKeyframe { publisher: session });
        }
        if let Some(publisher) = &mut self.publisher
            && self.timelines.video.tally.b_frames
            && !std::mem::replace(&mut publisher.b_frames_told, true)
        {
            return Some(Output::BFrames { publisher: publisher.session });
        }
        if self.ends.take_if(|ends| now >= *ends).is_some() {
            return Some(Output::Ended);
        }
        if let Some(idles) = self.idles.as_mut().filter(|idles| now >= **idles) {
            *idles = now + self.config.ttl;
            return Some(Output::Idle);
        }
        None
    }

    /// When [`poll`](Self::poll) will have something to say even if nothing else happens.
    pub fn deadline(&self) -> Option<Instant> {
        let pacer = self.publisher.and_then(|_| self.pacer.deadline());
        [pacer, self.ends, self.idles].into_iter().flatten().min()
    }

    /// What is published, or was last.
    pub fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// Who publishes.
    pub fn publisher(&self) -> Option<SessionId> {
        self.publisher.map(|publisher| publisher.session)
    }

    /// What the stream has done so far.
    pub fn stats(&self, now: Instant) -> StreamStats {
        StreamStats {
            publisher: self.publisher.map(|publisher| (publisher.session, publisher.since)),
            publishers: self.counts.publishers,
            keyframe_requests: self.counts.keyframe_requests,
            foreign: self.counts.foreign,
            overflow: self.counts.overflow,
            tracks: PerKind::from_fn(|kind| {
                let track = self.tracks.get(kind)?;
                Some(self.timelines[kind].tally.stats(track.codec, now))
            }),
        }
    }

    /// What went nowhere so far.
    pub fn drops(&self) -> Drops {
        let mut drops = Drops { foreign: self.counts.foreign, overflow: self.counts.overflow, ..Drops::default() };
        for (_, timeline) in self.timelines.iter() {
            drops.broken += timeline.tally.broken;
            drops.misplaced += timeline.tally.misplaced;
            drops.duplicate += timeline.tally.duplicates;
        }
        drops
    }

    fn publishes(&self, session: SessionId) -> bool {
        self.publisher.is_some_and(|publisher| publisher.session == session)
    }

    /// Wall-clock time, as far as the stream knows it.
    fn wall(&self, now: Instant) -> Ntp {
        self.config.wall + now.saturating_duration_since(self.begun)
    }

    fn clocks(&self) -> PerKind<Option<Clock>> {
        let Some(publisher) = self.publisher else { return PerKind::default() };
        let reported = PerKind::from_fn(|kind| self.reported(kind, publisher.ntp_shift?));
        if self.tracks.kinds().all(|kind| reported[kind].is_some()) && !skewed(&reported) {
            return reported;
        }
        PerKind::from_fn(|kind| self.arrived(kind))
    }

    /// The clock by the publisher's last report.
    fn reported(&self, kind: Kind, ntp_shift: u64) -> Option<Clock> {
        let source = self.timelines[kind].source.as_ref().filter(|source| source.is_open())?;
        let report = source.report?;
        let ntp = Ntp(report.ntp.0.wrapping_add(ntp_shift));
        Some(Clock { ntp, time: source.time(report.time), at: report.at })
    }

    /// The clock by the times of arrival.
    fn arrived(&self, kind: Kind) -> Option<Clock> {
        let arrival = self.timelines[kind].source.as_ref()?.arrivals.best()?;
        Some(Clock { ntp: self.wall(arrival.at), time: arrival.time, at: arrival.at })
    }
}

/// Whether two clocks disagree on what time it is by more than a sane sender's would.
fn skewed(clocks: &PerKind<Option<Clock>>) -> bool {
    let (Some(audio), Some(video)) = (clocks.audio, clocks.video) else { return false };
    let (early, late) = if audio.at <= video.at { (audio, video) } else { (video, audio) };
    (early.ntp + (late.at - early.at)).distance(late.ntp) > MAX_SKEW
}
