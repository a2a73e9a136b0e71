//! All sessions of a relay, for its workers and for control: which session a pair is, and which worker has it.
//!
//! Workers look here for what is not theirs and when they begin or end a session, never for a datagram of a session they
//! have. One lock, held for a few map operations.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::counters::{Flow, Traffic};
use super::lookups::Lookups;
use crate::{OriginId, Pair, Role, Session, SessionId};

/// Retired generations that are remembered, so that no old record brings them back.
const RETIRED: usize = 4;

/// No worker has it yet: its client has not got through.
const NOBODY: usize = usize::MAX;

/// There is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this proxy has as many sessions as it may have")]
pub struct Full;

/// What a session does right now.
#[derive(Debug, Clone)]
pub struct SessionState {
    /// Its name in the proxy's URLs: a capability, not for lists.
    pub id: SessionId,
    /// Name of the stream.
    pub stream: String,
    /// Which way media goes.
    pub role: Role,
    /// Who serves it.
    pub origin: OriginId,
    /// Milliseconds since 1970 at which it was created.
    pub created_ms: u64,
    /// Where its client is; `None` until it got through.
    pub client: Option<SocketAddr>,
    /// The worker that has it; `None` until its client got through.
    pub worker: Option<usize>,
    /// What went to the origin.
    pub to_origin: Traffic,
    /// What came from the origin and was passed on.
    pub to_client: Traffic,
}

/// What of a session changes all the time. Its worker writes, anybody reads.
#[derive(Debug)]
pub(super) struct Live {
    owner: AtomicUsize,
    client: Mutex<Option<SocketAddr>>,
    /// Generations that are over, the oldest first.
    retired: Mutex<VecDeque<Pair>>,
    pub(super) to_origin: Flow,
    pub(super) to_client: Flow,
}

impl Live {
    fn new() -> Self {
        Self {
            owner: AtomicUsize::new(NOBODY),
            client: Mutex::default(),
            retired: Mutex::default(),
            to_origin: Flow::default(),
            to_client: Flow::default(),
        }
    }

    /// Whether a generation is over.
    pub(super) fn is_retired(&self, pair: &Pair) -> bool {
        lock(&self.retired).contains(pair)
    }

    fn retire(&self, pair: Pair) {
        let mut retired = lock(&self.retired);
        if retired.len() >= RETIRED {
            retired.pop_front();
        }
        retired.push_back(pair);
    }

    pub(super) fn set_client(&self, client: Option<SocketAddr>) {
        *lock(&self.client) = client;
    }

    fn owner(&self) -> Option<usize> {
        Some(self.owner.load(Ordering::Acquire)).filter(|owner| *owner != NOBODY)
    }
}

/// A session as the directory has it; another generation of it makes another one of these.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) record: Arc<Session>,
    pub(super) live: Arc<Live>,
}

impl Known {
    /// Which worker has it.
    pub(super) fn owner(&self) -> Option<usize> {
        self.live.owner()
    }

    fn state(&self) -> SessionState {
        let record = &self.record;
        SessionState {
            id: record.id.clone(),
            stream: record.stream.clone(),
            role: record.role,
            origin: record.origin.clone(),
            created_ms: record.created_ms,
            client: *lock(&self.live.client),
            worker: self.owner(),
            to_origin: self.live.to_origin.read(),
            to_client: self.live.to_client.read(),
        }
    }
}

/// What [`Directory::remove_unclaimed`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// There is no such session.
    Unknown,
    /// It is gone.
    Done,
    /// This worker has it and must end it.
    Owned(usize),
}

/// The table of all sessions.
#[derive(Debug)]
pub(super) struct Directory {
    inner: RwLock<Inner>,
    /// Of each worker. Locked by it and, for answers, by control.
    lookups: Box<[Mutex<Lookups>]>,
    /// Sessions there may be.
    most: usize,
    idle: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    pairs: HashMap<Pair, Known>,
    ids: HashMap<SessionId, Known>,
    /// Since when sessions have been installed, the oldest first; also such as have a worker, or are gone.
    waiting: VecDeque<(Instant, SessionId)>,
}

impl Directory {
    pub(super) fn new(workers: usize, most: usize, idle: Duration) -> Self {
        let lookups = (0..workers).map(|_| Mutex::default()).collect();
        Self { inner: RwLock::default(), lookups, most, idle }
    }

    /// The session of a request's USERNAME.
    pub(super) fn find(&self, username: &str) -> Option<Known> {
        self.read().pairs.get(username).cloned()
    }

    /// Whether there is this session.
    pub(super) fn has(&self, id: &SessionId) -> bool {
        self.read().ids.contains_key(id)
    }

    /// How many sessions there are.
    pub(super) fn len(&self) -> usize {
        self.read().ids.len()
    }

    pub(super) fn states(&self) -> Vec<SessionState> {
        self.read().ids.values().map(Known::state).collect()
    }

