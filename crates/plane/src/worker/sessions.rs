//! Datagrams find their session, and what a session asks for is done.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use whipstitch_net::socket::RecvBuffer;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;
use whipstitch_net::{Path, Transport};
use whipstitch_stream::{BROKEN, CloseReason, Stream};

use super::{BURSTS_A_TURN, Owner, SHORTEST_WAIT, Slot, Worker};
use crate::closed::ClosedSession;
use crate::mailbox::Stray;
use crate::peer::{Action, Context, Peer};
use crate::plane::worker_of;
use crate::report::SessionReport;

/// The largest datagram handed to another worker: above every path's MTU. Whoever sends larger ones to a ufrag of its own
/// making must not fill the other's mailbox with them.
const MISPLACED_BYTES: usize = 2048;

impl Worker {
    pub(super) fn receive(&mut self, v4: bool, buffer: &mut RecvBuffer) -> bool {
        if !(if v4 { self.readable.v4 } else { self.readable.v6 }) {
            return false;
        }
        // A handle of its own: what a burst brings is sent through the same socket while the next is read.
        let Some(socket) = (if v4 { self.sockets.v4.clone() } else { self.sockets.v6.clone() }) else { return false };
        let mut more = true;
        for _ in 0..BURSTS_A_TURN {
            let via = self.index;
            let received = socket.recv(buffer, &mut |received| {
                self.totals.received.bytes += received.bytes.len() as u64;
                self.datagram(via, received.path, received.bytes);
            });
            // What one burst brought goes out before the next is read: a frame waits for no other.
            self.fan_out_dirty();
            match received {
                Ok(0) => {
                    more = false;
                    break;
                }
                Ok(datagrams) => {
                    self.totals.received.calls += 1;
                    self.totals.received.datagrams += datagrams as u64;
                }
                // ICMP errors of earlier sends surface here (RFC 1122 4.1.3.3); the socket is fine.
                Err(_) => continue,
            }
        }
        *(if v4 { &mut self.readable.v4 } else { &mut self.readable.v6 }) = more;
        more
    }

    pub(super) fn datagram(&mut self, via: usize, path: Path, bytes: &mut [u8]) {
        let sort = sort(bytes);
        let mut owner = self.owner(sort, path, bytes);
        if owner.is_none() && sort != Sort::Other {
            // A command that makes it known may have been sent before the datagram was: a session just answered over
            // HTTP, an address that another worker has just checked.
            self.take_commands();
            owner = self.owner(sort, path, bytes);
        }
        match owner {
            Some(Owner::Here(key)) => self.with_via(key, via, |peer, cx| peer.handle_datagram(cx, path, bytes)),
            // Handed over once: what comes from another worker is not passed on.
            Some(Owner::Worker(worker)) if via == self.index && bytes.len() <= MISPLACED_BYTES => {
                let stray = Stray::Datagram { via, path, bytes: bytes.to_vec() };
                let sent = self.mailboxes.get(worker).is_some_and(|other| other.send_stray(stray).is_ok());
                self.totals.strays += u64::from(!sent);
            }
            _ => self.totals.strays += 1,
        }
    }

    /// Whose datagram it is: STUN's by its ufrag, everything else's by the address it comes from.
    pub(super) fn owner(&self, sort: Sort, path: Path, bytes: &[u8]) -> Option<Owner> {
        match sort {
            Sort::Stun => {
                let ufrag = stun::local_ufrag(bytes)?;
                let elsewhere = || worker_of(ufrag).filter(|worker| *worker != self.index).map(Owner::Worker);
                self.ufrags.get(ufrag).map(|key| Owner::Here(*key)).or_else(elsewhere)
            }
            Sort::Dtls | Sort::Rtp | Sort::Rtcp => self.remotes.get(&path.remote).map(|(owner, _)| *owner),
            Sort::Other => None,
        }
    }

