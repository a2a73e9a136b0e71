//! The control plane's view of the streams: which publisher slots are taken, what is live, who watches how much.
//!
//! A slot is reserved before negotiation and is a guard: dropping it frees the place, so there is no check-then-act and
//! no way to forget. A slot only ever frees its own place, however late it is dropped. Where a publisher is to be
//! replaced, the new one is a challenger until its negotiation has succeeded ([`Directory::take_over`]): one that fails
//! costs the publisher nothing. One lock inside, held for a few map operations and never while anything waits;
//! [`PublisherSlot::touch`] does without it. Entries without publisher and subscribers vanish after their time to live,
//! or earlier when the place is needed. What children of our own need is theirs however many strangers there are: the
//! streams that are [held](Directory::hold) for them, and [`CHILDREN`] subscriber slots.

mod hold;
mod limits;
mod slot;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::hold::Holding;
pub use self::hold::{Held, Hold};
pub use self::limits::{CHILDREN, Config, Conflict, Full, Lost, Refused};
pub use self::slot::{PublisherSlot, SubscriberSlot};
use crate::key::{SessionId, StreamKey};
use crate::track::Tracks;

/// One stream in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its name.
    pub key: StreamKey,
    /// Who holds its publisher slot.
    pub publisher: Option<PublisherEntry>,
    /// Subscriber slots taken.
    pub subscribers: usize,
}

/// Who holds a publisher slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherEntry {
    /// The session.
    pub session: SessionId,
    /// When it went live; when it reserved the slot, as long as it is not live.
    pub since: Instant,
    /// Whether its media is expected: negotiated and connected.
    pub live: bool,
}

/// How much is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams with a publisher or a subscriber.
    pub streams: usize,
    /// Publishers, live or about to be.
    pub publishers: usize,
    /// Publishers that are live.
    pub live: usize,
    /// Subscribers.
    pub subscribers: usize,
}

/// Which streams there are and who holds them. Clones are the same directory.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Instants are kept as milliseconds since this one where they have to be atomic.
    origin: Instant,
    /// The latest instant anybody told, for guards that are dropped without one.
    latest: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: BTreeMap<StreamKey, Entry>,
    /// Streams that are held, whether or not they have an entry.
    holds: HashMap<StreamKey, Holding>,
    /// Entries with a publisher or a challenger.
    publishers: usize,
    /// Of all streams.
    subscribers: usize,
    /// The next generation of a publisher slot.
    generation: u64,
}

#[derive(Debug, Default)]
struct Entry {
    publisher: Option<Holder>,
    /// Who is being negotiated with to take the publisher's place.
    challenger: Option<Holder>,
    subscribers: usize,
    /// Since when nobody holds anything here, in milliseconds; meaningless while somebody does.
    idle_since: u64,
}

/// Who holds the publisher slot of an entry.
#[derive(Debug)]
struct Holder {
    session: SessionId,
    /// Tells this slot from every other, even of the same session.
    generation: u64,
    /// For whom the stream was held when the slot was reserved.
    owner: Option<Arc<str>>,
    since: Instant,
    tracks: Option<Tracks>,
    /// When it was touched last, in milliseconds.
    touched: Arc<AtomicU64>,
}

