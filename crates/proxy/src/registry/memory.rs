//! The registry of one proxy: in its own memory, and never away.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Answer, CLAIM, Claimed, DRAIN, Failure, Listed, Listing, Refreshed, Registry, SESSION, STALE, Token};
use crate::ice::Pair;
use crate::origins::{MOST_ORIGINS, OriginRecord};
use crate::record::{OriginId, Session, SessionId};

/// Streams that are claimed at once. About 20 MB.
const MOST_CLAIMS: usize = 100_000;

/// Sessions that have ended and are remembered at once. About 10 MB.
const MOST_ENDED: usize = 100_000;

/// What is tidied up at least between two sweeps of a table.
const SWEEP: Duration = Duration::from_secs(1);

/// Values that expire, at most `most` of them. One more finds no room until others have expired.
#[derive(Debug)]
struct Expiring<K, V> {
    table: HashMap<K, (V, Instant)>,
    most: usize,
    swept: Instant,
}

impl<K: Eq + Hash, V> Expiring<K, V> {
    fn new(most: usize) -> Self {
        Self { table: HashMap::new(), most, swept: Instant::now() }
    }

    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Instant) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.table.get(key).filter(|(_, until)| *until > now).map(|(value, _)| value)
    }

    fn until<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Instant>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.table.get(key).map(|(_, until)| *until)
    }

    fn put(&mut self, key: K, value: V, until: Instant, now: Instant) -> Result<(), Failure> {
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.table.retain(|_, (_, until)| *until > now);
            self.swept = now;
        }
        if self.table.len() >= self.most && !self.table.contains_key(&key) {
            return Err(Failure::Refused);
        }
        self.table.insert(key, (value, until));
        Ok(())
    }
}

/// How much a claim counts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// Nobody has seen it but who made it.
    Made(Token),
    /// Somebody else counts on it.
    Seen,
    /// The origin has the stream.
    Used,
}

#[derive(Debug)]
struct Tables {
    origins: BTreeMap<OriginId, (OriginRecord, Instant)>,
    drained: Expiring<OriginId, ()>,
    claims: Expiring<String, (OriginId, Mark)>,
    sessions: Expiring<SessionId, Session>,
    pairs: Expiring<Pair, SessionId>,
    /// Those that nobody brings back. They take no room of those that live; one that is not remembered here for want of room
    /// could come back only if its own proxy said so.
    ended: Expiring<SessionId, ()>,
}

/// Everything in tables that are bounded and expire. When one is full, what would be new in it is refused.
#[derive(Debug)]
pub struct Memory(Mutex<Tables>);

impl Memory {
    /// An empty one for so many sessions.
    #[must_use]
    pub fn new(most_sessions: usize) -> Self {
        Self(Mutex::new(Tables {
            origins: BTreeMap::new(),
            drained: Expiring::new(MOST_ORIGINS),
            claims: Expiring::new(MOST_CLAIMS),
            sessions: Expiring::new(most_sessions.saturating_mul(2)),
            pairs: Expiring::new(most_sessions.saturating_mul(4)),
            ended: Expiring::new(MOST_ENDED),
        }))
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claimed(&self, stream: &str, from: Option<&OriginId>, wanted: &OriginId) -> Result<Claimed, Failure> {
        let (mut tables, now) = (self.tables(), Instant::now());
        let held = tables.claims.get(stream, now).cloned();
        match held.filter(|(holder, _)| from != Some(holder)) {
            Some((holder, mark)) => {
                if matches!(mark, Mark::Made(_)) {
                    tables.claims.put(stream.to_owned(), (holder.clone(), Mark::Seen), now + CLAIM, now)?;
                }
                Ok(Claimed { holder, token: None })
            }
            None => {
                let token = Token::random();
                let claim = (wanted.clone(), Mark::Made(token.clone()));
                tables.claims.put(stream.to_owned(), claim, now + CLAIM, now)?;
                Ok(Claimed { holder: wanted.clone(), token: Some(token) })
            }
        }
    }

    fn renewed(&self, stream: &str, origin: &OriginId) -> Result<OriginId, Failure> {
        let (mut tables, now) = (self.tables(), Instant::now());
        let is_stale = tables.claims.until(stream).is_none_or(|until| until <= now + (CLAIM - STALE));
        match tables.claims.get(stream, now) {
            Some((holder, Mark::Used)) if holder != origin && !is_stale => Ok(holder.clone()),
            _ => {
                tables.claims.put(stream.to_owned(), (origin.clone(), Mark::Used), now + CLAIM, now)?;
                Ok(origin.clone())
            }
        }
    }

    fn stored(&self, session: &Session) -> Result<bool, Failure> {
        let (mut tables, now) = (self.tables(), Instant::now());
        if tables.ended.get(&session.id, now).is_some() {
            return Ok(false);
        }
        tables.sessions.put(session.id.clone(), session.clone(), now + SESSION, now)?;
        for pair in session.pairs() {
            tables.pairs.put(pair, session.id.clone(), now + SESSION, now)?;
        }
        Ok(true)
    }

    fn refreshed(&self, session: &Session) -> Refreshed {
        let (mut tables, now) = (self.tables(), Instant::now());
        if tables.ended.get(&session.id, now).is_some() {
            return Refreshed::Ended;
        }
        let Some(kept) = tables.sessions.get(&session.id, now).cloned() else { return Refreshed::Missing };
        // What is there already has room.
        let _ = tables.sessions.put(session.id.clone(), kept, now + SESSION, now);
        let mut is_whole = true;
        for pair in session.pairs() {
            is_whole &= tables.pairs.get(&pair, now).is_some();
            let _ = tables.pairs.put(pair, session.id.clone(), now + SESSION, now);
        }
        if is_whole { Refreshed::Kept } else { Refreshed::Missing }
    }
}

fn ready<'a, T: Send + 'a>(value: Result<T, Failure>) -> Answer<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Registry for Memory {
    fn origins(&self) -> Answer<'_, Listing> {
        let (mut tables, now) = (self.tables(), Instant::now());
        tables.origins.retain(|_, (record, heard)| now.saturating_duration_since(*heard) < record.lease());
        let listed = |(record, heard): &(OriginRecord, Instant)| Listed {
            record: record.clone(),
            age: now.saturating_duration_since(*heard),
        };
        let origins = tables.origins.values().map(listed).collect();
        let drained = tables.drained.table.iter().filter(|(_, (_, until))| *until > now);
        let drained = drained.map(|(id, _)| id.clone()).collect();
        ready(Ok(Listing { origins, drained }))
    }