    pub(super) fn with(&mut self, key: usize, call: impl FnOnce(&mut dyn Peer, &mut Context<'_>)) {
        self.with_via(key, self.index, call);
    }

    /// Lets a session handle something and does what it asks for.
    pub(super) fn with_via(&mut self, key: usize, via: usize, call: impl FnOnce(&mut dyn Peer, &mut Context<'_>)) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let mut actions = std::mem::take(&mut self.actions);
        let history = slot.stream.and_then(|index| self.streams.get(index)).map(|stream| &stream.history);
        let mut cx = Context { now: self.now, batches: &mut self.batches, history, actions: &mut actions };
        let peer = slot.peer.as_mut();
        let outcome = catch_unwind(AssertUnwindSafe(|| call(peer, &mut cx)));
        let closed = match outcome {
            Ok(()) => self.act(key, via, &mut actions),
            Err(_) => {
                self.broke(key);
                Some(None)
            }
        };
        actions.clear();
        self.actions = actions;
        match closed {
            Some(reason) => self.close(key, reason),
            None => self.reschedule(key),
        }
        // What is replayed to one subscriber is as much as a burst is to twenty.
        if self.is_full() {
            self.flush();
        }
    }

    pub(super) fn broke(&mut self, key: usize) {
        self.totals.panics += 1;
        if let Some(slot) = self.slots.get(key) {
            tracing::error!(session = %slot.session, "a session broke an invariant and was dropped");
        }
    }

    /// Does what a session asked for. `Some` when it is over.
    pub(super) fn act(&mut self, key: usize, via: usize, actions: &mut Vec<Action>) -> Option<Option<CloseReason>> {
        let mut closed = None;
        for action in actions.drain(..) {
            // What one action led to may have ended the session: a subscriber is told of tracks that do not fit it.
            let Some(slot) = self.slots.get_mut(key) else { break };
            match action {
                Action::Checked(path) => match path.transport {
                    Transport::Udp => self.checked(key, via, path.remote),
                    Transport::Tcp(id) => self.connection_checked(key, id),
                },
                Action::Forgotten(path) => match path.transport {
                    Transport::Udp => self.forgotten(key, path.remote),
                    Transport::Tcp(id) => {
                        slot.connections.retain(|own| *own != id);
                        self.connections.leave(id);
                    }
                },
                Action::Ufrag(ufrag) => {
                    slot.ufrags.push(ufrag.clone());
                    self.ufrags.insert(ufrag, key);
                }
                Action::Retired(ufrag) => {
                    slot.ufrags.retain(|own| *own != ufrag);
                    self.ufrags.remove(&ufrag);
                }
                Action::Publish(tracks) => self.publish(key, tracks),
                Action::Restarted(kind) => {
                    let (index, session) = (slot.stream, slot.session);
                    self.feed(index, |hub, _| hub.restarted(session, kind));
                }
                Action::Push(kind, packet) => {
                    let (index, session) = (slot.stream, slot.session);
                    self.feed(index, |hub, now| hub.push(now, session, kind, packet));
                }
                Action::SenderReport(kind, ntp, time) => {
                    let (index, session) = (slot.stream, slot.session);
                    self.feed(index, |hub, now| hub.sender_report(now, session, kind, ntp, time));
                }
                Action::RoundTrip(rtt) => {
                    let (index, session) = (slot.stream, slot.session);
                    self.feed(index, |hub, _| hub.set_rtt(session, rtt));
                }
                Action::Lost(number) => {
                    let (index, session) = (slot.stream, slot.session);
                    self.feed(index, |hub, now| hub.lost(now, session, number));
                }
                Action::Subscribe => self.subscribe(key),
                Action::RequestKeyframe => {
                    if let Some(index) = slot.stream {
                        self.request_keyframe(index);
                    }
                }
                Action::Took(phase, took) => self.totals.totals_mut(slot.role).took(phase, took),
                Action::Close(reason) => closed = Some(Some(reason)),
            }
        }
        closed
    }

    /// Feeds the stream of a publisher; what comes of it is seen to when the turn ends.
    fn feed(&mut self, index: Option<usize>, call: impl FnOnce(&mut Stream, Instant)) {
        let Some(stream) = index.and_then(|index| self.streams.get_mut(index)) else { return };
        let Some(hub) = &mut stream.hub else { return };
        call(hub, self.now);
        if !std::mem::replace(&mut stream.dirty, true) {
            self.dirty.extend(index);
        }
    }

    pub(super) fn checked(&mut self, key: usize, via: usize, remote: SocketAddr) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.remotes.push((remote, via));
        // Not the turn's time: of two workers' checks the later one counts.
        let at = Instant::now();
        self.own(remote, Owner::Here(key), at);
        if via != self.index {
            self.mailboxes[via].note(|noted| noted.routes.route(remote, self.index, at));
        }
    }

    /// A NAT may give a port of a dead session to a new one: the newest authenticated owner has it, wherever it lives.
    pub(super) fn own(&mut self, remote: SocketAddr, owner: Owner, at: Instant) {
        if self.remotes.get(&remote).is_some_and(|(_, since)| *since > at) {
            return;
        }
        let Some((Owner::Here(before), _)) = self.remotes.insert(remote, (owner, at)) else { return };
        if !matches!(owner, Owner::Here(key) if key == before)
            && let Some(slot) = self.slots.get_mut(before)
        {
            slot.remotes.retain(|(own, _)| *own != remote);
        }
    }

    pub(super) fn forgotten(&mut self, key: usize, remote: SocketAddr) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let remotes = &mut slot.remotes;
        let Some(index) = remotes.iter().position(|(own, _)| *own == remote) else { return };
        let (_, via) = remotes.swap_remove(index);
        self.unroute(key, remote, via);
    }