impl Directory {
    /// An empty directory.
    pub fn new(config: Config, now: Instant) -> Self {
        let inner = Inner { config, origin: now, latest: AtomicU64::new(0), state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Whether a publisher of the stream would find a place: a look, for who wants to refuse early. Who reserves may be told
    /// otherwise.
    pub fn has_room_for_publisher(&self, key: &StreamKey) -> bool {
        let state = self.inner.lock();
        let is_new = state.streams.get(key).is_none_or(Entry::is_unclaimed);
        !is_new || state.publishers < self.inner.config.publishers
    }

    /// Whether nothing has come for the stream for the time after which its publisher gives way, or nobody publishes it.
    pub fn is_silent(&self, key: &StreamKey, now: Instant) -> bool {
        let millis = self.inner.tell(now);
        let state = self.inner.lock();
        let publisher = state.streams.get(key).and_then(|entry| entry.publisher.as_ref());
        publisher.is_none_or(|holder| {
            let silent = millis.saturating_sub(holder.touched.load(Ordering::Relaxed));
            u128::from(silent) >= self.inner.config.silence.as_millis()
        })
    }

    /// Whether a subscriber of the stream would find a place; see [`has_room_for_publisher`](Self::has_room_for_publisher).
    pub fn has_room_for_subscriber(&self, key: &StreamKey) -> bool {
        let (config, state) = (&self.inner.config, self.inner.lock());
        let here = state.streams.get(key).map_or(0, |entry| entry.subscribers);
        state.subscribers < config.subscribers && here < config.subscribers_per_stream
    }

    /// Takes the stream's publisher slot, before anything is negotiated. Where there is a publisher that gives way, because
    /// it is silent or by policy, the slot is reserved beside it until [`take_over`](Self::take_over).
    ///
    /// # Errors
    /// [`Refused::Held`] if the stream is held, [`Refused::Occupied`] if a publisher is alive and the policy is to keep it,
    /// [`Refused::Full`] at the caps of streams and publishers; who takes over needs no further place.
    pub fn reserve_publisher(
        &self,
        key: &StreamKey,
        session: SessionId,
        now: Instant,
    ) -> Result<PublisherSlot, Refused> {
        self.reserve_publisher_as(key, session, now, None)
    }

    /// The same for who comes as the owner of a stream that may be [held](Self::hold). Where it is held for this one,
    /// whoever publishes gives way, and no cap is asked: there are no more of these than streams that are held.
    ///
    /// # Errors
    /// As of [`reserve_publisher`](Self::reserve_publisher).
    pub fn reserve_publisher_as(
        &self,
        key: &StreamKey,
        session: SessionId,
        now: Instant,
        owner: Option<&str>,
    ) -> Result<PublisherSlot, Refused> {
        let millis = self.inner.tell(now);
        let config = &self.inner.config;
        let mut state = self.inner.lock();
        let held = state.holds.get(key).map(|holding| holding.owner.clone());
        if held.is_some() && held.as_deref() != owner {
            return Err(Refused::Held);
        }
        let is_new = state.streams.get(key).is_none_or(Entry::is_unclaimed);
        if held.is_none() {
            if is_new && state.publishers >= config.publishers {
                return Err(Refused::Full(Full));
            }
            let entry = state.entry(key, config, millis)?;
            let alive = |holder: &Holder| {
                let silent = millis.saturating_sub(holder.touched.load(Ordering::Relaxed));
                config.on_conflict == Conflict::Reject && u128::from(silent) < config.silence.as_millis()
            };
            if entry.publisher.iter().chain(&entry.challenger).any(alive) {
                return Err(Refused::Occupied { retry: config.silence });
            }
        }
        let touched = Arc::new(AtomicU64::new(millis));
        state.generation += 1;
        let generation = state.generation;
        state.publishers += usize::from(is_new);
        let holder = Holder { session, generation, owner: held, since: now, tracks: None, touched: touched.clone() };
        let entry = state.insert(key, millis);
        let place = if is_new { &mut entry.publisher } else { &mut entry.challenger };
        *place = Some(holder);
        drop(state);
        Ok(PublisherSlot::new(self.inner.clone(), key.clone(), session, generation, touched))
    }

    /// The session that reserved the publisher slot was negotiated with successfully: the slot is its own from now on. Tells
    /// whose it was until now; that session is to be closed with [`CloseReason::Replaced`](crate::CloseReason::Replaced).
    ///
    /// # Errors
    /// [`Lost`] if the slot is another's by now, or given back, or the stream is held for another since it was reserved.
    pub fn take_over(&self, key: &StreamKey, session: SessionId) -> Result<Option<SessionId>, Lost> {
        let is_hers = |holder: &Holder| holder.session == session;
        let mut state = self.inner.lock();
        let State { streams, holds, .. } = &mut *state;
        let entry = streams.get_mut(key).ok_or(Lost)?;
        if let Some(challenger) = entry.challenger.as_ref().filter(|holder| is_hers(holder)) {
            // Reserved before the stream was held: whoever it is held for is not to be replaced.
            if holds.get(key).is_some_and(|holding| challenger.owner.as_ref() != Some(&holding.owner)) {
                return Err(Lost);
            }
            let replaced = std::mem::replace(&mut entry.publisher, entry.challenger.take());
            return Ok(replaced.map(|holder| holder.session));
        }
        if entry.publisher.as_ref().is_some_and(is_hers) { Ok(None) } else { Err(Lost) }
    }

    /// Frees the publisher slot of a session that is about to end, before its guard is dropped.
    pub fn vacate(&self, key: &StreamKey, session: SessionId) {
        self.inner.free_publisher(key, |holder| holder.session == session);
    }

    /// Takes one of the stream's subscriber slots, whether or not anybody publishes. Who waits on a stream that nobody has
    /// opened leaves room for the publishers that may still come, up to half of all streams.
    ///
    /// # Errors
    /// At the caps of subscribers and streams.
    pub fn reserve_subscriber(&self, key: &StreamKey, session: SessionId) -> Result<SubscriberSlot, Full> {
        self.reserve_subscriber_of(key, session, 0)
    }

    /// The same for the child of a supervised process: for those there are [`CHILDREN`] slots more than the caps say.
    ///
    /// # Errors
    /// When these are taken, too; or at the cap of streams.
    pub fn reserve_subscriber_of_child(&self, key: &StreamKey, session: SessionId) -> Result<SubscriberSlot, Full> {
        self.reserve_subscriber_of(key, session, CHILDREN)
    }

    fn reserve_subscriber_of(&self, key: &StreamKey, session: SessionId, more: usize) -> Result<SubscriberSlot, Full> {
        let config = &self.inner.config;
        let mut state = self.inner.lock();
        let is_kept = more == 0 && state.is_kept_for_publishers(key, config);
        if state.subscribers >= config.subscribers.saturating_add(more) || is_kept {
            return Err(Full);
        }
        let entry = state.entry(key, config, self.inner.latest.load(Ordering::Relaxed))?;
        if entry.subscribers >= config.subscribers_per_stream.saturating_add(more) {
            return Err(Full);
        }
        entry.subscribers += 1;
        state.subscribers += 1;
        drop(state);
        Ok(SubscriberSlot::new(self.inner.clone(), key.clone(), session))
    }

    /// What is being published on the stream; `None` if nobody is live.
    pub fn live_tracks(&self, key: &StreamKey) -> Option<Tracks> {
        self.inner.lock().streams.get(key)?.publisher.as_ref()?.tracks.clone()
    }

    /// Who holds the stream's publisher slot.
    pub fn publisher(&self, key: &StreamKey) -> Option<PublisherEntry> {
        self.inner.lock().streams.get(key)?.publisher.as_ref().map(Holder::entry)
    }

    /// Every stream that somebody holds or held lately, by name.
    pub fn list(&self) -> Vec<StreamEntry> {
        let latest = self.inner.latest.load(Ordering::Relaxed);
        let state = self.inner.lock();
        let entries = state.streams.iter().filter(|(_, entry)| !entry.expired(self.inner.config.ttl, latest));
        let entries = entries.map(|(key, entry)| StreamEntry {
            key: key.clone(),
            publisher: entry.publisher.as_ref().map(Holder::entry),
            subscribers: entry.subscribers,
        });
        entries.collect()
    }

    /// How much is taken.
    pub fn counts(&self) -> Counts {
        let state = self.inner.lock();
        let mut counts = Counts { subscribers: state.subscribers, ..Counts::default() };
        for entry in state.streams.values() {
            counts.streams += usize::from(!entry.is_idle());
            if let Some(holder) = &entry.publisher {
                counts.publishers += 1;
                counts.live += usize::from(holder.tracks.is_some());
            }
        }
        counts
    }

    /// Forgets the entries whose time to live is over. Happens by itself when places run short; called now and then, it
    /// keeps the directory small.
    pub fn sweep(&self, now: Instant) {
        let millis = self.inner.tell(now);
        self.inner.lock().sweep(self.inner.config.ttl, millis);
    }
}

impl Inner {
    /// Milliseconds of an instant, which also becomes the latest.
    fn tell(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.origin).as_millis() as u64;
        // Workers tell the time for each burst: within a millisecond a look is enough, and costs no other core its line.
        if self.latest.load(Ordering::Relaxed) < millis {
            self.latest.fetch_max(millis, Ordering::Relaxed);
        }
        millis
    }

    /// Frees the place of whoever `own` says, as publisher or about to be one; nothing where that has happened already.
    fn free_publisher(&self, key: &StreamKey, own: impl Fn(&Holder) -> bool) {
        let latest = self.latest.load(Ordering::Relaxed);
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(key) else { return };
        let freed = entry.publisher.take_if(|holder| own(holder));
        let freed = freed.or(entry.challenger.take_if(|holder| own(holder)));
        if freed.is_some() && entry.is_unclaimed() {
            entry.idle_since = latest;
            state.publishers = state.publishers.saturating_sub(1);
        }
    }

    /// The state. Its holders do not leave it half-changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The entry of a stream, made if there is none and room for it.
    fn entry(&mut self, key: &StreamKey, config: &Config, millis: u64) -> Result<&mut Entry, Full> {
        if !self.streams.contains_key(key) && self.streams.len() >= config.streams {
            self.sweep(config.ttl, millis);
            if self.streams.len() >= config.streams && !self.evict_idle() {
                return Err(Full);
            }
        }
        Ok(self.insert(key, millis))
    }

    /// The same, room or not.
    fn insert(&mut self, key: &StreamKey, millis: u64) -> &mut Entry {
        self.streams.entry(key.clone()).or_insert_with(|| Entry { idle_since: millis, ..Entry::default() })
    }

    /// Whether a stream that there is not yet would take a publisher's place.
    fn is_kept_for_publishers(&self, key: &StreamKey, config: &Config) -> bool {
        let held = self.streams.values().filter(|entry| !entry.is_idle());
        let kept = config.publishers.saturating_sub(self.publishers).min(config.streams / 2);
        self.streams.get(key).is_none_or(Entry::is_idle)
            && self.streams.len() + kept >= config.streams
            && held.count() + kept >= config.streams
    }

    fn sweep(&mut self, ttl: Duration, millis: u64) {
        self.streams.retain(|_, entry| !entry.expired(ttl, millis));
    }

    /// Forgets the entry that has been idle longest, before its time.
    fn evict_idle(&mut self) -> bool {
        let idle = self.streams.iter().filter(|(_, entry)| entry.is_idle());
        let Some(key) = idle.min_by_key(|(_, entry)| entry.idle_since).map(|(key, _)| key.clone()) else {
            return false;
        };
        self.streams.remove(&key).is_some()
    }
}

impl Entry {
    fn is_idle(&self) -> bool {
        self.is_unclaimed() && self.subscribers == 0
    }

    /// Whether nobody publishes and nobody is about to.
    fn is_unclaimed(&self) -> bool {
        self.publisher.is_none() && self.challenger.is_none()
    }

    fn expired(&self, ttl: Duration, millis: u64) -> bool {
        self.is_idle() && u128::from(millis.saturating_sub(self.idle_since)) >= ttl.as_millis()
    }
}

impl Holder {
    fn entry(&self) -> PublisherEntry {
        PublisherEntry { session: self.session, since: self.since, live: self.tracks.is_some() }
    }
}
