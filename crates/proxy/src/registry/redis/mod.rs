//! The registry in Redis 7 or Valkey, shared by any number of proxies.
//!
//! | key | what | lasts |
//! |---|---|---|
//! | `whipstitch:origins` | ids of origins by the time their lease ends (sorted set) | the longest lease |
//! | `whipstitch:origin:{id}` | record of an origin | its lease |
//! | `whipstitch:drained` | ids of drained origins by the time that is forgotten (sorted set) | 7 days |
//! | `whipstitch:stream:{name}` | which origin has it; a token while nobody counts on that, `!` once it has | 60 s |
//! | `whipstitch:session:{id}` | record of a session, or `ended` | 60 s |
//! | `whipstitch:pair:{ufrag:ufrag}` | id of the session | 60 s |
//!
//! What takes more than one command is a script and so happens at once. Time is the server's. Keys are made within scripts:
//! one server (with replicas, if any), no cluster.

mod connection;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{FromRedisValue, Script, ScriptInvocation};

use super::{
    Answer, CLAIM, Claimed, DRAIN, Failure, Listed, Listing, MOST_AT_ONCE, Refreshed, Registry, SESSION, STALE, Token,
};
use crate::ice::Pair;
use crate::origins::{MOST_ORIGINS, OriginRecord};
use crate::record::{OriginId, Session, SessionId};
use connection::Connection;
pub use connection::RedisUrl;

const ORIGINS: &str = "whipstitch:origins";
const DRAINED: &str = "whipstitch:drained";
const ORIGIN: &str = "whipstitch:origin:";
const SESSIONS: &str = "whipstitch:session:";

fn origin(id: &OriginId) -> String {
    format!("{ORIGIN}{}", id.as_str())
}

fn stream(name: &str) -> String {
    format!("whipstitch:stream:{name}")
}

fn session(id: &SessionId) -> String {
    format!("{SESSIONS}{}", id.as_str())
}

