//! The session as its worker drives it: what comes in, by its sort, and what is due.

use std::time::Instant;

use whipstitch_net::Path;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_plane::{Action, Batches, Context, Counters, Delivery, Peer, PeerCommand, Phase, Role, SessionStats};
use whipstitch_stream::{Burst, CloseReason, SessionId, StreamKey, Tracks};

use super::agreed::Unfit;
use super::{RoleState, Session};
use crate::egress::Egress;

impl Peer for Session {
    fn session(&self) -> SessionId {
        self.identified.session
    }

    fn stream(&self) -> &StreamKey {
        &self.identified.stream
    }

    fn role(&self) -> Role {
        match self.role {
            RoleState::Publisher { .. } => Role::Publisher,
            RoleState::Subscriber { .. } => Role::Subscriber,
        }
    }

    fn handle_datagram(&mut self, cx: &mut Context<'_>, path: Path, datagram: &mut [u8]) {
        let sort = sort(datagram);
        if sort != Sort::Stun && !self.edge.accepts(path) {
            self.rejected += 1;
            return;
        }
        match sort {
            Sort::Stun => self.stun(cx, path, datagram),
            Sort::Dtls => {
                let fed = self.engine.handle_datagram(cx.now, datagram);
                self.drive(cx, fed);
            }
            Sort::Rtp => self.rtp(cx, path, datagram),
            Sort::Rtcp => self.rtcp(cx, path, datagram),
            Sort::Other => self.rejected += 1,
        }
    }

    fn path_closed(&mut self, _: &mut Context<'_>, path: Path) {
        // It lives on until it has been silent for too long: its client may connect again.
        if self.edge.closed(path)
            && let RoleState::Subscriber { egress: Some(egress), .. } = &mut self.role
        {
            egress.hold();
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if self.life() <= cx.now {
            cx.act(Action::Close(CloseReason::IceTimeout));
            return;
        }
        if self.idles().is_some_and(|at| at <= cx.now) && !self.stays(cx.now) {
            cx.act(Action::Close(CloseReason::Idle));
            return;
        }
        if let Some(ufrag) = self.edge.handle_timeout(cx.now) {
            cx.act(Action::Retired(ufrag));
        }
        if self.engine.deadline().is_some_and(|at| at <= cx.now) {
            let fed = self.engine.handle_timeout(cx.now);
            self.drive(cx, fed);
        }
        if let (RoleState::Subscriber { egress: Some(egress), .. }, Some(path)) = (&mut self.role, self.edge.path()) {
            let waited = egress.wants_keyframe();
            let room = cx.batches.room(path);
            egress.handle_timeout(cx.now, path, cx.history, room, cx.batches.of(path));
            if !waited && egress.wants_keyframe() {
                cx.act(Action::RequestKeyframe);
            }
        }
    }

    fn handle_command(&mut self, cx: &mut Context<'_>, command: PeerCommand) {
        match command {
            PeerCommand::IceRestart(restart) => self.restart(cx, restart),
            // For sessions of other protocols.
            PeerCommand::Pause | PeerCommand::Resume | PeerCommand::Rtcp(_) | PeerCommand::Wake => {}
        }
    }

    fn deliver(&mut self, delivery: &mut Delivery<'_>, burst: &Burst) {
        self.delivered = Some(delivery.now);
        let RoleState::Subscriber { egress: Some(egress), .. } = &mut self.role else { return };
        let Some(path) = self.edge.path() else { return };
        // Who waits already has asked, but what was sent for it may be what is missing.
        let waited = egress.wants_keyframe() && !delivery.after_gap;
        if delivery.after_gap {
            egress.skip();
        }
        let due = egress.deadline();
        let room = delivery.batches.room(path);
        egress.deliver(delivery.now, path, burst, room, delivery.batches.of(path));
        delivery.deadline_moved = egress.deadline() != due;
        // Once per wait, and at the join the hub asks anyway: it repeats, and a player without a picture sends PLI.
        delivery.wants_keyframe |= !waited && egress.wants_keyframe();
        if self.first_media.is_none() && egress.has_sent() {
            delivery.first_media = self.first_media(delivery.now);
        }
    }

    fn replay(&mut self, cx: &mut Context<'_>) {
        let RoleState::Subscriber { egress: Some(egress), .. } = &mut self.role else { return };
        let (Some(history), Some(path)) = (cx.history, self.edge.path()) else { return };
        let room = cx.batches.room(path);
        egress.replay(cx.now, path, history, room, cx.batches.of(path));
        if self.first_media.is_none()
            && egress.has_sent()
            && let Some(took) = self.first_media(cx.now)
        {
            cx.act(Action::Took(Phase::FirstMedia, took));
        }
    }

    fn tracks_changed(&mut self, cx: &mut Context<'_>, tracks: &Tracks) {
        let RoleState::Subscriber { agreed, egress, .. } = &mut self.role else { return };
        match (agreed.follow(tracks), egress) {
            (Ok(()), Some(egress)) => agreed.apply(egress),
            (Ok(()), None) => {}
            (Err(Unfit), _) => cx.act(Action::Close(CloseReason::CodecChanged)),
        }
    }

    fn request_keyframe(&mut self, cx: &mut Context<'_>) {
        if self.engine.request_keyframe() {
            self.drive(cx, Ok(()));
            // The engine sends feedback with its next timeout.
            let fed = self.engine.handle_timeout(cx.now);
            self.drive(cx, fed);
        }
    }

    fn close(&mut self, cx: &mut Context<'_>, reason: &CloseReason) {
        let Some(path) = self.edge.path() else { return };
        if let RoleState::Subscriber { egress: Some(egress), .. } = &mut self.role {
            egress.close(cx.now, path, cx.batches.of(path));
        }
        // A peer that has gone first needs no goodbye, but one that missed ours repeats its own: say it once anyway.
        tracing::debug!(session = %self.identified.session, reason = reason.as_str(), "closing");
        self.engine.close();
        let batches: &mut Batches = cx.batches;
        while let Ok(Some(_)) = self.engine.poll(cx.now, |datagram| batches.put(path, datagram)) {}
    }

    fn deadline(&self) -> Option<Instant> {
        let mut deadline = self.life();
        // Without a path no report can be sent.
        let egress = self.edge.path().and(self.egress());
        for other in [self.idles(), self.engine.deadline(), self.edge.deadline(), egress.and_then(Egress::deadline)] {
            deadline = other.map_or(deadline, |other| deadline.min(other));
        }
        Some(deadline)
    }

    fn stats(&self, now: Instant) -> SessionStats {
        self.told(now)
    }

    fn counters(&self) -> Counters {
        self.counted()
    }
}
