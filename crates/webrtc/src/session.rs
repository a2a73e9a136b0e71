//! One WebRTC session on a media worker: the ICE edge, the engine, and what its role adds.
//!
//! A publisher's session turns the engine's packets into pushes to its stream; a subscriber's owns an egress made from
//! the tapped keys. States: negotiated -> reachable (first check) -> connected (DTLS done, fingerprint right) -> closed.
//! A session lives until its peer says goodbye, is silent for [`SILENCE`], does not connect in the time of a half-open
//! one, or control closes it; dropping it frees its slot and turns its URL into a tombstone.

mod agreed;
mod patience;
mod peer;
mod telling;

use std::time::{Duration, Instant};

use whipstitch_net::Path;
use whipstitch_plane::{Action, Context, IceRestart, Peer, Phase};
use whipstitch_stream::directory::{PublisherSlot, SubscriberSlot};
use whipstitch_stream::{CloseReason, PerKind, SessionId, StreamKey, Tracks};

pub(crate) use self::agreed::Agreed;
pub(crate) use self::patience::Patience;
use crate::egress::{Egress, Keys, Profile, TrackConfig};
use crate::engine::{Engine, EngineError, EngineEvent};
use crate::gateway::{Place, Registration};
use crate::ice::{Edge, Outcome};
use crate::negotiate::Credentials;
use crate::reception::Reception;

/// A session from which nothing authenticated comes is dead (protocol.md 6.4).
const SILENCE: Duration = Duration::from_secs(30);

/// What control knows of a session and hands over with it.
pub(crate) struct Identified {
    pub(crate) session: SessionId,
    pub(crate) stream: StreamKey,
    pub(crate) user_agent: Option<String>,
    /// Its place among the half-open sessions, until it is connected.
    pub(crate) half_open: Option<Place>,
    /// Its place among the session URLs; dropped with the session.
    pub(crate) _registration: Registration,
}

/// What a role adds to a session.
pub(crate) enum RoleState {
    /// WHIP.
    Publisher {
        /// Held from before negotiation to the end.
        slot: PublisherSlot,
        /// What the answer promised to take.
        tracks: Tracks,
    },
    /// WHEP.
    Subscriber {
        /// Held from before negotiation to the end.
        _slot: SubscriberSlot,
        /// What the answer promised to send.
        plan: Option<SubscriberPlan>,
        /// The formats agreed on, of which the publisher's decides.
        agreed: Agreed,
        /// Once connected.
        egress: Option<Box<Egress>>,
        /// How long it waits for something of the stream; `None`: as long as the stream has it.
        patience: Option<Patience>,
    },
}

/// What an egress is made of once the keys are there.
pub(crate) struct SubscriberPlan {
    pub(crate) cname: String,
    pub(crate) tracks: Vec<TrackConfig>,
}

/// One session.
pub(crate) struct Session {
    identified: Identified,
    edge: Edge,
    engine: Engine,
    role: RoleState,
    since: Instant,
    /// When an address was bound for the first time.
    reached: Option<Instant>,
    connected: Option<Instant>,
    first_media: Option<Instant>,
    /// When a subscriber was last given something of the stream.
    delivered: Option<Instant>,
    srtp: Option<Profile>,
    /// What a publisher sent.
    received: Received,
    /// Datagrams from addresses that had not proven to be its own, and those of a kind that its role has no use for.
    rejected: u64,
}

/// What a publisher sent, as far as it was authentic.
#[derive(Default)]
struct Received {
    packets: u64,
    bytes: u64,
    rtx: u64,
    tracks: PerKind<Reception>,
}

impl Session {
    pub(crate) fn new(now: Instant, identified: Identified, edge: Edge, engine: Engine, role: RoleState) -> Session {
        Session {
            identified,
            edge,
            engine,
            role,
            since: now,
            reached: None,
            connected: None,
            first_media: None,
            delivered: None,
            srtp: None,
            received: Received::default(),
            rejected: 0,
        }
    }

    fn stun(&mut self, cx: &mut Context<'_>, path: Path, datagram: &[u8]) {
        let outcome = self.edge.handle_stun(cx.now, path, datagram);
        if let Some(reply) = &outcome.reply {
            cx.batches.put(path, reply);
        }
        self.follow(cx, outcome);
    }