    /// Takes a session in, or another generation of one that is there: then its worker, if it has one, is to be told. A
    /// record that is older than what is known changes nothing.
    pub(super) fn install(&self, now: Instant, record: &Arc<Session>) -> Result<Option<usize>, Full> {
        let mut inner = self.write();
        let installed = match inner.ids.get(&record.id).cloned() {
            Some(before) => Ok(inner.renew(&before, record)),
            // Whoever makes sessions come and go faster than they can be idle is bounded, too.
            None if inner.ids.len() >= self.most || inner.waiting.len() >= self.most.saturating_mul(4) => Err(Full),
            None => {
                inner.waiting.push_back((now, record.id.clone()));
                inner.insert(Known { record: Arc::clone(record), live: Arc::new(Live::new()) });
                Ok(None)
            }
        };
        let (found, other): (Vec<_>, Vec<_>) = record.pairs().partition(|pair| inner.pairs.contains_key(pair));
        drop(inner);
        for lookups in &self.lookups {
            let mut lookups = lock(lookups);
            found.iter().for_each(|pair| lookups.forget(pair));
            // A generation that is over is nobody's.
            other.iter().for_each(|pair| lookups.unknown(now, pair));
        }
        installed
    }

    /// Gives a session to a worker whose client just proved itself. The session, or whose it is already; `None` when it
    /// is gone.
    pub(super) fn claim(&self, id: &SessionId, worker: usize) -> Option<Result<Known, usize>> {
        // With the lock for writing, so that nobody changes or removes it meanwhile.
        let inner = self.write();
        let known = inner.ids.get(id)?;
        let claimed = known.live.owner.compare_exchange(NOBODY, worker, Ordering::AcqRel, Ordering::Acquire);
        Some(claimed.map(|_| known.clone()))
    }

    /// Forgets one generation of a session.
    pub(super) fn retire(&self, id: &SessionId, pair: &Pair) {
        let mut inner = self.write();
        if let Some(known) = inner.ids.get(id) {
            known.live.retire(pair.clone());
        }
        if inner.pairs.get(pair).is_some_and(|known| known.record.id == *id) {
            inner.pairs.remove(pair);
        }
    }

    /// Forgets a session.
    pub(super) fn remove(&self, id: &SessionId) {
        let mut inner = self.write();
        if let Some(known) = inner.ids.remove(id) {
            inner.forget(&known.record);
        }
    }

    /// Forgets a session if no worker has it.
    pub(super) fn remove_unclaimed(&self, id: &SessionId) -> Removal {
        let mut inner = self.write();
        let Some(known) = inner.ids.get(id).cloned() else { return Removal::Unknown };
        if let Some(owner) = known.owner() {
            return Removal::Owned(owner);
        }
        inner.ids.remove(id);
        inner.forget(&known.record);
        Removal::Done
    }

    /// Takes a session whose client has not come for the idle time.
    pub(super) fn expired(&self, now: Instant) -> Option<SessionId> {
        loop {
            let is_due = |at: &Instant| now.saturating_duration_since(*at) >= self.idle;
            // Mostly nothing is due: looking takes no lock that others wait for.
            if !self.read().waiting.front().is_some_and(|(at, _)| is_due(at)) {
                return None;
            }
            let id = self.write().waiting.pop_front().map(|(_, id)| id)?;
            if self.remove_unclaimed(&id) == Removal::Done {
                return Some(id);
            }
        }
    }

    /// The look-ups of a worker.
    pub(super) fn lookups(&self, worker: usize) -> MutexGuard<'_, Lookups> {
        lock(&self.lookups[worker])
    }

    /// A pair is nobody's.
    pub(super) fn unknown(&self, now: Instant, pair: &Pair) {
        self.lookups.iter().for_each(|lookups| lock(lookups).unknown(now, pair));
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, known: Known) {
        for pair in known.record.pairs().filter(|pair| !known.live.is_retired(pair)) {
            // An origin never gives one ufrag to two sessions; whoever was first keeps it.
            self.pairs.entry(pair).or_insert_with(|| known.clone());
        }
        self.ids.insert(known.record.id.clone(), known);
    }

    /// Another record of a session. The worker to be told of what is new in it.
    fn renew(&mut self, before: &Known, record: &Arc<Session>) -> Option<usize> {
        let newest = record.generations.last()?.pair();
        if before.live.is_retired(&newest) || before.record.pairs().any(|pair| pair == newest) {
            return None;
        }
        self.forget(&before.record);
        for pair in before.record.pairs().filter(|pair| record.pairs().all(|other| other != *pair)) {
            before.live.retire(pair);
        }
        let known = Known { record: Arc::clone(record), live: Arc::clone(&before.live) };
        let owner = known.owner();
        self.insert(known);
        owner
    }

    /// The pairs of a session lead nowhere any more.
    fn forget(&mut self, record: &Session) {
        for pair in record.pairs() {
            if self.pairs.get(&pair).is_some_and(|known| known.record.id == record.id) {
                self.pairs.remove(&pair);
            }
        }
    }
}

/// Nothing in here panics half-way through a change.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
