//! What one proxy knows and decides: which origin a request goes to, which session a datagram belongs to.
//!
//! [`State`] joins the origins' machine, the registry and the datagram plane. Nothing of it waits longer than the registry
//! may take to answer (500 ms) or a probe (2 s, and only for an origin that just failed). While the registry is away the
//! sessions there are go on; a new one is served where that cannot send it elsewhere than the other proxies would:
//! where the claim of its stream is known, has not expired, and its origin lives; everything else hears 503. What could
//! not be written is written when the registry is back.

mod claims;
mod events;
mod kept;
mod pick;
mod reach;
mod ready;
mod refresh;
mod relayed;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::warn;
use whipstitch_net::brake::Brake;

use crate::ice::{Generation, Pair};
use crate::origins::{Heartbeat, Origin, OriginRecord, Origins, Probe, Seen, Standing};
use crate::record::{OriginId, Session, SessionId};
use crate::registry::{Away, Failure, Registry};
use claims::Claims;
use events::Event;
use kept::Kept;
pub use pick::{NoOrigin, Picked};
use reach::Reach;

/// What the relay tells and has not been looked at. When it is full the relay hears so and asks again with the next
/// retransmission of a client.
const EVENTS: usize = 4096;

/// The datagram plane as the state sees it.
pub trait Sessions: Send + Sync {
    /// A new session, or a new generation of one, or the answer to what was wanted. `false` if there is no room.
    fn install(&self, session: Arc<Session>) -> bool;
    /// Whether it is there.
    fn has(&self, id: &SessionId) -> bool;
    /// The answer to what was wanted: nobody knows it.
    fn unknown(&self, pair: &Pair);
    /// The session has ended: no datagram of it is passed on any more.
    fn end(&self, id: &SessionId);
}

/// How a session ended in the datagram plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing came for a while: its client may be at another proxy.
    Idle,
    /// Its peers closed it.
    Closed,
}

/// There is no room for one more session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no room for one more session")]
pub struct Full;

/// Why an origin is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// Another server lives under its id.
    #[error("another server that is alive has this id: ids must differ")]
    Taken,
    /// There are too many.
    #[error("there are too many origins")]
    TooMany,
}

/// What the configuration says of it.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// Origins that are given.
    pub origins: Vec<Origin>,
    /// Sessions at once.
    pub most_sessions: usize,
}

/// What is counted, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls to the registry that it did not answer.
    pub away: AtomicU64,
    /// Calls that it answered with a refusal: no room, or something that it does not do.
    pub refused: AtomicU64,
    /// Heartbeats that were taken.
    pub heartbeats: AtomicU64,
    /// Streams that an origin named while another has them.
    pub conflicts: AtomicU64,
    /// Streams that went to another origin as theirs was gone.
    pub reclaimed: AtomicU64,
    /// Pairs that were looked up and found.
    pub found: AtomicU64,
    /// Pairs that were looked up and are nobody's.
    pub unknown: AtomicU64,
    /// What the relay told and found no room.
    pub dropped: AtomicU64,
    /// Requests that found no origin.
    pub nowhere: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// One stream and who has it, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenStream {
    /// Its name.
    pub stream: String,
    /// Who has it, as this proxy heard last.
    pub origin: OriginId,
    /// Publishers and viewers of it through this proxy.
    pub sessions: usize,
}

