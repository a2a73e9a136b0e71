//! How much a directory gives, and why it gives no more.

use std::time::Duration;

/// What is done with a second publisher of a stream whose first is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflict {
    /// The second is refused.
    #[default]
    Reject,
    /// The second takes the stream.
    TakeOver,
}

/// Subscriber slots beyond the caps that are there for children of supervised processes.
pub const CHILDREN: usize = 1000;

/// Bounds and policies of a [`Directory`](super::Directory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is done with a second publisher.
    pub on_conflict: Conflict,
    /// A publisher that has not been touched for so long gives way to a new one.
    pub silence: Duration,
    /// How long a stream without publisher and subscribers is remembered.
    pub ttl: Duration,
    /// Streams at once.
    pub streams: usize,
    /// Publishers at once, of all streams.
    pub publishers: usize,
    /// Subscribers at once, of all streams.
    pub subscribers: usize,
    /// Subscribers at once of one stream.
    pub subscribers_per_stream: usize,
}

impl Default for Config {
    /// design.md 1.4: reject, 2 s of silence, 60 s to live. The caps are those of one large machine.
    fn default() -> Self {
        Self {
            on_conflict: Conflict::Reject,
            silence: Duration::from_secs(2),
            ttl: Duration::from_secs(60),
            streams: 10_000,
            publishers: 1_000,
            subscribers: 20_000,
            subscribers_per_stream: 20_000,
        }
    }
}

/// Why a publisher is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream has a publisher that is alive; to be tried again after this time.
    #[error("the stream is being published already")]
    Occupied {
        /// When its place is free at the earliest, should it fall silent now.
        retry: Duration,
    },
    /// The stream is held for somebody else.
    #[error("the stream is kept for a process of this server")]
    Held,
    /// A cap is reached.
    #[error(transparent)]
    Full(#[from] Full),
}

/// A cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is full")]
pub struct Full;

/// A publisher that was to take a stream over came too late: another one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another publisher has taken the stream meanwhile")]
pub struct Lost;
