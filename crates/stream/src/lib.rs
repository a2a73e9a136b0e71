//! Floor 1, the hub: streams, publishers, subscribers, tracks.
//!
//! A publisher puts packets in and hears keyframe requests; a subscriber gets packets out. Everything else of the gateway
//! is only that. The life of a packet here: [`stream::Stream`] places it on the stream's own timeline, which goes on
//! whoever publishes, and collects it into a [`Burst`]; each worker keeps the burst in its [`history::History`] and offers
//! it to the [`subscription::Subscription`]s of its subscribers, which give it the number and time that one subscriber sees.
//!
//! Nothing here knows a protocol, a socket or a clock: time is an argument. Nothing blocks or starts a thread; only what
//! the control plane sees has a lock: [`directory::Directory`], who holds what, and [`Running`], what is sent.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "virtual time begins at some instant"))]

pub mod cache;
pub mod directory;
pub mod history;
pub mod keyframes;
pub mod replay;
pub mod running;
pub mod stats;
pub mod stream;
pub mod subscription;

mod close;
mod forward;
mod key;
mod points;
mod track;

pub use close::{BROKEN, CloseReason};
pub use directory::Directory;
pub use forward::{Burst, Clock, Forwarded};
pub use history::History;
pub use key::{InvalidKey, InvalidSessionId, SessionId, StreamKey};
pub use replay::Replay;
pub use running::Running;
pub use stream::{Config, Output, Stream};
pub use subscription::{Rewritten, Subscription};
pub use track::{PerKind, Track, Tracks};
