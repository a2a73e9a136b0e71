//! A publisher as its worker drives it: what comes over its connection is a stream's, like a WHIP publisher's.
//!
//! What the packets are is [`whipstitch_rtp::Publisher`]'s to say. Here is their way: out of the [queue](crate::inbound)
//! that the connection fills, a part of it at each call, so that one who sends as fast as it can leaves time for others. It
//! is live with its first packet. Reports and requests for key pictures go back interleaved, through the connection's
//! [queue](crate::queue).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use whipstitch_media::sdp::Section;
use whipstitch_media::{Codec, Kind};
use whipstitch_plane::{Action, Context, Counters, Peer, PeerCommand, Phase, Role, SessionStats, random};
use whipstitch_rtp::publisher::{Config, Event};
use whipstitch_rtp::reorder::Limits;
use whipstitch_stream::directory::PublisherSlot;
use whipstitch_stream::{CloseReason, PerKind, SessionId, StreamKey, Tracks};

use crate::inbound::Batch;
use crate::queue::{Outgoing, carried, frame, frames};

/// Batches taken in one call: more than come in a millisecond at the highest rate a stream takes.
const BATCHES_A_CALL: usize = 4;

/// Over TCP nothing comes out of order: what is missing never left its sender, and nothing waits for it.
const NO_WAIT: Limits = Limits { packets: 0, wait: Duration::ZERO };

/// Reports to a client that does not read them are left out while so much waits.
const MAX_UNREAD: usize = 16 * 1024;

/// What a publisher is made of.
pub(crate) struct PublisherConfig {
    pub(crate) session: SessionId,
    pub(crate) slot: PublisherSlot,
    /// What it sends.
    pub(crate) sections: Vec<Section>,
    /// Where the RTCP of each track goes, as the client numbers its channels.
    pub(crate) channels: PerKind<Option<u8>>,
    pub(crate) remote: SocketAddr,
    pub(crate) user_agent: Option<String>,
    pub(crate) batches: mpsc::Receiver<Batch>,
    pub(crate) out: Arc<Outgoing>,
    /// Told the id when the publisher is gone.
    pub(crate) gone: (mpsc::Sender<String>, String),
}

/// A publisher.
pub(crate) struct Publisher {
    session: SessionId,
    slot: PublisherSlot,
    since: Instant,
    rtp: whipstitch_rtp::Publisher,
    channels: PerKind<Option<u8>>,
    remote: SocketAddr,
    user_agent: Option<String>,
    batches: mpsc::Receiver<Batch>,
    out: Arc<Outgoing>,
    gone: (mpsc::Sender<String>, String),
    /// Since its first packet.
    live: Option<Instant>,
    /// It has looked into its queue once.
    arrived: bool,
    /// There may be more in it.
    more: bool,
}

impl Publisher {
    pub(crate) fn new(now: Instant, config: PublisherConfig) -> Publisher {
        let PublisherConfig { session, slot, sections, channels, remote, user_agent, batches, out, gone } = config;
        let (ssrc, cname) = (random::ssrc(), random::text());
        let rtp = whipstitch_rtp::Publisher::new(Config { sections, order: NO_WAIT, ssrc, cname });
        Publisher {
            session,
            slot,
            since: now,
            rtp,
            channels,
            remote,
            user_agent,
            batches,
            out,
            gone,
            live: None,
            arrived: false,
            more: false,
        }
    }

    /// Takes what waits in the queue, up to a bound.
    fn take(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCHES_A_CALL {
            let Ok(Batch { at, frames: bytes }) = self.batches.try_recv() else {
                self.more = false;
                return;
            };
            for (channel, packet) in frames(&bytes) {
                // What cannot be understood is counted there; nothing else is to be done about it.
                match carried(channel) {
                    (kind, true) => {
                        let _ = self.rtp.receive_rtcp(at, kind, &mut packet.to_vec());
                    }
                    (kind, false) if self.rtp.receive(at, kind, packet).is_ok() => {
                        self.slot.touch(cx.now);
                        if !self.go_live(cx) {
                            return;
                        }
                    }
                    (_, false) => {}
                }
                self.pass_on(cx, at);
            }
        }
        self.more = true;
    }

