//! The guards of a directory: each frees its own place when it is dropped, and no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Entry, Holder, Inner};
use crate::key::{SessionId, StreamKey};
use crate::track::Tracks;

/// The right to publish on a stream. Dropping it frees the stream, unless somebody has taken it over meanwhile.
#[derive(Debug)]
pub struct PublisherSlot {
    inner: Arc<Inner>,
    key: StreamKey,
    session: SessionId,
    generation: u64,
    touched: Arc<AtomicU64>,
}

impl PublisherSlot {
    pub(super) fn new(
        inner: Arc<Inner>,
        key: StreamKey,
        session: SessionId,
        generation: u64,
        touched: Arc<AtomicU64>,
    ) -> Self {
        Self { inner, key, session, generation, touched }
    }

    /// The stream.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// The session that holds the slot.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The publisher is connected and these are its tracks. `false` if the slot was lost to another publisher meanwhile, or
    /// was never taken over.
    pub fn go_live(&self, tracks: Tracks, now: Instant) -> bool {
        self.touch(now);
        let mut state = self.inner.lock();
        let holder = state.streams.get_mut(&self.key).and_then(|entry| entry.held_by(self.generation));
        let Some(holder) = holder else { return false };
        holder.since = now;
        holder.tracks = Some(tracks);
        true
    }

    /// Media has come from the publisher. Atomic and without a lock: to be called for each packet.
    pub fn touch(&self, now: Instant) {
        self.touched.fetch_max(self.inner.tell(now), Ordering::Relaxed);
    }

    /// Whether the slot is this publisher's: not lost to another one, and taken over where there was one.
    pub fn holds(&self) -> bool {
        let mut state = self.inner.lock();
        state.streams.get_mut(&self.key).is_some_and(|entry| entry.held_by(self.generation).is_some())
    }
}

impl Drop for PublisherSlot {
    fn drop(&mut self) {
        self.inner.free_publisher(&self.key, |holder| holder.generation == self.generation);
    }
}

/// A subscriber's place on a stream, free again when dropped.
#[derive(Debug)]
pub struct SubscriberSlot {
    inner: Arc<Inner>,
    key: StreamKey,
    session: SessionId,
}

impl SubscriberSlot {
    pub(super) fn new(inner: Arc<Inner>, key: StreamKey, session: SessionId) -> Self {
        Self { inner, key, session }
    }

    /// The stream.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// The session that holds the slot.
    pub fn session(&self) -> SessionId {
        self.session
    }
}

impl Drop for SubscriberSlot {
    fn drop(&mut self) {
        let latest = self.inner.latest.load(Ordering::Relaxed);
        let mut state = self.inner.lock();
        state.subscribers = state.subscribers.saturating_sub(1);
        // The entry is the one that was counted in: it cannot vanish while a subscriber is on it.
        if let Some(entry) = state.streams.get_mut(&self.key) {
            entry.subscribers = entry.subscribers.saturating_sub(1);
            entry.idle_since = latest;
        }
    }
}

impl Entry {
    /// The publisher slot, if it is still the one of this generation.
    fn held_by(&mut self, generation: u64) -> Option<&mut Holder> {
        self.publisher.as_mut().filter(|holder| holder.generation == generation)
    }
}
