//! What several proxies share: which origins there are, which of them has a stream, and the records of sessions.
//!
//! [`Registry`] is the face; [`Memory`] serves one proxy, [`Redis`] several. Everything in it expires, every call is one
//! round trip (one more where Redis has lost its scripts, and to connect), nothing is ever searched. What is read is judged anew by whoever reads it: a value that no proxy wrote
//! is counted and passed over as if it were not there.

pub mod exercise;
mod memory;
mod redis;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use thiserror::Error;

use crate::ice::Pair;
use crate::origins::OriginRecord;
use crate::record::{OriginId, Session, SessionId};

pub use memory::Memory;
pub use redis::{Redis, RedisUrl};

/// A claim lasts so long without anybody who uses or names the stream; with it, it is renewed each 10 s. Longer than a
/// restart of the registry's server, as it is also how long claims are believed while that is away.
pub const CLAIM: Duration = Duration::from_secs(60);

/// A claim that nobody has renewed for so long is worth less than the word of an origin that has the stream: more than two
/// renewals were missed.
pub const STALE: Duration = Duration::from_secs(25);

/// A record of a session lasts so long without use. A client that goes on through another proxy must find it: that is
/// 50 s after the first one died, in the worst case.
pub const SESSION: Duration = Duration::from_secs(60);

/// A drain is forgotten after so long: an operator who drains does something within a week.
pub const DRAIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Things that one call may be about: longer lists are cut by whoever asks.
pub const MOST_AT_ONCE: usize = 100;

/// What was asked for cannot be known or done now, as the registry does not answer, or refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the registry does not answer")]
pub struct Away;

/// Why a call led to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Failure {
    /// The registry did not answer in time, or serves nobody now: what was asked for may have happened all the same.
    #[error("the registry does not answer")]
    Away,
    /// It is there, and refuses this call: it has no room, or a value in the way. That says nothing of other calls.
    #[error("the registry refuses")]
    Refused,
}

impl From<Failure> for Away {
    fn from(_: Failure) -> Self {
        Self
    }
}

/// What a call comes to.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// An origin that registered, and how long ago.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What its heartbeat said.
    pub record: OriginRecord,
    /// Since then, by the registry's clock.
    pub age: Duration,
}

/// All origins that are registered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listing {
    /// At most [`MOST_ORIGINS`](crate::origins::MOST_ORIGINS).
    pub origins: Vec<Listed>,
    /// Those that an operator drains.
    pub drained: BTreeSet<OriginId>,
}

/// Names one claim that is not used yet: as long as nobody else asked for the stream, it can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(pub(crate) String);

impl Token {
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes).expect("the system has random numbers");
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Who has a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// This origin.
    pub holder: OriginId,
    /// It was claimed by this very call.
    pub token: Option<Token>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// It lasts on.
    Kept,
    /// It is not there, or not whole.
    Missing,
    /// The session was ended, maybe at another proxy.
    Ended,
}

/// The face of what is shared.
pub trait Registry: Send + Sync {
    /// All origins. Asked for once a second by each proxy, and never while a client waits but for an origin nobody knows.
    fn origins(&self) -> Answer<'_, Listing>;

    /// Keeps an origin for its lease. `false` if there are too many.
    fn heartbeat<'a>(&'a self, record: &'a OriginRecord) -> Answer<'a, bool>;

    /// Drains an origin, or no more.
    fn drain<'a>(&'a self, origin: &'a OriginId, on: bool) -> Answer<'a, ()>;

    /// Forgets an origin, and that it is drained.
    fn remove<'a>(&'a self, origin: &'a OriginId) -> Answer<'a, ()>;

    /// Claims a stream for `wanted` unless it is claimed; the first wins.
    fn claim<'a>(&'a self, stream: &'a str, wanted: &'a OriginId) -> Answer<'a, Claimed>;

    /// Claims it for `to` if nobody else than `from` has it.
    fn reclaim<'a>(&'a self, stream: &'a str, from: &'a OriginId, to: &'a OriginId) -> Answer<'a, Claimed>;

    /// Takes a claim back that nobody but the one who made it has seen, and gives the stream back to whom it was taken from:
    /// who seemed gone to one proxy may live for others.
    fn release<'a>(
        &'a self,
        stream: &'a str,
        of: &'a OriginId,
        token: &'a Token,
        back: Option<&'a OriginId>,
    ) -> Answer<'a, ()>;

    /// Who has a stream.
    fn claim_of<'a>(&'a self, stream: &'a str) -> Answer<'a, Option<OriginId>>;

    /// Origins have these streams: renews their claims, and makes those that nobody has, that led to nothing yet, or that nobody
    /// has renewed for [`STALE`]; says who has each. At most [`MOST_AT_ONCE`].
    fn refresh_claims<'a>(&'a self, claims: &'a [(String, OriginId)]) -> Answer<'a, Vec<OriginId>>;

    /// Keeps a session. `false` if it was ended.
    fn store<'a>(&'a self, session: &'a Session) -> Answer<'a, bool>;

    /// The session whose checks use this pair.
    fn by_pair<'a>(&'a self, pair: &'a Pair) -> Answer<'a, Option<Session>>;

    /// The session of this URL.
    fn by_id<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Option<Session>>;

    /// Makes sessions last on. At most [`MOST_AT_ONCE`].
    fn refresh<'a>(&'a self, sessions: &'a [Arc<Session>]) -> Answer<'a, Vec<Refreshed>>;

    /// Sessions have ended: they are not found any more, and nobody brings them back. At most [`MOST_AT_ONCE`].
    fn end<'a>(&'a self, ids: &'a [SessionId]) -> Answer<'a, ()>;

    /// Values that no proxy wrote, so far.
    fn poisoned(&self) -> u64;
}