fn pair(pair: &Pair) -> String {
    format!("whipstitch:pair:{}", pair.as_str())
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What keys hold, whoever wrote it.
type Texts = Vec<Vec<u8>>;

struct Scripts {
    origins: Script,
    listed: Script,
    remove: Script,
    claim: Script,
    release: Script,
    renew: Script,
    store: Script,
    pair: Script,
    refresh: Script,
    end: Script,
}

/// A client of one server.
pub struct Redis {
    connection: Connection,
    scripts: Scripts,
    poisoned: AtomicU64,
}

impl Redis {
    /// A client that connects when it is first asked, and again when the connection breaks.
    #[must_use]
    pub fn new(url: RedisUrl) -> Self {
        let scripts = Scripts {
            origins: Script::new(include_str!("origins.lua")),
            listed: Script::new(include_str!("listed.lua")),
            remove: Script::new(include_str!("remove.lua")),
            claim: Script::new(concat!(include_str!("held.lua"), include_str!("claim.lua"))),
            release: Script::new(include_str!("release.lua")),
            renew: Script::new(concat!(include_str!("held.lua"), include_str!("renew.lua"))),
            store: Script::new(include_str!("store.lua")),
            pair: Script::new(include_str!("pair.lua")),
            refresh: Script::new(include_str!("refresh.lua")),
            end: Script::new(include_str!("end.lua")),
        };
        Self { connection: Connection::new(url), scripts, poisoned: AtomicU64::new(0) }
    }

    /// Runs a script. What it returns is always of the same shape, whatever stands in the server.
    async fn run<T: FromRedisValue + Send>(&self, script: &ScriptInvocation<'_>) -> Result<T, Failure> {
        self.connection.run(script).await
    }

    /// Counts values that nobody of us wrote.
    fn poison(&self, many: u64) {
        self.poisoned.fetch_add(many, Ordering::Relaxed);
    }

    /// The value, or `None` and it counts as poisoned.
    fn judged<T, E>(&self, value: Result<T, E>) -> Option<T> {
        if value.is_err() {
            self.poison(1);
        }
        value.ok()
    }

    fn id(&self, text: &[u8]) -> Option<OriginId> {
        self.judged(std::str::from_utf8(text).ok().and_then(OriginId::parse).ok_or(()))
    }

    fn session(&self, text: &[u8]) -> Option<Session> {
        if text.is_empty() || text == b"ended" {
            return None;
        }
        self.judged(read(text))
    }

    async fn list(&self) -> Result<Listing, Failure> {
        let mut script = self.scripts.origins.prepare_invoke();
        script.key(ORIGINS).key(DRAINED).arg(ORIGIN).arg(MOST_ORIGINS);
        let (poisoned, records, left, drained): (u64, Texts, Vec<i64>, Texts) = self.run(&script).await?;
        self.poison(poisoned);
        let listed = |(record, left): (Vec<u8>, i64)| {
            let record = self.judged(
                std::str::from_utf8(&record).map_err(drop).and_then(|text| OriginRecord::from_json(text).map_err(drop)),
            )?;
            // A key without expiry is nobody's of us.
            let left = self.judged(u64::try_from(left))?;
            let age = record.lease().saturating_sub(Duration::from_millis(left));
            Some(Listed { record, age })
        };
        let origins = records.into_iter().zip(left).filter_map(listed).collect();
        let drained: BTreeSet<OriginId> = drained.iter().filter_map(|id| self.id(id)).collect();
        Ok(Listing { origins, drained })
    }

    async fn put(&self, script: &ScriptInvocation<'_>) -> Result<bool, Failure> {
        let (poisoned, has_room): (u64, bool) = self.run(script).await?;
        self.poison(poisoned);
        Ok(has_room)
    }

    async fn claimed(&self, name: &str, from: Option<&OriginId>, wanted: &OriginId) -> Result<Claimed, Failure> {
        let token = Token::random();
        let mut script = self.scripts.claim.prepare_invoke();
        script
            .key(stream(name))
            .arg(from.map_or("", OriginId::as_str))
            .arg(wanted.as_str())
            .arg(&token.0)
            .arg(ms(CLAIM));
        let (poisoned, holder, is_new): (u64, Vec<u8>, bool) = self.run(&script).await?;
        self.poison(poisoned);
        // The script lets nothing else through than what is an id.
        let holder = self.id(&holder).ok_or(Failure::Refused)?;
        Ok(Claimed { holder, token: is_new.then_some(token) })
    }

    async fn renewed(&self, claims: &[(String, OriginId)]) -> Result<Vec<OriginId>, Failure> {
        debug_assert!(claims.len() <= MOST_AT_ONCE);
        let mut script = self.scripts.renew.prepare_invoke();
        script.arg(ms(CLAIM)).arg(ms(CLAIM - STALE));
        for (name, origin) in claims {
            script.key(stream(name)).arg(origin.as_str());
        }
        let (poisoned, holders): (u64, Texts) = self.run(&script).await?;
        self.poison(poisoned);
        let read = |(holder, (_, wanted)): (Vec<u8>, &(String, OriginId))| self.id(&holder).unwrap_or(wanted.clone());
        Ok(holders.into_iter().zip(claims).map(read).collect())
    }

    async fn refreshed(&self, sessions: &[Arc<Session>]) -> Result<Vec<Refreshed>, Failure> {
        debug_assert!(sessions.len() <= MOST_AT_ONCE);
        let mut script = self.scripts.refresh.prepare_invoke();
        script.arg(ms(SESSION));
        for kept in sessions {
            script.key(session(&kept.id)).arg(1 + kept.generations.len());
            for own in kept.pairs() {
                script.key(pair(&own));
            }
        }
        let what: Vec<u8> =
            self.run::<Vec<i64>>(&script).await?.into_iter().map(|n| u8::try_from(n).unwrap_or(1)).collect();
        let read = |what: u8| match what {
            0 => Refreshed::Kept,
            2 => Refreshed::Ended,
            _ => Refreshed::Missing,
        };
        Ok(what.into_iter().map(read).collect())
    }
}

/// A record as it stands in the server.
fn read(text: &[u8]) -> Result<Session, ()> {
    std::str::from_utf8(text).map_err(drop).and_then(|text| Session::from_json(text).map_err(drop))
}

impl Registry for Redis {
    fn origins(&self) -> Answer<'_, Listing> {
        Box::pin(self.list())
    }

    fn heartbeat<'a>(&'a self, record: &'a OriginRecord) -> Answer<'a, bool> {
        Box::pin(async move {
            let id = &record.origin.id;
            let mut script = self.scripts.listed.prepare_invoke();
            script.key(ORIGINS).key(origin(id));
            script.arg(id.as_str()).arg(ms(record.lease())).arg(MOST_ORIGINS).arg(record.to_json());
            self.put(&script).await
        })
    }

    fn drain<'a>(&'a self, origin: &'a OriginId, on: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            if on {
                let mut script = self.scripts.listed.prepare_invoke();
                script.key(DRAINED).arg(origin.as_str()).arg(ms(DRAIN)).arg(MOST_ORIGINS);
                return self.put(&script).await.map(drop);
            }
            self.connection.query(redis::cmd("ZREM").arg(DRAINED).arg(origin.as_str())).await
        })
    }

    fn remove<'a>(&'a self, id: &'a OriginId) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut script = self.scripts.remove.prepare_invoke();
            script.key(origin(id)).key(ORIGINS).key(DRAINED).arg(id.as_str());
            self.run(&script).await
        })
    }

    fn claim<'a>(&'a self, stream: &'a str, wanted: &'a OriginId) -> Answer<'a, Claimed> {
        Box::pin(self.claimed(stream, None, wanted))
    }

    fn reclaim<'a>(&'a self, stream: &'a str, from: &'a OriginId, to: &'a OriginId) -> Answer<'a, Claimed> {
        Box::pin(self.claimed(stream, Some(from), to))
    }

    fn release<'a>(
        &'a self,
        name: &'a str,
        of: &'a OriginId,
        token: &'a Token,
        back: Option<&'a OriginId>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut script = self.scripts.release.prepare_invoke();
            script.key(stream(name)).arg(format!("{} {}", of.as_str(), token.0));
            script.arg(back.map_or("", OriginId::as_str)).arg(ms(CLAIM));
            self.run(&script).await
        })
    }

    fn claim_of<'a>(&'a self, name: &'a str) -> Answer<'a, Option<OriginId>> {
        Box::pin(async move {
            let value = self.connection.text(stream(name)).await?;
            let Some(value) = self.judged(value).flatten() else { return Ok(None) };
            let holder = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            Ok(self.id(holder))
        })
    }

    fn refresh_claims<'a>(&'a self, claims: &'a [(String, OriginId)]) -> Answer<'a, Vec<OriginId>> {
        Box::pin(self.renewed(claims))
    }

    fn store<'a>(&'a self, kept: &'a Session) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut script = self.scripts.store.prepare_invoke();
            script.key(session(&kept.id)).arg(kept.to_json()).arg(kept.id.as_str()).arg(ms(SESSION));
            for own in kept.pairs() {
                script.key(pair(&own));
            }
            self.run(&script).await
        })
    }

    fn by_pair<'a>(&'a self, asked: &'a Pair) -> Answer<'a, Option<Session>> {
        Box::pin(async move {
            let mut script = self.scripts.pair.prepare_invoke();
            script.key(pair(asked)).arg(SESSIONS);
            let (poisoned, record): (u64, Vec<u8>) = self.run(&script).await?;
            self.poison(poisoned);
            // A record that does not have this pair was put there by somebody else.
            let session = self.session(&record);
            let is_its = |session: &Session| session.pairs().any(|own| own == *asked);
            Ok(session.and_then(|session| self.judged(if is_its(&session) { Ok(session) } else { Err(()) })))
        })
    }

    fn by_id<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Option<Session>> {
        Box::pin(async move {
            let record = self.connection.text(session(id)).await?;
            let session = self.judged(record).flatten().and_then(|record| self.session(&record));
            let is_it = |session: &Session| session.id == *id;
            Ok(session.and_then(|session| self.judged(if is_it(&session) { Ok(session) } else { Err(()) })))
        })
    }

    fn refresh<'a>(&'a self, sessions: &'a [Arc<Session>]) -> Answer<'a, Vec<Refreshed>> {
        Box::pin(self.refreshed(sessions))
    }

    fn end<'a>(&'a self, ids: &'a [SessionId]) -> Answer<'a, ()> {
        debug_assert!(ids.len() <= MOST_AT_ONCE);
        Box::pin(async move {
            let mut script = self.scripts.end.prepare_invoke();
            for id in ids {
                script.key(session(id));
            }
            script.arg(ms(SESSION));
            self.run(&script).await
        })
    }

    fn poisoned(&self) -> u64 {
        self.poisoned.load(Ordering::Relaxed)
    }
}
