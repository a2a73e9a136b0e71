//! A leg as its worker drives it: a subscriber whose packets go to the ports it has leased.
//!
//! waiting ─ somebody has bound all ports ─▶ sending ─ nobody has them any more ─▶ closed; 30 s of waiting end it, too. That
//! nobody has them is found out by what is sent there: media, a report every second, or, before there is anything to report,
//! a question. It stays through publishers that come and go, with the same SSRCs and numbers that go on, as every subscriber does; when
//! the stream ends it says BYE, after which FFmpeg ends. It does its own sending: what listens on this machine is not
//! reached from the worker's sockets wherever those are bound to another address.

use std::time::{Duration, Instant};

use whipstitch_media::Codec;
use whipstitch_plane::{Action, Context, Counters, Delivery, Peer, PeerCommand, Phase, Role, SessionStats};
use whipstitch_rtp::Reader;
use whipstitch_stream::directory::SubscriberSlot;
use whipstitch_stream::{Burst, CloseReason, SessionId, StreamKey, Tracks};

use crate::ports::Block;
use crate::ways::Ways;

/// How long ports are kept for who asked for them (design.md 2.4).
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether somebody has bound them. Half of it is what a player waits for its first packet.
const LOOK: Duration = Duration::from_millis(40);

/// How often it is asked whether somebody still has them while nothing else is sent: as often as reports are later.
const ASK: Duration = Duration::from_secs(1);

/// One leg.
pub(crate) struct Leg {
    slot: SubscriberSlot,
    block: Block,
    codecs: Vec<Codec>,
    rtp: Reader,
    ways: Ways,
    since: Instant,
    /// Somebody has bound the ports.
    bound: bool,
    /// When it is looked next whether somebody has.
    looks: Instant,
    /// The question that a look answers was asked.
    asked: bool,
    first_media: Option<Instant>,
}

impl Leg {
    pub(crate) fn new(
        now: Instant,
        slot: SubscriberSlot,
        block: Block,
        codecs: Vec<Codec>,
        rtp: Reader,
        ways: Ways,
    ) -> Leg {
        Leg { slot, block, codecs, rtp, ways, since: now, bound: false, looks: now, asked: false, first_media: None }
    }

    fn look(&mut self, cx: &mut Context<'_>) {
        if self.ways.asks(std::mem::replace(&mut self.asked, true)) {
            (self.bound, self.looks) = (true, cx.now + ASK);
            tracing::debug!(session = %self.slot.session(), port = self.block.first(), "the ports of a leg are bound");
            cx.act(Action::Subscribe);
        } else if cx.now >= self.since + PATIENCE {
            cx.act(Action::Close(CloseReason::Idle));
        } else {
            self.looks = cx.now + LOOK;
        }
    }

    /// How long it took to the first packet, once.
    fn began(&mut self, now: Instant) -> Option<Duration> {
        if self.first_media.is_some() || self.rtp.counters().packets == 0 {
            return None;
        }
        self.first_media = Some(now);
        Some(now.saturating_duration_since(self.since))
    }
}

impl Peer for Leg {
    fn session(&self) -> SessionId {
        self.slot.session()
    }

    fn stream(&self) -> &StreamKey {
        self.slot.key()
    }

    fn role(&self) -> Role {
        Role::Subscriber
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let looks = self.looks <= cx.now;
        if !self.bound {
            if looks {
                self.look(cx);
            }
            return;
        }
        if looks && self.rtp.deadline().is_none() {
            self.looks = cx.now + ASK;
            self.ways.ask();
        }
        let waited = self.rtp.wants_keyframe();
        self.rtp.handle_timeout(cx.now, cx.history, &mut self.ways);
        if !waited && self.rtp.wants_keyframe() {
            cx.act(Action::RequestKeyframe);
        }
        if self.ways.is_gone() {
            cx.act(Action::Close(CloseReason::ByPeer));
        }
    }

    fn handle_command(&mut self, _: &mut Context<'_>, _: PeerCommand) {}

    fn deliver(&mut self, delivery: &mut Delivery<'_>, burst: &Burst) {
        let waited = self.rtp.wants_keyframe() && !delivery.after_gap;
        if delivery.after_gap {
            self.rtp.skip();
        }
        self.rtp.deliver(delivery.now, burst, &mut self.ways);
        delivery.wants_keyframe |= !waited && self.rtp.wants_keyframe();
        delivery.first_media = self.began(delivery.now);
    }

    fn replay(&mut self, cx: &mut Context<'_>) {
        let Some(history) = cx.history else { return };
        self.rtp.replay(cx.now, history, &mut self.ways);
        if let Some(took) = self.began(cx.now) {
            cx.act(Action::Took(Phase::FirstMedia, took));
        }
    }

    fn tracks_changed(&mut self, cx: &mut Context<'_>, tracks: &Tracks) {
        // The SDP said what comes; another codec would be noise.
        let fits = |codec: &Codec| tracks.get(codec.kind()).is_none_or(|track| track.codec == *codec);
        if !self.codecs.iter().all(fits) {
            cx.act(Action::Close(CloseReason::CodecChanged));
        }
    }

    fn request_keyframe(&mut self, _: &mut Context<'_>) {}

    fn close(&mut self, cx: &mut Context<'_>, _: &CloseReason) {
        self.rtp.close(cx.now, &mut self.ways);
    }

    fn deadline(&self) -> Option<Instant> {
        // A packet that found nobody ends it at once.
        if self.ways.is_gone() {
            return Some(self.since);
        }
        self.rtp.deadline().filter(|_| self.bound).or(Some(self.looks))
    }

    fn stats(&self, _: Instant) -> SessionStats {
        SessionStats {
            connected: self.first_media,
            first_media: self.first_media,
            protocol: "rtp",
            transport: Some("udp"),
            codecs: self.codecs.clone(),
            counters: self.counters(),
            ..SessionStats::new(self.since)
        }
    }

    fn counters(&self) -> Counters {
        self.rtp.counters()
    }
}

#[cfg(test)]
mod tests;