    fn heartbeat<'a>(&'a self, record: &'a OriginRecord) -> Answer<'a, bool> {
        let (mut tables, now) = (self.tables(), Instant::now());
        let id = &record.origin.id;
        tables.origins.retain(|_, (record, heard)| now.saturating_duration_since(*heard) < record.lease());
        let has_room = tables.origins.len() < MOST_ORIGINS || tables.origins.contains_key(id);
        if has_room {
            tables.origins.insert(id.clone(), (record.clone(), now));
        }
        ready(Ok(has_room))
    }

    fn drain<'a>(&'a self, origin: &'a OriginId, on: bool) -> Answer<'a, ()> {
        let (mut tables, now) = (self.tables(), Instant::now());
        if on {
            return ready(tables.drained.put(origin.clone(), (), now + DRAIN, now));
        }
        tables.drained.table.remove(origin);
        ready(Ok(()))
    }

    fn remove<'a>(&'a self, origin: &'a OriginId) -> Answer<'a, ()> {
        let mut tables = self.tables();
        tables.origins.remove(origin);
        tables.drained.table.remove(origin);
        ready(Ok(()))
    }

    fn claim<'a>(&'a self, stream: &'a str, wanted: &'a OriginId) -> Answer<'a, Claimed> {
        ready(self.claimed(stream, None, wanted))
    }

    fn reclaim<'a>(&'a self, stream: &'a str, from: &'a OriginId, to: &'a OriginId) -> Answer<'a, Claimed> {
        ready(self.claimed(stream, Some(from), to))
    }

    fn release<'a>(
        &'a self,
        stream: &'a str,
        of: &'a OriginId,
        token: &'a Token,
        back: Option<&'a OriginId>,
    ) -> Answer<'a, ()> {
        let (mut tables, now) = (self.tables(), Instant::now());
        let is_it = |(holder, mark): &(OriginId, Mark)| holder == of && *mark == Mark::Made(token.clone());
        if tables.claims.get(stream, now).is_some_and(is_it) {
            match back {
                Some(back) => {
                    return ready(tables.claims.put(stream.to_owned(), (back.clone(), Mark::Seen), now + CLAIM, now));
                }
                None => drop(tables.claims.table.remove(stream)),
            }
        }
        ready(Ok(()))
    }

    fn claim_of<'a>(&'a self, stream: &'a str) -> Answer<'a, Option<OriginId>> {
        ready(Ok(self.tables().claims.get(stream, Instant::now()).map(|(holder, _)| holder.clone())))
    }

    fn refresh_claims<'a>(&'a self, claims: &'a [(String, OriginId)]) -> Answer<'a, Vec<OriginId>> {
        ready(claims.iter().map(|(stream, origin)| self.renewed(stream, origin)).collect())
    }

    fn store<'a>(&'a self, session: &'a Session) -> Answer<'a, bool> {
        ready(self.stored(session))
    }

    fn by_pair<'a>(&'a self, pair: &'a Pair) -> Answer<'a, Option<Session>> {
        let (tables, now) = (self.tables(), Instant::now());
        let session = tables.pairs.get(pair, now).and_then(|id| tables.sessions.get(id, now));
        ready(Ok(session.cloned()))
    }

    fn by_id<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Option<Session>> {
        ready(Ok(self.tables().sessions.get(id, Instant::now()).cloned()))
    }

    fn refresh<'a>(&'a self, sessions: &'a [Arc<Session>]) -> Answer<'a, Vec<Refreshed>> {
        ready(Ok(sessions.iter().map(|session| self.refreshed(session)).collect()))
    }

    fn end<'a>(&'a self, ids: &'a [SessionId]) -> Answer<'a, ()> {
        let (mut tables, now) = (self.tables(), Instant::now());
        for id in ids {
            if let Some((session, _)) = tables.sessions.table.remove(id) {
                for pair in session.pairs() {
                    tables.pairs.table.remove(&pair);
                }
            }
            let _ = tables.ended.put(id.clone(), (), now + SESSION, now);
        }
        ready(Ok(()))
    }

    fn poisoned(&self) -> u64 {
        0
    }
}
