//! A reader as its worker drives it: a subscriber whose packets go as plain RTP into a [queue](crate::queue).
//!
//! What it gets is [`whipstitch_rtp::Reader`]'s to say. Here are the ways: the first packets wait until it is known what
//! they are, a fifth of a second at most, since the response to PLAY names them (RFC 2326 12.33), and reports that align the
//! tracks go before them. From then on nothing waits. What the queue has no room for is left out, video up to the next
//! keyframe; numbers go on without a gap.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use whipstitch_media::{Codec, Kind};
use whipstitch_plane::{Action, Context, Counters, Delivery, Peer, PeerCommand, Phase, Role, SessionStats, random};
use whipstitch_rtp::{Outgoing as Packet, Reader as Rtp, Reported, Sink, sender};
use whipstitch_stream::directory::SubscriberSlot;
use whipstitch_stream::{Burst, CloseReason, PerKind, SessionId, StreamKey, Tracks};

use crate::machine::First;
use crate::queue::{MAX_WAITING, Outgoing, frame};

/// How long the first packets wait for those of the other track.
const OPENING: Duration = Duration::from_millis(200);

/// A replay goes on while less waits: live packets must find room behind it.
const MAX_REPLAYED: usize = MAX_WAITING / 2;

/// Over it video is left out, and comes back when half of it waits.
const MAX_LIVE: usize = MAX_WAITING - 64 * 1024;

/// How long the bitrate is measured.
const MEASURED: Duration = Duration::from_secs(1);

/// What a reader is made of.
pub(crate) struct ReaderConfig {
    pub(crate) session: SessionId,
    pub(crate) slot: SubscriberSlot,
    pub(crate) tracks: PerKind<Option<TrackConfig>>,
    pub(crate) remote: SocketAddr,
    /// For the API: `tcp` or `udp`.
    pub(crate) transport: &'static str,
    pub(crate) out: Arc<Outgoing>,
    /// Told which packets are the first.
    pub(crate) begun: oneshot::Sender<Vec<First>>,
    /// Told the id when the reader is gone.
    pub(crate) gone: (mpsc::Sender<String>, String),
}

/// A track of a reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrackConfig {
    pub(crate) codec: Codec,
    pub(crate) pt: u8,
    pub(crate) ssrc: u32,
    /// Of RTP and RTCP.
    pub(crate) channels: (u8, u8),
}

/// A reader.
pub(crate) struct Reader {
    session: SessionId,
    slot: SubscriberSlot,
    since: Instant,
    remote: SocketAddr,
    transport: &'static str,
    codecs: PerKind<Option<Codec>>,
    rtp: Rtp,
    way: Way,
    gone: (mpsc::Sender<String>, String),
    subscribed: bool,
    first_media: Option<Instant>,
    /// When the bitrate was measured last, the bytes sent until then, and what it was.
    measured: (Instant, u64),
    bitrate: Option<u64>,
}

/// The way of its packets.
struct Way {
    out: Arc<Outgoing>,
    channels: PerKind<(u8, u8)>,
    /// Frames of the call at hand.
    chunk: Vec<u8>,
    opening: Option<Opening>,
    /// What is asked for room is a replay, which can wait.
    replays: bool,
    /// Video is left out until enough of what waits is gone.
    held_up: bool,
    skipped: u64,
}

/// Nothing has gone into the queue yet.
struct Opening {
    until: Instant,
    begun: oneshot::Sender<Vec<First>>,
    reports: Vec<u8>,
    held: Vec<u8>,
    /// Of each track: whether there is a report, and its first packet. `None`: no such track.
    tracks: PerKind<Option<(bool, Option<First>)>>,
}

impl Sink for Way {
    fn has_room(&mut self, kind: Kind) -> bool {
        let held = self.opening.as_ref().map_or(0, |opening| opening.held.len());
        let waiting = self.out.waiting() + held + self.chunk.len();
        if self.replays {
            return waiting < MAX_REPLAYED;
        }
        let full = waiting > MAX_LIVE || self.out.room() == 0;
        let has_room = match kind {
            Kind::Audio => !full,
            Kind::Video => {
                self.held_up = full || (self.held_up && waiting > MAX_LIVE / 2);
                !self.held_up
            }
        };
        self.skipped += u64::from(!has_room);
        has_room
    }