    fn follow(&mut self, cx: &mut Context<'_>, outcome: Outcome) {
        if let Some(forgotten) = outcome.forgotten {
            cx.act(Action::Forgotten(forgotten));
        }
        if let Some(checked) = outcome.checked {
            cx.act(Action::Checked(checked));
        }
        if let Some(ufrag) = outcome.retired {
            cx.act(Action::Retired(ufrag));
        }
        if outcome.moved {
            if self.reached.is_none() {
                self.reached = Some(cx.now);
                cx.act(Action::Took(Phase::Ice, cx.now.duration_since(self.since)));
            }
            let reached = self.engine.reachable(cx.now);
            self.drive(cx, reached);
        }
    }

    /// Runs the engine dry after something was fed to it.
    fn drive(&mut self, cx: &mut Context<'_>, fed: Result<(), EngineError>) {
        let mut outcome = fed;
        loop {
            let path = self.edge.path();
            let batches = &mut *cx.batches;
            let polled = self.engine.poll(cx.now, |datagram| {
                if let Some(path) = path {
                    batches.put(path, datagram);
                }
            });
            match polled {
                Ok(Some(event)) => self.event(cx, event),
                Ok(None) => break,
                Err(error) => {
                    outcome = outcome.and(Err(error));
                    break;
                }
            }
        }
        if let Err(error) = outcome {
            tracing::info!(session = %self.identified.session, %error, "DTLS failed");
            cx.act(Action::Close(CloseReason::DtlsFailure));
        }
    }

    fn event(&mut self, cx: &mut Context<'_>, event: EngineEvent) {
        match event {
            EngineEvent::Connected => self.connected(cx),
            EngineEvent::Closed => cx.act(Action::Close(CloseReason::ByPeer)),
            EngineEvent::Packet(kind, packet) => {
                if let (RoleState::Publisher { slot, .. }, true) = (&self.role, self.connected.is_some()) {
                    slot.touch(cx.now);
                    self.received.packets += 1;
                    self.received.tracks[kind].add(packet.seq);
                    if let Some(took) = self.first_media(cx.now) {
                        cx.act(Action::Took(Phase::FirstMedia, took));
                    }
                    cx.act(Action::Push(kind, packet));
                }
            }
            EngineEvent::Switched => {
                self.received.tracks.video.switch();
                // Begun anew, the stream joins the new layer's numbers to the old one's. Not if it is another's by now.
                if let RoleState::Publisher { slot, tracks, .. } = &self.role
                    && self.connected.is_some()
                    && slot.holds()
                {
                    cx.act(Action::Publish(tracks.clone()));
                }
            }
            EngineEvent::SenderReport(kind, ntp, time) => cx.act(Action::SenderReport(kind, ntp, time)),
            EngineEvent::RoundTrip(rtt) => cx.act(Action::RoundTrip(rtt)),
            EngineEvent::GivenUp(number) => cx.act(Action::Lost(number)),
        }
    }

    /// DTLS is done: the peer is who the offer said, and its keys may be used.
    fn connected(&mut self, cx: &mut Context<'_>) {
        self.connected = Some(cx.now);
        self.identified.half_open = None;
        let session = self.identified.session;
        let took = cx.now.duration_since(self.since);
        let role = self.role().as_str();
        tracing::info!(%session, stream = %self.identified.stream, role, millis = took.as_millis(), "session connected");
        cx.act(Action::Took(Phase::Dtls, cx.now.duration_since(self.reached.unwrap_or(self.since))));
        let tapped = self.engine.take_keys();
        self.srtp = tapped.as_ref().map(|tapped| tapped.profile);
        let keys =
            tapped.and_then(|tapped| Keys::split(tapped.profile, &tapped.material, self.engine.is_dtls_client()).ok());
        let Some(keys) = keys else {
            cx.act(Action::Close(CloseReason::DtlsFailure));
            return;
        };
        match &mut self.role {
            RoleState::Publisher { slot, tracks } => {
                self.engine.secure(keys);
                // Silent for too long during its handshake, it may have lost the stream to another.
                if slot.go_live(tracks.clone(), cx.now) {
                    cx.act(Action::Publish(tracks.clone()));
                } else {
                    cx.act(Action::Close(CloseReason::Replaced));
                }
            }
            RoleState::Subscriber { plan, agreed, egress, .. } => {
                let Some(plan) = plan.take() else {
                    cx.act(Action::Close(CloseReason::DtlsFailure));
                    return;
                };
                match Egress::new(cx.now, keys, plan.cname, plan.tracks, crate::random::fill) {
                    Ok(mut made) => {
                        agreed.apply(&mut made);
                        *egress = Some(Box::new(made));
                        self.engine.retire();
                        cx.act(Action::Subscribe);
                    }
                    Err(error) => {
                        tracing::error!(%session, %error, "no egress could be made");
                        cx.act(Action::Close(CloseReason::DtlsFailure));
                    }
                }
            }
        }
    }