/// Everything one proxy knows; see the module.
pub struct State {
    registry: Arc<dyn Registry>,
    probe: Arc<dyn Probe>,
    origins: Mutex<Origins>,
    claims: Mutex<Claims>,
    kept: Mutex<Kept>,
    reach: Reach,
    refusals: Brake,
    /// There is something to tell the registry.
    wake: Arc<Notify>,
    /// One asks for all origins at a time; who waited for that has the answer.
    listing: tokio::sync::Mutex<Option<Instant>>,
    /// Not kept alive by this: it tells the state what it finds, and so holds it.
    relay: OnceLock<Weak<dyn Sessions>>,
    lookups: mpsc::Sender<Pair>,
    events: mpsc::Sender<Event>,
    counters: Counters,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machines take the standard library's instants; tokio's are those that tests can move.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl State {
    /// Begins to listen, probe and refresh, for as long as anybody holds it. Must be called within tokio.
    #[must_use]
    pub fn start(registry: Arc<dyn Registry>, probe: Arc<dyn Probe>, config: StateConfig) -> Arc<Self> {
        let (events, told) = mpsc::channel(EVENTS);
        let (lookups, wanted) = mpsc::channel(EVENTS);
        let mut origins = Origins::default();
        for origin in config.origins {
            if origins.give(origin).is_err() {
                warn!("more origins are given than there may be");
                break;
            }
        }
        let state = Arc::new(Self {
            registry,
            probe,
            origins: Mutex::new(origins),
            claims: Mutex::default(),
            kept: Mutex::new(Kept::new(config.most_sessions)),
            reach: Reach::default(),
            refusals: Brake::default(),
            wake: Arc::default(),
            listing: tokio::sync::Mutex::new(None),
            relay: OnceLock::new(),
            lookups,
            events,
            counters: Counters::default(),
        });
        tokio::spawn(refresh::run(Arc::downgrade(&state)));
        tokio::spawn(writing::run(Arc::downgrade(&state), Arc::clone(&state.wake)));
        tokio::spawn(events::run(Arc::downgrade(&state), told));
        tokio::spawn(events::look_up(Arc::downgrade(&state), wanted));
        state
    }

    /// The datagram plane, which needs the state to start and so comes later. A second one changes nothing.
    pub fn attach<S: Sessions + 'static>(&self, relay: &Arc<S>) {
        let weak: Weak<S> = Arc::downgrade(relay);
        let _ = self.relay.set(weak);
    }

    /// The datagram plane, while it runs.
    fn relay(&self) -> Option<Arc<dyn Sessions>> {
        self.relay.get().and_then(Weak::upgrade)
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Values in the registry that no proxy wrote, so far.
    #[must_use]
    pub fn poisoned(&self) -> u64 {
        self.registry.poisoned()
    }

    /// Whether the registry did not answer when it was asked last.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.reach.is_away()
    }

    /// How many sessions are kept here.
    #[must_use]
    pub fn sessions(&self) -> usize {
        locked(&self.kept).len()
    }