    pub(super) fn unroute(&mut self, key: usize, remote: SocketAddr, via: usize) {
        if matches!(self.remotes.get(&remote), Some((Owner::Here(owner), _)) if *owner == key) {
            self.remotes.remove(&remote);
        }
        if via != self.index {
            self.mailboxes[via].note(|noted| noted.routes.unroute(remote, self.index));
        }
    }

    pub(super) fn reschedule(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        // Never in the past: a deadline that does not move must not keep the worker from everything else.
        let Some(deadline) = slot.peer.deadline().map(|deadline| deadline.max(self.now + SHORTEST_WAIT)) else {
            return;
        };
        if slot.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            slot.scheduled = Some(deadline);
            self.timers.schedule(deadline, key);
        }
    }

    /// Ends a session: it says goodbye, and everything that names it is forgotten. Without a reason it broke.
    pub(super) fn close(&mut self, key: usize, reason: Option<CloseReason>) {
        let Some(mut slot) = self.slots.try_remove(key) else { return };
        // Whoever ordered it to end was first, though the session found a reason of its own before it heard of that.
        let reason = reason.map(|reason| slot.ending.reason().unwrap_or(reason));
        if let Some(reason) = &reason {
            let mut ignored = Vec::new();
            let mut cx = Context { now: self.now, batches: &mut self.batches, history: None, actions: &mut ignored };
            let peer = slot.peer.as_mut();
            let said = catch_unwind(AssertUnwindSafe(|| peer.close(&mut cx, reason)));
            self.totals.panics += u64::from(said.is_err());
            let (session, role, reason) = (slot.session, slot.peer.role().as_str(), reason.as_str());
            tracing::info!(%session, stream = %slot.peer.stream(), role, reason, "session closed");
        }
        self.remember(&slot, reason.map_or(BROKEN, |reason| reason.as_str()));
        self.sessions.remove(&slot.session);
        for ufrag in &slot.ufrags {
            self.ufrags.remove(ufrag);
        }
        for (remote, via) in std::mem::take(&mut slot.remotes) {
            self.unroute(key, remote, via);
        }
        for id in std::mem::take(&mut slot.connections) {
            self.connections.leave(id);
        }
        if let Some(index) = slot.stream {
            self.left(index, key, slot.session, slot.role);
        }
    }

    /// Keeps what an ended session was and counted. One that broke may break again when it is asked.
    fn remember(&mut self, slot: &Slot, reason: &'static str) {
        let totals = self.totals.totals_mut(slot.role);
        *totals.closed.entry(reason).or_default() += 1;
        let now = self.now;
        let Ok(stats) = catch_unwind(AssertUnwindSafe(|| slot.peer.stats(now))) else { return };
        totals.counters += stats.counters;
        let (session, stream, role) = (slot.session, slot.peer.stream().clone(), slot.role);
        let report = SessionReport { session, stream, role, stats };
        self.closed.add(ClosedSession { report, reason, at: now });
    }

    pub(super) fn close_all(&mut self) {
        let keys: Vec<_> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, Some(CloseReason::Drained));
            if self.is_full() {
                self.flush();
            }
        }
        self.flush();
    }
}