    fn rtp(&mut self, cx: &mut Context<'_>, path: Path, datagram: &[u8]) {
        // A subscriber has nothing to send but RTCP.
        if !matches!(self.role, RoleState::Publisher { .. }) {
            self.rejected += 1;
            return;
        }
        let before = self.received.packets;
        let fed = self.engine.handle_rtp(cx.now, datagram);
        self.drive(cx, fed);
        if self.engine.take_authentic() {
            self.edge.heard(cx.now, path);
        }
        self.engine.judge(datagram);
        if self.received.packets > before {
            self.received.bytes += datagram.len() as u64;
            self.received.rtx += u64::from(self.engine.is_rtx(datagram));
        }
    }

    fn rtcp(&mut self, cx: &mut Context<'_>, path: Path, datagram: &mut [u8]) {
        let now = cx.now;
        match &mut self.role {
            RoleState::Publisher { .. } => {
                if !self.engine.is_authentic_rtcp(datagram) {
                    self.rejected += 1;
                    return;
                }
                self.edge.heard(now, path);
                let fed = self.engine.handle_datagram(now, datagram);
                self.drive(cx, fed);
            }
            RoleState::Subscriber { egress: Some(egress), .. } => {
                let (Some(history), Some(to)) = (cx.history, self.edge.path()) else { return };
                // Rejected means not authentic or malformed: counted by the egress, and no sign of life.
                let Ok(feedback) = egress.handle_rtcp(now, to, datagram, history, cx.batches.of(to)) else { return };
                self.edge.heard(now, path);
                if feedback.keyframe {
                    cx.act(Action::RequestKeyframe);
                }
            }
            RoleState::Subscriber { egress: None, .. } => {}
        }
    }

    fn restart(&mut self, cx: &mut Context<'_>, restart: IceRestart) {
        let (ufrag, pwd) = restart.local;
        cx.act(Action::Ufrag(ufrag.clone()));
        let (remote_ufrag, remote_pwd) = restart.remote;
        let remote = Credentials { ufrag: remote_ufrag, pwd: remote_pwd };
        if let Some(gone) = self.edge.restart(cx.now, Credentials { ufrag, pwd }, remote) {
            cx.act(Action::Retired(gone));
        }
    }

    /// Notes that media flows; says how long after the handshake it began to, once.
    fn first_media(&mut self, now: Instant) -> Option<Duration> {
        if self.first_media.is_some() {
            return None;
        }
        self.first_media = Some(now);
        Some(now.duration_since(self.connected?))
    }

    /// When this session is given up for want of life.
    fn life(&self) -> Instant {
        match (&self.identified.half_open, self.connected) {
            (Some(place), _) => self.since + place.setup(),
            (None, connected) => self.edge.last_heard().max(connected.unwrap_or(self.since)) + SILENCE,
        }
    }

    /// When a subscriber has waited long enough for a publisher.
    fn idles(&self) -> Option<Instant> {
        let RoleState::Subscriber { patience, .. } = &self.role else { return None };
        Some(patience.as_ref()?.ends(self.delivered.or(self.connected)?))
    }

    /// Whether a subscriber whose patience has ended stays all the same.
    fn stays(&mut self, now: Instant) -> bool {
        let RoleState::Subscriber { patience: Some(patience), .. } = &mut self.role else { return false };
        patience.is_renewed(now, &self.identified.stream)
    }

    fn egress(&self) -> Option<&Egress> {
        match &self.role {
            RoleState::Subscriber { egress, .. } => egress.as_deref(),
            RoleState::Publisher { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
