//! Publishing, subscribing, and the way of a burst from the hub to every subscriber.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use smallvec::SmallVec;
use whipstitch_stream::stream::Output;
use whipstitch_stream::{Burst, Clock, CloseReason, Forwarded, PerKind, SessionId, StreamKey, Tracks};

use super::{SHORTEST_WAIT, Worker};
use crate::fanout::LocalStream;
use crate::mailbox::Command;
use crate::measure::Phase;
use crate::notes::{Noted, StreamNote};
use crate::peer::Delivery;
use crate::plane::home;
use crate::report::Role;

impl Worker {
    pub(super) fn is_home(&self, stream: &StreamKey) -> bool {
        home(stream, self.mailboxes.len()) == self.index
    }

    pub(super) fn publish(&mut self, key: usize, tracks: Tracks) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let (stream_key, session) = (slot.peer.stream().clone(), slot.session);
        let index = self.streams.ensure(&stream_key, true, self.config, self.now);
        slot.stream = Some(index);
        if let Some(hub) = self.streams.get_mut(index).and_then(|stream| stream.hub.as_mut()) {
            hub.publish(self.now, session, tracks);
        }
        self.forget_cache(index);
        self.poll_stream(index);
    }

    pub(super) fn subscribe(&mut self, key: usize) {
        let Some(stream_key) = self.slots.get(key).map(|slot| slot.peer.stream().clone()) else { return };
        let is_home = self.is_home(&stream_key);
        let index = self.streams.ensure(&stream_key, is_home, self.config, self.now);
        let Some(stream) = self.streams.get_mut(index) else { return };
        stream.subscribers.push(key);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.stream = Some(index);
        }
        let (offer, told) = (stream.offer(self.now), stream.tracks.clone());
        let Some(hub) = &mut stream.hub else {
            // Said for each: the home answers with the tracks of now, and asks for a keyframe.
            self.tell_home(&stream_key, |noted| {
                noted.interest(stream_key.clone(), self.index, true);
                if offer.is_none() {
                    noted.uncached(stream_key.clone(), self.index);
                }
            });
            // As it was told last, for what is replayed right now.
            if let Some(tracks) = told {
                self.with(key, |peer, cx| peer.tracks_changed(cx, &tracks));
            }
            self.with(key, |peer, cx| peer.replay(cx));
            return;
        };
        hub.subscriber_joined(self.now, offer);
        // They may have changed since this subscriber's answer was made.
        let tracks = hub.tracks().clone();
        self.with(key, |peer, cx| peer.tracks_changed(cx, &tracks));
        self.with(key, |peer, cx| peer.replay(cx));
        self.poll_stream(index);
    }

    /// Gives another worker what a stream whose home is here has for those that join. A mailbox that is full refuses it:
    /// they start at the next keyframe then, which was asked for if there is any hope of one.
    pub(super) fn send_cache(&mut self, stream_key: &StreamKey, worker: usize) {
        let Some(stream) = self.streams.find(stream_key).and_then(|index| self.streams.get(index)) else { return };
        let Some(cache) = stream.history.cache().filter(|cache| cache.offer(self.now).is_some()) else { return };
        let (packets, clocks) = (cache.all().cloned().collect(), *stream.history.clocks());
        let _ = self.mailboxes[worker].send(Command::Cache { stream: stream_key.clone(), packets, clocks });
    }

    /// The home's cache: all that came in bursts before it is in it, all that comes after it is not.
    pub(super) fn take_cache(
        &mut self,
        stream_key: &StreamKey,
        packets: &[Forwarded],
        clocks: &PerKind<Option<Clock>>,
    ) {
        let Some(index) = self.streams.find(stream_key) else { return };
        let Some(stream) = self.streams.get_mut(index) else { return };
        stream.fill_cache(self.now, packets);
        stream.history.set_clocks(clocks);
        self.schedule_stream(index);
        for key in self.subscribers(index) {
            self.with(key, |peer, cx| peer.replay(cx));
        }
    }

    /// What another publisher sent is nothing for those that join from now on, wherever they are.
    fn forget_cache(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        stream.history.fill_cache([]);
        for &worker in &stream.workers {
            let (packets, clocks) = (Vec::new(), PerKind::default());
            let command = Command::Cache { stream: stream.key.clone(), packets, clocks };
            // Refused, it lives on until the new publisher's first packet.
            let _ = self.mailboxes[worker].send(command);
        }
    }

    fn tell_home(&self, stream: &StreamKey, change: impl FnOnce(&mut Noted)) {
        self.mailboxes[home(stream, self.mailboxes.len())].note(change);
    }

    /// Tells another worker something of a stream whose home is here.
    fn tell_of(&self, worker: usize, stream: &StreamKey, change: impl FnOnce(&mut StreamNote)) {
        self.mailboxes[worker].note(|noted| change(noted.streams.entry(stream.clone()).or_default()));
    }

    pub(super) fn join(&mut self, stream_key: &StreamKey, worker: usize) {
        let index = self.streams.ensure(stream_key, true, self.config, self.now);
        let Some(stream) = self.streams.get_mut(index) else { return };
        if !stream.workers.contains(&worker) {
            stream.workers.push(worker);
        }
        let offer = stream.offer(self.now);
        if let Some(hub) = &mut stream.hub {
            hub.subscriber_joined(self.now, offer);
            // They may have changed since the answer to the worker's new subscriber was made.
            let tracks = hub.tracks().clone();
            self.tell_of(worker, stream_key, |note| note.tracks = Some(tracks));
        }
        self.poll_stream(index);
    }

    pub(super) fn leave(&mut self, stream_key: &StreamKey, worker: usize) {
        let Some(index) = self.streams.find(stream_key) else { return };
        if let Some(stream) = self.streams.get_mut(index) {
            stream.workers.retain(|other| *other != worker);
        }
    }

    /// A session with a place in a stream is gone.
    pub(super) fn left(&mut self, index: usize, key: usize, session: SessionId, role: Role) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        match role {
            Role::Publisher => {
                if let Some(hub) = &mut stream.hub {
                    hub.unpublish(self.now, session);
                }
                self.poll_stream(index);
            }
            Role::Subscriber => {
                stream.subscribers.retain(|other| *other != key);
                // A hub outlives its last subscriber until it says that it is idle; a mere list does not.
                if stream.subscribers.is_empty() && stream.hub.is_none() {
                    let stream = stream.key.clone();
                    self.streams.remove(index);
                    self.tell_home(&stream, |noted| noted.interest(stream.clone(), self.index, false));
                }
            }
        }
    }

    pub(super) fn request_keyframe(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        match &mut stream.hub {
            Some(hub) => {
                hub.request_keyframe(self.now, whipstitch_media::Kind::Video);
                self.poll_stream(index);
            }
            None => {
                let stream = stream.key.clone();
                self.tell_home(&stream, |noted| noted.streams.entry(stream.clone()).or_default().keyframe = true);
            }
        }
    }

    pub(super) fn fan_out_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.fan_out(index);
        }
        // Keeps its memory, unless a fan-out made others dirty.
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    pub(super) fn fan_out(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        stream.dirty = false;
        let burst = stream.hub.as_mut().and_then(|hub| hub.take_burst());
        if let Some(burst) = burst {
            let burst = Arc::new(burst);
            for &worker in &stream.workers {
                let missed = stream.missed.iter().position(|other| *other == worker);
                let (stream_key, burst) = (stream.key.clone(), Arc::clone(&burst));
                let packets = burst.packets.len() as u64;
                let command = Command::Burst { stream: stream_key, burst, after_gap: missed.is_some() };
                match (self.mailboxes[worker].send(command), missed) {
                    (Ok(()), Some(at)) => drop(stream.missed.swap_remove(at)),
                    (Ok(()), None) => {}
                    // A worker this far behind needs the rest more: its subscribers go on at the next start.
                    (Err(_), missed) => {
                        self.totals.slow += packets;
                        if missed.is_none() {
                            stream.missed.push(worker);
                        }
                    }
                }
            }
            self.deliver(index, &burst, false);
        }
        self.poll_stream(index);
    }

    /// `after_gap`: others before it did not reach this worker, so nothing of before can be gone on with.
    pub(super) fn deliver(&mut self, index: usize, burst: &Burst, after_gap: bool) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        if after_gap {
            stream.history.fill_cache([]);
        }
        stream.remember(self.now, burst);
        let mut wants_keyframe = false;
        let mut broken: SmallVec<[usize; 4]> = SmallVec::new();
        let count = stream.subscribers.len();
        for at in 0..count {
            let Some(&key) = self.streams.get(index).and_then(|stream| stream.subscribers.get(at)) else { break };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            let mut delivery = Delivery::new(self.now, &mut self.batches);
            delivery.after_gap = after_gap;
            let peer = slot.peer.as_mut();
            if catch_unwind(AssertUnwindSafe(|| peer.deliver(&mut delivery, burst))).is_err() {
                broken.push(key);
                continue;
            }
            wants_keyframe |= delivery.wants_keyframe;
            let deadline_moved = delivery.deadline_moved;
            if let Some(took) = delivery.first_media {
                self.totals.subscribers.took(Phase::FirstMedia, took);
            }
            if deadline_moved {
                self.reschedule(key);
            }
            if self.is_full() {
                self.flush();
            }
        }
        for key in broken {
            self.broke(key);
            self.close(key, None);
        }
        if wants_keyframe {
            self.request_keyframe(index);
        }
    }

    pub(super) fn poll_stream(&mut self, index: usize) {
        if let Some(stream) = self.streams.get_mut(index)
            && let Some(description) = stream.hub.as_mut().and_then(|hub| hub.take_description())
        {
            self.described.set(&stream.key, description);
        }
        while let Some(output) =
            self.streams.get_mut(index).and_then(|stream| stream.hub.as_mut()).and_then(|hub| hub.poll(self.now))
        {
            match output {
                Output::RequestKeyframe { publisher } => {
                    if let Some(&key) = self.sessions.get(&publisher) {
                        self.with(key, |peer, cx| peer.request_keyframe(cx));
                    }
                }
                Output::BFrames { publisher } => self.warn_of_b_frames(index, publisher),
                Output::TracksChanged => self.announce_tracks(index),
                Output::Ended => self.end(index),
                Output::Idle => {
                    if self.streams.get(index).is_some_and(LocalStream::is_unused) {
                        if let Some(hub) = self.streams.get(index).and_then(|stream| stream.hub.as_ref()) {
                            self.totals.drops += hub.drops();
                        }
                        self.streams.remove(index);
                        return;
                    }
                }
            }
        }
        self.schedule_stream(index);
    }

    fn warn_of_b_frames(&self, index: usize, session: SessionId) {
        if let Some(stream) = self.streams.get(index) {
            tracing::warn!(%session, stream = %stream.key, "the publisher sends B-frames, which browsers play jerkily; turn them off");
        }
    }

    pub(super) fn schedule_stream(&mut self, index: usize) {
        if let Some(stream) = self.streams.get_mut(index)
            && let Some(deadline) = stream.deadline()
            && let deadline = deadline.max(self.now + SHORTEST_WAIT)
            && stream.scheduled.is_none_or(|scheduled| deadline < scheduled)
        {
            stream.scheduled = Some(deadline);
            self.stream_timers.schedule(deadline, index);
        }
    }

    pub(super) fn announce_tracks(&mut self, index: usize) {
        let Some(stream) = self.streams.get(index) else { return };
        let Some(tracks) = stream.hub.as_ref().map(|hub| hub.tracks().clone()) else { return };
        for &worker in &stream.workers {
            self.tell_of(worker, &stream.key, |note| note.tracks = Some(tracks.clone()));
        }
        self.tracks_changed(index, &tracks);
    }

    pub(super) fn tracks_changed(&mut self, index: usize, tracks: &Tracks) {
        if let Some(stream) = self.streams.get_mut(index).filter(|stream| stream.hub.is_none()) {
            stream.tracks = Some(tracks.clone());
        }
        for key in self.subscribers(index) {
            self.with(key, |peer, cx| peer.tracks_changed(cx, tracks));
        }
    }

    /// Nobody came back in the grace time: subscribers are told, here and elsewhere. Unless a publisher is expected: then they
    /// stay.
    pub(super) fn end(&mut self, index: usize) {
        if let Some(stream) = self.streams.get_mut(index)
            && self.described.is_expected(&stream.key)
        {
            stream.hub.iter_mut().for_each(|hub| hub.stay(self.now));
            return;
        }
        if let Some(stream) = self.streams.get(index) {
            for &worker in &stream.workers {
                self.tell_of(worker, &stream.key, |note| note.ended = true);
            }
        }
        self.end_subscribers(index);
    }

    pub(super) fn end_subscribers(&mut self, index: usize) {
        for key in self.subscribers(index) {
            self.close(key, Some(CloseReason::StreamEnded));
            if self.is_full() {
                self.flush();
            }
        }
    }

    pub(super) fn subscribers(&self, index: usize) -> Vec<usize> {
        self.streams.get(index).map(|stream| stream.subscribers.clone()).unwrap_or_default()
    }
}