    /// Goes live, unless it is; false if it has lost the stream to another.
    fn go_live(&mut self, cx: &mut Context<'_>) -> bool {
        if self.live.is_some() {
            return true;
        }
        let tracks = self.rtp.tracks().clone();
        if !self.slot.go_live(tracks.clone(), cx.now) {
            cx.act(Action::Close(CloseReason::Replaced));
            return false;
        }
        self.live = Some(cx.now);
        let codecs = self.codecs();
        tracing::info!(session = %self.session, stream = %self.slot.key(), ?codecs, "a publisher over RTSP is live");
        cx.act(Action::Publish(tracks));
        cx.act(Action::Took(Phase::FirstMedia, cx.now.saturating_duration_since(self.since)));
        true
    }

    fn pass_on(&mut self, cx: &mut Context<'_>, at: Instant) {
        while let Some(event) = self.rtp.poll(at) {
            match event {
                Event::Restarted(kind) => cx.act(Action::Restarted(kind)),
                Event::Packet(kind, packet) => cx.act(Action::Push(kind, packet)),
                Event::Report(kind, ntp, time) => cx.act(Action::SenderReport(kind, ntp, time)),
                Event::Left => cx.act(Action::Close(CloseReason::ByPeer)),
            }
        }
    }

    /// Puts RTCP into the connection, where there is room.
    fn send(&self, frames: Vec<u8>) {
        if self.out.waiting() <= MAX_UNREAD {
            self.out.put(frames);
        }
    }

    fn codecs(&self) -> Vec<Codec> {
        let tracks = self.rtp.tracks();
        [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| tracks.get(kind)).map(|track| track.codec).collect()
    }
}

/// Where compounds for the client are collected as frames.
fn framed<'a>(channels: &'a PerKind<Option<u8>>, out: &'a mut Vec<u8>) -> impl FnMut(Kind, &[u8]) + 'a {
    move |kind, compound| {
        if let Some(channel) = channels[kind] {
            frame(out, channel, |bytes| bytes.extend_from_slice(compound));
        }
    }
}

impl Peer for Publisher {
    fn session(&self) -> SessionId {
        self.session
    }

    fn stream(&self) -> &StreamKey {
        self.slot.key()
    }

    fn role(&self) -> Role {
        Role::Publisher
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.arrived = true;
        self.take(cx);
        let mut reports = Vec::new();
        self.rtp.handle_timeout(cx.now, framed(&self.channels, &mut reports));
        self.send(reports);
    }

    fn handle_command(&mut self, cx: &mut Context<'_>, command: PeerCommand) {
        match command {
            PeerCommand::Wake => self.take(cx),
            // For sessions of other protocols, and for readers.
            PeerCommand::IceRestart(_) | PeerCommand::Pause | PeerCommand::Resume | PeerCommand::Rtcp(_) => {}
        }
    }

    fn tracks_changed(&mut self, _: &mut Context<'_>, _: &Tracks) {}

    fn request_keyframe(&mut self, cx: &mut Context<'_>) {
        let mut request = Vec::new();
        self.rtp.request_keyframe(cx.now, framed(&self.channels, &mut request));
        self.send(request);
    }

    fn close(&mut self, _: &mut Context<'_>, reason: &CloseReason) {
        // RTSP has no word for it: the connection ends.
        tracing::debug!(session = %self.session, reason = reason.as_str(), "closing");
    }

    fn deadline(&self) -> Option<Instant> {
        let due = (self.more || !self.arrived).then_some(self.since);
        due.or(self.rtp.deadline())
    }

    fn stats(&self, _: Instant) -> SessionStats {
        let told = self.rtp.told();
        SessionStats {
            connected: Some(self.since),
            first_media: self.live,
            remote: Some(self.remote),
            protocol: "rtsp",
            transport: Some("tcp"),
            user_agent: self.user_agent.clone(),
            codecs: self.codecs(),
            loss: told.loss,
            jitter: told.jitter,
            counters: told.counters,
            ..SessionStats::new(self.since)
        }
    }

    fn counters(&self) -> Counters {
        self.rtp.told().counters
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let (gone, id) = &self.gone;
        // A connection has more places for words than sessions; one that is gone needs none.
        let _ = gone.try_send(id.clone());
    }
}

#[cfg(test)]
mod tests;