    fn rtp(&mut self, kind: Kind, packet: &Packet<'_>) {
        frame(&mut self.chunk, self.channels[kind].0, |bytes| packet.append_to(bytes));
        if let Some((_, first)) = self.opening.as_mut().and_then(|opening| opening.tracks[kind].as_mut()) {
            first.get_or_insert(First { kind, seq: packet.seq(), time: packet.time() });
        }
    }

    fn rtcp(&mut self, kind: Kind, compound: &[u8]) {
        let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(compound);
        let Some(opening) = &mut self.opening else {
            frame(&mut self.chunk, self.channels[kind].1, write);
            return;
        };
        frame(&mut opening.reports, self.channels[kind].1, write);
        if let Some((reported, _)) = &mut opening.tracks[kind] {
            *reported = true;
        }
    }
}

impl Way {
    /// Lets go what the call has made; true when that was media.
    fn end(&mut self, now: Instant) -> bool {
        let chunk = std::mem::take(&mut self.chunk);
        let any = !chunk.is_empty();
        let Some(mut opening) = self.opening.take() else {
            // No room although there was some: another reader of the same connection was faster.
            self.skipped += u64::from(!self.out.put(chunk));
            return any;
        };
        opening.held.extend_from_slice(&chunk);
        let ready =
            |track: &Option<(bool, Option<First>)>| track.is_none_or(|(reported, first)| reported && first.is_some());
        if now < opening.until && !opening.tracks.iter().all(|(_, track)| ready(track)) {
            self.opening = Some(opening);
            return any;
        }
        let Opening { begun, mut reports, held, tracks, .. } = opening;
        // Nobody listens when the connection is gone, and then this reader is about to end.
        let _ = begun.send(tracks.iter().filter_map(|(_, track)| track.and_then(|(_, first)| first)).collect());
        reports.extend_from_slice(&held);
        self.skipped += u64::from(!self.out.put(reports));
        any
    }
}

impl Reader {
    pub(crate) fn new(now: Instant, config: ReaderConfig) -> Reader {
        let tracks = config.tracks;
        let senders = tracks.iter().filter_map(|(kind, track)| {
            let TrackConfig { codec, pt, ssrc, .. } = (*track)?;
            let (first_seq, time_offset) = (random::u16(), random::u32());
            Some(sender::Config { kind, clock_rate: codec.clock_rate(), pt, ssrc, first_seq, time_offset })
        });
        let opening = Opening {
            until: now + OPENING,
            begun: config.begun,
            reports: Vec::new(),
            held: Vec::new(),
            tracks: PerKind::from_fn(|kind| tracks[kind].map(|_| (false, None))),
        };
        let way = Way {
            out: config.out,
            channels: PerKind::from_fn(|kind| tracks[kind].map(|track| track.channels).unwrap_or_default()),
            chunk: Vec::new(),
            opening: Some(opening),
            replays: false,
            held_up: false,
            skipped: 0,
        };
        Reader {
            session: config.session,
            slot: config.slot,
            since: now,
            remote: config.remote,
            transport: config.transport,
            codecs: PerKind::from_fn(|kind| tracks[kind].map(|track| track.codec)),
            // One name for all tracks, by which players align them (RFC 3550 6.5.1).
            rtp: Rtp::new(random::text(), senders),
            way,
            gone: config.gone,
            subscribed: false,
            first_media: None,
            measured: (now, 0),
            bitrate: None,
        }
    }

    /// After each call: lets go what it has made. Says how long after the beginning the first media was, with that.
    fn end(&mut self, now: Instant) -> Option<Duration> {
        let media = self.way.end(now);
        let elapsed = now.saturating_duration_since(self.measured.0);
        if elapsed >= MEASURED {
            let bytes = self.counters().bytes;
            let bits = (bytes - self.measured.1) as f64 * 8.0;
            self.bitrate = Some((bits / elapsed.as_secs_f64()) as u64);
            self.measured = (now, bytes);
        }
        if !media || self.first_media.is_some() {
            return None;
        }
        self.first_media = Some(now);
        Some(now.saturating_duration_since(self.since))
    }