    /// The sessions that are kept here, in no order: with what is secret in them.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<Session>> {
        locked(&self.kept).all()
    }

    /// All origins, by id.
    #[must_use]
    pub fn origins(&self) -> Vec<Seen> {
        locked(&self.origins).list(now())
    }

    /// How many origins there are of each standing.
    #[must_use]
    pub fn origins_by_standing(&self) -> BTreeMap<Standing, usize> {
        locked(&self.origins).counted(now())
    }

    /// The streams this proxy has to do with, by name.
    #[must_use]
    pub fn streams(&self) -> Vec<SeenStream> {
        let kept = self.records();
        let mut sessions = HashMap::<&str, usize>::new();
        kept.iter().for_each(|session| *sessions.entry(&session.stream).or_default() += 1);
        let mut held = locked(&self.claims).all(Instant::now());
        // Not under the lock that requests need.
        held.sort();
        let seen = held.into_iter().map(|(stream, origin)| SeenStream {
            sessions: sessions.get(stream.as_str()).copied().unwrap_or_default(),
            stream,
            origin,
        });
        seen.collect()
    }

    /// How many streams this proxy knows the origin of.
    #[must_use]
    pub fn streams_known(&self) -> usize {
        locked(&self.claims).len()
    }

    /// An origin says how it is. What the registry does not take now it takes with the next one.
    ///
    /// # Errors
    /// The origin is not taken.
    pub async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<(), Refused> {
        let Heartbeat { record, streams } = heartbeat;
        let id = record.origin.id.clone();
        {
            let (mut origins, now) = (locked(&self.origins), now());
            origins.judge(&record, now).map_err(|_| Refused::Taken)?;
            origins.heard(record.clone(), Duration::ZERO, now).map_err(|_| Refused::TooMany)?;
        }
        Counters::add(&self.counters.heartbeats);
        if self.asked(self.registry.heartbeat(&record).await) == Ok(false) {
            return Err(Refused::TooMany);
        }
        self.named(&id, streams).await;
        Ok(())
    }

    /// A registration without streams, as SRS sends it.
    ///
    /// # Errors
    /// The origin is not taken.
    pub async fn registered(&self, record: OriginRecord) -> Result<(), Refused> {
        self.heartbeat(Heartbeat { record, streams: Vec::new() }).await
    }

    /// An operator drains an origin, or no more. `Ok(false)`: nobody knows it.
    ///
    /// # Errors
    /// The other proxies do not hear of it.
    pub async fn drain(&self, origin: &OriginId, on: bool) -> Result<bool, Away> {
        if locked(&self.origins).standing(origin, now()).is_none() {
            return Ok(false);
        }
        self.asked(self.registry.drain(origin, on).await)?;
        locked(&self.origins).drain(origin, on);
        Ok(true)
    }

    /// An origin says goodbye. `false` if nobody knew it.
    ///
    /// # Errors
    /// The other proxies hear of it only when its lease ends.
    pub async fn remove(&self, origin: &OriginId) -> Result<bool, Away> {
        let was_known = locked(&self.origins).remove(origin);
        self.asked(self.registry.remove(origin).await)?;
        Ok(was_known)
    }

    /// Whether one more session finds room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        locked(&self.kept).has_room()
    }

    /// A session was answered: its datagrams are passed on from now on, by any proxy.
    ///
    /// # Errors
    /// There is no room for it.
    pub async fn opened(&self, session: Arc<Session>) -> Result<(), Full> {
        if !self.take_in(&session) {
            return Err(Full);
        }
        self.write(&session).await;
        Ok(())
    }

    /// Keeps and installs it. `false` if there is no room for it.
    fn take_in(&self, session: &Arc<Session>) -> bool {
        // Kept first: what the relay says of it must find it.
        if !locked(&self.kept).put(Arc::clone(session), Instant::now()) {
            return false;
        }
        let is_in = self.relay().is_none_or(|relay| relay.install(Arc::clone(session)));
        let mut kept = locked(&self.kept);
        if !is_in {
            kept.forget(&session.id);
        } else if kept.get(&session.id).is_none() {
            // An end that the relay told of before was heard in between.
            return kept.put(Arc::clone(session), Instant::now());
        }
        is_in
    }

    /// The session of a URL.
    ///
    /// # Errors
    /// It is not known here, and the registry cannot be asked.
    pub async fn session(&self, id: &SessionId) -> Result<Option<Arc<Session>>, Away> {
        if let Some(session) = locked(&self.kept).get(id) {
            return Ok(Some(session));
        }
        let found = self.asked(self.registry.by_id(id).await)?;
        Ok(found.map(Arc::new))
    }

    /// An ICE restart was answered: the session has another generation, and the last one for as long as the client needs it.
    /// Nothing happens where nobody knows the session.
    pub async fn restarted(&self, id: &SessionId, generation: Generation, etag: Option<String>) {
        let Ok(Some(session)) = self.session(id).await else { return };
        let mut next = Session::clone(&session);
        next.generations.drain(..next.generations.len().saturating_sub(1));
        next.generations.push(generation);
        next.etag = etag.or(next.etag);
        if self.opened(Arc::new(next)).await.is_err() {
            warn!(session = ?id, "no room for a session that was restarted at another proxy");
        }
    }

    /// A session was ended by its client, or is no more at its origin.
    pub async fn closed(&self, id: &SessionId) {
        if let Some(relay) = self.relay() {
            relay.end(id);
        }
        locked(&self.kept).forget(id);
        self.end(std::slice::from_ref(id)).await;
    }

    /// Tells the registry that sessions have ended, at most [`MOST_AT_ONCE`](crate::registry::MOST_AT_ONCE); later, if it
    /// is away.
    async fn end(&self, ids: &[SessionId]) {
        if self.is_away() || self.asked(self.registry.end(ids).await).is_err() {
            let mut kept = locked(&self.kept);
            ids.iter().for_each(|id| kept.end_later(id.clone()));
        }
    }

    /// Writes a record; later, if the registry is away.
    async fn write(&self, session: &Arc<Session>) {
        match self.asked(self.registry.store(session).await) {
            Ok(true) => locked(&self.kept).written(session),
            Ok(false) => self.ended_elsewhere(&session.id),
            // It is still due.
            Err(_) => {}
        }
    }

    /// Another proxy heard that it has ended.
    fn ended_elsewhere(&self, id: &SessionId) {
        if let Some(relay) = self.relay() {
            relay.end(id);
        }
        locked(&self.kept).forget(id);
    }

    /// Remembers whether the registry answered. One that says no is there.
    fn asked<T>(&self, answer: Result<T, Failure>) -> Result<T, Failure> {
        match &answer {
            Ok(_) => {
                if self.reach.answered() {
                    self.wake.notify_one();
                }
            }
            Err(Failure::Away) => {
                Counters::add(&self.counters.away);
                self.reach.silent();
            }
            Err(Failure::Refused) => {
                Counters::add(&self.counters.refused);
                if let Some(more) = self.refusals.pass(now()) {
                    warn!(more, "the registry refuses what it is asked for");
                }
            }
        }
        answer
    }
}