    fn wants_keyframe(&self) -> bool {
        !self.way.held_up && self.rtp.wants_keyframe()
    }
}

impl Peer for Reader {
    fn session(&self) -> SessionId {
        self.session
    }

    fn stream(&self) -> &StreamKey {
        self.slot.key()
    }

    fn role(&self) -> Role {
        Role::Subscriber
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.subscribed, true) {
            cx.act(Action::Subscribe);
            return;
        }
        let waited = self.wants_keyframe();
        self.way.replays = true;
        self.rtp.handle_timeout(cx.now, cx.history, &mut self.way);
        self.way.replays = false;
        if let Some(took) = self.end(cx.now) {
            cx.act(Action::Took(Phase::FirstMedia, took));
        }
        if !waited && self.wants_keyframe() {
            cx.act(Action::RequestKeyframe);
        }
    }

    fn handle_command(&mut self, cx: &mut Context<'_>, command: PeerCommand) {
        match command {
            PeerCommand::Pause => self.rtp.pause(),
            PeerCommand::Resume => {
                self.rtp.resume();
                cx.act(Action::RequestKeyframe);
            }
            PeerCommand::Rtcp(mut compound) => self.rtp.handle_rtcp(cx.now, &mut compound),
            PeerCommand::IceRestart(_) | PeerCommand::Wake => {}
        }
    }

    fn deliver(&mut self, delivery: &mut Delivery<'_>, burst: &Burst) {
        // Who waits already has asked, but what was sent for it may be what is missing.
        let waited = self.wants_keyframe() && !delivery.after_gap;
        if delivery.after_gap {
            self.rtp.skip();
        }
        self.rtp.deliver(delivery.now, burst, &mut self.way);
        delivery.first_media = self.end(delivery.now);
        // Once per wait, and at the join the hub asks anyway.
        delivery.wants_keyframe |= !waited && self.wants_keyframe();
    }

    fn replay(&mut self, cx: &mut Context<'_>) {
        let Some(history) = cx.history else { return };
        self.way.replays = true;
        self.rtp.replay(cx.now, history, &mut self.way);
        self.way.replays = false;
        if let Some(took) = self.end(cx.now) {
            cx.act(Action::Took(Phase::FirstMedia, took));
        }
    }

    fn tracks_changed(&mut self, cx: &mut Context<'_>, tracks: &Tracks) {
        let fits = |(kind, codec): (Kind, &Option<Codec>)| {
            codec.is_none_or(|codec| tracks.get(kind).is_none_or(|track| track.codec == codec))
        };
        if !self.codecs.iter().all(fits) {
            cx.act(Action::Close(CloseReason::CodecChanged));
        }
    }

    /// The hub asks publishers only.
    fn request_keyframe(&mut self, _: &mut Context<'_>) {}

    fn close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        tracing::debug!(session = %self.session, reason = reason.as_str(), "closing");
        self.rtp.close(cx.now, &mut self.way);
        self.way.end(cx.now);
    }

    fn deadline(&self) -> Option<Instant> {
        if !self.subscribed {
            return Some(self.since);
        }
        let opening = self.way.opening.as_ref().map(|opening| opening.until);
        [opening, self.rtp.deadline()].into_iter().flatten().min()
    }

    fn stats(&self, _: Instant) -> SessionStats {
        let Reported { loss, jitter, rtt, .. } = self.rtp.reported();
        SessionStats {
            connected: Some(self.since),
            first_media: self.first_media,
            remote: Some(self.remote),
            protocol: "rtsp",
            transport: Some(self.transport),
            codecs: [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| self.codecs[kind]).collect(),
            bitrate: self.bitrate,
            loss,
            jitter,
            rtt,
            counters: self.counters(),
            ..SessionStats::new(self.since)
        }
    }

    fn counters(&self) -> Counters {
        Counters { skipped: self.way.skipped, ..self.rtp.counters() }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (gone, id) = &self.gone;
        // A connection has more places for words than sessions; one that is gone needs none.
        let _ = gone.try_send(id.clone());
    }
}

#[cfg(test)]
mod tests;
